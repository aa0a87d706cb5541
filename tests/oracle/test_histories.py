"""Random histories: lists, latest, versions, hashes and refusals are those of `go` in direct mode.

Each example is one repository; every module path that its layout may hold is asked every query that it may answer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.direct import PREFIX, DirectGo, Ours
from tests.support.gitrepo import GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from vcsproxy.mod import pseudo

EXAMPLES = 150 if os.environ.get("VCSPROXY_FUZZ") else 5
MODULES = ("", "/v2", "/v3", "/sub", "/sub/v2", "/nosuch")

declared = st.sampled_from([
    None, None, "github.com/t/x", "github.com/t/x", "github.com/t/x/v2", "github.com/t/x/v3", "example.com/other",
    "gopkg.in/x.v2", "github.com/t/x/v1", '"github.com/t/x"',
])  # fmt: skip
sub_declared = st.sampled_from([None, "github.com/t/x/sub", "github.com/t/x/sub/v2", "github.com/t/y"])
go_line = st.sampled_from(["", "go 1.20\n", "go 1.24\n", "go 1.25.1\n"])
retract = st.sampled_from(
    ["", "", "retract v1.0.0\n", "retract [v0.1.0, v1.1.0]\n", "retract (\n\tv1.2.0 // bad\n)\n", "oops(\n"]
)
tag = st.sampled_from([
    "v0.1.0", "v0.2.0", "v1.0.0", "v1.0.1", "v1.1.0", "v1.2.0-rc.1", "v1.2.0", "v2.0.0", "v2.1.0-pre", "v2.1.0", "v3.0.0",
    "v1", "v1.3", "v1.4.0+meta", "v2.2.0+incompatible", "sub/v0.1.0", "sub/v1.0.0", "sub/v2.0.0", "sub/v2.1.0", "vx",
    "v1.5.1-0.20240301000000-aaaaaaaaaaaa", "v1.2.9-0", "release", "sub/v1.1.1-0.20240301000000-aaaaaaaaaaaa", "v0.0.0",
])  # fmt: skip
zone = st.sampled_from(["+0000", "-0800", "+0530", "+1400"])


@st.composite
def trees(draw: st.DrawFn) -> dict[str, object]:
    files: dict[str, object] = {
        "a.go": "package a\n",
        "b/b.go": draw(st.sampled_from(["package b\n", "package b // 2\n"])),
    }
    for path, name in (("go.mod", draw(declared)), ("sub/go.mod", draw(sub_declared))):
        if name:
            files[path] = f"module {name}\n\n{draw(go_line)}{draw(retract)}"
    for path, name in (
        ("v2/go.mod", "github.com/t/x/v2"),
        ("v3/go.mod", "github.com/t/x"),
        ("sub/v2/go.mod", "github.com/t/x/sub/v2"),
    ):
        if draw(st.integers(0, 4)) == 0:
            files[path] = f"module {name}\n"
    extra = {
        "LICENSE": "root licence\n", "sub/LICENSE": "sub licence\n", "vendor/modules.txt": "# m\n", "vendor/m/m.go": "package m\n",
        "pkg/vendor/v.go": "package v\n", "pkg/vendor/q/q.go": "package q\n", "sub/s.go": "package s\n", "link": ("120000", "a.go"),
        "run.sh": ("100755", "#!/bin/sh\n"), "crlf.bat": "a\nb\r\n", ".gitattributes": "*.bat text eol=crlf\nid.txt ident\n*.go export-ignore\n",
        "id.txt": "$Id$\n", "sub/.gitattributes": "*.go text eol=crlf\n", "é.go": "package e\n", "nested/go.mod": "module n\n",
        "nested/n.go": "package n\n", ".hg_archival.txt": "x", "v2/two.go": "package two\n",
    }  # fmt: skip
    bad = {
        "Foo.go": "1",
        "foo.go": "2",
        "aux.go": "x",
        "sub/go.mod/x": "dir",
        "b/a:b.go": "x",
        "sub/license": "l",
        "x ": "sp",
    }
    names = draw(st.lists(st.sampled_from(sorted(extra)), max_size=8, unique=True))
    names += draw(st.lists(st.sampled_from(sorted(bad)), max_size=1))
    for path in names:
        if path != "sub/go.mod/x" or "sub/go.mod" not in files:
            files[path] = extra.get(path, bad.get(path, ""))
    return files


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    free = draw(st.lists(tag, max_size=9, unique=True))
    for number in range(draw(st.integers(1, 6))):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True)) if number else []
        mine = [free.pop() for _ in range(draw(st.integers(0, min(3, len(free)))))]
        noted = [free.pop()] if free and draw(st.booleans()) else []
        when = 1709251200 + number * 86400 + draw(st.integers(-200000, 80000))
        branch = draw(st.sampled_from(["main", "main", "dev", "v1.1.0", "deadbeefcafe"]))
        steps.append(Step(draw(trees()), parents, f"{when} {draw(zone)}", branch, mine, noted))
    return steps


def queries(repo_refs: list[tuple[str, str]], commits: dict[str, int], listed: set[str]) -> list[str]:
    """Tags that go sends as they are, branches, hashes, and pseudo-versions right and wrong."""
    found = {name.rpartition("/")[2] for name, _ in repo_refs} | listed | {"HEAD", "nosuch"}
    found |= {version + "+incompatible" for version in found if version.startswith(("v2.", "v3."))}
    for commit, when in list(commits.items())[:3]:
        short = commit[:12]
        found |= {
            commit,
            commit[:7],
            pseudo.pseudo_version("", "", when, short),
            pseudo.pseudo_version("v2", "", when, short),
        }
        found |= {pseudo.pseudo_version("", base, when, short) for base in ("v1.0.0", "v0.1.0", "v1.2.0-rc.1")}
        found.add(pseudo.pseudo_version("", "", when + 1, short))
    odd = {"v1", "v1.3", "v1.4.0+meta", "v2.2.0+incompatible", "v2.2.0+incompatible+incompatible", "v2"}
    return sorted(found - odd)


def compare(root: Path, go: GoTool) -> None:
    direct, ours = DirectGo(go, root), Ours(root, root.parent / "work")
    cache = root.parent / "cache"
    lists = {}
    for suffix in MODULES:
        path = PREFIX + "x" + suffix
        want = direct.versions(cache, path)
        have = ours.versions(path)
        # An empty list of something that is no module is a refusal of ours; the client hears the same from @latest.
        assert (have or []) == (want or []), path
        lists[path] = set(want or [])
        assert ours.latest(path) == direct.latest(cache, path), path
    repo = build_refs(root / "x")
    commits = {oid: when for oid, when, _ in repo}
    refs = [(name, oid) for oid, _, names in repo for name in names]
    asked = [f"{path}@{query}" for path, known in lists.items() for query in queries(refs, commits, known)]
    want = direct.download(root.parent / "cache2", asked)
    for question in asked:
        path, _, query = question.partition("@")
        have = ours.download(path, query)
        assert have.same(want[question]), (question, have, want[question])


def build_refs(path: Path) -> list[tuple[str, int, list[str]]]:
    """(commit, committer time, ref names) of every commit, newest first."""
    text = GitRepo(path).git("log", "--all", "--format=%H %ct %D", "--decorate=full")
    lines = []
    for line in text.splitlines():
        oid, when, names = line.split(" ", 2)
        refs = [name.split(" ")[-1] for name in names.split(", ") if name]
        lines.append((oid, int(when), [name.removeprefix("refs/heads/").removeprefix("refs/tags/") for name in refs]))
    return lines


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not os.environ.get("VCSPROXY_FUZZ"),
    suppress_health_check=list(HealthCheck),
)
@given(steps=histories())
def test_random_histories(steps: list[Step], go: GoTool) -> None:
    work = Path(tempfile.mkdtemp(prefix="history-"))
    try:
        build(work / "repos" / "x", steps)
        compare(work / "repos", go)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_one_history_in_both_object_formats(object_format: str, go: GoTool, tmp_path: Path) -> None:
    """SHA-256 repositories give versions, hashes and pseudo-versions (of 12 digits) like any other."""
    gomod = {"go.mod": "module github.com/t/x\n", "x.go": "package x\n"}
    steps = [
        Step(gomod, tags=["v1.0.0"]),
        Step({**gomod, "y.go": "package x\n"}, [0], "1709337600 -0800", annotated=["v1.1.0"]),
        Step({**gomod, "z.go": "package x\n"}, [1], "1709424000 +0000"),
    ]
    build(tmp_path / "repos" / "x", steps, object_format)
    compare(tmp_path / "repos", go)
