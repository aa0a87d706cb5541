"""Trees first, blobs when they are needed: the same answers as from the repository in place, and fewer bytes.

The plain path, a fetch of the whole commit, is tested in test_transports with the same questions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.test_transports import Asker, plain
from tests.support.githost import GitHost, Handler
from tests.support.gitrepo import SUBMODULE, SYMLINK, GitRepo
from tests.support.history import Step, build
from vcsproxy.build.job import Failed, Op

PATH = "github.com/t/x"
FILTER = {"uploadpack.allowFilter": "true"}
MANY = {f"other/f{n}.txt": f"{n}\n" * 50 for n in range(300)}
FILES = {
    "go.mod": f"module {PATH}\n",
    "x.go": "package x\r\n",
    "LICENSE": "free\n",
    ".gitattributes": "*.go text eol=lf\n*.id ident\n",
    "deep/.gitattributes": "*.txt text\n",
    "deep/down/go.mod": f"module {PATH}/deep/down\n",
    "deep/down/a.txt": "one\r\ntwo\r\n",
    "deep/down/b.id": "$Id$\n",
    "deep/down/same.go": "package x\r\n",
    "deep/down/link": (SYMLINK, "../x.go"),
    "deep/down/nested/go.mod": f"module {PATH}/deep/down/nested\n",
    "deep/down/nested/n.go": "package n\n",
    "deep/down/vendor/q/q.go": "package q\n",
    "deep/down/sub": (SUBMODULE, "12" * 20),
    "deep/old/o.go": "package o\n",
    "v2/go.mod": f"module {PATH}/v2\n",
    "v2/two.go": "package two\n",
    **MANY,
}
TAGS = ["v1.0.0", "deep/down/v0.1.0", "deep/down/nested/v0.3.0", "v2.0.0"]
NEXT = ["v1.1.0", "deep/down/v0.2.0"]
QUESTIONS = [
    (op, version, PATH + at)
    for at, versions in {
        "": ["v1.0.0", "v1.1.0"],
        "/deep/down": ["v0.1.0", "v0.2.0"],
        "/deep/down/nested": ["v0.3.0"],
        "/v2": ["v2.0.0"],
    }.items()
    for version in versions
    for op in (Op.INFO, Op.ZIP)
] + [(Op.LATEST, "", PATH), (Op.LATEST, "", PATH + "/deep/down"), (Op.INFO, "main", PATH + "/deep/old"), (Op.LIST, "", PATH + "/v2")]  # fmt: skip


@pytest.fixture(params=["sha1", "sha256"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> GitRepo:
    files = {**FILES, "deep/down/sub": (SUBMODULE, "12" * (20 if request.param == "sha1" else 32))}
    steps = [
        Step(files, tags=TAGS),
        Step({**files, "deep/down/a.txt": "three\r\n", "x.go": "package x // 2\r\n"}, [0], "1709337600 +0000", tags=NEXT),
    ]  # fmt: skip
    made = build(tmp_path / "repos" / "x", steps, request.param)
    head = made.git("rev-parse", "main")
    for number in range(70):
        made.git("update-ref", f"refs/heads/b{number}", head)
    return made


@pytest.fixture
def host(repo: GitRepo) -> Iterator[GitHost]:
    with GitHost(repo.path.parent, config=FILTER).running() as running:
        yield running


def test_the_same_answers_as_in_place(host: GitHost, repo: GitRepo, tmp_path: Path) -> None:
    local, remote = Asker(repo.url, tmp_path / "local"), Asker(host.url + "/x", tmp_path / "remote")
    for question in QUESTIONS:
        assert plain(remote(*question)) == plain(local(*question)), question
    for number, question in enumerate(QUESTIONS):
        fresh = Asker(host.url + "/x", tmp_path / f"fresh{number}")
        assert plain(fresh(*question)) == plain(local(*question)), question


def test_only_what_the_module_needs_is_fetched(host: GitHost, repo: GitRepo, tmp_path: Path) -> None:
    asker = Asker(host.url + "/x", tmp_path / "w")
    asker.built(Op.INFO, "v0.1.0", PATH + "/deep/down")
    assert host.count("POST ") == 3  # refs, trees, go.mod
    asker.built(Op.ZIP, "v0.1.0", PATH + "/deep/down")
    assert host.count("POST ") == 4  # the other blobs at once
    asker.built(Op.ZIP, "v0.1.0", PATH + "/deep/down")
    assert host.count("POST ") == 4
    held = objects(repo, tmp_path / "w")
    for path, here in {
        "deep/down/a.txt": True, ".gitattributes": True, "LICENSE": True, "deep/down/nested/n.go": False,
        "deep/down/vendor/q/q.go": False, "other/f1.txt": False, "go.mod": False,
    }.items():  # fmt: skip
        assert (repo.git("rev-parse", f"deep/down/v0.1.0:{path}") in held) is here, path


def test_the_next_version_costs_its_new_bytes(host: GitHost, repo: GitRepo, tmp_path: Path) -> None:
    asker = Asker(host.url + "/x", tmp_path / "w")
    asker.built(Op.ZIP, "v0.1.0", PATH + "/deep/down")
    before = objects(repo, tmp_path / "w")
    asker.built(Op.ZIP, "v0.2.0", PATH + "/deep/down")
    new = objects(repo, tmp_path / "w") - before
    commit = repo.git("rev-parse", "main")
    changed = {f"{commit}^{{tree}}", f"{commit}:deep", f"{commit}:deep/down", f"{commit}:deep/down/a.txt"}
    assert new == {commit, *(repo.git("rev-parse", name) for name in changed)}


def test_a_small_commit_comes_whole_with_its_first_file(tmp_path: Path) -> None:
    repo = build(tmp_path / "repos" / "x", [Step({f"d/f{n}.go": f"package d // {n}\n" for n in range(40)} | {"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])  # fmt: skip
    head = repo.git("rev-parse", "main")
    for number in range(70):
        repo.git("update-ref", f"refs/heads/b{number}", head)
    with GitHost(repo.path.parent, config=FILTER).running() as host:
        asker = Asker(host.url + "/x", tmp_path / "w")
        asker.built(Op.INFO, "v1.0.0")
        assert host.count("POST ") == 3
        asker.built(Op.ZIP, "v1.0.0", pinned=head)
        assert host.count("POST ") == 3


def test_a_host_that_gives_no_single_files(host: GitHost, repo: GitRepo, tmp_path: Path) -> None:
    """It is asked for the whole commit then, and not for single files again."""
    blobs = {line.split()[2] for line in repo.git("ls-tree", "-r", "main").splitlines()}
    refused = []

    def refuse(handler: Handler) -> bool:
        if not any(b"want " + blob.encode() in handler.body for blob in blobs):
            return False
        refused.append(handler.path)
        words = b"ERR upload-pack: not our ref\n"
        handler.reply(
            200, {"Content-Type": "application/x-git-upload-pack-result"}, b"%04x%s" % (len(words) + 4, words)
        )
        return True

    host.script = refuse
    local, asker = Asker(repo.url, tmp_path / "local"), Asker(host.url + "/x", tmp_path / "w")
    for question in QUESTIONS:
        assert plain(asker(*question)) == plain(local(*question)), question
    assert len(refused) == 1


def test_blobs_are_had_no_more_when_the_host_is_down(host: GitHost, repo: GitRepo, tmp_path: Path) -> None:
    """No absence: the tree says that they exist."""
    asker = Asker(host.url + "/x", tmp_path / "w")
    asker.built(Op.INFO, "v0.1.0", PATH + "/deep/down")
    host.script = lambda handler: handler.reply(503, {}, b"") is None
    told = asker(Op.ZIP, "v0.1.0", PATH + "/deep/down")
    assert isinstance(told, Failed)
    assert told.error in ("HostBusy", "HostUnreachable")


def objects(repo: GitRepo, work: Path) -> set[str]:
    """The hashes of all objects that a mirror has."""
    found: set[str] = set()
    for index in work.glob("mirrors/*/objects/pack/*.idx"):
        shown = repo.git(
            "show-index", f"--object-format={repo.git('rev-parse', '--show-object-format')}", stdin=index.read_bytes()
        )
        found |= {line.split()[1] for line in shown.splitlines()}
    assert os.listdir(work)
    return found
