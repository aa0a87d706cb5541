"""However a repository is reached, and by whichever engine, the answers are those of reading it in place.

The hosts are real: git's http-backend over HTTP, and git-upload-pack behind a program in the place of ssh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from tests.support.githost import GitHost
from tests.support.gitrepo import GitRepo
from tests.support.history import Step, build
from vcsproxy.build.job import Built, Failed, Host, Job, Listed, Op, Result
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import ENGINES, RepoRoot

PATH = "github.com/t/x"
GOMOD = {"go.mod": f"module {PATH}\n", "x.go": "package x\n", "LICENSE": "l\n"}
STEPS = [
    Step(GOMOD, tags=["v0.1.0"]),
    Step({**GOMOD, "y.go": "package x\n" * 400}, [0], "1709337600 +0000", annotated=["v1.0.0"]),
    Step({**GOMOD, "z.go": "package x\n", "sub/go.mod": f"module {PATH}/sub\n"}, [1], "1709424000 +0000", tags=["sub/v0.1.0"]),
    Step({**GOMOD, "side.go": "package x\n"}, [0], "1709425000 +0000", "dev"),
    Step({**GOMOD, "w.go": "package x\n"}, [2, 3], "1709510400 +0000"),
]  # fmt: skip


class Asker:
    """Asks one repository over one URL with a mirror directory of its own."""

    def __init__(self, url: str, work: Path, *, ttl: float = 60.0, engine: str = ENGINES[0]) -> None:
        self.root = RepoRoot(PATH, url, "", f"https://{PATH}", engine=engine)
        self.work, self.ttl, self.count = work, ttl, 0

    def __call__(self, op: Op, query: str = "", path: str = PATH, pinned: str = "") -> Result:
        self.count += 1
        workspace = self.work / f"w{self.count}"
        workspace.mkdir(parents=True)
        hosts = (Host("127.0.0.1"), Host("git.test"))
        mirrors = str(self.work / "mirrors")
        job = Job(op, path, query, self.root, mirrors, str(workspace), pinned=pinned, refs_ttl=self.ttl, hosts=hosts)
        return run(job)

    def built(self, op: Op, query: str = "", path: str = PATH, pinned: str = "") -> Built:
        result = self(op, query, path, pinned)
        assert isinstance(result, Built), result
        return result


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sha1", "sha256"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> GitRepo:
    return build(tmp_path / "repos" / "x", STEPS, request.param)


HOSTS = {
    "v2": GitHost(Path()),
    "v2 with filters": GitHost(
        Path(), config={"uploadpack.allowFilter": "true", "uploadpack.allowAnySHA1InWant": "true"}
    ),
    "v0": GitHost(Path(), protocol=False),
    "v0 with filters": GitHost(Path(), protocol=False, config={"uploadpack.allowFilter": "true"}),
}


@pytest.fixture(params=sorted(HOSTS))
def host(request: pytest.FixtureRequest, repo: GitRepo) -> Iterator[GitHost]:
    kind = HOSTS[request.param]
    with GitHost(repo.path.parent, config=kind.config, protocol=kind.protocol).running() as running:
        yield running


def questions(repo: GitRepo) -> list[tuple[Op, str, str]]:
    main, first = repo.git("rev-parse", "main"), repo.git("rev-parse", "v0.1.0")
    side, tag = repo.git("rev-parse", "dev"), repo.git("rev-parse", "v1.0.0")
    inner = repo.git("rev-parse", "main~1")
    asked = [
        "v0.1.0",
        "v1.0.0",
        "main",
        "dev",
        "HEAD",
        main,
        first[:12],
        side[:9],
        tag[:10],
        inner,
        inner[:7],
        "nosuch",
        "abcdef1",
    ]
    return [
        (Op.LIST, "", PATH),
        (Op.LATEST, "", PATH),
        *((Op.INFO, query, PATH) for query in asked),
        (Op.INFO, "v0.1.0", PATH + "/sub"),
        (Op.INFO, "main", PATH + "/sub"),
        (Op.LIST, "", PATH + "/sub"),
        (Op.LIST, "", PATH + "/other"),
        (Op.ZIP, "v1.0.0", PATH),
        (Op.ZIP, "v0.1.0", PATH + "/sub"),
    ]


def plain(result: Result) -> object:
    """A result without the place of its zip, and without its steps, which tell of time and place."""
    if isinstance(result, Built):
        return (result.version, result.answer, result.info, result.gomod, result.zip_h1, result.omitted)
    return replace(result, steps=(), read=0.0) if isinstance(result, Listed) else replace(result, steps=())


def test_the_same_answers_as_in_place(host: GitHost, engine: str, repo: GitRepo, tmp_path: Path) -> None:
    local, remote = Asker(repo.url, tmp_path / "local"), Asker(host.url + "/x", tmp_path / "remote", engine=engine)
    for question in questions(repo):
        assert plain(remote(*question)) == plain(local(*question)), question
    for question in questions(repo)[:: -1 if engine == ENGINES[0] else -3]:
        fresh = Asker(host.url + "/x", tmp_path / "fresh {}-{}-{}".format(*question).replace("/", "_"), engine=engine)
        assert plain(fresh(*question)) == plain(local(*question)), question


def test_a_broken_ref_is_in_nobodys_way(engine: str, repo: GitRepo, tmp_path: Path) -> None:
    """A host shows a ref whose name git does not accept with a null hash, which nobody can ask for."""
    (repo.path / "refs/tags/v9..9").write_text(repo.git("rev-parse", "main") + "\n")
    inner = repo.git("rev-parse", "main~1")
    with GitHost(repo.path.parent).running() as host:
        assert " refs/tags/v9..9" in urlopen_text(host)
        assert Asker(host.url + "/x", tmp_path / "w", engine=engine).built(Op.INFO, inner).version.endswith(inner[:12])


def urlopen_text(host: GitHost) -> str:
    """The list of refs as a host of old gives it."""
    return urllib3.request("GET", host.url + "/x/info/refs?service=git-upload-pack").data.decode()


def test_a_second_version_and_a_second_answer_fetch_little(repo: GitRepo, tmp_path: Path) -> None:
    """One listing a minute, one fetch a commit; a zip after its .info fetches nothing."""
    with GitHost(repo.path.parent).running() as host:
        asker = Asker(host.url + "/x", tmp_path / "w")
        info = asker.built(Op.INFO, "v1.0.0")
        assert (host.count("GET "), host.count("POST ")) == (1, 2)
        commit = repo.git("rev-parse", "v1.0.0^{commit}")
        assert asker.built(Op.ZIP, "v1.0.0", pinned=commit).info == info.info
        assert isinstance(asker(Op.LIST), Listed)
        assert (host.count("GET "), host.count("POST ")) == (1, 2)
        asker.built(Op.ZIP, "v0.1.0")
        assert (host.count("GET "), host.count("POST ")) == (2, 3)


def test_an_unknown_version_looks_again_once(
    engine: str, repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag made after the refs were read is found although they are believed for a minute."""
    monkeypatch.setattr("vcsproxy.vcs.mirror._REFRESH_PAUSE", 0.0)
    with GitHost(repo.path.parent).running() as host:
        asker = Asker(host.url + "/x", tmp_path / "w", engine=engine)
        assert isinstance(asker(Op.INFO, "v1.1.0"), Failed)
        repo.tag("v1.1.0", repo.git("rev-parse", "main"))
        assert asker.built(Op.INFO, "v1.1.0").version == "v1.1.0"


def test_a_commit_that_only_a_pull_request_holds_is_unknown(
    host: GitHost, engine: str, repo: GitRepo, tmp_path: Path
) -> None:
    """T17: hosts give it by its hash, and it is not the repository's."""
    stray = repo.commit({**GOMOD, "evil.go": "package x\n"}, parents=[repo.git("rev-parse", "main")], branch=None)
    repo.git("update-ref", "refs/pull/1/head", stray)
    for asker in (Asker(host.url + "/x", tmp_path / "remote", engine=engine), Asker(repo.url, tmp_path / "local")):
        for query in (stray, stray[:12]):
            refused = asker(Op.INFO, query)
            assert isinstance(refused, Failed)
            assert refused.error == "NotFound"
            assert "unknown revision" in refused.message


def test_the_pinned_commit_is_built_after_its_tag_moved(
    host: GitHost, engine: str, repo: GitRepo, tmp_path: Path
) -> None:
    asker = Asker(host.url + "/x", tmp_path / "w", ttl=0, engine=engine)
    before = asker.built(Op.ZIP, "v0.1.0")
    old = repo.git("rev-parse", "v0.1.0")
    repo.tag("v0.1.0", repo.git("rev-parse", "main"))
    again = asker.built(Op.ZIP, "v0.1.0", pinned=old)
    assert (again.zip_h1, again.info) == (before.zip_h1, before.info)
    assert asker.built(Op.ZIP, "v0.1.0").zip_h1 != before.zip_h1


@pytest.mark.parametrize("url", [
    "https://127.0.0.1:1/x", "https://-oProxyCommand=x/y", "ext::sh -c touch", "ftp://git.test/x", "https://git.test/",
    "git@-x:y", "ssh://-x@git.test/y", "https://git.test/a\nb", "/etc", "https://git.te st/x",
])  # fmt: skip
def test_urls_that_cannot_be_fetched_fail_without_a_program_being_run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T3, F6: nothing is ever guessed from a string that looks like a path or an option."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = Asker(url, tmp_path / "w")(Op.LIST)
    assert isinstance(result, Failed)
    assert result.error in ("NotFound", "UpstreamFailed", "HostUnreachable")


def test_a_pinned_commit_that_is_gone_is_a_refusal(host: GitHost, engine: str, repo: GitRepo, tmp_path: Path) -> None:
    """Neither absence nor the bytes of another commit: the version exists and cannot be built any more."""
    gone = "12" * (len(repo.git("rev-parse", "main")) // 2)
    result = Asker(host.url + "/x", tmp_path / "w", engine=engine)(Op.ZIP, "v0.1.0", pinned=gone)
    assert isinstance(result, Failed)
    assert (result.error, "is gone" in result.message) == ("Refused", True), result


def test_a_tag_that_moved_after_packing_is_where_it_is_now(repo: GitRepo, tmp_path: Path) -> None:
    """What packed-refs remembers of a peeled tag is older than the loose ref."""
    repo.git("pack-refs", "--all")
    asker = Asker(repo.url, tmp_path / "w")
    for annotated in (False, True):
        repo.tag("v1.0.0", repo.git("rev-parse", "main"), annotated=annotated)
        assert repo.git("rev-parse", "main").encode() in asker.built(Op.INFO, "v1.0.0").info


@pytest.mark.parametrize("protocol", [True, False])
def test_a_host_that_takes_its_time_keeps_the_connection_alive(
    protocol: bool, engine: str, repo: GitRepo, tmp_path: Path
) -> None:
    """Git sends empty packets while it prepares a pack; they are no end of it."""
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\nsleep 2.5\nexec "$@"\n')
    hook.chmod(0o755)
    # git takes this hook from protected configuration only, which the environment is
    config = {"uploadpack.packObjectsHook": str(hook), "uploadpack.keepAlive": "1"}
    with GitHost(repo.path.parent, config=config, protocol=protocol).running() as host:
        assert Asker(host.url + "/x", tmp_path / "w", engine=engine).built(Op.ZIP, "v1.0.0").zip_h1


def test_a_served_version_is_built_from_the_mirror_when_its_repository_is_gone(
    engine: str, repo: GitRepo, tmp_path: Path
) -> None:
    with GitHost(repo.path.parent).running() as host:
        asker = Asker(host.url + "/x", tmp_path / "w", ttl=0, engine=engine)
        before = asker.built(Op.ZIP, "v1.0.0")
        host.script = lambda handler: handler.reply(404, {}, b"") is None
        again = asker.built(Op.ZIP, "v1.0.0", pinned=repo.git("rev-parse", "v1.0.0^{commit}"))
        assert (again.zip_h1, again.info) == (before.zip_h1, before.info)
        refused = asker(Op.ZIP, "v0.9.0", pinned="12" * (len(repo.git("rev-parse", "main")) // 2))
        assert isinstance(refused, Failed)
        assert refused.error == "Refused"


def test_one_job_lists_the_refs_once(repo: GitRepo, tmp_path: Path) -> None:
    """Also when what was listed before is never believed."""
    with GitHost(repo.path.parent).running() as host:
        Asker(host.url + "/x", tmp_path / "w", ttl=0).built(Op.INFO, "v1.0.0")
        assert host.count("POST ") == 2
