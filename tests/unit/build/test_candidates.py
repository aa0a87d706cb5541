"""What each tag is for a module, in words."""

from __future__ import annotations

import pytest

from vcsproxy.build.candidates import Candidates, spelling_fault
from vcsproxy.mod import query
from vcsproxy.mod.reporoot import RepoRoot, code_root

ROOT = RepoRoot("github.com/t/x", "https://github.com/t/x")
GOPKG = RepoRoot("gopkg.in/yaml.v2", "https://github.com/go-yaml/yaml")


def candidates(path: str, *versions: str, retracted: str = "", root: RepoRoot = ROOT) -> Candidates:
    return Candidates(code_root(path, root), frozenset(versions), lambda version: version == retracted)


@pytest.mark.parametrize(
    ("path", "tag", "verdict"),
    [
        ("github.com/t/x", "v1.0.0", "is the version v1.0.0"),
        ("github.com/t/x", "v1.1.0", "is the version v1.1.0, which the module's go.mod retracts"),
        ("github.com/t/x", "v2.0.0", "belongs to github.com/t/x/v2: where there is a go.mod, nothing is +incompatible"),
        ("github.com/t/x", "v3.0.0", "is the version v3.0.0+incompatible"),
        ("github.com/t/x", "1.2.3", "has no v in front"),
        ("github.com/t/x", "1.2", "has no v in front"),
        ("github.com/t/x", "v1.2", "is not three numbers"),
        ("github.com/t/x", "v1", "is not three numbers"),
        ("github.com/t/x", "v1.2.3+meta", "has build metadata, and no version may"),
        ("github.com/t/x", "v2.0.0+incompatible", "ends in +incompatible, which only Go adds"),
        ("github.com/t/x", "v01.2.3", "is no semantic version"),
        ("github.com/t/x", "release", "is no semantic version"),
        ("github.com/t/x", "", "is no semantic version"),
        ("github.com/t/x", "sub/v1.0.0", "belongs to the directory sub"),
        ("github.com/t/x", "sub/1.0.0", "is no semantic version"),
        (
            "github.com/t/x",
            "v1.5.1-0.20240301000000-aaaaaaaaaaaa",
            "looks like a pseudo-version, and those are never tagged",
        ),
        ("github.com/t/x/v3", "v3.0.0", "is the version v3.0.0"),
        ("github.com/t/x/v3", "v1.0.0", "belongs to github.com/t/x"),
        ("github.com/t/x/v3", "v2.0.0", "belongs to github.com/t/x/v2"),
        ("github.com/t/x/sub", "v1.0.0", "does not begin with sub/"),
        ("github.com/t/x/sub", "sub/v1.0.0", "is the version v1.0.0"),
        ("github.com/t/x/sub", "sub/v2.0.0", "belongs to github.com/t/x/sub/v2"),
        ("github.com/t/x/sub", "sub/1.0.0", "has no v in front"),
        ("github.com/t/x/sub", "sub/deep/v1.0.0", "belongs to the directory sub/deep"),
    ],
)
def test_verdicts(path: str, tag: str, verdict: str) -> None:
    listed = {
        "github.com/t/x": ("v1.0.0", "v1.1.0", "v3.0.0+incompatible"),
        "github.com/t/x/v3": ("v3.0.0",),
        "github.com/t/x/sub": ("v1.0.0",),
    }
    judge = candidates(path, *listed[path], retracted="v1.1.0")
    assert judge.verdict(tag) == verdict


def test_gopkg_in_names_its_majors_otherwise() -> None:
    judge = candidates("gopkg.in/yaml.v2", "v2.4.0", root=GOPKG)
    assert judge.verdict("v2.4.0") == "is the version v2.4.0"
    assert judge.verdict("v3.0.0") == "belongs to gopkg.in/yaml.v3"
    unstable = candidates("gopkg.in/y.v2-unstable", root=RepoRoot("gopkg.in/y.v2-unstable", "https://x.test/y"))
    assert unstable.verdict("v2.4.0") == "is not listed"


def test_the_modules_own_tags_come_first_and_high_before_low() -> None:
    judge = candidates("github.com/t/x/sub", "v1.0.0", "v1.10.0", "v1.9.0")
    tags = ["a", "sub/v1.0.0", "sub/v1.10.0", "sub/v1.9.0", "sub/x", "v1.0.0", "v9.0.0"]
    found = [tag for tag, _ in judge.judged(tags)]
    assert found == ["sub/v1.10.0", "sub/v1.9.0", "sub/v1.0.0", "sub/x", "v9.0.0", "v1.0.0", "a"]


@pytest.mark.parametrize(
    "tag", ["v1.0.0", "v0.0.0", "v1.2.3-rc.1", "v2.0.0", "v1", "1.0.0", "v1.0.0+m", "x", "d/v1.0.0", ""]
)
def test_a_tag_without_fault_is_a_version_and_no_other(tag: str) -> None:
    """The words agree with the rule that lists."""
    listed = query.tag_versions([tag], "", "", "")
    assert bool(listed.compatible or listed.incompatible) == (not spelling_fault(tag))
