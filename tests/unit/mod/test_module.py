"""module: paths, versions, escapes, major suffixes and glob lists."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import glob, module

# Cases 4 and 5 of the specification's checklist, and the reasons in Go's words.
BAD_PATHS = {
    "localhost/x": "missing dot in first path element",
    "Example.com/x": "invalid char 'E' in first path element",
    "ex_ample.com/x": "invalid char '_' in first path element",
    "-a.com/x": "leading dash",
    "a.com/.x": "leading dot in path element",
    "a.com/x.": "trailing dot in path element",
    "a.com/...": 'invalid path element "..."',
    "a.com/con.z": '"con" disallowed as path element component on Windows',
    "a.com/x/LpT9": '"LpT9" disallowed as path element component on Windows',
    "a.com/x~1": "trailing tilde and digits in path element",
    "a.com/x~1.y": "trailing tilde and digits in path element",
    "a.com/a+b": "invalid char '+'",
    "a.com/é": "invalid char 'é'",
    "a.com:80/x": "invalid char ':'",
    "a.com/x\n": "invalid char '\\n'",
    "a.com/\u0661": "invalid char '\u0661'",
    "a.com/v1": "invalid version",
    "a.com/v0": "invalid version",
    "a.com/v01": "invalid version",
    "a.com/v2.0": "invalid version",
    "a.com/v1.2": "invalid version",
    "gopkg.in/yaml": "invalid version",
    "gopkg.in/yaml.v2/abc": "invalid version",
    "gopkg.in/x.v01": "invalid version",
    "gopkg.in/x.v0-unstable": "invalid version",
    "": "empty string",
    "/a.com": "empty path element",
    "a.com//x": "double slash",
    "a.com/x/": "trailing slash",
    "a.com/\udcff": "invalid UTF-8",
}
GOOD_PATHS = [
    *("127.0.0.1/x", "a.com", "a.com/-x", "a.com/a..b", "a.com/COM0", "a.com/x~", "a.com/x~1b", "a.com/a.v2"),
    *("a.com/x1.2", "a.com/v2.3.4/x", "a.com/v2/v3", "gopkg.in/x.v0", "gopkg.in/x.v1-unstable", "gopkg.in/a/b.v3"),
]


@pytest.mark.parametrize(("path", "reason"), BAD_PATHS.items())
def test_bad_paths(path: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        module.check_path(path)
    shown = path.replace("\n", "\\n").replace("\udcff", "\\xff")
    assert caught.value.message == f'malformed module path "{shown}": {reason}'


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_good_paths(path: str) -> None:
    module.check_path(path)


def test_import_paths() -> None:
    for path in ("fmt", "a.com/.x", "a.com/a+b", "Example/x/v1"):
        module.check_import_path(path)
    with pytest.raises(InvalidRequest, match=r'^malformed import path "x~1": trailing tilde and digits'):
        module.check_import_path("x~1")


# Cases 88 and 89.
BAD_FILES = {
    **{name: f"invalid char '{name[1]}'" for name in ("a:b", "a*b", "a?b", 'a"b', "a<b", "a|b", "a;b", "a>b")},
    "a'b": "invalid char '\\''",
    "a`b`": "invalid char '`'",
    "a\\b": "invalid char '\\\\'",
    "a\tb": "invalid char '\\t'",
    "a\nb": "invalid char '\\n'",
    "a\0b": "invalid char '\\x00'",
    "a\x7fb": "invalid char '\\x7f'",
    "\udcff": "invalid UTF-8",
    "☺.go": "invalid char '☺'",
    "\u0301x": "invalid char '\u0301'",
    "e\u0301": "invalid char '\u0301'",
    "١.go": "invalid char '١'",
    "Ⅷ": "invalid char 'Ⅷ'",
    "COM¹.txt": "invalid char '¹'",
    "con.go": '"con" disallowed as path element component on Windows',
    "sub/NUL": '"NUL" disallowed as path element component on Windows',
    "aux.tar.gz": '"aux" disallowed as path element component on Windows',
    "x.": "trailing dot in path element",
    "x/y./z": "trailing dot in path element",
    "...": 'invalid path element "..."',
    "vendor/a:b": "invalid char ':'",
}
GOOD_FILES = [
    *("a b.go", "x ", " ", "é.go", "ª", "\U00020000", "foo~1", "com0.x", "-dash", "..foo", ".hidden", "go.mod.bak"),
    *("%41", "a!b#$%&()+,-.=@[]^_{}~", "a/b/c", "\u01c5", "ಅ", "\U000323af"),
]


@pytest.mark.parametrize(("path", "reason"), BAD_FILES.items())
def test_bad_file_paths(path: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^malformed file path ") as caught:
        module.check_file_path(path)
    assert caught.value.message.endswith('": ' + reason)


@pytest.mark.parametrize("path", GOOD_FILES)
def test_good_file_paths(path: str) -> None:
    module.check_file_path(path)


@pytest.mark.parametrize(
    ("path", "escaped"),
    [("github.com/Azure/X", "github.com/!azure/!x"), ("a.com/x~y", "a.com/x~y"), ("a.com/AB", "a.com/!a!b")],
)
def test_escaped_paths(path: str, escaped: str) -> None:
    assert module.escape_path(path) == escaped
    assert module.unescape_path(escaped) == path


@pytest.mark.parametrize(
    ("version", "escaped"),
    [
        ("v1.0.0-RC1", "v1.0.0-!r!c1"),
        ("v2.0.0+incompatible", "v2.0.0+incompatible"),
        ("a b", "a b"),
        ("HEAD", "!h!e!a!d"),
    ],
)
def test_escaped_versions(version: str, escaped: str) -> None:
    assert module.escape_version(version) == escaped
    assert module.unescape_version(escaped) == version


@pytest.mark.parametrize(
    "escaped", ["github.com/Azure/x", "github.com/!Azure/x", "a.com/!!a", "a.com/x!", "a.com/!1", "a.com/é", "!a.com/x"]
)
def test_bad_escaped_paths(escaped: str) -> None:
    """Cases 1 and 2."""
    with pytest.raises(InvalidRequest, match=r"^invalid escaped module path "):
        module.unescape_path(escaped)


@pytest.mark.parametrize("escaped", ["v1.0.0-RC1", "!!", "x!", "!", "é", "a/b", "", "..", "con", "a:b", "x.", "\n"])
def test_bad_escaped_versions(escaped: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^invalid escaped version "):
        module.unescape_version(escaped)


@pytest.mark.parametrize("version", ["a!b", "a/b", "", "é", "a:b", "\udcff"])
def test_versions_that_cannot_be_escaped(version: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^version .* invalid: disallowed version string$"):
        module.escape_version(version)


@pytest.mark.parametrize(
    ("path", "prefix", "major"),
    [
        ("a.com/x", "a.com/x", ""),
        ("a.com/x/v2", "a.com/x", "/v2"),
        ("a.com/x/v10", "a.com/x", "/v10"),
        ("a.com/xv2", "a.com/xv2", ""),
        ("a.com/x.v2", "a.com/x.v2", ""),
        ("a.com/v", "a.com/v", ""),
        ("a.com/v2.3.4/y", "a.com/v2.3.4/y", ""),
        ("/v2", "", "/v2"),
        ("gopkg.in/yaml.v2", "gopkg.in/yaml", ".v2"),
        ("gopkg.in/x.v0", "gopkg.in/x", ".v0"),
        ("gopkg.in/x.v1-unstable", "gopkg.in/x", ".v1-unstable"),
    ],
)
def test_split_path_version(path: str, prefix: str, major: str) -> None:
    assert module.split_path_version(path) == (prefix, major, True)


@pytest.mark.parametrize(
    "path", ["a.com/v0", "a.com/v1", "a.com/v01", "a.com/v2.0", "gopkg.in/x", "gopkg.in/x.v", "gopkg.in/v2"]
)
def test_split_invalid_path_version(path: str) -> None:
    assert module.split_path_version(path) == (path, "", False)


@pytest.mark.parametrize(
    ("major", "prefix"),
    [("", ""), ("/v2", "v2"), (".v2", "v2"), (".v2-unstable", "v2"), (".v0", "v0"), ("/v10", "v10")],
)
def test_path_major_prefix(major: str, prefix: str) -> None:
    assert module.path_major_prefix(major) == prefix


@pytest.mark.parametrize("major", [".v-unstable", "v2", "/x", "/v2.1", "/v02"])
def test_no_path_major(major: str) -> None:
    """Go panics here, and `gopkg.in/x.v-unstable` gets it there."""
    with pytest.raises(InvalidRequest):
        module.path_major_prefix(major)


@pytest.mark.parametrize(
    ("version", "major", "fault"),
    [
        ("v0.1.0", "", ""),
        ("v1.0.0", "", ""),
        ("v2.0.0+incompatible", "", ""),
        ("v2.0.0", "", "should be v0 or v1, not v2"),
        ("v2.0.0+incompatible.1", "", "should be v0 or v1, not v2"),
        ("v2.0.0", "/v2", ""),
        ("v2.0.0", "/v3", "should be v3, not v2"),
        ("v2.0.0", ".v2-unstable", ""),
        ("v0.0.0-20161208181325-20d25e280405", ".v1", ""),
        ("v0.0.0-20161208181325-20d25e280405", ".v1-unstable", ""),
        ("v0.0.0-20161208181325-20d25e280405", ".v2", "should be v2, not v0"),
        ("v0.0.0", ".v1", "should be v1, not v0"),
        ("main", "", "should be v0 or v1, not "),
    ],
)
def test_path_major_and_version(version: str, major: str, fault: str) -> None:
    assert module.match_path_major(version, major) == (not fault)
    if not fault:
        module.check_path_major(version, major)
        return
    with pytest.raises(InvalidRequest) as caught:
        module.check_path_major(version, major)
    assert caught.value.message == f'version "{version}" invalid: {fault}'


def test_check() -> None:
    module.check("a.com/x/v2", "v2.0.0")
    assert fault(module.check, "a.com/x", "v2.0.0") == "a.com/x@v2.0.0: invalid version: should be v0 or v1, not v2"
    assert fault(module.check, "a.com/x", "main") == "a.com/x@main: invalid version: not a semantic version"
    assert fault(module.check, "x", "v1.0.0") == 'malformed module path "x": missing dot in first path element'


def fault(function: Callable[..., object], *args: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        function(*args)
    return caught.value.message


@pytest.mark.parametrize(
    ("version", "canonical"),
    [
        ("v1", "v1.0.0"),
        ("v1.2.3+meta", "v1.2.3"),
        ("v2.0.0+incompatible", "v2.0.0+incompatible"),
        ("x", ""),
        ("v1.2.3-a+incompatible.1", "v1.2.3-a"),
        ("v2+incompatible", ""),
    ],
)
def test_canonical_version(version: str, canonical: str) -> None:
    assert module.canonical_version(version) == canonical


@pytest.mark.parametrize(
    ("globs", "target", "matched"),
    [
        ("*.corp.com", "a.b.corp.com/x", True),
        ("*.corp.com", "corp.com/x", False),
        ("*/quote", "example.com/quote/v2", True),
        ("*/quote", "example.com", False),
        ("a.com/x/", "a.com/x/y", True),
        ("a.com/x", "a.com/xy", False),
        ("[,a.com", "a.com", True),
        (" a.com", "a.com", False),
        (",,", "a.com", False),
        ("", "", False),
        ("a.{com,org}", "a.com", False),
        ("a.com/?", "a.com/x", True),
        ("a.com?x", "a.com/x", False),
        ("a.com[/]x", "a.com/x", True),
    ],
)
def test_match_prefix_patterns(globs: str, target: str, matched: bool) -> None:
    assert module.match_prefix_patterns(globs, target) is matched


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("abc", "abc"),
        ("*", ""),
        ("*c", "abc"),
        ("a*/b", "abc/b"),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
        ("ab[c]", "abc"),
        ("ab[b-d]", "abc"),
        ("ab[^e-g]", "abc"),
        ("a\\*b", "a*b"),
        ("a?b", "a☺b"),
        ("a[^a]b", "a☺b"),
        ("[a-ζ]*", "α"),
        ("[\\]a]", "]"),
        ("[x\\-]", "-"),
        ("*x", "xxx"),
        ("*??", "☺"),
        ("[^a]", "/"),
    ],
)
def test_match(pattern: str, name: str) -> None:
    assert glob.match(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("a*", "ab/c"),
        ("a*/b", "a/c/b"),
        ("ab[e-g]", "abc"),
        ("ab[^b-d]", "abc"),
        ("a???b", "a☺b"),
        ("*", "a/b"),
        ("[a-ζ]*", "A"),
        ("a?b", "a/b"),
        ("", "a"),
        ("a", ""),
        ("a*b", "a\nc"),
        ("\udcff*", "\ud800"),
    ],
)
def test_no_match(pattern: str, name: str) -> None:
    assert not glob.match(pattern, name)


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "a[]", "[\udcff]"]
)
def test_malformed_patterns_match_nothing(pattern: str) -> None:
    for name in ("", "]", "-", "x", "a", "ax", "[", "\\", "a["):
        assert not glob.match(pattern, name)


def test_stars_do_not_multiply() -> None:
    """Backtracking into earlier stars would take ages here."""
    assert not glob.match("*a" * 30 + "b", "a" * 2000)
