"""Which version a commit has, which versions a module lists, and which pseudo-versions are true, as `go` has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.asked import MOD, asked, day, line
from tests.support.gotool import GoTool
from tests.support.history import Step
from vcsproxy.build.job import Op

BARE = {"a.go": "package x\n"}  # no go.mod


def gomod(path: str, rest: str = "") -> dict[str, str]:
    return {"go.mod": f"module {path}\n{rest}"}


# ---- the version of a commit


def test_an_untagged_history_has_pseudo_versions_of_v0(go: GoTool, tmp_path: Path) -> None:
    """The list is empty all the same, and HEAD is the latest version (case 40)."""
    x = asked(go, tmp_path, line(Step(MOD, branch="old"), Step(MOD)))
    found = x.answers(
        {"@main": "v0.0.0-{p[main]}", "@old": "v0.0.0-20240301000000-{h[old]}", "@{c[old]}": "v0.0.0-{p[old]}"}
    )
    assert found["@main"].commit == x.names["c"]["main"]
    x.lists({"": ""})
    x.latest({"": "v0.0.0-{p[main]}"})


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v0.1.0", "v0.1.1-0.{p[main]}"),
        ("v0.1.9", "v0.1.10-0.{p[main]}"),
        ("v1.99.99", "v1.99.100-0.{p[main]}"),
        ("v0.1.0-pre", "v0.1.0-pre.0.{p[main]}"),
        ("v1.0.0-rc.1", "v1.0.0-rc.1.0.{p[main]}"),
        ("v1.2.9-0", "v1.2.9-0.0.{p[main]}"),
        ("v0.2.0+build5", "v0.2.1-0.{p[main]}"),
        ("v1", "v0.0.0-{p[main]}"),
        ("v0.1", "v0.0.0-{p[main]}"),
        ("1.0.0", "v0.0.0-{p[main]}"),
        ("v01.0.0", "v0.0.0-{p[main]}"),
        ("sub/v0.1.0", "v0.0.0-{p[main]}"),
        ("v2.0.0", "v0.0.0-{p[main]}"),
    ],
)
def test_a_commit_after_a_tag_comes_right_after_its_version(go: GoTool, tmp_path: Path, tag: str, version: str) -> None:
    """Only tags that are versions of this module count; one that is not canonical counts too (cases 41, 45, 50)."""
    x = asked(go, tmp_path, line(Step(MOD, tags=[tag]), Step(MOD)))
    x.answers({"@main": version, "@{h[main]}": version})


def test_a_tag_on_any_parents_side_counts(go: GoTool, tmp_path: Path) -> None:
    """The highest tag of the whole ancestry is the base, not the nearest (case 42)."""
    steps = [
        Step(MOD, date=day(1), tags=["v0.1.0"]),
        Step(MOD, [0], day(2), "side", tags=["v0.3.0"]),
        Step(MOD, [1], day(3), "side", tags=["v0.2.0"]),
        Step(MOD, [0], day(4)),
        Step(MOD, [3, 2], day(5), "merged"),
        Step(MOD, [0], day(6), "apart", tags=["v0.9.0"]),
        Step(MOD, [4], day(7), "after"),
    ]
    asked(go, tmp_path, steps).answers({
        "@main": "v0.1.1-0.{p[main]}", "@merged": "v0.3.1-0.{p[merged]}", "@after": "v0.3.1-0.{p[after]}",
        "@side": "v0.2.0", "@apart": "v0.9.0",
    })  # fmt: skip


def test_of_several_tags_the_highest_version_wins(go: GoTool, tmp_path: Path) -> None:
    """A prerelease may be the highest, and shortened versions are none (cases 43, 44)."""
    steps = line(
        Step(MOD, tags=["v0.1.0-rc.1", "v0.1", "v1"], annotated=["v0.1.0"], branch="one"),
        Step(MOD, tags=["v1.0.0", "v1.1.0-beta", "v0.9.0"], branch="two"),
    )
    x = asked(go, tmp_path, steps)
    x.answers({
        "@one": "v0.1.0", "@{c[one]}": "v0.1.0", "@v0.1.0": "v0.1.0", "@v0.1.0-rc.1": "v0.1.0-rc.1",
        "@two": "v1.1.0-beta", "@{h[two]}": "v1.1.0-beta", "@v1.0.0": "v1.0.0", "@v0.9.0": "v0.9.0",
    })  # fmt: skip
    x.lists({"": "v0.1.0-rc.1 v0.1.0 v0.9.0 v1.0.0 v1.1.0-beta"})
    x.latest({"": "v1.0.0"})


@pytest.mark.parametrize("tag", ["v1", "v0.1"])
def test_a_shortened_version_is_the_name_of_a_tag(go: GoTool, tmp_path: Path, tag: str) -> None:
    """Clients never send one: they choose from the list themselves (case 43)."""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0", "v0.1", "v1"]), Step(MOD, tags=["v0.1.1", "v1.0.0"])))
    assert x.ours.download(x.place, tag).version == "v0.1.0"


def test_a_tag_with_build_metadata_is_a_base_and_no_version(go: GoTool, tmp_path: Path) -> None:
    """It can be asked for by name, and is a commit after the version without the metadata (case 45)."""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.2.0+build5"], branch="b"), Step(MOD)))
    x.answers({
        "@b": "v0.2.1-0.{p[b]}", "@{c[b]}": "v0.2.1-0.{p[b]}", "@v0.2.0+build5": "v0.2.1-0.{p[b]}",
        "@v0.2.0": "unknown revision v0.2.0", "@v0.2.0+build6": "unknown revision v0.2.0", "@main": "v0.2.1-0.{p[main]}",
    })  # fmt: skip
    x.lists({"": ""})
    x.latest({"": "v0.2.1-0.{p[main]}"})


def test_a_tag_with_build_metadata_beside_the_plain_one_is_the_plain_one(go: GoTool, tmp_path: Path) -> None:
    """(case 46)"""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0", "v0.1.0+meta"]), Step(MOD)))
    x.answers({"@v0.1.0+meta": "v0.1.0", "@v0.1.0": "v0.1.0", "@main": "v0.1.1-0.{p[main]}"})
    x.lists({"": "v0.1.0"})


def test_a_tag_of_another_major_is_no_version_of_the_path(go: GoTool, tmp_path: Path) -> None:
    """With a go.mod it is neither listed nor a base, and asking for it says what the path should be (case 47)."""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0"]), Step(MOD, tags=["v9.9.9"], branch="nine"), Step(MOD)))
    x.answers({
        "@v9.9.9": 'module path must match major version ("github.com/t/x/v9")',
        "@nine": "v0.1.1-0.{p[nine]}", "@main": "v0.1.1-0.{p[main]}",
    })  # fmt: skip
    x.lists({"": "v0.1.0"})
    x.latest({"": "v0.1.0"})


def test_a_retracted_version_is_listed_and_given_but_never_chosen(go: GoTool, tmp_path: Path) -> None:
    """The newest release's go.mod decides, for old commits too (case 48)."""
    retracting = gomod("github.com/t/x", "retract (\n\tv1.0.0 // oops\n\t[v1.1.0, v1.1.9]\n\tv1.2.0\n)\n")
    x = asked(go, tmp_path, line(
        Step(MOD, tags=["v0.1.0"]), Step(MOD, tags=["v1.0.0"], branch="old"), Step(MOD, tags=["v1.1.5"], branch="mid"),
        Step(MOD, tags=["v1.0.1", "v1.1.0"], branch="two"), Step(retracting, tags=["v1.2.0"], branch="self"), Step(MOD),
    ))  # fmt: skip
    x.answers({
        "@old": "v0.1.1-0.{p[old]}", "@{c[old]}": "v0.1.1-0.{p[old]}", "@v1.0.0": "v1.0.0", "@v1.1.5": "v1.1.5",
        "@mid": "v0.1.1-0.{p[mid]}", "@two": "v1.0.1", "@self": "v1.0.2-0.{p[self]}", "@v1.2.0": "v1.2.0",
        "@main": "v1.0.2-0.{p[main]}",
    })  # fmt: skip
    x.lists({"": "v0.1.0 v1.0.0 v1.0.1 v1.1.0 v1.1.5 v1.2.0"})
    x.latest({"": "v1.0.1"})


def test_when_everything_listed_is_retracted_the_latest_is_head(go: GoTool, tmp_path: Path) -> None:
    """(cases 48, 109)"""
    retracting = gomod("github.com/t/x", "retract [v0.0.0, v1.0.1]\n")
    x = asked(go, tmp_path, line(Step(MOD, tags=["v1.0.0"]), Step(retracting, tags=["v1.0.1"]), Step(retracting)))
    x.lists({"": "v1.0.0 v1.0.1"})
    x.latest({"": "v0.0.0-{p[main]}"})


def test_only_prereleases_make_the_highest_of_them_the_latest(go: GoTool, tmp_path: Path) -> None:
    """(case 109)"""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0-rc.2"]), Step(MOD, tags=["v0.1.0-rc.10"]), Step(MOD)))
    x.latest({"": "v0.1.0-rc.10"})


def test_a_tag_that_looks_like_a_pseudo_version_is_none(go: GoTool, tmp_path: Path) -> None:
    """It is not listed, no base, and asking for it asks for the commit it speaks of (cases 49, 50)."""
    tag = "v1.3.0-0.20200101000000-aaaaaaaaaaaa"
    steps = line(Step(MOD, tags=["v1.2.0", "v1.2.9-0"]), Step(MOD, tags=[tag], branch="odd"), Step(MOD))
    x = asked(go, tmp_path, steps)
    x.answers({
        f"@{tag}": "unknown revision aaaaaaaaaaaa", "@odd": "v1.2.9-0.0.{p[odd]}", "@main": "v1.2.9-0.0.{p[main]}",
        "@v1.2.9-0": "v1.2.9-0",
    })  # fmt: skip
    x.lists({"": "v1.2.0 v1.2.9-0"})
    x.latest({"": "v1.2.0"})


def test_below_a_directory_such_a_tag_counts_for_its_own_commit(go: GoTool, tmp_path: Path) -> None:
    """An oddity of go: the list hides it, and a branch there becomes it although it cannot be had (case 51)."""
    files = {**MOD, "sub/go.mod": "module github.com/t/x/sub\n"}
    tag = "sub/v1.5.1-0.20200101000000-aaaaaaaaaaaa"
    x = asked(go, tmp_path, line(Step(files, tags=["sub/v1.5.0"]), Step(files, tags=[tag])))
    x.answers({"/sub@main": "/sub/go.mod at revision aaaaaaaaaaaa", "@main": "v0.0.0-{p[main]}"})
    x.lists({"/sub": "v1.5.0"})


def test_a_major_suffix_needs_a_go_mod_that_has_it(go: GoTool, tmp_path: Path) -> None:
    """Tags are listed before anybody looks into them (case 52)."""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v2.0.0"]), Step(MOD)))
    reason = 'has non-.../v2 module path "github.com/t/x" (and .../v2/go.mod does not exist)'
    x.answers({"/v2@main": reason, "/v2@v2.0.0": reason, "/v2@{h[main]}": reason})
    x.lists({"/v2": "v2.0.0", "": ""})
    x.latest({"/v2": "", "": "v0.0.0-{p[main]}"})


def test_a_branch_named_like_a_version_is_no_version(go: GoTool, tmp_path: Path) -> None:
    """Neither its `.info` nor its zip is given, tag or no tag on the commit (case 53)."""
    steps = line(Step(MOD, tags=["v0.1.0"], branch="v1.0.0"), Step(MOD, branch="v1.1.0"), Step(MOD))
    x = asked(go, tmp_path, steps)
    x.answers({
        "@v1.0.0": "resolves to version v0.1.0 (v1.0.0 is not a tag)",
        "@v1.1.0": "resolves to version v0.1.1-0.{p[v1.1.0]} (v1.1.0 is not a tag)",
    })  # fmt: skip
    for version in ("v1.0.0", "v1.1.0"):
        assert f"({version} is not a tag)" in x.refusal(Op.ZIP, "", version)
    x.lists({"": "v0.1.0"})


# ---- asking for pseudo-versions

TAGGED = line(
    Step(MOD, tags=["v0.1.0"], branch="a"),
    Step(MOD, tags=["v0.2.0+build5"]),
    Step(MOD, tags=["v1.0.0", "v1.1.0-beta"], branch="c"),
    Step(MOD, tags=["v1.2.0"]),
    Step(MOD),
)


def test_a_pseudo_version_is_true_for_any_base_that_is_an_ancestor(go: GoTool, tmp_path: Path) -> None:
    """It need not be the highest, may be the commit's own if lower, and v0.0.0 needs none (case 54)."""
    versions = ["v0.0.0-{p[c]}", "v0.1.1-0.{p[c]}", "v0.2.1-0.{p[c]}", "v1.0.1-0.{p[main]}", "v1.1.0-beta.0.{p[main]}",
                "v1.2.1-0.{p[main]}", "v0.0.0-{p[a]}"]  # fmt: skip
    asked(go, tmp_path, TAGGED).answers({f"@{version}": version for version in versions})


def test_a_base_may_be_a_prerelease_or_differ_in_build_metadata(go: GoTool, tmp_path: Path) -> None:
    """(case 54)"""
    steps = line(Step(MOD, tags=["v0.1.0-rc.1", "v0.3.0+x"]), Step(MOD, tags=["v1.0.0"], branch="c"), Step(MOD))
    asked(go, tmp_path, steps).answers({
        f"@{version}": version for version in ("v0.1.0-rc.1.0.{p[c]}", "v0.3.1-0.{p[c]}", "v0.1.0-rc.1.0.{p[main]}")
    })  # fmt: skip


UNTRUE = [
    # the base is on the commit, on no commit, on a later commit
    ("v1.0.1-0.{p[c]}", "tag (v1.0.0) found on revision {h[c]} is already canonical"),
    ("v1.1.0-beta.0.{p[c]}", "tag (v1.1.0-beta) found on revision {h[c]} is already canonical"),
    ("v1.1.1-0.{p[c]}", "preceding tag (v1.1.0) not found"),
    ("v0.1.0-rc.1.0.{p[c]}", "preceding tag (v0.1.0-rc.1) not found"),
    ("v1.2.1-0.{p[c]}", "revision {h[c]} is not a descendent of preceding tag (v1.2.0)"),
    # the base cannot be
    ("v1.0.0-{p[c]}", "major version without preceding tag must be v0, not v1"),
    ("v1.0.0-0.{p[c]}", "negative patch number"),
    # the time
    ("v0.0.0-20240303000001-{h[c]}", "does not match version-control timestamp (expected {t[c]})"),
    ("v0.0.0-20230303000000-{h[c]}", "does not match version-control timestamp (expected {t[c]})"),
    ("v0.0.0-20241303000000-{h[c]}", 'malformed time "20241303000000"'),
    ("v0.0.0-20240230000000-{h[c]}", 'malformed time "20240230000000"'),
    # the revision
    ("v0.0.0-{t[c]}-c", "does not match short name of revision (expected {h[c]})"),
    ("v0.0.0-{t[c]}-{c[c]}", "revision is longer than canonical (expected {h[c]})"),
    ("v0.0.0-{t[c]}-aaaaaaaaaaaa", "unknown revision aaaaaaaaaaaa"),
    ("v0.0.0-{t[c]}-HEAD", "does not match short name of revision"),
    # the major
    ("v2.0.0-{p[c]}", "module contains a go.mod file"),
    ("v2.0.1-0.{p[c]}", "module contains a go.mod file"),
    ("v2.0.0-{p[c]}+incompatible", "module contains a go.mod file"),
    ("v1.0.1-0.{p[c]}+incompatible", "+incompatible suffix not allowed"),
    ("v0.0.0-{p[c]}+incompatible", "+incompatible suffix not allowed"),
]  # fmt: skip


def test_an_untrue_pseudo_version_is_refused_with_the_reason(go: GoTool, tmp_path: Path) -> None:
    """Base, time, revision and major are checked, for the zip as for the `.info` (cases 55 to 59)."""
    x = asked(go, tmp_path, TAGGED)
    commit = x.names["c"]["c"]
    digits = {11: "shorter", 7: "shorter", 13: "longer", 39: "longer"}
    more = {
        f"@v0.0.0-{{t[c]}}-{commit[:n]}": f"revision is {word} than canonical (expected {{h[c]}})"
        for n, word in digits.items()
    }
    upper = commit[:12].upper()
    table = {f"@{query}": reason for query, reason in UNTRUE}
    x.answers(table | more | {f"@v0.0.0-{{t[c]}}-{upper}": f"unknown revision {upper}"})
    for query, reason in UNTRUE:
        assert x.say(reason) in x.refusal(Op.ZIP, "", query)


def test_a_retracted_base_is_a_base(go: GoTool, tmp_path: Path) -> None:
    """Retraction changes what is chosen, not what is true."""
    retracting = gomod("github.com/t/x", "retract v0.1.0\n")
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0"]), Step(MOD, branch="b"), Step(retracting, tags=["v0.2.0"])))
    x.answers({"@b": "v0.0.0-{p[b]}", "@v0.1.1-0.{p[b]}": "v0.1.1-0.{p[b]}"})


def test_a_directorys_base_is_a_tag_of_the_directory(go: GoTool, tmp_path: Path) -> None:
    """(cases 54, 55)"""
    files = {**MOD, "sub/go.mod": "module github.com/t/x/sub\n"}
    x = asked(go, tmp_path, line(Step(files, tags=["v0.1.0", "sub/v0.5.0"]), Step(files)))
    x.answers({
        "/sub@main": "v0.5.1-0.{p[main]}", "/sub@v0.5.1-0.{p[main]}": "v0.5.1-0.{p[main]}",
        "/sub@v0.1.1-0.{p[main]}": "preceding tag (v0.1.0) not found", "@v0.5.1-0.{p[main]}": "preceding tag (v0.5.0) not found",
    })  # fmt: skip


# ---- +incompatible

GROWN = line(
    Step(BARE, tags=["v1.0.0"], branch="one"),
    Step(BARE, tags=["v2.0.0"], branch="two"),
    Step(BARE, tags=["v3.0.0"]),
    Step(gomod("github.com/t/x/v3"), tags=["v3.1.0"]),
    Step({**BARE, "v4/go.mod": "module github.com/t/x/v4\n"}, tags=["v4.0.0"]),
    Step(BARE, tags=["v5.0.0+incompatible"], branch="five"),
    Step(BARE, tags=["v6.0.0"], branch="six"),
)


def test_a_major_without_go_mod_is_listed_as_incompatible(go: GoTool, tmp_path: Path) -> None:
    """A go.mod at the highest tag of a major drops the whole major; a tag with the suffix is none (case 60)."""
    x = asked(go, tmp_path, GROWN)
    x.lists({"": "v1.0.0 v2.0.0+incompatible v4.0.0+incompatible v6.0.0+incompatible", "/v4": "v4.0.0"})
    x.latest({"": "v6.0.0+incompatible", "/v4": "v4.0.0"})


def test_a_version_becomes_incompatible_by_its_own_commit(go: GoTool, tmp_path: Path) -> None:
    """With or without the suffix in the question, listed or not; never with a go.mod, nor for v0 and v1 (cases 61, 62)."""
    asked(go, tmp_path, GROWN).answers({
        "@v2.0.0": "v2.0.0+incompatible", "@v2.0.0+incompatible": "v2.0.0+incompatible", "@two": "v2.0.0+incompatible",
        "@v3.0.0": "v3.0.0+incompatible", "@v3.0.0+incompatible": "v3.0.0+incompatible",
        "@v3.1.0": "go.mod has post-v3 module path", "@v1.0.0+incompatible": "+incompatible suffix not allowed",
        "@v4.0.0": 'module path must match major version ("github.com/t/x/v4")',
        "@v4.0.0+incompatible": "v4.0.0+incompatible", "/v4@v4.0.0": "v4.0.0", "/v4@v4.0.0+incompatible": "+incompatible",
        "@six": "v6.0.0+incompatible", "@one": "v1.0.0",
    })  # fmt: skip


def test_a_tag_that_has_the_suffix_itself_is_only_a_base(go: GoTool, tmp_path: Path) -> None:
    """(case 63)"""
    asked(go, tmp_path, GROWN).answers({
        "@v5.0.0": "unknown revision v5.0.0", "@v5.0.0+incompatible": "unknown revision v5.0.0",
        "@{c[five]}": "v5.0.1-0.{p[five]}+incompatible", "@five": "v5.0.1-0.{p[five]}+incompatible",
        "@v5.0.1-0.{p[five]}+incompatible": "v5.0.1-0.{p[five]}+incompatible",
    })  # fmt: skip


def test_a_pseudo_version_of_a_high_major_needs_no_base_without_go_mod(go: GoTool, tmp_path: Path) -> None:
    """The suffix comes by itself (case 64)."""
    x = asked(go, tmp_path, [Step(BARE, date=day(1))])
    x.answers({
        "@v2.0.0-{p[main]}": "v2.0.0-{p[main]}+incompatible", "@v2.0.0-{p[main]}+incompatible": "v2.0.0-{p[main]}+incompatible",
        "@v7.0.0-{p[main]}": "v7.0.0-{p[main]}+incompatible", "@main": "v0.0.0-{p[main]}",
        "@v1.0.0-{p[main]}": "major version without preceding tag must be v0, not v1",
        "@v2.0.1-0.{p[main]}": "preceding tag (v2.0.0) not found",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "versions"),
    [
        ((Step(BARE, tags=["v1.0.0"]), Step(MOD, tags=["v1.1.0"]), Step(BARE, tags=["v2.0.0"])), "v1.0.0 v1.1.0"),
        ((Step(MOD, tags=["v1.1.0"]), Step(BARE, tags=["v1.2.0-pre"]), Step(BARE, tags=["v2.0.0"])), "v1.1.0 v1.2.0-pre v2.0.0+incompatible"),
        ((Step(BARE, tags=["v1.1.0"]), Step(MOD, tags=["v1.2.0-pre"]), Step(BARE, tags=["v2.0.0"])), "v1.1.0 v1.2.0-pre"),
        ((Step(BARE, tags=["v2.0.0"]), Step(BARE, tags=["v2.1.0-pre", "v10.0.0", "v9.0.0"])), "v2.0.0+incompatible v2.1.0-pre+incompatible v9.0.0+incompatible v10.0.0+incompatible"),
        ((Step(BARE, tags=["v2.0.0"]), Step(MOD, tags=["v2.1.0-pre"]), Step(BARE, tags=["v3.0.0"])), "v3.0.0+incompatible"),
    ],
    ids=["go.mod at the highest", "none at a higher prerelease", "one at a higher prerelease", "no compatible tag", "prerelease with go.mod"],
)  # fmt: skip
def test_the_highest_compatible_tag_decides_whether_any_is_listed(
    go: GoTool, tmp_path: Path, steps: tuple[Step, ...], versions: str
) -> None:
    """A module that has come to have a go.mod lists no +incompatible version, and still gives them (case 65)."""
    x = asked(go, tmp_path, line(*steps))
    x.lists({"": versions})
    x.answers({"@v2.0.0": "v2.0.0+incompatible"})


def test_no_listed_version_at_all_leaves_head(go: GoTool, tmp_path: Path) -> None:
    """(case 66)"""
    x = asked(go, tmp_path, line(Step(BARE, tags=["v2.0.0"]), Step(MOD, tags=["v2.1.0"])))
    x.lists({"": ""})
    x.latest({"": "v0.0.0-{p[main]}"})
    x.answers(
        {
            "@main": "v0.0.0-{p[main]}",
            "@v2.0.0": "v2.0.0+incompatible",
            "@v2.1.0": "module contains a go.mod file, so module path must match major version",
        }
    )


@pytest.mark.parametrize("rest", ["", "retract v1.2.0-pre\n", "retract v2.0.0\n"])
def test_the_latest_may_be_incompatible_although_a_release_has_a_go_mod(go: GoTool, tmp_path: Path, rest: str) -> None:
    """A higher prerelease without go.mod lets it be listed, whatever the release retracts (case 65)."""
    x = asked(go, tmp_path, line(
        Step(gomod("github.com/t/x", rest), tags=["v1.1.0"]), Step(BARE, tags=["v1.2.0-pre"]), Step(BARE, tags=["v2.0.0"])
    ))  # fmt: skip
    x.latest({"": "v2.0.0+incompatible"})
