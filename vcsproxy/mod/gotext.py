"""Go's notions of text where Python's differ: white space, printable characters, quoted strings.

Text is `str` decoded with `decode`: bytes that are no UTF-8 are kept as surrogate escapes, one a byte, just as Go steps
over them one by one. `scrub` makes such text fit for messages.

Source: strings.TrimSpace, strings.Fields, unicode.IsPrint, strconv.Quote, strconv.Unquote.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from vcsproxy.mod.printable import PRINTABLE_RANGES

SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

_ESCAPE = re.compile(
    r"""\\(?:(?P<simple>[abfnrtv\\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})"""
    r"""|u(?P<rune>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"""
)
_PLAIN = re.compile(r'[^"\\\n]+')
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_NAMED = {char: "\\" + name for name, char in _SIMPLE.items()}
_NOT_BLANK = re.compile(f"[^{SPACE}]+")
_STRAY = re.compile("[\udc80-\udcff]")


def decode(data: bytes) -> str:
    """Bytes as text; a byte that is no UTF-8 becomes one surrogate escape."""
    return data.decode("utf-8", "surrogateescape")


def scrub(text: str) -> str:
    """The text with U+FFFD for each surrogate escape, so that it can be encoded."""
    return _STRAY.sub("\ufffd", text)


def trim(text: str) -> str:
    """strings.TrimSpace."""
    return text.strip(SPACE)


def fields(text: str) -> list[str]:
    """strings.Fields."""
    return _NOT_BLANK.findall(text)


def _read_ranges(table: str) -> list[tuple[int, int]]:
    pairs = (entry.partition("-") for entry in table.split())
    return [(int(low, 16), int(high or low, 16)) for low, _, high in pairs]


_RANGES = _read_ranges(PRINTABLE_RANGES)
_STARTS = [low for low, _ in _RANGES]
PRINTABLE_CLASS = "".join(f"{chr(low)}-{chr(high)}" for low, high in _RANGES)
"""The printable characters from U+0080 on, as the inside of a regular expression's character class."""


def is_print(char: str) -> bool:
    """unicode.IsPrint for one character; of all white space only the ASCII blank is printable."""
    if char < "\x7f":
        return char >= " "
    at = bisect_right(_STARTS, ord(char)) - 1
    return at >= 0 and ord(char) <= _RANGES[at][1]


def quote(text: str) -> str:
    """strconv.Quote."""
    return '"' + "".join(_escape(char, '"') for char in text) + '"'


def quote_rune(char: str) -> str:
    """strconv.QuoteRune for one character."""
    return "'" + _escape(char, "'") + "'"


def _escape(char: str, mark: str) -> str:
    code = ord(char)
    if char in (mark, "\\"):
        return "\\" + char
    if is_print(char):
        return char
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if _STRAY.match(char):
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(text: str) -> str:
    """strconv.Unquote for text in double quotes or backquotes; ValueError with Go's text if it is malformed."""
    if len(text) < 2 or text[0] not in '"`' or text[-1] != text[0]:
        raise ValueError("invalid syntax")
    inside = text[1:-1]
    if text[0] == '"':
        return _unescape(inside)
    if "`" in inside:
        raise ValueError("invalid syntax")
    return inside.replace("\r", "")


def _unescape(inside: str) -> str:
    out = bytearray()
    at = 0
    while at < len(inside):
        plain = _PLAIN.match(inside, at)
        if plain is not None:
            out += scrub(plain[0]).encode()
            at = plain.end()
            continue
        escape = _ESCAPE.match(inside, at)
        if escape is None:
            raise ValueError("invalid syntax")
        out += _escaped_bytes(escape)
        at = escape.end()
    return decode(bytes(out))


def _escaped_bytes(escape: re.Match[str]) -> bytes:
    if escape["simple"]:
        return _SIMPLE[escape["simple"]].encode()
    if escape["byte"] or escape["octal"]:
        code = int(escape["byte"], 16) if escape["byte"] else int(escape["octal"], 8)
        if code > 0xFF:
            raise ValueError("invalid syntax")
        return bytes([code])
    code = int(escape["rune"] or escape["long"], 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError("invalid syntax")
    return chr(code).encode()
