"""Causes and cures: both refuse, go's words come first in ours, and what we add fits into what `go` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.asked import MOD, Asked, asked, line
from tests.support.gotool import GoTool
from tests.support.history import Step
from vcsproxy.build.job import Built, Failed, Op
from vcsproxy.web.respond import error_body

X = "github.com/t/x"
SUB = {**MOD, "sub/go.mod": f"module {X}/sub\n"}


def told(x: Asked, question: str, words: str, cause: str, cure: str) -> None:
    """Go refuses with the words; so do we, then tell cause and cure; all of that is in the body of the answer."""
    x.answers({question: words})
    suffix, _, query = question.partition("@")
    query = x.say(query)
    for op in (Op.INFO, Op.ZIP, Op.EXPLAIN):
        found = x.ours.ask(op, x.place + suffix, query)
        assert isinstance(found, Failed)
        assert found.error == "NotFound"
        start, _, end = found.message.partition(x.say(words))
        assert start.startswith(x.place + suffix)
        assert end == (f"; {x.say(cause)}" if cause else ""), found.message
        assert found.hint == x.say(cure)
        assert [step.text for step in found.steps][-1] == found.hint
        body = error_body(404, found.message, found.hint, "id").decode()
        assert f"{found.message}\n{found.hint}\n" in body


def test_a_tag_without_v(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD, tags=["1.2.3", "v1.0.0"])))
    told(
        x, "@v1.2.3", "unknown revision v1.2.3", "there is a tag 1.2.3, which has no v in front",
        "tag it as Go wants: git tag v1.2.3 1.2.3 && git push origin v1.2.3",
    )  # fmt: skip
    x.repo.git("tag", "v1.2.3", "1.2.3")
    cured = Asked(x.repo, go, tmp_path / "cured")
    cured.work.mkdir()
    cured.answers({"@v1.2.3": "v1.2.3"})


def test_a_major_version_whose_go_mod_does_not_say_so(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD, tags=["v2.0.0"]), Step({"go.mod": f"module {X}/v2\n"}, tags=["v2.0.1"])))
    told(
        x, "@v2.0.0", f'module contains a go.mod file, so module path must match major version ("{X}/v2")', "",
        f'write "module {X}/v2" in its go.mod, tag a new version, and require {X}/v2',
    )  # fmt: skip
    told(
        x, "/v2@v2.0.0",
        f'go.mod has non-.../v2 module path "{X}" (and .../v2/go.mod does not exist) at revision v2.0.0', "",
        f'write "module {X}/v2" in go.mod, and tag a new version; or require {X} at a version below v2',
    )  # fmt: skip
    told(x, "@v2.0.1", f'go.mod has post-v2 module path "{X}/v2" at revision v2.0.1', "", f"require {X}/v2")
    x.answers({"/v2@v2.0.1": "v2.0.1"})


def test_a_v1_tag_whose_go_mod_says_v2(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step({"go.mod": f"module {X}/v2\n"}, tags=["v1.5.0"])))
    told(
        x, "@v1.5.0", f'go.mod has post-v1 module path "{X}/v2" at revision v1.5.0', "",
        f"require {X}/v2, whose versions begin with v2",
    )  # fmt: skip


def test_a_major_version_without_go_mod(go: GoTool, tmp_path: Path) -> None:
    """The cure by `+incompatible` is one that go takes."""
    x = asked(go, tmp_path, line(Step({"a.go": "package x\n"}, tags=["v2.0.0", "v1.0.0"])))
    told(
        x, "/v2@v2.0.0", f"missing {X}/go.mod and .../v2/go.mod at revision v2.0.0", "",
        f'a major version from v2 on needs a go.mod: write "module {X}/v2" in it and tag that commit; '
        f"or ask for {X}@v2.0.0+incompatible",
    )  # fmt: skip
    x.answers({"@v2.0.0+incompatible": "v2.0.0+incompatible"})
    told(
        x, "@v1.0.0+incompatible", "+incompatible suffix not allowed: major version v1 is compatible", "",
        "ask for v1.0.0",
    )  # fmt: skip


def test_a_directory_whose_tag_lacks_the_directory(go: GoTool, tmp_path: Path) -> None:
    files = {**SUB, "pkg/a.go": "package pkg\n"}
    x = asked(go, tmp_path, line(Step(files, tags=["v1.2.3", "other/v1.3.0"])))
    of_root = "the tag v1.2.3 is of the repository's root, and this module's tags begin with "
    told(
        x, "/sub@v1.2.3", "unknown revision sub/v1.2.3", of_root + "sub/",
        "tag it for the directory too: git tag sub/v1.2.3 v1.2.3 && git push origin sub/v1.2.3",
    )  # fmt: skip
    told(
        x, "/pkg@v1.2.3", "unknown revision pkg/v1.2.3", of_root + "pkg/",
        f"pkg has no go.mod, so it comes with {X}: require that",
    )  # fmt: skip
    told(
        x, "/nosuch@v1.2.3", "unknown revision nosuch/v1.2.3", of_root + "nosuch/",
        "there is no directory nosuch at v1.2.3; check the module path",
    )  # fmt: skip
    told(
        x, "@v1.3.0", "unknown revision v1.3.0", "there is only a tag other/v1.3.0, for a module in the directory other",
        f"ask for {X}/other@v1.3.0, or tag the root too: git tag v1.3.0 other/v1.3.0 && git push origin v1.3.0",
    )  # fmt: skip
    x.repo.git("tag", "sub/v1.2.3", "v1.2.3")
    cured = Asked(x.repo, go, tmp_path / "cured")
    cured.work.mkdir()
    cured.answers({"/sub@v1.2.3": "v1.2.3"})


def test_a_directory_without_go_mod(go: GoTool, tmp_path: Path) -> None:
    files = {**MOD, "deep/go.mod": "module example.com/deep\n", "deep/pkg/a.go": "", "pkg/a.go": ""}
    x = asked(go, tmp_path, line(Step(files, tags=["pkg/v1.0.0", "deep/pkg/v1.0.0"])))
    told(
        x, "/pkg@v1.0.0", f"missing {X}/pkg/go.mod at revision pkg/v1.0.0", "",
        f"pkg is a directory of the module {X}; require that, or give pkg its own go.mod",
    )  # fmt: skip
    told(
        x, "/deep/pkg@v1.0.0", f"missing {X}/deep/pkg/go.mod at revision deep/pkg/v1.0.0", "",
        "deep/pkg is a directory of the module example.com/deep; require that, or give deep/pkg its own go.mod",
    )  # fmt: skip
    told(
        x, "/none@main", f"missing {X}/none/go.mod at revision {{h[main]}}", "",
        "there is no directory none at {h[main]}; check the module path",
    )  # fmt: skip


def test_a_go_mod_without_a_module_path(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step({"go.mod": "go 1.24\n"}, tags=["v1.0.0"])))
    told(
        x, "@v1.0.0", "go.mod is missing module path at revision v1.0.0", "",
        f'write "module {X}" in go.mod, and tag a new version',
    )  # fmt: skip


def test_a_major_in_two_places(go: GoTool, tmp_path: Path) -> None:
    both = {"go.mod": f"module {X}/v2\n", "v2/go.mod": f"module {X}/v2\n"}
    x = asked(go, tmp_path, line(Step(both, tags=["v2.0.0"]), Step({**MOD, "v3/go.mod": "go 1.24\n"}, tags=["v3.0.0"])))
    told(
        x, "/v2@v2.0.0", f"{X}/go.mod and .../v2/go.mod both have .../v2 module paths at revision v2.0.0", "",
        "keep one of go.mod and v2/go.mod, and tag a new version",
    )  # fmt: skip
    told(
        x, "/v3@v3.0.0", f"{X}/v3/go.mod is missing module path at revision v3.0.0", "",
        f'write "module {X}/v3" in v3/go.mod, and tag a new version',
    )  # fmt: skip


def test_names_that_come_near(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD, tags=["v1.2.2", "v1.2.4"], branch="develop"), Step(MOD)))
    told(
        x, "@v1.2.3", "unknown revision v1.2.3", "the nearest tags are v1.2.2, v1.2.4",
        f"tag a commit: git tag v1.2.3 COMMIT && git push origin v1.2.3; or ask for {X}@main",
    )  # fmt: skip
    told(x, "@devel", "unknown revision devel", "the nearest name is develop", f"ask for {X}@develop")
    told(x, "@master", "unknown revision master", "the default branch is main", f"ask for {X}@main")
    x.answers({"@main": "v1.2.5-0.{p[main]}", "@develop": "v1.2.4"})


def test_a_repository_without_tags(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD)))
    told(
        x, "@v1.0.0", "unknown revision v1.0.0", "the repository has no tags",
        f"tag a commit: git tag v1.0.0 COMMIT && git push origin v1.0.0; or ask for {X}@main",
    )  # fmt: skip


def test_a_commit_that_no_ref_reaches(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD)))
    told(
        x, "@deadbeef0123", "unknown revision deadbeef0123", "no branch or tag of the repository reaches such a commit",
        "push it to a branch; commits of forks, of pull requests and from before a forced push do not count",
    )  # fmt: skip


def test_an_untrue_pseudo_version(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD)))
    told(
        x, "@v0.0.0-20200101000000-{h[main]}", "does not match version-control timestamp (expected {t[main]})", "",
        f"ask for {X}@{{h[main]}}, and go finds the right pseudo-version",
    )  # fmt: skip
    x.answers({"@{h[main]}": "v0.0.0-{p[main]}"})


def test_a_branch_named_like_a_version(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step(MOD, tags=["v1.0.0"]), Step(MOD, branch="v1.1.0")))
    told(
        x, "@v1.1.0", "resolves to version v1.0.1-0.{p[v1.1.0]} (v1.1.0 is not a tag)", "",
        "v1.1.0 is a branch, and versions are tags: rename the branch and tag its commit, "
        "or ask for v1.0.1-0.{p[v1.1.0]}",
    )  # fmt: skip


def test_files_that_forbid_a_zip(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, line(Step({**MOD, "a.go": "1", "A.go": "2"}, tags=["v1.0.0"])))
    x.answers({"@v1.0.0": 'create zip: a.go: case-insensitive file name collision: "A.go" and "a.go"'})
    found = x.ours.ask(Op.ZIP, X, "v1.0.0")
    assert isinstance(found, Failed)
    assert found.message == 'create zip: a.go: case-insensitive file name collision: "A.go" and "a.go"'
    assert found.hint == "rename or remove the file, and tag a new version"


NO_LATEST = f'module {X}{{}}: no matching versions for query "latest"'


@pytest.mark.parametrize("op", [Op.LIST, Op.LATEST, Op.EXPLAIN])
def test_no_version_at_all(op: Op, go: GoTool, tmp_path: Path) -> None:
    """Go's words alone for the message; the cause is in the steps."""
    x = asked(go, tmp_path, line(Step({**MOD, "pkg/a.go": "package pkg\n"}, tags=["v1.0.0"])))
    x.latest({"/pkg": "", "/v2": ""})
    for suffix, reason, cure in (
        ("/pkg", "missing {place}/pkg/go.mod at revision {h[main]}", f"pkg is a directory of the module {X}; require"),
        ("/v2", "go.mod has non-.../v2 module path", f'write "module {X}/v2" in go.mod'),
    ):
        found = x.ours.ask(op, x.place + suffix)
        assert isinstance(found, Failed)
        assert (found.error, found.message) == ("NotFound", NO_LATEST.format(suffix))
        (cause,) = (step.text for step in found.steps if step.topic == "cause")
        start = "no tag names a version of it, and HEAD is none: "
        assert cause.startswith(start + reason.format(place=X, **x.names))
        assert found.hint.startswith(cure)


def test_an_empty_repository(go: GoTool, tmp_path: Path) -> None:
    x = asked(go, tmp_path, [])
    told(x, "@main", "unknown revision main", "the repository is empty", "push a commit to it")
    found = x.ours.ask(Op.LATEST, X)
    assert isinstance(found, Failed)
    assert (found.message, found.hint) == (
        NO_LATEST.format(""), "push a commit, or choose the default branch at the host"
    )  # fmt: skip


def test_everything_retracted(go: GoTool, tmp_path: Path) -> None:
    retracting = {"go.mod": f"module {X}\n\nretract [v0.0.0-0, v9.9.9]\n"}
    x = asked(go, tmp_path, line(Step(retracting, tags=["v1.0.0"])))
    x.latest({"": ""})
    found = x.ours.ask(Op.LATEST, X)
    assert isinstance(found, Failed)
    assert [step.text for step in found.steps if step.topic == "cause"] == [
        "every version is retracted, and so is HEAD"
    ]
    assert found.hint == "ask for a version by its number, or tag a newer one"


def test_a_go_mod_with_another_path_is_what_go_refuses_by_itself(go: GoTool, tmp_path: Path) -> None:
    """What `explain` warns of is what go says when the module is required."""
    x = asked(
        go, tmp_path, line(Step({"go.mod": "module example.com/other\n", "a.go": "package a\n"}, tags=["v1.0.0"]))
    )
    work = tmp_path / "main"
    work.mkdir()
    (work / "go.mod").write_text("module example.com/main\n\ngo 1.24\n")
    env = x.direct._env(tmp_path / "cache2")
    done = go.run("get", f"{X}@v1.0.0", cwd=work, **env)
    assert "module declares its path as: example.com/other" in done.stderr
    found = x.ours.ask(Op.EXPLAIN, X, "v1.0.0")
    assert isinstance(found, Built)
    assert [step.topic for step in found.steps][-2:] == ["cause", "cure"]
    assert found.steps[-2].text == f"go.mod declares the module path example.com/other, and go refuses to use it as {X}"
