"""The op `explain` and the steps of every other, over real repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.direct import Ours
from tests.support.gitrepo import SYMLINK, GitRepo
from tests.support.history import Step, build
from vcsproxy.build.job import Access, Built, Failed, Job, Op, Result
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.secret import Secret

X = "github.com/t/x"
MOD = {"go.mod": f"module {X}\n", "a.go": "package x\n"}
LATER = "1709337600 +0000"


def explained(tmp_path: Path, steps: list[Step], suffix: str = "", query: str = "", op: Op = Op.EXPLAIN) -> Result:
    build(tmp_path / "repos" / "x", steps)
    return Ours(tmp_path / "repos", tmp_path / "work").ask(op, X + suffix, query)


def said(result: Result, topic: str, *, sub: bool = False) -> list[str]:
    return [step.text.replace("\t", "  ") for step in result.steps if step.topic == topic and step.sub is sub]


TAGGED = [
    Step(MOD, tags=["v1.0.0", "v1.1.0-rc.1", "1.2.3", "v1.1", "sub/v1.0.0", "v2.0.0", "v3.0.0+incompatible"]),
    Step({**MOD, "go.mod": f"module {X}\n\nretract v1.0.0\n"}, [0], LATER, tags=["v1.1.0"]),
]


def test_every_step_to_the_latest_version(tmp_path: Path) -> None:
    found = explained(tmp_path, TAGGED)
    assert isinstance(found, Built)
    assert found.version == "v1.1.0"
    assert found.zip_h1.startswith("h1:")
    tip = GitRepo(tmp_path / "repos" / "x").git("rev-parse", "main")[:12]
    assert said(found, "repository") == [f"file://{tmp_path}/repos/x is that of {X}; the module is at its root"]
    assert said(found, "refs") == [f"branches: 1, tags: 8; HEAD is at {tip}"]
    assert said(found, "refs", sub=True) == [f"main  {tip}"]
    assert said(found, "tags") == [
        "8 tags; versions of this module: 3, up to v1.1.0", "what each tag is for this module:"
    ]  # fmt: skip
    assert said(found, "tags", sub=True) == [
        "v3.0.0+incompatible  ends in +incompatible, which only Go adds",
        f"v2.0.0  belongs to {X}/v2: where there is a go.mod, nothing is +incompatible",
        "v1.1.0  is the version v1.1.0",
        "v1.1  is not three numbers",
        "v1.1.0-rc.1  is the version v1.1.0-rc.1",
        "v1.0.0  is the version v1.0.0, which the module's go.mod retracts",
        "sub/v1.0.0  belongs to the directory sub",
        "1.2.3  has no v in front",
    ]
    assert said(found, "revision") == [
        f"v1.1.0 is the tag v1.1.0, commit {tip} of 2024-03-02T00:00:00Z", "latest is the version v1.1.0"
    ]  # fmt: skip
    assert said(found, "go.mod") == [f"go.mod at v1.1.0 declares {X}"]
    assert said(found, "directory") == ["the module is in the root of the repository"]
    assert said(found, "files") == ["in the zip: 2 files, 48 bytes"]
    assert said(found, "answer") == [f"the zip's hash is {found.zip_h1}"]
    assert said(found, "cause") == said(found, "cure") == []


@pytest.mark.parametrize("query", ["v1.1.0", "main", "latest", ""])
def test_what_is_explained_is_what_would_be_served(tmp_path: Path, query: str) -> None:
    found = explained(tmp_path, TAGGED, query=query)
    served = Ours(tmp_path / "repos", tmp_path / "again").ask(Op.ZIP, X, "v1.1.0")
    assert isinstance(found, Built)
    assert isinstance(served, Built)
    assert (found.version, found.info, found.gomod, found.zip_h1, found.omitted) == (
        "v1.1.0", served.info, served.gomod, served.zip_h1, served.omitted
    )  # fmt: skip


def test_a_branch_becomes_a_version(tmp_path: Path) -> None:
    found = explained(tmp_path, [*TAGGED, Step(MOD, [1], "1709424000 +0000")], query="main")
    assert isinstance(found, Built)
    first, second = said(found, "revision")
    assert first.startswith("main is the branch main, commit ")
    assert second == f"main is the version {found.version}"


def test_files_that_are_left_out_are_named_with_the_reason(tmp_path: Path) -> None:
    files = {
        **MOD, "link": (SYMLINK, "a.go"), "nested/go.mod": "module n\n", "nested/n.go": "", "vendor/m/m.go": "",
    }  # fmt: skip
    found = explained(tmp_path, [Step(files, tags=["v1.0.0"])], query="v1.0.0")
    assert said(found, "files") == [
        "4 left out: file is in another module (2), file is a symbolic link (1), file is in vendor directory (1)",
        "in the zip: 2 files, 32 bytes",
    ]
    assert said(found, "files", sub=True) == [
        "link  file is a symbolic link", "nested/go.mod  file is in another module",
        "nested/n.go  file is in another module", "vendor/m/m.go  file is in vendor directory",
    ]  # fmt: skip


def test_files_that_forbid_a_zip_are_named_with_the_reason(tmp_path: Path) -> None:
    files = {**MOD, "B.go": "1", "b.go": "2", "aux.go": "3", **{f"c{n}/con": "x" for n in range(50)}}
    found = explained(tmp_path, [Step(files, tags=["v1.0.0"])], query="v1.0.0")
    assert isinstance(found, Failed)
    assert found.error == "NotFound"
    assert found.hint == "rename or remove the file, and tag a new version"
    (first,) = said(found, "files")
    assert first.startswith("52 that no zip may have: ")
    below = said(found, "files", sub=True)
    assert 'b.go  case-insensitive file name collision: "B.go" and "b.go"' in below
    assert below[-1] == "and 12 more"
    assert len(below) == 41


def test_only_so_many_tags_are_told(tmp_path: Path) -> None:
    found = explained(tmp_path, [Step(MOD, tags=[f"v1.0.{n}" for n in range(60)])])
    below = said(found, "tags", sub=True)
    assert below[0] == "v1.0.59  is the version v1.0.59"
    assert below[-1] == "and 20 more"
    assert len(below) == 41


def test_a_go_mod_that_declares_another_path_is_pointed_out(tmp_path: Path) -> None:
    """It is served, because a replace directive may use it; go refuses it everywhere else."""
    files = {**MOD, "go.mod": "module example.com/other\n"}
    found = explained(tmp_path, [Step(files, tags=["v1.0.0"])], query="v1.0.0")
    assert isinstance(found, Built)
    assert [step.topic for step in found.steps][-2:] == ["cause", "cure"]
    assert said(found, "cause") == [
        f"go.mod declares the module path example.com/other, and go refuses to use it as {X}"
    ]
    assert said(found, "cure") == [f"require example.com/other; or use {X} only on the right of a replace directive"]


def test_a_go_mod_that_declares_no_path_at_all_is_not_repeated_in_a_cure(tmp_path: Path) -> None:
    evil = "$(curl evil)"
    files = {"go.mod": f"module {evil}\n", "pkg/a.go": ""}
    found = explained(tmp_path, [Step(files, tags=["v1.0.0"])], query="v1.0.0")
    assert said(found, "cure") == [
        f'write "module {X}" in go.mod; or use {X} only on the right of a replace directive'
    ]  # fmt: skip
    ours = Ours(tmp_path / "repos", tmp_path / "again")
    for suffix in ("/v2", "/pkg"):
        refused = ours.ask(Op.INFO, X + suffix, "main")
        assert isinstance(refused, Failed)
        assert refused.hint
        assert evil not in refused.hint


def test_a_module_without_go_mod(tmp_path: Path) -> None:
    found = explained(tmp_path, [Step({"a.go": "package x\n"}, tags=["v1.0.0", "v2.0.0"])])
    assert isinstance(found, Built)
    assert found.version == "v2.0.0+incompatible"
    assert "there is none at v2.0.0; one that says only the module path stands for it" in said(found, "go.mod")
    assert said(found, "tags", sub=True)[0] == "v2.0.0  is the version v2.0.0+incompatible"


def test_a_module_in_a_directory(tmp_path: Path) -> None:
    files = {**MOD, "sub/v2/go.mod": f"module {X}/sub/v2\n"}
    found = explained(tmp_path, [Step(files, tags=["sub/v2.0.0", "v1.0.0"])], "/sub/v2", "v2.0.0")
    assert isinstance(found, Built)
    (where,) = said(found, "repository")
    assert where.endswith("; the module is in its directory sub, its tags begin with sub/")
    assert said(found, "go.mod") == [f"sub/v2/go.mod at sub/v2.0.0 declares {X}/sub/v2"]
    assert said(found, "directory") == ["the module is in sub/v2"]
    assert "v1.0.0  does not begin with sub/" in said(found, "tags", sub=True)


def test_a_tag_that_is_on_no_commit_harms_no_explanation(tmp_path: Path) -> None:
    repo = build(tmp_path / "repos" / "x", [Step({"a.go": ""}, tags=["v1.0.0"])])
    repo.tag("v2.0.0", repo.git("rev-parse", "main^{tree}"))
    found = Ours(tmp_path / "repos", tmp_path / "work").ask(Op.EXPLAIN, X, "v1.0.0")
    assert isinstance(found, Built)
    assert said(found, "tags")[0].startswith("which versions there are cannot be said: ")


def test_a_failure_has_its_steps_and_ends_in_cause_and_cure(tmp_path: Path) -> None:
    for op in (Op.EXPLAIN, Op.INFO, Op.ZIP):
        found = explained(tmp_path / op.value, TAGGED, query="v1.2.3", op=op)
        assert isinstance(found, Failed)
        assert found.message == (
            f"{X}@v1.2.3: invalid version: unknown revision v1.2.3; there is a tag 1.2.3, which has no v in front"
        )
        assert found.hint == "tag it as Go wants: git tag v1.2.3 1.2.3 && git push origin v1.2.3"
        assert found.steps[0].topic == "repository"
        assert [step.text for step in found.steps[-2:]] == ["there is a tag 1.2.3, which has no v in front", found.hint]


def test_without_a_wish_for_details_the_steps_are_few(tmp_path: Path) -> None:
    build(tmp_path / "repos" / "x", TAGGED)
    ours = Ours(tmp_path / "repos", tmp_path / "work")
    for op, query in ((Op.LIST, ""), (Op.LATEST, ""), (Op.INFO, "v1.1.0"), (Op.INFO, "main"), (Op.ZIP, "v1.1.0")):
        steps = ours.ask(op, X, query).steps
        assert 0 < len(steps) < 8, op
        assert not any(step.sub for step in steps)


def test_no_secret_is_in_any_step(tmp_path: Path) -> None:
    """Not even where a repository repeats it."""
    canary = "canary-0123456789"
    repo = build(tmp_path / "x", [Step(MOD, tags=[canary, "v1.0.0"], branch=f"b-{canary}")])
    repo.git("symbolic-ref", "HEAD", f"refs/heads/b-{canary}")
    access = (Access("ours", "https://git.example", "bearer", secret=Secret(canary)),)
    for op, query in ((Op.EXPLAIN, "v1.0.0"), (Op.EXPLAIN, "nosuch")):
        work = tmp_path / f"work{query}"
        work.mkdir()
        found = run(Job(op, X, query, RepoRoot(X, f"file://{repo.path}"), str(work), str(work), access=access))
        assert canary not in repr(found)
        assert "****" in repr(found.steps)


def test_nothing_is_written_but_the_zip_in_the_workspace(tmp_path: Path) -> None:
    found = explained(tmp_path, TAGGED)
    assert isinstance(found, Built)
    assert os.listdir(os.path.dirname(found.zip)) == ["module.zip"]
