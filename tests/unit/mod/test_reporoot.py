"""reporoot: static hosts, qualifiers, refusals, configured sources, and the module's place in its repository."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import pytest

from vcsproxy.errors import NotFound
from vcsproxy.mod.reporoot import (
    CodeRoot,
    Discover,
    Probe,
    RepoRoot,
    SourceRule,
    check_vcs,
    code_root,
    has_path_prefix,
    static_root,
    without_userinfo,
)


def refusal(path: str) -> str:
    with pytest.raises(NotFound) as caught:
        static_root(path, ())
    return str(caught.value)


# --- Go's static table ---


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("github.com/t/x", "github.com/t/x"),
        ("github.com/t/x/sub/v2", "github.com/t/x"),
        ("github.com/T/x", "github.com/T/x"),
        ("github.com/t/r.bzr", "github.com/t/r.bzr"),
        ("bitbucket.org/a/b/c", "bitbucket.org/a/b"),
        ("hub.jazz.net/git/u1/p/q", "hub.jazz.net/git/u1/p"),
        ("git.apache.org/a_b.git/c", "git.apache.org/a_b.git"),
        ("git.openstack.org/a/b.git/c", "git.openstack.org/a/b.git"),
    ],
)
def test_known_hosts_have_their_root_by_pattern(path: str, root: str) -> None:
    assert static_root(path, ()) == RepoRoot(root, f"https://{root}")


@pytest.mark.parametrize(
    "path", ["github.com/t/r.git", "github.com/t/r.git/x", "github.com/t/r.hg", "github.com/t/r.svn"]
)
def test_a_version_control_suffix_on_github_is_refused(path: str) -> None:
    assert refusal(path) == "invalid version control suffix in github.com/ path"


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("github.com", "github.com"),
        ("github.com/t", "github.com"),
        ("github.com/t/r/a~b", "github.com"),
        ("github.com/t/a~b", "github.com"),
        ("bitbucket.org/t", "bitbucket.org"),
        ("hub.jazz.net/git/U/p", "hub.jazz.net/git"),
        ("git.apache.org/x", "git.apache.org"),
        ("git.apache.org/x.gitx", "git.apache.org"),
        ("chiselapp.com/user/a/repository/r/sub", "chiselapp.com"),
    ],
)
def test_a_known_host_never_falls_back_to_discovery(path: str, host: str) -> None:
    assert refusal(path) == f'invalid {host} import path "{path}"'


def test_literal_refusals() -> None:
    assert refusal("example.net") == "no modules on example.net"
    assert refusal("example.net/anything") == "no modules on example.net"
    assert refusal("rsc.io") == "rsc.io is not a module"
    assert refusal("https:/github.com/t/x") == '"https://" not allowed in import path'
    assert "does not begin with hostname" in refusal("localhost/x")
    assert static_root("rsc.io/quote", ()) == Discover("rsc.io/quote")


@pytest.mark.parametrize("path", ["golang.org/toolchain", "golang.org/fips140"])
def test_a_toolchain_is_refused_with_a_way_out(path: str) -> None:
    with pytest.raises(NotFound) as caught:
        static_root(path, ())
    assert "cannot be built from a repository" in str(caught.value)
    assert "GOPROXY" in caught.value.hint


@pytest.mark.parametrize(
    "path", ["golang.org/x/text", "gopkg.in/yaml.v2", "gitlab.com/a/b", "meta.test", "a.com/r.bzr"]
)
def test_other_hosts_are_discovered(path: str) -> None:
    assert static_root(path, ()) == Discover(path)


# --- qualifiers ---


@pytest.mark.parametrize(
    ("path", "root", "repo"),
    [
        ("git.example.org/r5.git/sub", "git.example.org/r5.git", "git.example.org/r5"),
        ("git.example.org/a/~u/r.git", "git.example.org/a/~u/r.git", "git.example.org/a/~u/r"),
        ("git.example.org/r.git/~x/y.z", "git.example.org/r.git", "git.example.org/r"),
        ("git.example.org/x.git/r2.git", "git.example.org/x.git/r2.git", "git.example.org/x.git/r2"),
        ("git.example.org/x.svn/r2.git/y", "git.example.org/x.svn/r2.git", "git.example.org/x.svn/r2"),
        ("git.example.org/x.git.git", "git.example.org/x.git.git", "git.example.org/x.git"),
    ],
)
def test_the_last_qualifier_ends_the_root(path: str, root: str, repo: str) -> None:
    assert static_root(path, ()) == Probe(root, repo, ("https", "ssh"))


@pytest.mark.parametrize(
    "path", ["git.example.org/.git", "git.example.org/a~b.git", "git.example.org/r.git/a~b", "x.git/y"]
)
def test_what_go_cannot_match_is_discovered(path: str) -> None:
    assert static_root(path, ()) == Discover(path)


def test_a_host_in_the_middle_is_not_asked() -> None:
    path = "git.example.org/a~b/meta.test/e.git"
    assert refusal(path) == f"mismatched repo: found meta.test/e.git for {path}"
    assert refusal("a.com/a~b.c/e.git/x") == "mismatched repo: found b.c/e.git for a.com/a~b.c/e.git/x"


def test_other_systems_are_refused() -> None:
    assert refusal("git.example.org/r2.svn") == (
        "GOVCS disallows using svn for public git.example.org/r2.svn; see 'go help vcs'"
    )
    assert "GOVCS disallows using fossil" in refusal("chiselapp.com/user/a/repository/r")
    assert "Git only" in refusal("git.example.org/r.hg/sub")
    check_vcs("git", "a.com/x")


def test_long_hostile_paths_take_no_time() -> None:
    begun = time.process_time()
    for piece in ("a.", "a/", "a~b/", "a.git/", ".a", "a-"):
        static_root_or_refusal("a.b/" + piece * 50_000 + "x")
        static_root_or_refusal("a.b/x~y/" + piece * 50_000 + "X")
    assert time.process_time() - begun < 5


def static_root_or_refusal(path: str) -> None:
    with contextlib.suppress(NotFound):
        static_root(path, ())


# --- configured sources ---

CORP = SourceRule(
    "git.corp.example/{group}/{repo}",
    "ssh://git@git.corp.example:7999/{group}/{repo}.git",
    "https://git.corp.example/{group}/{repo}",
)
GOPKG = SourceRule("gopkg.in/{name}.v{major}", "https://mirror.example/go-{name}/{name}.git")


def test_a_source_maps_a_prefix_of_whole_elements() -> None:
    assert CORP.match("git.corp.example/g/r/sub/v2") == RepoRoot(
        "git.corp.example/g/r",
        "ssh://git@git.corp.example:7999/g/r.git",
        origin="https://git.corp.example/g/r",
        source=CORP.root,
    )
    for path in ("git.corp.example/g", "git.corp.example", "git.corp.examples/g/r", "x.git.corp.example/g/r"):
        assert CORP.match(path) is None


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("gopkg.in/yaml.v2", "https://mirror.example/go-yaml/yaml.git"),
        ("gopkg.in/yaml.v2-unstable", "https://mirror.example/go-yaml/yaml.git"),
        ("gopkg.in/a.v1.v2", "https://mirror.example/go-a/a.git"),
        ("gopkg.in/yaml", None),
        ("gopkg.in/.v2", None),
        ("gopkg.in/yaml.v", None),
        ("gopkg.in/go-yaml/yaml.v2", None),
    ],
)
def test_names_may_be_parts_of_an_element(path: str, url: str | None) -> None:
    found = GOPKG.match(path)
    assert (found and found.url) == url


@pytest.mark.parametrize("path", ["a.com/x..y", "a.com/x.y"])
def test_a_name_never_stands_for_dots_alone(path: str) -> None:
    assert SourceRule("a.com/x{name}y", "https://b.com/{name}").match(path) is None


def test_a_literal_source_and_its_subdir() -> None:
    rule = SourceRule("a.com/mono", "https://u:p@b.com/mono", subdir="go")
    assert rule.problems() == []
    found = rule.match("a.com/mono/x")
    assert found == RepoRoot("a.com/mono", "https://u:p@b.com/mono", "go", "https://b.com/mono", "a.com/mono")
    assert rule.match("a.com/monolith") is None


def test_the_first_source_wins_even_over_refusals() -> None:
    first = SourceRule("example.net/{repo}", "https://one.example/{repo}")
    second = SourceRule("example.net/{repo}", "https://two.example/{repo}")
    found = static_root("example.net/x/y", (first, second))
    assert isinstance(found, RepoRoot)
    assert found.url == "https://one.example/x"
    assert static_root("github.com/t/x", (first,)) == RepoRoot("github.com/t/x", "https://github.com/t/x")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (SourceRule("", "https://a"), "root is empty"),
        (SourceRule("a.com//x", "https://a"), "empty path element"),
        (SourceRule("a.com/", "https://a"), "empty path element"),
        (SourceRule("a.com/{x}/{x}", "https://a"), "more than once"),
        (SourceRule("a.com/{x}{y}", "https://a"), "nothing between"),
        (SourceRule("a.com/{x", "https://a"), "brace"),
        (SourceRule("a.com/x}", "https://a"), "brace"),
        (SourceRule("a.com/{X}", "https://a"), "brace"),
        (SourceRule("a.com/{x/y}", "https://a"), "brace"),
        (SourceRule("a.com/{x}", ""), "url is empty"),
        (SourceRule("a.com/{x}", "{x}://a"), "literal scheme"),
        (SourceRule("a.com/{x}", "https://a/{y}"), "{y}"),
        (SourceRule("a.com/{x}", "https://a/{}"), "brace"),
        (SourceRule("a.com/{x}", "https://a", origin="https://{z}"), "{z}"),
        (SourceRule("a.com/{x}", "https://a", subdir="/x"), "subdir"),
        (SourceRule("a.com/{x}", "https://a", subdir="{q}"), "{q}"),
    ],
)
def test_problems_of_templates(rule: SourceRule, problem: str) -> None:
    assert any(problem in text for text in rule.problems())


def test_good_templates_have_no_problems() -> None:
    assert CORP.problems() == GOPKG.problems() == []


def test_a_faulty_rule_is_not_applied_silently() -> None:
    with pytest.raises(ValueError, match="does not define"):
        SourceRule("a.com/{x}", "https://a/{y}").match("a.com/b")
    with pytest.raises(ValueError, match="brace"):
        SourceRule("a.com/{x", "https://a").match("a.com/b")


def test_many_names_in_one_element_take_no_time() -> None:
    names = [f"n{i}" for i in range(30)]
    rule = SourceRule("a.com/" + "a".join(f"{{{name}}}" for name in names) + "b", "https://x")
    begun = time.process_time()
    assert rule.match("a.com/" + "a" * 100_000) is None
    assert rule.match("a.com/" + "a" * 100_000 + "b") is not None
    assert time.process_time() - begun < 2


# --- small parts ---


def test_path_prefixes_are_whole_elements() -> None:
    assert has_path_prefix("a/b/c", "a/b")
    assert has_path_prefix("a/b", "a/b")
    assert has_path_prefix("a/b", "")
    assert has_path_prefix("a/b", "a/")
    assert not has_path_prefix("a/bc", "a/b")
    assert not has_path_prefix("a", "a/b")
    assert not has_path_prefix("a", "a/")


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://u:p@h.com:1/x@y", "https://h.com:1/x@y"),
        ("ssh://git@h.com/x", "ssh://h.com/x"),
        ("https://h.com/x@y", "https://h.com/x@y"),
        ("https://a@b@h.com", "https://h.com"),
        ("git@h.com:x", "git@h.com:x"),
    ],
)
def test_user_information_is_dropped(url: str, plain: str) -> None:
    assert without_userinfo(url) == plain
    assert RepoRoot("a.com/x", url).origin == plain


# --- code root ---


@pytest.mark.parametrize(
    ("path", "repo", "want"),
    [
        ("github.com/t/x", RepoRoot("github.com/t/x", "u"), ("", "github.com/t/x", "", "")),
        ("github.com/t/r5/sub/v2", RepoRoot("github.com/t/r5", "u"), ("sub", "github.com/t/r5/sub", "/v2", "v2")),
        ("example.com/foo", RepoRoot("example.com/foo", "u", "sub"), ("sub", "example.com/foo", "", "")),
        ("example.com/foo/v2", RepoRoot("example.com/foo", "u", "sub"), ("sub", "example.com/foo", "/v2", "v2")),
        ("example.com/foo/bar", RepoRoot("example.com/foo", "u", "sub"), ("bar/sub", "example.com/foo/bar", "", "")),
        ("a.com/p/x", RepoRoot("a.com/p", "u", "y"), ("x/y", "a.com/p/x", "", "")),
        ("github.com/t/v2", RepoRoot("github.com/t/v2", "u"), ("", "github.com/t/v2", "/v2", "v2")),
        ("nanomsg.org/go/m/v2", RepoRoot("nanomsg.org/go/m/v2", "u"), ("", "nanomsg.org/go/m/v2", "/v2", "v2")),
        ("gopkg.in/foo.v1", RepoRoot("gopkg.in/foo.v1", "u"), ("", "gopkg.in/foo.v1", ".v1", "v1")),
        (
            "gopkg.in/foo.v1-unstable",
            RepoRoot("gopkg.in/foo.v1-unstable", "u"),
            ("", "gopkg.in/foo.v1-unstable", ".v1-unstable", "v1"),
        ),
        ("a.com/p", RepoRoot("a.com/p", "u", "sub/"), ("sub", "a.com/p", "", "")),
        ("a.com/p", RepoRoot("a.com/p", "u", "a/../sub"), ("sub", "a.com/p", "", "")),
        ("a.com/p", RepoRoot("a.com/p", "u", "."), (".", "a.com/p", "", "")),
        ("a.com/p", RepoRoot("a.com/p", "u", "../x"), ("../x", "a.com/p", "", "")),
        ("a.com/p/q", RepoRoot("a.com/p", "u", "../../x/./y"), ("../x/y", "a.com/p/q", "", "")),
    ],
)
def test_code_root(path: str, repo: RepoRoot, want: tuple[str, str, str, str]) -> None:
    tag_prefix = want[0] + "/" if want[0] else ""
    assert code_root(path, repo) == CodeRoot(path, repo.root, *want, tag_prefix)


@pytest.mark.parametrize(
    ("path", "subdir", "tag_prefix", "code_dir", "wanted"),
    [
        ("a.com/p", "go", None, "go", "go/"),
        ("a.com/p/x", "go", None, "x/go", "x/go/"),
        ("a.com/p/x/v2", "go", None, "x/go", "x/go/"),
        ("a.com/p", "go", "", "go", ""),
        ("a.com/p/x", "go", "", "x/go", "x/"),
        ("a.com/p", "", "release-", "", "release-"),
        ("a.com/p/x", "", "release-", "x", "release-x/"),
    ],
)
def test_tags_are_called_as_the_source_says(
    path: str, subdir: str, tag_prefix: str | None, code_dir: str, wanted: str
) -> None:
    found = SourceRule("a.com/p", "https://g.test/p", subdir=subdir, tag_prefix=tag_prefix).match(path)
    assert found is not None
    code = code_root(path, found)
    assert (code.code_dir, code.tag_prefix) == (code_dir, wanted)


def test_a_private_source_claims_what_lies_below_its_literal_beginning() -> None:
    rule = SourceRule("git.corp.example/{team}/{repo}", "https://g.test/{team}/{repo}", private=True)
    assert rule.claims("git.corp.example/team")
    assert not rule.claims("corp.example/team")
    assert not replace(rule, private=False).claims("git.corp.example/team")
    with pytest.raises(NotFound, match="private source"):
        static_root("git.corp.example/team", [rule])
    assert isinstance(static_root("git.corp.example/a/b/c", [rule]), RepoRoot)


@pytest.mark.parametrize(
    ("path", "root", "message"),
    [
        ("a.com/p", "b.com/p", "mismatched repo: found b.com/p for a.com/p"),
        ("a.com/p", "a.com/p/q", "mismatched repo: found a.com/p/q for a.com/p"),
        ("a.com/p/v1", "a.com/p", 'invalid module path "a.com/p/v1"'),
        ("gopkg.in/x", "gopkg.in/x", 'invalid module path "gopkg.in/x"'),
        ("gopkg.in/x.v-unstable", "gopkg.in/x.v-unstable", 'invalid module path "gopkg.in/x.v-unstable"'),
    ],
)
def test_a_repository_that_cannot_hold_the_module(path: str, root: str, message: str) -> None:
    with pytest.raises(NotFound) as caught:
        code_root(path, RepoRoot(root, "u"))
    assert str(caught.value) == message


def test_a_root_inside_the_major_suffix_is_refused() -> None:
    """Only a root with a trailing slash gets there, as no element lies between a prefix and its major suffix."""
    with pytest.raises(NotFound, match=r"rooted at a\.com/p/ cannot contain module a\.com/p/v2"):
        code_root("a.com/p/v2", RepoRoot("a.com/p/", "u"))
