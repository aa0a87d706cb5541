"""T17: a commit that only a pull request, a fork or a note holds is not the repository's, however it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import hostile
from tests.support.githost import GitHost
from tests.support.gitrepo import GitRepo
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.toxgit import Tox, refs_of, side_band, toxic
from vcsproxy.mod import pseudo

GOMOD = {"go.mod": "module git.test/x\n", "x.go": "package x\n"}
WHEN = 1709856000  # of the stray commits
PLACES = ("refs/pull/1/head", "refs/pull/1/merge", "refs/merge-requests/1/head", "refs/changes/01/1/1", "refs/notes/commits", "refs/stash",
          "refs/remotes/origin/main", "refs/environments/x", "refs/keep-around/x", "refs/for/main", "refs/headsx/main", "refs/tag/v9.9.9")  # fmt: skip


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    repo: GitRepo
    strays: list[str]


@pytest.fixture(scope="module", params=["v2", "v0"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host that gives any commit by its hash, as the large ones do; each place outside heads and tags holds one."""
    work = tmp_path_factory.mktemp("imposters")
    repo = build(
        work / "repos" / "x",
        [Step(GOMOD, tags=["v1.0.0"]), Step({**GOMOD, "y.go": "package x\n"}, [0], "1709337600 +0000")],
    )
    main, strays = repo.git("rev-parse", "main"), []
    for number, name in enumerate(PLACES):
        files = {**GOMOD, "evil.go": f"package x // {number}\n"}
        strays.append(repo.commit(files, parents=[main], branch=None, date=f"{WHEN} +0000"))
        repo.git("update-ref", name, strays[-1])
    giving = {"uploadpack.allowAnySHA1InWant": "true", "uploadpack.allowFilter": "true"}
    with GitHost(work / "repos", config=giving, protocol=request.param == "v2").running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(work / "s", config) as server:
            yield Site(server, repo, strays)


def pseudo_of(commit: str) -> list[str]:
    stamp = pseudo.timestamp(WHEN)
    return [f"v0.0.0-{stamp}-{commit[:12]}", f"v1.0.1-0.{stamp}-{commit[:12]}"]


def test_T17_imposter_commits_are_unknown(site: Site) -> None:
    """By full hash, by its beginning and as a pseudo-version; before and after honest commits have been fetched."""
    for _ in range(2):
        for commit in site.strays:
            for query in (commit, commit[:12], commit[:7], *pseudo_of(commit)):
                got = site.server.get(f"/git.test/x/@v/{query}.info")
                assert got.status == 404, (query, got.data)
        assert site.server.get("/git.test/x/@v/v1.0.0.zip").status == 200
        assert site.server.get("/git.test/x/@v/main.info").status == 200
        inner = site.repo.git("rev-parse", "main~1")
        assert site.server.get(f"/git.test/x/@v/{inner}.info").status == 200, "the way to ask is right"
    for commit in site.strays:
        assert site.server.get(f"/git.test/x/@v/{pseudo_of(commit)[1]}.zip").status == 404


def test_T17_names_outside_heads_and_tags_are_no_revisions(site: Site) -> None:
    for name in PLACES:
        for spelled in (name, name.removeprefix("refs/"), name.replace("/", "%2f"), name.rpartition("/")[2]):
            if spelled != "main":
                assert site.server.get(f"/git.test/x/@v/{spelled}.info").status == 404, spelled
    versions = site.server.get("/git.test/x/@v/list").data
    assert versions == b"v1.0.0\n"


def test_T17_a_commit_counts_once_a_branch_reaches_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And not before, although the host would have given it."""
    work = tmp_path_factory.mktemp("late")
    repo = build(work / "repos" / "x", [Step(GOMOD, tags=["v1.0.0"])])
    commit = repo.commit({**GOMOD, "late.go": "package x\n"}, parents=[repo.git("rev-parse", "main")], branch=None)
    repo.git("update-ref", "refs/pull/1/head", commit)
    with GitHost(work / "repos", config={"uploadpack.allowAnySHA1InWant": "true"}).running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n[freshness]\nrefs = "0s"\nnegative = "0s"\n'
        with serving(work / "s", config) as server:
            assert server.get(f"/git.test/x/@v/{commit}.info").status == 404
            repo.git("update-ref", "refs/heads/late", commit)
            assert server.get(f"/git.test/x/@v/{commit}.info").status == 200


def test_T17_refs_that_a_host_adds_unasked_do_not_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The question was for HEAD, heads and tags; a host that lists more has not made it part of the repository."""
    work = tmp_path_factory.mktemp("unasked")
    good, head = hostile.repository({b"x.go": b"package x\n"})
    evil, stray = hostile.repository({b"x.go": b"package evil\n"})
    refs = {
        "HEAD": head,
        "refs/heads/main": head,
        "refs/tags/v1.0.0": head,
        "refs/pull/1/head": stray,
    }
    both = {head: side_band(good), stray: side_band(evil)}
    with toxic() as tox:
        tox.plays["stray"] = Tox(refs_of(refs), lambda handler: handler.reply(
            200, {"Content-Type": "application/x-git-upload-pack-result"}, both[stray if stray.encode() in handler.body else head],
        ))  # fmt: skip
        with serving(work / "s", tox.config("stray")) as server:
            assert server.get("/stray.test/x/@v/v1.0.0.info").status == 200
            for query in (stray, stray[:12], f"v0.0.0-{pseudo.timestamp(1709251200)}-{stray[:12]}"):
                assert server.get(f"/stray.test/x/@v/{query}.info").status == 404


def test_T17_tags_that_are_no_commits(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tags of blobs and trees, and a branch on a blob, name no version; the rest of the repository is served."""
    work = tmp_path_factory.mktemp("blobs")
    repo = build(work / "repos" / "x", [Step(GOMOD, tags=["v1.0.0"])])
    blob, tree = repo.git("rev-parse", "main:go.mod"), repo.git("rev-parse", "main^{tree}")
    repo.tag("v1.1.0", blob)
    repo.tag("v1.2.0", tree)
    repo.tag("v1.3.0", blob, annotated=True)
    repo.tag("v1.4.0", tree, annotated=True)
    with GitHost(work / "repos").running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(work / "s", config) as server:
            for version in ("v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0", blob, tree, blob[:12]):
                got = server.get(f"/git.test/x/@v/{version}.info")
                assert got.status in (404, 422), (version, got.data)
            assert server.get("/git.test/x/@v/v1.0.0.zip").status == 200
            assert json.loads(server.get("/git.test/x/@v/main.info").data)["Version"] == "v1.0.0"
