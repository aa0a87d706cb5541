"""Go's path.Match, in time that no pattern can blow up.

Source: path.Match of the Go library.
"""

from __future__ import annotations

from dataclasses import dataclass


def match(pattern: str, name: str) -> bool:
    """path.Match, False for a malformed pattern; at most len(pattern) * len(name) steps.

    As in Go the operators see characters, stars and literals see bytes.
    """
    try:
        chunks = _compile(pattern.encode("utf-8", "surrogateescape"))
        text = name.encode("utf-8", "surrogateescape")
    except ValueError:
        return False
    at = 0
    for index, chunk in enumerate(chunks):
        last = index == len(chunks) - 1
        if last and chunk.star and not chunk.steps:
            return b"/" not in text[at:]
        end = _find(chunk, text, at, last=last)
        if end < 0:
            return False
        at = end
    return at == len(text)


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator: a byte, a character (`any`), or a class of characters."""

    byte: int = -1
    ranges: tuple[tuple[int, int], ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Steps without a star, and whether a star stands before them."""

    star: bool
    steps: tuple[_Step, ...]


_ANY = _Step()


def _compile(pattern: bytes) -> list[_Chunk]:
    """Raises ValueError for a malformed pattern."""
    chunks = []
    while pattern:
        body = pattern.lstrip(b"*")
        end = _chunk_end(body)
        chunks.append(_Chunk(len(body) < len(pattern), tuple(_steps(body[:end]))))
        pattern = body[end:]
    return chunks


def _chunk_end(body: bytes) -> int:
    """Where the next star is that is neither escaped nor inside brackets."""
    in_range, at = False, 0
    while at < len(body):
        mark = body[at : at + 1]
        if mark == b"*" and not in_range:
            return at
        if mark in b"[]":
            in_range = mark == b"["
        at += 2 if mark == b"\\" else 1
    return len(body)


def _steps(body: bytes) -> list[_Step]:
    steps, at = [], 0
    while at < len(body):
        mark = body[at : at + 1]
        if mark == b"[":
            step, at = _class(body, at + 1)
            steps.append(step)
            continue
        if mark == b"?":
            steps.append(_ANY)
        else:
            at += mark == b"\\"
            if at == len(body):
                raise ValueError("pattern ends in a backslash")
            steps.append(_Step(byte=body[at]))
        at += 1
    return steps


def _class(body: bytes, at: int) -> tuple[_Step, int]:
    """The class that starts behind `[`, and where it ends."""
    negated = body[at : at + 1] == b"^"
    at += negated
    ranges: list[tuple[int, int]] = []
    while not ranges or body[at : at + 1] != b"]":
        low, at = _class_char(body, at)
        high = low
        if body[at : at + 1] == b"-":
            high, at = _class_char(body, at + 1)
        ranges.append((low, high))
    return _Step(ranges=tuple(ranges), negated=negated), at + 1


def _class_char(body: bytes, at: int) -> tuple[int, int]:
    """One character of a class, which something has to follow."""
    if body[at : at + 1] in (b"", b"-", b"]"):
        raise ValueError("empty range")
    at += body[at : at + 1] == b"\\"
    rune, width = _rune(body, at)
    if width == 0 or at + width == len(body) or (rune == _REPLACEMENT and width == 1):
        raise ValueError("unfinished class")
    return rune, at + width


_REPLACEMENT = 0xFFFD


def _rune(text: bytes, at: int) -> tuple[int, int]:
    """(code point, bytes) at a position; U+FFFD and 1 for a byte that begins no character; 0 bytes at the end."""
    for width in range(1, 5):
        piece = text[at : at + width]
        if len(piece) < width:
            break
        try:
            return ord(piece.decode()), width
        except UnicodeDecodeError:
            continue
    return _REPLACEMENT, min(1, len(text) - at)


def _find(chunk: _Chunk, text: bytes, at: int, *, last: bool) -> int:
    """Where the first match of a chunk ends, -1 without one; a star skips anything but a slash."""
    while True:
        end = _match_chunk(chunk, text, at)
        if end >= 0 and (not last or end == len(text)):
            return end
        if not chunk.star or at >= len(text) or text[at : at + 1] == b"/":
            return -1
        at += 1


def _match_chunk(chunk: _Chunk, text: bytes, at: int) -> int:
    for step in chunk.steps:
        if at >= len(text):
            return -1
        if step.byte >= 0:
            if text[at] != step.byte:
                return -1
            at += 1
            continue
        rune, width = _rune(text, at)
        if step is _ANY:
            fits = text[at : at + 1] != b"/"
        else:
            fits = any(low <= rune <= high for low, high in step.ranges) != step.negated
        if not fits:
            return -1
        at += width
    return at
