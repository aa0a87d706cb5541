"""Git's path patterns (`*`, `?`, `[...]`, `**`) against bytes, in time linear in the text whatever the pattern.

A pattern becomes a row of tokens, and a set of positions in that row is the bits of one integer; sets that were met are
kept with their successors, so that a match costs one dictionary look-up a byte. There is no backtracking and no
recursion. Case matters. Not here: `!`, trailing slashes, quoting and where a pattern is anchored (see `attributes`).

Source: gitattributes(5) and gitignore(5), PATTERN FORMAT; behaviour verified against git 2.39.
"""

from __future__ import annotations

import re

_SLASH = 0x2F
_SPECIAL = b"*?[\\"
_GLOBSTAR_AGAIN = re.compile(rb"/\*\*+(?=/)")
_MAX_MOVES = 4096  # remembered moves a pattern; a hostile one forgets and starts again instead of filling the memory

_ALNUM = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_GRAPH = frozenset(range(0x21, 0x7F))
_CLASSES = {
    b"alnum": frozenset(_ALNUM),
    b"alpha": frozenset(_ALNUM[10:]),
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset((*range(32), 127)),
    b"digit": frozenset(_ALNUM[:10]),
    b"graph": _GRAPH,
    b"lower": frozenset(_ALNUM[36:]),
    b"print": _GRAPH | {0x20},
    b"punct": _GRAPH - frozenset(_ALNUM),
    b"space": frozenset(b" \t\n\r"),
    b"upper": frozenset(_ALNUM[10:36]),
    b"xdigit": frozenset(_ALNUM[:16] + b"abcdef"),
}


class _NeverMatchesError(Exception):
    """The pattern is malformed; git lets such a pattern match nothing."""


class Progress:
    """How far a pattern has come on some text. `dead`: no more text can make it match. Compare by identity only."""

    __slots__ = ("accepting", "dead", "moves", "positions")

    def __init__(self, positions: int, accepting: bool) -> None:
        self.positions = positions
        self.accepting = accepting
        self.dead = positions == 0
        self.moves: dict[int, Progress] = {}


class Wildmatch:
    """One compiled pattern. `feed(start, text).accepting` says whether it matches all of text.

    Text may be fed in pieces and a Progress used again, so that the common beginning of many paths is read once.
    A `**` at the very beginning of `pattern` or after its literal beginning counts as a whole path component.
    """

    __slots__ = ("_any_byte", "_classes", "_end", "_entries", "_globstars", "_known", "_moves", "_stars", "start")

    def __init__(self, pattern: bytes) -> None:
        self._classes = [0] * 256  # byte -> tokens that take it, besides those of _any_byte
        self._any_byte = self._stars = self._globstars = self._entries = 0
        self._end = 0
        self._known: dict[int, Progress] = {}
        self._moves = 0
        try:
            self._compile(pattern)
        except _NeverMatchesError:
            self.start = self._progress(0)
        else:
            self.start = self._progress(self._closure(1))

    def feed(self, progress: Progress, text: bytes) -> Progress:
        """Where the pattern stands after `text`, given where it stood before."""
        for byte in text:
            progress = progress.moves.get(byte) or self._move(progress, byte)
            if progress.dead:
                break
        return progress

    def matches(self, text: bytes) -> bool:
        return self.feed(self.start, text).accepting

    def _progress(self, positions: int) -> Progress:
        known = self._known.get(positions)
        if known is None:
            known = self._known[positions] = Progress(positions, bool(positions >> self._end & 1))
        return known

    def _move(self, progress: Progress, byte: int) -> Progress:
        if self._moves >= _MAX_MOVES:
            for old in self._known.values():
                old.moves = {}
            self._known.clear()
            self._moves = 0
        positions = progress.positions
        takes, stays = self._classes[byte], self._globstars
        if byte != _SLASH:
            takes |= self._any_byte
            stays |= self._stars
        after = self._progress(self._closure((positions & takes) << 1 | positions & stays))
        progress.moves[byte] = after
        self._moves += 1
        return after

    def _closure(self, positions: int) -> int:
        """Add the positions that cost no byte: a star may be empty, `**/` may be nothing at all (an entry jumps it).

        One round is enough: an entry never follows a star, and no entry or star follows its own kind.
        """
        entries = positions & self._entries
        positions |= entries << 1 | entries << 3
        return positions | (positions & (self._stars | self._globstars)) << 1

    def _compile(self, pattern: bytes) -> None:
        at = literal_length(pattern)
        for byte in pattern[:at]:
            self._take(byte)
        rest, at = pattern[at:], 0
        while at < len(rest):
            byte = rest[at]
            if byte == 0x2A:
                at = self._star(rest, at)
                continue
            at += 1
            if byte == 0x3F:
                self._any_byte |= 1 << self._end
                self._end += 1
            elif byte == 0x5B:
                at = self._bracket(rest, at)
            elif byte == 0x5C:
                self._take(_at(rest, at))
                at += 1
            else:
                self._take(byte)

    def _take(self, *members: int) -> None:
        for byte in members:
            self._classes[byte] |= 1 << self._end
        self._end += 1

    def _star(self, text: bytes, at: int) -> int:
        first = at
        while text[at : at + 1] == b"*":
            at += 1
        component = at - first > 1 and (first == 0 or text[first - 1] == _SLASH)
        if not (component and (at == len(text) or text.startswith((b"/", b"\\/"), at))):
            self._stars |= 1 << self._end
            self._end += 1
            return at
        if text.startswith(b"/", at):
            while again := _GLOBSTAR_AGAIN.match(text, at):  # "**/**/" says no more than "**/"
                at = again.end()
            self._entries |= 1 << self._end
            self._end += 1
        self._globstars |= 1 << self._end
        self._end += 1
        return at

    def _bracket(self, text: bytes, at: int) -> int:
        """The class that opens before `at`; returns the index behind its `]`. A class never takes a slash."""
        negated = text[at : at + 1] in (b"!", b"^")
        if negated:
            at += 1
        members: set[int] = set()
        previous = None
        first = at
        while (byte := _at(text, at)) != 0x5D or at == first:
            if byte == 0x2D and previous is not None and _at(text, at + 1) != 0x5D:
                at += 1
                if (last := _at(text, at)) == 0x5C:
                    at += 1
                    last = _at(text, at)
                members.update(range(previous, last + 1))
                previous = None
            elif byte == 0x5B and text[at + 1 : at + 2] == b":" and (named := _named_class(text, at + 2)):
                members |= _CLASSES[named]
                at += len(named) + 3
                previous = None
            else:
                if byte == 0x5C:
                    at += 1
                    byte = _at(text, at)
                members.add(byte)
                previous = byte
            at += 1
        taken = set(range(256)) - members if negated else members
        self._take(*(taken - {_SLASH}))
        return at + 1


def literal_length(pattern: bytes) -> int:
    """How many bytes come before the first `*`, `?`, `[` or backslash."""
    return next((at for at, byte in enumerate(pattern) if byte in _SPECIAL), len(pattern))


def _at(text: bytes, at: int) -> int:
    if at >= len(text):
        raise _NeverMatchesError
    return text[at]


def _named_class(text: bytes, at: int) -> bytes:
    """The name in `[:name:]` whose first letter is at `at`; empty when this is no such class but a plain `[`."""
    close = text.find(b"]", at)
    if close < 0:
        raise _NeverMatchesError
    if close == at or text[close - 1] != 0x3A:
        return b""
    name = text[at : close - 1]
    if name not in _CLASSES:
        raise _NeverMatchesError
    return name
