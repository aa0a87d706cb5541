"""T30, F11: whatever hostile text comes, twice as much of it takes about twice as long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import hostile
from tests.support.linear import Make, Work, assert_linear
from vcsproxy import logs
from vcsproxy.access import gitcredential, netrc
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Limits
from vcsproxy.errors import VCSProxyError
from vcsproxy.mod import glob, goimport, gosum, modfile, module, proxypath, pseudo, semver
from vcsproxy.vcs import attributes, pktline, transport
from vcsproxy.vcs.objects import Objects
from vcsproxy.vcs.wildmatch import Wildmatch
from vcsproxy.web import respond


def repeated(*pieces: str, start: str = "", end: str = "") -> list[tuple[str, Make]]:
    """Texts of each piece again and again."""
    return [(start + piece, lambda n, piece=piece: start + piece * (n // len(piece)) + end) for piece in pieces]


def in_bytes(cases: list[tuple[str, Make]]) -> list[tuple[str, Make]]:
    return [(name, lambda n, make=make: make(n).encode()) for name, make in cases]


PAGES = in_bytes([
    *repeated(
        "<!--", "<!", "<![", "<![CDATA[", "<", "</", "<a", "<a ", "<a b", "<a b=", "<a b='", '<a b="', "&", "&#", "&#x", "&lt",
        "<?", "<?xml ", "]]>", "-->", "<!DOCTYPE ", "<!-->", "<meta ", "<meta name=", "<a/>", "<a></a>", "<a>", "</a>", ">", '"',
        "<!'", '<!"', "<!<", "<meta name='go-import' content='a.test/x git https://a.test/x'>", "\n", "\t ", "é", "a:", "<a:b:c ",
    ),
    *repeated("x ", "x='y' ", "x=y ", "&amp;", "&amp", "<", "=", start="<meta name='go-import' "),
    *repeated("a ", "  ", "&#32;", start="<meta name='go-import' content='"),
    *repeated("<!--", "[", "<", "'", '"', start="<!DOCTYPE "),
])  # fmt: skip
GOMODS = in_bytes([
    *repeated(
        "(", ")", "require (\n", "\n", "\r", "\r\n", "//", "// x\n", "/*", '"', "`", "\\", ",", "=>", "=", "[", "]", "a ", "\t",
        "module x.test/y\n", "retract v1.0.0\n", "retract [v1.0.0, v1.1.0]\n", "require a.test/b v1.0.0\n", "// Deprecated: x\n",
        "replace a.test/b => ../b\n", "exclude a.test/b v1.0.0\n", "go 1.21\n", "x\n\n", "(\n)\n", 'module "x"\n', "require (\n)\n",
        "toolchain go1.21\n", "godebug a=b\n", "ignore ./x\n", "tool a.test/b\n", "é", "\0", "\ufeff",
    ),
    *repeated("a", '"', "\\x", "/", " ", "//", start="module "),
    *repeated("v1.0.0 ", "[", "v1.0.0, ", "// why\n", start="retract "),
    *repeated("\ta.test/b v1.0.0 // indirect\n", "\t// x\n", "\n", "\ta\n", start="require (\n"),
    *repeated("// x\n", "\n", "// Deprecated: y\n", end="module x.test/y\n"),
])  # fmt: skip
ATTRIBUTES = in_bytes([
    *repeated(
        "* export-ignore\n", "a ", '"', '"\\', "\\", "[attr]x a b c\n", "[attr]x x\n", "* x=y\n", "!a b\n", "-", "* -text\n", "\n",
        "#\n", "/", "a/b/c/d export-subst\n", "**/ x\n", "[", "[!", "\t", "\r\n", "*" * 50 + " text\n",
    ),
    *repeated("a ", "-a ", "!a ", "a=b ", "=", start="* "),
    *repeated("\\a", "\\001", "a", start='"'),
])  # fmt: skip
URLS = repeated(
    "a", "a.", "-", ":", "@", "/", "%41", "a@", "a:", "[", "]", "?", "#", "\\", "..", "é", "$A", " ",
    start="https://",
) + repeated("a", "a@", ":", "/", "a.", "-")  # fmt: skip
PATTERNS = repeated("*a", "?", "*", "[a-z]", "[!a]", "\\a", "**/", "[", "a", "*b", "[[:alpha:]]")


def attribute_lines(data: bytes) -> list[attributes.Line]:
    return list(attributes.parse(data, macros=True))


def all_of_gomod(data: bytes) -> None:
    for parse in (modfile.parse, modfile.parse_lax, modfile.module_path, modfile.go_mod_lookup_go):
        with suppress(VCSProxyError, ValueError):
            parse(data)


def page(data: bytes) -> None:
    imports = goimport.parse_meta(data)
    goimport.match(imports, "b.test/y")


def tags(text: str) -> None:
    respond.precondition('"x"', 0, respond.Asked(if_none_match=text))
    respond.precondition('"x"', 0, respond.Asked(if_match=text, if_modified_since=text, if_unmodified_since=text))
    respond.byte_range(text, 1000)


def packets(data: bytes) -> None:
    """One byte at a time, as slow hosts send them."""
    at = 0

    def read(_size: int) -> bytes:
        nonlocal at
        at += 1
        return data[at - 1 : at]

    reader = pktline.Reader(read)
    while at < len(data):
        reader.packet()


def error_body(text: str) -> None:
    respond.error_body(502, text, text, "id")
    logs.printable(logs.redact(text))
    pktline.readable(text.encode())


def a_url(text: str) -> None:
    for parse in (transport.parse_url, Prefix.parse):
        with suppress(VCSProxyError, ValueError):
            parse(text)
    goimport.check_root(goimport.MetaImport("a.test/x", "git", text))


def a_version(text: str) -> None:
    semver.is_valid(text)
    module.canonical_version(text)
    pseudo.is_pseudo_version(text)
    semver.compare(text, text + "1")


def a_path(text: str) -> None:
    with suppress(VCSProxyError):
        proxypath.parse(f"/{text}/@v/list")
    with suppress(VCSProxyError):
        proxypath.parse(f"/a.test/x/@v/{text}.info")
    module.check_path(text)


MIB = 1 << 20
PARSERS: dict[str, tuple[Work, list[tuple[str, Make]], int]] = {
    "goimport": (page, PAGES, 256 << 10),
    "modfile": (all_of_gomod, GOMODS, 16 * MIB),
    "attributes": (attribute_lines, ATTRIBUTES, 16 * MIB),
    "url": (a_url, URLS, 64 << 10),
    "gosum": (gosum.parse, repeated("a b c\n", "a ", "\n", "é", "\t", "a b h1:\n", "\u2028"), 16 * MIB),
    "netrc": (netrc.parse, repeated("machine a login b password c\n", "#", '"', '"\\', "machine ", "login a ", " ", "\n", "login #a ", "macdef x\n", start="machine a "), MIB),
    "credential": (gitcredential.parse, in_bytes(repeated("a=b\n", "=", "\n", "a", "password=x\n")), gitcredential.MAX_ANSWER),
    "headers": (tags, repeated('"', ",", " ", '"a",', "W/", '"a" ', "\t", "W/\"a\"", "*", "bytes=", "0-", "Sun, "), 8190),
    "pktline": (packets, in_bytes(repeated("0000", "0005x", "0004", "000dERR oops\n"[:9], "0001")), 4 * MIB),
    "texts": (error_body, repeated("\x1b", "\n", "\u202e", "://", "://a@", "a@", "\udcff".encode("utf-8", "replace").decode(), "x", "\t", "\u2028"), 4 * MIB),
    "version": (a_version, repeated("1", "1.", "v1.0.0-", "-", "+", ".", "0", "a.", start="v1.2.3-") + repeated("v", "1.", "-"), 64 << 10),
    "path": (a_path, repeated("a", "a/", "%41", "!a", "!", ".", "~", "%", "..", "a.", "é", "-"), 8 << 10),
}  # fmt: skip


def cases() -> list[Any]:
    return [
        pytest.param(parse, make, longest, id=f"{name}-{number}")
        for name, (parse, made, longest) in PARSERS.items()
        for number, (_, make) in enumerate(made)
    ]


@pytest.mark.parametrize(("parse", "make", "longest"), cases())
def test_T30_time_grows_with_the_text(parse: Work, make: Make, longest: int) -> None:
    assert_linear(parse, make, longest)


@pytest.mark.parametrize("piece", [b"<!--", b"<![", b"<!", b"<a ", b"&", b"<meta content='"])
def test_F11_a_page_at_its_longest(piece: bytes) -> None:
    """What took html.parser seconds, or made it raise AssertionError: a quarter of a MiB, read at once or refused in words."""
    data = piece * ((256 << 10) // len(piece))
    started = time.process_time()
    with suppress(goimport.GoImportError):
        assert goimport.parse_meta(data) == ()
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("pattern", [make(200) for _, make in PATTERNS])
def test_T30_patterns_over_long_names(pattern: str) -> None:
    """A pattern of attributes, of path.Match and of GOPRIVATE: one pass over the name, whatever the stars."""
    compiled = Wildmatch(pattern.encode())
    assert_linear(compiled.matches, lambda n: b"a" * n, MIB)
    assert_linear(compiled.matches, lambda n: b"a/" * (n // 2), MIB)
    assert_linear(lambda name: glob.match(pattern, name), lambda n: "a" * n, 1024)
    assert_linear(lambda name: module.match_prefix_patterns(pattern, name), lambda n: "a/" * (n // 2), 1024)


@pytest.mark.parametrize("piece", [make(30) for _, make in PATTERNS])
def test_T30_long_patterns(piece: str) -> None:
    """No longer than a path can be, as what is longer matches none."""
    assert_linear(lambda pattern: Wildmatch(pattern).matches(b"a" * 400), lambda n: (piece * (n // 20)).encode(), 4096)


@dataclass
class OneObject:
    """A shelf with a single object."""

    kind: int
    data: bytes
    hash_size: int = 20

    def read(self, oid: str) -> tuple[int, bytes] | None:
        return self.kind, self.data

    def whole(self, oid: str) -> tuple[int, bytes, bytes] | None:
        return self.kind, self.data, b""

    def __contains__(self, oid: str) -> bool:
        return True

    def with_prefix(self, prefix: str) -> Iterator[str]:
        return iter(())

    def close(self) -> None:
        """Nothing is open."""


TREES: dict[str, Make] = {
    "entries": lambda n: hostile.tree(*((b"100644", b"%07d" % i, bytes(20)) for i in range(n // 36))),
    "equal": lambda n: hostile.tree((b"100644", b"a", bytes(20))) * (n // 29),
    "long name": lambda n: hostile.tree((b"100644", b"a" * n, bytes(20))),
    "no space": lambda n: b"1" * n,
    "no zero": lambda n: b"100644 " + b"a" * n,
    "short hash": lambda n: hostile.tree((b"100644", b"a", b"x")) * (n // 10),
    "modes": lambda n: hostile.tree((b"0" * 30 + b"100644", b"a", bytes(20))) * (n // 60),
}
COMMITS: dict[str, Make] = {
    "parents": lambda n: hostile.commit(bytes(20), *([b"\1" * 20] * (n // 48))),
    "headers": lambda n: b"tree " + b"0" * 40 + b"\n" + b"x y\n" * (n // 4),
    "one line": lambda n: b"tree " + b"0" * 40 + b"\ncommitter " + b"> " * (n // 2),
    "long tree": lambda n: b"tree " + b"0" * n,
    "message": lambda n: hostile.commit(bytes(20), message=b"\n" * n),
    "no tree": lambda n: b"\n" * n,
}
TAGS: dict[str, Make] = {
    "headers": lambda n: b"object " + b"0" * 40 + b"\n" + b"type commit\n" * (n // 12),
    "long object": lambda n: b"object " + b"0" * n,
}


@pytest.mark.parametrize(("kind", "make"), [
    *(pytest.param(hostile.TREE, make, id=f"tree {name}") for name, make in TREES.items()),
    *(pytest.param(hostile.COMMIT, make, id=f"commit {name}") for name, make in COMMITS.items()),
    *(pytest.param(hostile.TAG, make, id=f"tag {name}") for name, make in TAGS.items()),
])  # fmt: skip
def test_T30_objects(kind: int, make: Make) -> None:
    """Raw trees, commits and tags, as a worker reads them."""

    def read(data: bytes) -> None:
        objects = Objects([OneObject(kind, data)], Limits())
        {hostile.TREE: objects.tree, hostile.COMMIT: objects.commit, hostile.TAG: objects.peel}[kind]("0" * 40)

    assert_linear(read, make, 8 * MIB)
