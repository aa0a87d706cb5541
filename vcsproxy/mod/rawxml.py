"""The start and end tags of a page, read as encoding/xml's RawToken does with Strict off. No HTML parser, no tree.

Go reads go-import pages with its lenient XML decoder, which accepts less than browsers do and stops at the first fault;
so this follows the decoder byte for byte. Each byte is looked at a fixed number of times.

Left out, because nobody can see it: text, comments and instructions are checked but not returned, and CR is not turned
into LF in attribute values.

Source: encoding/xml/xml.go (Decoder.rawToken, text, attrval, nsname, procInst), charsetReader of
cmd/go/internal/vcs/discovery.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from vcsproxy.mod import gotext, xmlnames


class XMLError(ValueError):
    """The decoder would stop here; the text is Go's."""


@dataclass(frozen=True, slots=True)
class StartTag:
    """`<name key=value ...>`; names without their name space, attributes in order, repeated ones too."""

    name: str
    attrs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class EndTag:
    """`</name>`, or the end of `<name/>`."""

    name: str


def raw_tags(page: bytes) -> Iterator[StartTag | EndTag]:
    """Yield the tags of a page in order; raises XMLError at the first fault."""
    return _Decoder(page).tags()


def _class(ranges: str) -> str:
    pairs = (entry.partition("-") for entry in ranges.split())
    return "".join(f"\\u{int(low, 16):04x}-\\u{int(high or low, 16):04x}" for low, _, high in pairs)


_SPACE = re.compile(rb"[ \r\n\t]*+")
_NAME = re.compile(rb"[A-Za-z0-9_:.\-\x80-\xff]*+")
_VALID_NAME = re.compile(f"[{_class(xmlnames.FIRST)}][{_class(xmlnames.FIRST)}{_class(xmlnames.OTHER)}]*+")
_BARE_VALUE = re.compile(rb"[A-Za-z0-9_:\-]*+")
_QUOTED_END = {b'"': re.compile(rb'["<]'), b"'": re.compile(rb"['<]")}
_ENTITY = re.compile(rb"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(lt|gt|amp|apos|quot));")
_CUT_ENTITY = re.compile(rb"&(?:#(?:x[0-9a-fA-F]*+|[0-9]*+)|[A-Za-z0-9_:.\-\x80-\xff]*+)\Z")
_ENTITIES = {b"lt": "<", b"gt": ">", b"amp": "&", b"apos": "'", b"quot": '"'}
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_DIRECTIVE_MARK = re.compile(rb"""['"<>]""")


class _Decoder:
    """One pass over `page`; `at` is the index of the first byte not read yet."""

    __slots__ = ("at", "page")

    def __init__(self, page: bytes) -> None:
        self.page = page
        self.at = 0

    def tags(self) -> Iterator[StartTag | EndTag]:
        while self.at < len(self.page):
            if self.page[self.at : self.at + 1] != b"<":
                self._text()
                continue
            self.at += 1
            mark = self._must_get()
            if mark == b"/":
                yield self._end_tag()
            elif mark == b"?":
                self._instruction()
            elif mark == b"!":
                self._declaration()
            else:
                self.at -= 1
                yield from self._start_tag()

    # --- bytes ---

    def _fail(self, message: str) -> NoReturn:
        line = self.page.count(b"\n", 0, self.at) + 1
        raise XMLError(f"XML syntax error on line {line}: {gotext.scrub(message)}")

    def _fail_at_end(self) -> NoReturn:
        self.at = len(self.page)
        self._fail("unexpected EOF")

    def _must_get(self) -> bytes:
        if self.at >= len(self.page):
            self._fail_at_end()
        self.at += 1
        return self.page[self.at - 1 : self.at]

    def _skip(self, pattern: re.Pattern[bytes]) -> bytes:
        """Read what `pattern`, which matches everywhere, matches here."""
        found = pattern.match(self.page, self.at)
        if found is None:
            return b""
        self.at = found.end()
        return found[0]

    def _skip_past(self, mark: bytes) -> int:
        """Read up to and with the next `mark`; the index where it begins."""
        start = self.page.find(mark, self.at)
        if start < 0:
            self._fail_at_end()
        self.at = start + len(mark)
        return start

    def _name(self, missing: str) -> str:
        """Read a name; `missing` is the complaint if there is none."""
        raw = self._skip(_NAME)
        if self.at >= len(self.page):
            self._fail_at_end()
        if not raw:
            self._fail(missing)
        name = gotext.decode(raw)
        if not _VALID_NAME.fullmatch(name):
            self._fail("invalid XML name: " + name)
        return name

    def _local_name(self, missing: str) -> str:
        """Read a name with at most one colon; the part behind it, if both sides have something."""
        name = self._name(missing)
        if name.count(":") > 1:
            self._fail(missing)
        space, _, local = name.partition(":")
        return local if space and local else name

    # --- text ---

    def _text(self) -> None:
        start = self.at
        end = self.page.find(b"<", start)
        self.at = len(self.page) if end < 0 else end
        stray = self.page.find(b"]]>", start, self.at)
        if stray >= 0:
            self.at = stray + 3
            self._fail("unescaped ]]> not in CDATA section")
        self._value(start, self.at)

    def _value(self, start: int, end: int) -> str:
        """Decode the entities of a piece of text and check its characters."""
        raw = self.page[start:end]
        last = raw.rfind(b"&")
        if last >= 0 and end == len(self.page) and _CUT_ENTITY.match(raw, last):
            self._fail_at_end()
        return self._checked(_ENTITY.sub(_entity_text, raw))

    def _checked(self, raw: bytes) -> str:
        text = gotext.decode(raw)
        bad = _ILLEGAL.search(text)
        if bad is not None:
            stray = "\udc80" <= bad[0] <= "\udcff"
            self._fail("invalid UTF-8" if stray else f"illegal character code U+{ord(bad[0]):04X}")
        return text

    # --- tags ---

    def _end_tag(self) -> EndTag:
        name = self._local_name("expected element name after </")
        self._skip(_SPACE)
        if self._must_get() != b">":
            self._fail(f"invalid characters between </{name} and >")
        return EndTag(name)

    def _start_tag(self) -> Iterator[StartTag | EndTag]:
        name = self._local_name("expected element name after <")
        attrs: list[tuple[str, str]] = []
        while True:
            self._skip(_SPACE)
            mark = self._must_get()
            if mark in (b">", b"/"):
                break
            self.at -= 1
            attrs.append(self._attribute())
        if mark == b"/" and self._must_get() != b">":
            self._fail("expected /> in element")
        yield StartTag(name, tuple(attrs))
        if mark == b"/":
            yield EndTag(name)

    def _attribute(self) -> tuple[str, str]:
        name = self._local_name("expected attribute name in element")
        self._skip(_SPACE)
        if self._must_get() != b"=":
            self.at -= 1
            return name, name
        self._skip(_SPACE)
        mark = self._must_get()
        if mark in _QUOTED_END:
            return name, self._quoted(mark)
        self.at -= 1
        bare = self._skip(_BARE_VALUE)
        if self.at >= len(self.page):
            self._fail_at_end()
        return name, bare.decode()

    def _quoted(self, mark: bytes) -> str:
        start = self.at
        found = _QUOTED_END[mark].search(self.page, start)
        if found is None:
            self.at = len(self.page)
            self._value(start, self.at)
            self._fail_at_end()
        self.at = found.end()
        if found[0] == b"<":
            self._fail("unescaped < inside quoted string")
        return self._value(start, self.at - 1)

    # --- <? and <! ---

    def _instruction(self) -> None:
        target = self._name("expected target name after <?")
        self._skip(_SPACE)
        start = self.at
        content = gotext.decode(self.page[start : self._skip_past(b"?>")])
        if target != "xml":
            return
        version = _parameter("version=", content)
        if version not in ("", "1.0"):
            raise XMLError(f"xml: unsupported version {_go_quote(version)}; only version 1.0 is supported")
        encoding = _parameter("encoding=", content)
        if encoding.lower() not in ("", "utf-8", "ascii"):
            what = _go_quote(encoding)
            raise XMLError(f"xml: opening charset {what}: can't decode XML document using charset {what}")

    def _declaration(self) -> None:
        mark = self._must_get()
        if mark == b"-":
            if self._must_get() != b"-":
                self._fail("invalid sequence <!- not part of <!--")
            self._skip_past(b"--")
            if self._must_get() != b">":
                self._fail('invalid sequence "--" not allowed in comments')
        elif mark == b"[":
            for want in (b"C", b"D", b"A", b"T", b"A", b"["):
                if self._must_get() != want:
                    self._fail("invalid <![ sequence")
            self._cdata()
        else:
            self._directive()

    def _cdata(self) -> None:
        start = self.at
        end = self.page.find(b"]]>", start)
        if end < 0:
            self.at = len(self.page)
            self._fail("unexpected EOF in CDATA section")
        self.at = end + 3
        self._checked(self.page[start:end])

    def _directive(self) -> None:
        """Skip to the closing `>`, past quoted text, nested `<...>` and comments."""
        depth = 0
        while True:
            found = _DIRECTIVE_MARK.search(self.page, self.at)
            if found is None:
                self._fail_at_end()
            self.at = found.end()
            if found[0] in (b"'", b'"'):
                self._skip_past(found[0])
            elif found[0] == b">":
                if depth == 0:
                    return
                depth -= 1
            elif self.page.startswith(b"!--", self.at):
                self.at += 3
                self._skip_past(b"-->")
            else:
                depth += 1


def _go_quote(text: str) -> str:
    return gotext.scrub(gotext.quote(text))


def _entity_text(found: re.Match[bytes]) -> bytes:
    """What an entity stands for; itself if it is no character."""
    if found[3]:
        return _ENTITIES[found[3]].encode()
    digits, base = (found[1], 16) if found[1] else (found[2], 10)
    digits = digits.lstrip(b"0") or b"0"
    code = int(digits, base) if len(digits) < 10 else 0x110000
    if code > 0x10FFFF:
        return found[0]
    return ("\ufffd" if 0xD800 <= code < 0xE000 else chr(code)).encode()


def _parameter(param: str, content: str) -> str:
    """The quoted value behind the first `param` that is followed by a quote, or ""."""
    at = content.find(param)
    while at >= 0:
        at += len(param)
        mark = content[at : at + 1]
        if mark in ("'", '"'):
            return content[at + 1 :].partition(mark)[0] if mark in content[at + 1 :] else ""
        at = content.find(param, at + 1)
    return ""
