"""Which attributes a commit's own `.gitattributes` files give to its files, as `git archive` of that commit sees them.

Only the attributes that change a file's content are kept (`Attributes`). There is no system, user or info/attributes
file here; the one Go writes (`* -export-subst -export-ignore`) names none of these attributes. Nothing is matched
against directories: a pattern that ends in a slash can only ever match one.

`git archive` reads the files out of an index that it made of the whole tree. Hence the root's file counts when only a
directory is archived, a symbolic link named `.gitattributes` is read as if its target were the file's text, a NUL ends
a file, and no byte order mark is skipped.

Theory of operation: lines become rules; lines that can touch none of the wanted attributes, not even through a macro,
are dropped while reading. The rules of the directories from the root to the last file asked for are kept in a stack of
frames, strongest first, each pattern already advanced over the directory's path, so that a file costs one match of its
base name a rule. Paths in tree order meet every directory once; any other order gives the same answers, more slowly.

Source: gitattributes(5); behaviour verified against git 2.39 (which, unlike 2.41 and later, has no reserved names).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vcsproxy.vcs.wildmatch import Progress, Wildmatch, literal_length

MAX_LINE = 2048  # a line of this many bytes or more is ignored
MAX_FILE = 100 << 20  # a file of this many bytes or more is ignored


class State(enum.Enum):
    """What a file says of an attribute, other than `attr=value`."""

    SET = "set"
    UNSET = "unset"
    UNSPECIFIED = "unspecified"


Value = State | bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one file that conversion needs; bytes is the value of `attr=value`, possibly empty."""

    text: Value = State.UNSPECIFIED
    crlf: Value = State.UNSPECIFIED
    eol: Value = State.UNSPECIFIED
    ident: Value = State.UNSPECIFIED
    working_tree_encoding: Value = State.UNSPECIFIED
    filter: Value = State.UNSPECIFIED


NONE = Attributes()

_Settings = tuple[tuple[bytes, Value], ...]

_WANTED = {name.replace("_", "-").encode(): name for name in Attributes.__slots__}
_MACRO = b"[attr]"
_BUILTIN_MACROS: Mapping[bytes, _Settings] = {
    b"binary": ((b"diff", State.UNSET), (b"merge", State.UNSET), (b"text", State.UNSET))
}
_BLANK = b" \t\r\n"
_BLANKS = re.compile(rb"[ \t\r\n]+")
_NAME = re.compile(rb"[A-Za-z0-9_.][-A-Za-z0-9_.]*")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\(?:[abfnrtv"\\]|[0-3][0-7][0-7]))*)"')
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True, slots=True)
class Line:
    """One valid line: `pattern` as written (unquoted), or the `macro` that it defines, and what it sets, in order."""

    pattern: bytes
    macro: bytes
    settings: _Settings


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """One line with a pattern that can match a file. Exactly one of `name`, `tail` and `glob` is used.

    `anchored` rules match the path below the directory of their file, the others the base name alone.
    """

    settings: _Settings
    name: bytes | None = None
    tail: bytes | None = None
    glob: Wildmatch | None = None
    anchored: bool = False


_Live = tuple[_Rule, Progress | None]  # a rule and how far its glob has come at some directory


@dataclass(frozen=True, slots=True)
class _Frame:
    """`prefix` is empty or a directory with a slash behind it; `live` has the strongest rule first."""

    prefix: bytes
    live: tuple[_Live, ...]
    anchored: bool


class AttributeStack:
    """The attributes of one commit's files.

    `read(directory)` returns the bytes of the blob `.gitattributes` in that directory (b"" is the root, else a path
    without a slash at its end), whether it is a regular file or a symbolic link, or None when there is no such blob. It
    may be asked for the same directory again. What it raises comes out of `lookup`.
    """

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        self._read = read
        root = list(parse(read(b"") or b"", macros=True))
        self._macros = _useful_macros(root)
        self._stack = [self._frame(b"", root, ())]
        self._resolve = lru_cache(maxsize=1024)(self._resolve_rules)

    def lookup(self, path: bytes) -> Attributes:
        """The attributes of the file at `path`, from the repository's root, without a leading slash."""
        cut = path.rfind(b"/") + 1
        if self._stack[-1].prefix != path[:cut]:
            self._enter(path[:cut])
        name = path[cut:]
        matched = [rule for rule, progress in self._stack[-1].live if _matches(rule, progress, name)]
        return self._resolve(*matched) if matched else NONE

    def _enter(self, prefix: bytes) -> None:
        """Make the frame of directory `prefix` the top of the stack; the root's frame is never taken off."""
        while not prefix.startswith(self._stack[-1].prefix):
            self._stack.pop()
        while (top := self._stack[-1]).prefix != prefix:
            start = len(top.prefix)
            end = prefix.index(b"/", start) + 1
            lines = list(parse(self._read(prefix[: end - 1]) or b"", macros=False))
            inherited = tuple(_advance(top.live, prefix[start:end])) if top.anchored else top.live
            self._stack.append(self._frame(prefix[:end], lines, inherited))

    def _frame(self, prefix: bytes, lines: list[Line], inherited: tuple[_Live, ...]) -> _Frame:
        rules = (self._rule(line) for line in reversed(lines))
        own = tuple((rule, rule.glob.start if rule.glob else None) for rule in rules if rule)
        live = own + inherited if own else inherited
        return _Frame(prefix, live, any(rule.anchored for rule, _ in live))

    def _rule(self, line: Line) -> _Rule | None:
        settings = tuple(setting for setting in line.settings if setting[0] in self._macros or setting[0] in _WANTED)
        pattern = line.pattern
        if line.macro or not settings or pattern.endswith(b"/"):
            return None
        if b"/" in pattern:
            return _Rule(settings, glob=Wildmatch(pattern.removeprefix(b"/")), anchored=True)
        if literal_length(pattern) == len(pattern):
            return _Rule(settings, name=pattern)
        if pattern.startswith(b"*") and literal_length(pattern[1:]) == len(pattern) - 1:
            return _Rule(settings, tail=pattern[1:])
        return _Rule(settings, glob=Wildmatch(pattern))

    def _resolve_rules(self, *rules: _Rule) -> Attributes:
        """What these matching rules, strongest first, add up to: the first to speak of an attribute decides it.

        A macro that is set decides its attributes at once, before the settings left of it on the line are read.
        """
        decided: dict[bytes, Value] = {}
        for rule in rules:
            todo = list(rule.settings)
            while todo:
                name, value = todo.pop()
                if name not in decided:
                    decided[name] = value
                    if value is State.SET:
                        todo.extend(self._macros.get(name, ()))
        return Attributes(**{field: decided[name] for name, field in _WANTED.items() if name in decided})


def _matches(rule: _Rule, progress: Progress | None, name: bytes) -> bool:
    if rule.tail is not None:
        return name.endswith(rule.tail)
    if rule.glob is None or progress is None:
        return name == rule.name
    return rule.glob.feed(progress, name).accepting


def _advance(live: Iterable[_Live], step: bytes) -> Iterator[_Live]:
    """The rules that can still match below directory `step` (with its slash) of the directory that `live` is for."""
    for rule, progress in live:
        if rule.anchored and rule.glob and progress:
            after = rule.glob.feed(progress, step)
            if not after.dead:
                yield rule, after
        else:
            yield rule, progress


def _useful_macros(lines: Iterable[Line]) -> Mapping[bytes, _Settings]:
    """Macros, the last definition of each, that set a wanted attribute themselves or through other macros."""
    macros = {**_BUILTIN_MACROS, **{line.macro: line.settings for line in lines if line.macro}}
    users: dict[bytes, list[bytes]] = {}
    for macro, settings in macros.items():
        for name, _ in settings:
            users.setdefault(name, []).append(macro)
    useful: set[bytes] = set()
    todo = list(_WANTED)
    while todo:
        for macro in users.get(todo.pop(), ()):
            if macro not in useful:
                useful.add(macro)
                todo.append(macro)
    kept = useful | _WANTED.keys()
    return {macro: tuple(s for s in macros[macro] if s[0] in kept) for macro in useful}


def parse(data: bytes, *, macros: bool) -> Iterator[Line]:
    """The valid lines of one file. Git skips every other line with a warning; so does this, without one.

    Macros are only allowed in the root's file.
    """
    if len(data) >= MAX_FILE:
        return
    for raw in data.partition(b"\0")[0].split(b"\n"):
        text = raw.lstrip(_BLANK)
        if text and not text.startswith(b"#") and len(raw) < MAX_LINE:
            line = _parse_line(text)
            if line is not None and (macros or not line.macro):
                yield line


def _parse_line(text: bytes) -> Line | None:
    quoted = _QUOTED.match(text)
    if quoted:
        pattern, rest = _ESCAPE.sub(_unescape, quoted[1]), text[quoted.end() :]
    else:
        parts = _BLANKS.split(text, maxsplit=1)
        pattern, rest = parts[0], parts[1] if len(parts) == 2 else b""
    macro = b""
    if len(pattern) > len(_MACRO) and pattern.startswith(_MACRO):
        macro = _BLANKS.split(pattern[len(_MACRO) :].lstrip(_BLANK), maxsplit=1)[0].partition(b"\0")[0]
        if not _NAME.fullmatch(macro):
            return None
    settings = [_parse_setting(word) for word in _BLANKS.split(rest) if word]
    if any(setting is None for setting in settings) or (not macro and pattern.startswith(b"!")):
        return None
    return Line(pattern.partition(b"\0")[0], macro, tuple(setting for setting in settings if setting))


def _parse_setting(word: bytes) -> tuple[bytes, Value] | None:
    name, equals, value = word.partition(b"=")
    setting: Value = value if equals else State.SET
    if name[:1] in (b"-", b"!"):
        setting = State.UNSET if name[:1] == b"-" else State.UNSPECIFIED
        name = name[1:]
    return (name, setting) if _NAME.fullmatch(name) else None


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes((int(escape, 8),)) if len(escape) == 3 else _ESCAPED.get(escape, escape)
