"""What is said of a tag, branch or commit that is not there."""

from __future__ import annotations

import time

import pytest

from vcsproxy.build.missing import Finding, Holds, Missing
from vcsproxy.mod import pseudo, semver
from vcsproxy.mod.reporoot import RepoRoot, code_root
from vcsproxy.vcs.refs import RefTable

A, B = "a" * 40, "b" * 40


def find(
    suffix: str, query: str, *refs: str, holds: Holds = Holds.MODULE, root: RepoRoot | None = None, head: str = A
) -> Finding:
    """What is found for a query; refs are branches and tags, the latter with `tags/` in front."""
    code = code_root("github.com/t/x" + suffix, root or RepoRoot("github.com/t/x", "https://github.com/t/x"))
    names = [f"refs/{ref}" if ref.startswith("tags/") else f"refs/heads/{ref}" for ref in refs]
    triples = [(name, A if name.endswith(("/main", "/trunk")) else B, "") for name in names]
    table = RefTable.of([*triples, *([("HEAD", head, "")] if refs and head else [])])
    revision = query
    if pseudo.is_pseudo_version(query):
        revision = pseudo.pseudo_version_rev(query)
    elif semver.is_valid(query):
        revision = code.tag_prefix + query.removesuffix("+incompatible")
    return Missing(code, query, revision, table, lambda _: holds).find()


@pytest.mark.parametrize(
    ("suffix", "query", "tag", "fault", "command"),
    [
        ("", "v1.2.3", "1.2.3", "has no v in front", "v1.2.3 1.2.3"),
        ("", "v1.2.3", "V1.2.3", "is no semantic version", "v1.2.3 V1.2.3"),
        ("", "v1.2.3", "release-1.2.3", "is no semantic version", "v1.2.3 release-1.2.3"),
        ("", "v1.2.3", "release/1.2.3", "is no semantic version", "v1.2.3 release/1.2.3"),
        ("", "v1.2.3", "v1.2.3+meta", "has build metadata, and no version may", "v1.2.3 v1.2.3+meta"),
        ("", "v1.2.0", "v1.2", "is not three numbers", "v1.2.0 v1.2"),
        ("", "v1.0.0", "v1", "is not three numbers", "v1.0.0 v1"),
        ("", "v1.0.0", "1.0", "has no v in front", "v1.0.0 1.0"),
        ("", "v2.0.0+incompatible", "2.0.0", "has no v in front", "v2.0.0 2.0.0"),
        ("/sub", "v1.2.3", "sub/1.2.3", "has no v in front", "sub/v1.2.3 sub/1.2.3"),
        ("/sub", "v1.2.3", "sub-v1.2.3", "does not begin with sub/", "sub/v1.2.3 sub-v1.2.3"),
        ("/v2", "v2.2.3", "2.2.3", "has no v in front", "v2.2.3 2.2.3"),
    ],
)
def test_a_tag_that_only_a_person_reads_as_the_version(
    suffix: str, query: str, tag: str, fault: str, command: str
) -> None:
    found = find(suffix, query, "main", "tags/v0.0.1", f"tags/{tag}")
    assert found.cause == f"there is a tag {tag}, which {fault}"
    assert found.cure == f"tag it as Go wants: git tag {command} && git push origin {command.partition(' ')[0]}"


@pytest.mark.parametrize("tag", ["11.2.3", "v1.2.3.4", "1.2.30", "x1.2", "other/1.2.3", "v1.2.3;rm", "$(id)1.2.3"])
def test_other_tags_are_not_taken_for_it(tag: str) -> None:
    """Neither other numbers, nor another directory's, nor a name that nobody should paste into a shell."""
    found = find("/sub", "v1.2.3", "main", f"tags/{tag}", f"tags/sub/{tag}")
    assert "as Go wants" not in found.cure
    assert tag not in found.cure
    assert "-1.2.3" not in find("", "v1.2.3", "main", "tags/-1.2.3").cure, "git would take it for an option"


@pytest.mark.parametrize(
    ("holds", "cure"),
    [
        (Holds.MODULE, "tag it for the directory too: git tag sub/v1.2.3 v1.2.3 && git push origin sub/v1.2.3"),
        (Holds.UNKNOWN, "tag it for the directory too: git tag sub/v1.2.3 v1.2.3 && git push origin sub/v1.2.3"),
        (Holds.DIRECTORY, "sub has no go.mod, so it comes with github.com/t/x: require that"),
        (Holds.NOTHING, "there is no directory sub at v1.2.3; check the module path"),
    ],
)
def test_a_version_of_the_root_is_none_of_the_directory(holds: Holds, cure: str) -> None:
    found = find("/sub", "v1.2.3", "main", "tags/v1.2.3", holds=holds)
    assert found.cause == "the tag v1.2.3 is of the repository's root, and this module's tags begin with sub/"
    assert found.cure == cure


def test_a_version_of_a_directory_is_none_of_the_root() -> None:
    found = find("", "v1.2.3", "main", "tags/sub/v1.2.3")
    assert found.cause == "there is only a tag sub/v1.2.3, for a module in the directory sub"
    assert found.cure.startswith("ask for github.com/t/x/sub@v1.2.3, or tag the root too: git tag v1.2.3 sub/v1.2.3 &&")
    assert find("/v2", "v2.2.3", "main", "tags/sub/v2.2.3").cure.startswith("ask for github.com/t/x/sub/v2@v2.2.3, or")


def test_a_configured_tag_prefix() -> None:
    root = RepoRoot("github.com/t/x", "https://github.com/t/x", tag_prefix="go-")
    found = find("", "v1.2.3", "main", "tags/v1.2.3", root=root)
    assert found.cause == "there is a tag v1.2.3, and this module's tags begin with go-"
    assert "git tag go-v1.2.3 v1.2.3 " in found.cure


def test_no_tag_that_comes_near() -> None:
    tag = "tag a commit: git tag v1.2.3 COMMIT && git push origin v1.2.3; or ask for github.com/t/x@main"
    assert find("", "v1.2.3", "main") == Finding("the repository has no tags", tag)
    near = find("", "v1.2.3", "main", "tags/v1.2.2", "tags/v1.2.4", "tags/v1.3", "tags/v2.2.3", "tags/v0.9.0")
    assert near == Finding("the nearest tags are v1.2.2, v1.2.4", tag)
    many = find("", "v1.10.3", "main", *(f"tags/v1.{n}.0" for n in range(30)))
    assert many.cause == "the nearest tags are v1.9.0, v1.10.0, v1.11.0"
    assert find("", "v1.2.3", "main", "tags/v1.2.2").cause == "the nearest tag is v1.2.2"
    assert find("", "v1.2.3", "main", "tags/v0.1.0").cause == "there is no tag of v1"
    assert (
        find("/sub", "v1.2.3", "main", "tags/v0.1.0").cause
        == "no tag begins with sub/, as the tags of this module must"
    )


def test_a_branch_with_a_slash_is_not_suggested() -> None:
    assert find("", "v1.2.3", "feature/trunk").cure.endswith("git push origin v1.2.3")
    assert find("", "main", "feature/main") == Finding(
        "there is a branch feature/main",
        f"a proxy cannot be asked for a name with a slash; ask for its commit {A[:12]}",
    )


def test_names_that_nobody_should_copy_are_not_repeated() -> None:
    for query in ("v1.2.3", "main", "id"):
        found = find("", query, "x;main", "$(x)/main", "trunk;id", "$(id)", "a/id;", "tags/$(id)v1.2.3")
        assert not set(";$") & set(found.cause + found.cure)


def test_names_that_come_near() -> None:
    assert find("", "mian", "main", "dev") == Finding("the nearest name is main", "ask for github.com/t/x@main")
    assert find("", "1.2.3", "dev", "tags/v1.2.3", "tags/v1.2.4").cure == "ask for github.com/t/x@v1.2.3"
    assert find("", "stable", "main", "dev") == Finding("the default branch is main", "ask for github.com/t/x@main")
    assert find("", "stable", "trunk").cure == "ask for github.com/t/x@trunk"
    assert find("", "stable", "dev", head="").cause == ""
    assert find("", "stable", "dev", head="").cure == "ask for a branch, a tag or a commit that the repository has"


def test_commits() -> None:
    unreached = "no branch or tag of the repository reaches such a commit"
    for query in ("abc1234", A, "deadbeefcafe", "v0.0.0-20240301000000-aaaaaaaaaaaa"):
        assert find("", query, "main").cause == unreached
    assert find("", "abc123", "main").cause == "a commit is named by at least 7 digits"
    assert find("", "decade", "main").cause == "the default branch is main", "a word of hex letters is a word"


def test_an_empty_repository() -> None:
    assert find("", "v1.0.0") == Finding("the repository is empty", "push a commit to it")


def test_a_great_many_hostile_names_cost_little() -> None:
    names = [f"tags/v1.{number}.{'9' * 60}{number}" for number in range(50_000)]
    names += [f"tags/{'1.2.' * 5000}{number}" for number in range(20)]
    began = time.process_time()
    for query in ("v1.2.3", "v1." + "9" * 200 + ".0", "x" * 200):
        find("", query, "main", *names)
    assert time.process_time() - began < 5
