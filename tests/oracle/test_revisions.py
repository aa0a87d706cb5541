"""What a revision name stands for: tags, branches, HEAD and hashes, each answer checked and compared with `go`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.asked import MOD, Asked, asked, day, line
from tests.support.gitrepo import GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step
from vcsproxy.build.job import Op
from vcsproxy.mod import pseudo


def test_a_repository_without_commits_is_no_module(go: GoTool, tmp_path: Path) -> None:
    """Nothing is listed, and there is no latest version (case 26)."""
    x = asked(go, tmp_path, [])
    x.lists({"": None})
    x.latest({"": ""})
    for op in (Op.LIST, Op.LATEST):
        assert 'no matching versions for query "latest"' in x.refusal(op, "")
    x.answers({"@main": "unknown revision main", "@HEAD": "unknown revision HEAD"})


def test_a_head_that_points_nowhere_hides_no_branch(go: GoTool, tmp_path: Path) -> None:
    """Without HEAD there is no latest version, and no other branch is taken for it (case 26)."""
    x = asked(go, tmp_path, [Step(MOD, date=day(1))])
    x.repo.git("symbolic-ref", "HEAD", "refs/heads/unborn")
    x.lists({"": None})
    x.latest({"": ""})
    x.answers({"@main": "v0.0.0-{p[main]}", "@{c[main]}": "v0.0.0-{p[main]}", "@HEAD": "unknown revision HEAD"})


def test_a_versions_time_is_the_committers_in_utc(go: GoTool, tmp_path: Path) -> None:
    """Neither the author's date nor the tagger's counts, and zones are converted (case 27)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    west = repo.commit(MOD, date="1709796600 -0800")
    repo.tag("v1.0.0", west, annotated=True)
    east = repo.commit({**MOD, "a.go": "package x\n"}, date="1709841600 +1345")
    repo.tag("v1.1.0", east, annotated=True)
    repo.commit({**MOD, "b.go": "package x\n"}, date="1709845199 -1200")
    found = Asked(repo, go, tmp_path).answers({"@v1.0.0": "v1.0.0", "@v1.1.0": "v1.1.0", "@main": "v1.1.1-0.{p[main]}"})
    assert found["@v1.0.0"].time == "2024-03-07T07:30:00Z"
    assert found["@v1.1.0"].time == "2024-03-07T20:00:00Z"
    assert found["@main"].time == "2024-03-07T20:59:59Z"
    assert found["@main"].version.startswith("v1.1.1-0.20240307205959-")


def test_tags_of_tags_and_hashes_of_tag_objects_lead_to_the_commit(go: GoTool, tmp_path: Path) -> None:
    """An annotated tag has a hash of its own; it names the commit too, whole or abbreviated (case 28)."""
    x = asked(go, tmp_path, line(Step(MOD), Step({**MOD, "a.go": "package x\n"})))
    first = x.repo.git("rev-parse", "main~1")
    inner = x.repo.tag("v0.1.0", first, annotated=True)
    outer = x.repo.tag("v0.2.0", inner, annotated=True)
    assert len({first, inner, outer}) == 3
    found = x.answers({
        "@v0.1.0": "v0.1.0", "@v0.2.0": "v0.2.0",
        f"@{inner}": "v0.2.0", f"@{outer}": "v0.2.0", f"@{inner[:7]}": "v0.2.0", f"@{outer[:9]}": "v0.2.0",
        f"@{first}": "v0.2.0", "@main": "v0.2.1-0.{p[main]}",
        f"@{outer[:6]}": f"unknown revision {outer[:6]}",
    })  # fmt: skip
    assert {outcome.commit for query, outcome in found.items() if outcome.version == "v0.2.0"} == {first}


def test_a_tag_wins_over_a_branch_and_both_over_a_hash(go: GoTool, tmp_path: Path) -> None:
    """A name that is a tag and a branch is the tag; a branch may look like a hash (cases 29, 30)."""
    steps = line(
        Step(MOD, tags=["amb"], branch="one"),
        Step({**MOD, "a.go": "package x\n"}, branch="amb"),
        Step({**MOD, "b.go": "package x\n"}, branch="deadbeefcafe"),
    )
    asked(go, tmp_path, steps).answers({
        "@amb": "v0.0.0-{p[one]}", "@one": "v0.0.0-{p[one]}", "@deadbeefcafe": "v0.0.0-{p[deadbeefcafe]}",
    })  # fmt: skip


def test_a_commit_of_a_pull_request_is_not_the_repositorys(go: GoTool, tmp_path: Path) -> None:
    """HEAD, a branch or a tag must reach a commit, however it is named (case 31)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    repo.commit(MOD)
    when = repo.clock
    stray = repo.commit({**MOD, "evil.go": "package x\n"}, parents=[repo.git("rev-parse", "main")], branch=None)
    loose = repo.commit({**MOD, "lost.go": "package x\n"}, parents=[stray], branch=None)
    for name in ("pull/1/head", "changes/01/1/1", "notes/x", "remotes/origin/dev"):
        repo.git("update-ref", f"refs/{name}", stray)
    made = pseudo.pseudo_version("", "", when, stray[:12])
    Asked(repo, go, tmp_path).answers({
        **{f"@{rev}": f"unknown revision {rev}" for rev in (stray, stray[:12], stray[:7], loose, loose[:12])},
        f"@{made}": f"unknown revision {stray[:12]}",
        "@pull/1/head": "unknown revision pull/1/head", "@refs/pull/1/head": "unknown revision refs/pull/1/head",
    })  # fmt: skip


def test_a_detached_head_is_reachable(go: GoTool, tmp_path: Path) -> None:
    """A commit that only HEAD reaches is the repository's, and its latest version (case 32)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    main = repo.commit(MOD)
    when = repo.clock
    alone = repo.commit({**MOD, "a.go": "package x\n"}, parents=[main], branch=None)
    repo.git("update-ref", "--no-deref", "HEAD", alone)
    version = pseudo.pseudo_version("", "", when, alone[:12])
    x = Asked(repo, go, tmp_path)
    x.answers({f"@{query}": version for query in ("HEAD", alone, alone[:7], version)} | {"@main": "v0.0.0-{p[main]}"})
    x.latest({"": version})
    x.lists({"": ""})


def test_only_names_of_refs_and_hashes_of_seven_digits_are_revisions(go: GoTool, tmp_path: Path) -> None:
    """Git's own revision syntax, full ref names, short and upper-case hashes mean nothing (case 33)."""
    x = asked(go, tmp_path, line(Step(MOD, branch="old"), Step({**MOD, "a.go": "package x\n"}), Step(MOD)))
    commit, old = x.names["c"]["main"], x.names["c"]["old"]
    unknown = [
        commit[:6], commit.upper(), "refs/heads/main", "heads/main", "refs/tags/v1.0.0", "origin/main", "main~1", "HEAD^",
        "@", "FETCH_HEAD", "main^0", "0" * 40, commit + "0", commit[:-1] + "g", "head", "Main",
    ]  # fmt: skip
    x.answers({f"@{rev}": f"unknown revision {rev}" for rev in unknown})
    known = {"HEAD": "main", "main": "main", commit: "main", commit[:7]: "main", commit[:39]: "main", old[:8]: "old"}
    x.answers({f"@{rev}": f"v0.0.0-{{p[{branch}]}}" for rev, branch in known.items()})


def test_the_hash_of_a_tree_or_of_a_file_is_no_revision(go: GoTool, tmp_path: Path) -> None:
    """Both refuse; go tells of what git said, we call it unknown like any other name (case 33)."""
    x = asked(go, tmp_path, [Step(MOD, date=day(1))])
    hashes = [x.repo.git("rev-parse", name) for name in ("main^{tree}", "main:go.mod")]
    queries = [oid[:digits] for oid in hashes for digits in (40, 12)]
    for query, refused in zip(
        queries, x.answers({f"@{query}": "invalid version: un" for query in queries}).values(), strict=True
    ):
        assert f"unknown revision {query}" in refused.error


def test_a_hash_that_fits_two_refs_is_ambiguous(go: GoTool, tmp_path: Path) -> None:
    """Two commits whose hashes begin alike in seven digits need an eighth (case 33)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    tree, dates = repo.tree(MOD), {"GIT_COMMITTER_DATE": day(1), "GIT_AUTHOR_DATE": day(1)}
    pair = [repo.git("commit-tree", tree, "-m", text, env=dates) for text in ("609", "12442")]  # found by trial
    assert pair[0][:7] == pair[1][:7]
    assert pair[0][:12] != pair[1][:12]
    for name, oid in zip(("main", "other"), pair, strict=True):
        repo.git("update-ref", f"refs/heads/{name}", oid)
    Asked(repo, go, tmp_path).answers({
        f"@{pair[0][:7]}": f"ambiguous revision {pair[0][:7]}", "@{h[main]}": "v0.0.0-{p[main]}", "@{h[other]}": "v0.0.0-{p[other]}",
    })  # fmt: skip


def test_a_version_tag_on_a_tree_harms_no_other_version(go: GoTool, tmp_path: Path) -> None:
    """It is listed and cannot be had; what its go.mod would retract is unknown, so nothing is retracted (case 34)."""
    retracting = {"go.mod": MOD["go.mod"] + "retract v0.1.0\n"}
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0"], branch="old"), Step(retracting, tags=["v0.2.0"])))
    x.answers({"@old": "v0.0.0-{p[old]}", "@main": "v0.2.0"})
    x.repo.tag("v0.9.0", x.repo.git("rev-parse", "main^{tree}"))
    x.repo.tag("v0.8.0", x.repo.git("rev-parse", "main:go.mod"))
    x = Asked(x.repo, go, tmp_path / "again")
    x.work.mkdir()
    x.lists({"": "v0.1.0 v0.2.0 v0.8.0 v0.9.0"})
    x.answers({
        "@v0.9.0": 'unexpected response from git log: ""', "@v0.8.0": 'unexpected response from git log: ""',
        "@v0.1.0": "v0.1.0", "@v0.2.0": "v0.2.0", "@old": "v0.1.0", "@main": "v0.2.0",
    })  # fmt: skip
    x.latest({"": ""})


def test_a_version_tag_on_a_tree_fails_a_list_that_has_to_look_into_it(go: GoTool, tmp_path: Path) -> None:
    """Whether v2 may be +incompatible depends on its go.mod, which a tree of another kind cannot show (case 35)."""
    x = asked(go, tmp_path, [Step({"a.go": "package x\n"}, date=day(1), tags=["v1.0.0"])])
    x.repo.tag("v2.0.0", x.repo.git("rev-parse", "main^{tree}"))
    x.lists({"": None})
    assert 'unexpected response from git log: ""' in x.refusal(Op.LIST, "")
    x.answers({"@v1.0.0": "v1.0.0", "@main": "v1.0.0", "@v2.0.0": 'unexpected response from git log: ""'})


def test_a_sha256_repository_is_like_any_other(go: GoTool, tmp_path: Path) -> None:
    """Hashes of 7 to 64 digits are known; pseudo-versions keep twelve of them (case 36)."""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0"], branch="old"), Step({**MOD, "a.go": ""})), "sha256")
    commit = x.names["c"]["main"]
    assert len(commit) == 64
    versions = {f"@{commit[:digits]}": "v0.1.1-0.{p[main]}" for digits in (7, 12, 40, 41, 50, 63, 64)}
    found = x.answers({
        **versions, "@main": "v0.1.1-0.{p[main]}", "@v0.1.0": "v0.1.0", "@old": "v0.1.0",
        f"@{commit[:6]}": f"unknown revision {commit[:6]}", f"@{commit}0": f"unknown revision {commit}0",
        f"@v0.0.0-{{t[main]}}-{commit[:12]}": "v0.0.0-{p[main]}",
        f"@v0.0.0-{{t[main]}}-{commit[:13]}": "revision is longer than canonical (expected {h[main]})",
        f"@v0.0.0-{{t[main]}}-{commit}": "revision is longer than canonical (expected {h[main]})",
    })  # fmt: skip
    assert found["@main"].commit == commit
    x.lists({"": "v0.1.0"})
    x.latest({"": "v0.1.0"})


def test_a_branch_with_a_slash_is_a_revision(go: GoTool, tmp_path: Path) -> None:
    """Clients ask for it in direct mode only: no proxy can be asked for such a name (case 37)."""
    asked(go, tmp_path, [Step(MOD, date=day(1), branch="feature/x")]).answers({"@feature/x": "v0.0.0-{p[feature/x]}"})


def test_a_version_of_a_directory_is_the_ref_with_the_directory_before_it(go: GoTool, tmp_path: Path) -> None:
    """Even a branch: it resolves to what its commit is, and so is not the version asked for (case 38)."""
    files = {**MOD, "sub/go.mod": "module github.com/t/x/sub\n"}
    x = asked(
        go,
        tmp_path,
        line(Step(files, tags=["sub/v1.0.0", "v1.4.0"], branch="sub/v1.5.0"), Step(files, branch="v1.6.0")),
    )
    x.answers({
        "/sub@v1.0.0": "v1.0.0", "/sub@v1.5.0": "resolves to version v1.0.0 (v1.5.0 is not a tag)",
        "/sub@sub/v1.0.0": "v1.0.0", "/sub@sub/v1.5.0": "v1.0.0",
        "/sub@v1.6.0": "unknown revision sub/v1.6.0", "/sub@v1.4.0": "unknown revision sub/v1.4.0",
    })  # fmt: skip


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_an_info_names_where_a_version_came_from_as_go_does(go: GoTool, tmp_path: Path, object_format: str) -> None:
    """Byte for byte the file that go leaves in its cache; sums of tags and refs are never in it (cases 39, 67, 102)."""
    files = {**MOD, "sub/go.mod": "module github.com/t/x/sub\n", "sub/v2/go.mod": "module github.com/t/x/sub/v2\n"}
    x = asked(go, tmp_path, line(
        Step({"a.go": "package x\n"}, tags=["v2.0.0", "v0.0.1-RC.1"]),
        Step(files, tags=["v0.1.0", "sub/v0.3.0"], annotated=["sub/v2.1.0"]), Step(files),
    ), object_format)  # fmt: skip
    versions = [
        "@v0.1.0", "@v2.0.0+incompatible", "@v0.0.1-RC.1", "@v0.1.1-0.{p[main]}", "/sub@v0.3.0", "/sub/v2@v2.1.0",
        "/sub@v0.3.1-0.{p[main]}", "/sub/v2@v2.1.1-0.{p[main]}",
    ]  # fmt: skip
    x.answers({version: version.partition("@")[2] for version in versions})
    for suffix, _, query in (x.say(version).partition("@") for version in versions):
        info = x.built(Op.INFO, suffix, query)
        name = query.replace("RC", "!r!c")
        assert (
            info.answer == info.info == (x.cache / "cache/download" / f"{x.place}{suffix}/@v/{name}.info").read_bytes()
        )
        origin = json.loads(info.info)["Origin"]
        assert set(origin) <= {"VCS", "URL", "Subdir", "Hash", "Ref"}
        assert origin.get("Subdir", "") == ("sub" if suffix else "")
        assert ("Ref" in origin) == (not pseudo.is_pseudo_version(query))


def test_odd_letters_of_a_ref_are_escaped_as_go_escapes_them(go: GoTool, tmp_path: Path) -> None:
    """`<`, `>` and `&` in the name of a branch that led to a tagged version (case 102)."""
    names = ["a&b", "a<b>c", 'a"b', "é"]
    steps = line(*(Step({**MOD, "n.go": str(n)}, tags=[f"v0.{n}.0"], branch=b) for n, b in enumerate(names)))
    x = asked(go, tmp_path, steps)
    x.answers({f"@{name}": f"v0.{number}.0" for number, name in enumerate(names)})
    for number, name in enumerate(names):
        answer = x.built(Op.INFO, "", name).answer
        assert answer == (x.cache / "cache/download" / f"{x.place}/@v/v0.{number}.0.info").read_bytes()
        assert json.loads(answer)["Origin"]["Ref"] == f"refs/heads/{name}"
        assert not set("<>&") & set(answer.decode())


@pytest.mark.parametrize("space", ["\xa0", "\u2028", "\u3000"], ids=ascii)
def test_a_ref_with_white_space_in_its_name_does_not_exist(go: GoTool, tmp_path: Path, space: str) -> None:
    """Git allows spaces other than the ASCII one; go cannot read such a line of the listing of refs."""
    x = asked(go, tmp_path, line(Step(MOD, tags=["v0.1.0"]), Step(MOD, branch=f"a{space}b"), Step(MOD)))
    x.answers({"@main": "v0.1.1-0.{p[main]}", f"@a{space}b": f"unknown revision a{space}b"})
