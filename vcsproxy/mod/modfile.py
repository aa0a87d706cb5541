"""go.mod files: the module path, and what each directive says. It reads; it never writes one but the stand-in for none.

go.work files have directives of the same kinds: `workfile` reads them with `Grammar`, `Draft` and `read_directives`.

`module_path` is the quick look that decides whether a directory is the module; `parse_lax` is how Go reads the go.mod
file of a dependency; `parse` is how it reads that of the main module. All take the raw bytes of the file. Bytes that
are no UTF-8 come back as surrogate escapes (see `gotext.decode`).

Source: golang.org/x/mod/modfile (read.go: ModulePath; rule.go: Parse, ParseLax), cmd/go/internal/gover (GoModLookup),
cmd/go/internal/modfetch/coderepo.go (legacyGoMod); specification section 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vcsproxy.mod import gotext, semver
from vcsproxy.mod.modargs import (
    BadDirective,
    interval,
    only_argument,
    path_and_version,
    replacement,
    string_argument,
)
from vcsproxy.mod.modlex import Block, Line, Position, SyntaxFault, parse_syntax

MAX_FAULTS = 100
"""How many faults of one file are kept; Go keeps all."""


class Fault(NamedTuple):
    """One thing wrong with a go.mod or go.work file; line and column count from 1."""

    line: int
    message: str
    column: int = 1
    file: str = "go.mod"

    def __str__(self) -> str:
        column = f":{self.column}" if self.column > 1 else ""
        return f"{self.file}:{self.line}{column}: {self.message}"


class ModFileError(ValueError):
    """A go.mod or go.work file that cannot be read; the text is Go's, one line a fault, and can always be encoded."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(fault._replace(message=gotext.scrub(fault.message)) for fault in faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Require:
    """A required module; `indirect` if the line ends in `// indirect`."""

    path: str
    version: str
    indirect: bool = False


@dataclass(frozen=True, slots=True)
class Exclude:
    """A version that the main module does not want."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Replace:
    """`old_version` is "" for all versions; `new_version` is "" if `new_path` is a directory."""

    old_path: str
    old_version: str
    new_path: str
    new_version: str


@dataclass(frozen=True, slots=True)
class Retract:
    """A closed interval of retracted versions, not checked for being versions, and the comments on it."""

    low: str
    high: str
    rationale: str = ""


@dataclass(frozen=True, slots=True)
class GoMod:
    """A go.mod file; "" and () for what it does not say. After `parse_lax` only lax directives are filled in."""

    module: str = ""
    go: str = ""
    toolchain: str = ""
    require: tuple[Require, ...] = ()
    replace: tuple[Replace, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    retract: tuple[Retract, ...] = ()
    tool: tuple[str, ...] = ()
    godebug: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    deprecated: str = ""


def parse(data: bytes) -> GoMod:
    """Read a go.mod file as that of the main module (modfile.Parse); raises ModFileError with every fault."""
    return _parse(data, _STRICT)


def parse_lax(data: bytes) -> GoMod:
    """Read a go.mod file as that of a dependency (modfile.ParseLax); raises ModFileError with every fault.

    Only module, go, require, retract and ignore count; other directives, and faulty retractions, are passed over.
    """
    return _parse(data, _LENIENT)


# --- looks at single lines ---

_BLANK = rb"(?:[\t\v\f\r ]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)"
_MODULE_LINE = re.compile(rb"^" + _BLANK + rb"*+module", re.MULTILINE)
_GO_LINE = re.compile(rb"^" + _BLANK + rb"*+go[ \t]", re.MULTILINE)


def module_path(data: bytes) -> str:
    """The path of the first line that looks like a module directive, or "" (modfile.ModulePath).

    This knows no grammar: `module (` has the path "(". A quoted path that is malformed gives "".
    """
    for line in _lines(_MODULE_LINE, data):
        rest = gotext.trim(line.partition("//")[0])[len("module") :]
        path = gotext.trim(rest)
        if not path or path == rest:
            continue
        if path[0] not in '"`':
            return path
        try:
            return gotext.unquote(path)
        except ValueError:
            return ""
    return ""


def go_mod_lookup_go(data: bytes) -> str:
    """The version of the first `go` line, not checked and quotes kept, or "" (gover.GoModLookup for "go")."""
    for line in _lines(_GO_LINE, data):
        text = gotext.trim(line)
        if text.startswith(("go ", "go\t")):
            return gotext.trim(text[len("go") :].partition("//")[0])
    return ""


def _lines(start: re.Pattern[bytes], data: bytes) -> Iterator[str]:
    """Each line that begins with `start`, without its line end."""
    at = 0
    while found := start.search(data, at):
        at = data.find(b"\n", found.end())
        if at < 0:
            at = len(data)
        yield gotext.decode(data[found.start() : at])


def legacy_gomod(path: str) -> bytes:
    """The go.mod file of a module that has none."""
    return f"module {path}\n".encode()


def retracted(intervals: Iterable[Retract], version: str) -> bool:
    """Report whether some interval contains `version`; what is no version sorts below every version."""
    return any(
        semver.compare(interval.low, version) <= 0 <= semver.compare(interval.high, version) for interval in intervals
    )


# --- directives ---


@dataclass(slots=True)
class Draft:
    """A file in the making: one attribute a directive, None for a single one not seen yet."""

    file: str
    strict: bool
    faults: list[Fault] = field(default_factory=list)
    module: str | None = None
    go: str | None = None
    toolchain: str | None = None
    require: list[Require] = field(default_factory=list)
    replace: list[Replace] = field(default_factory=list)
    exclude: list[Exclude] = field(default_factory=list)
    retract: list[Retract] = field(default_factory=list)
    tool: list[str] = field(default_factory=list)
    godebug: list[tuple[str, str]] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    use: list[str] = field(default_factory=list)
    deprecated: str = ""

    def fault(self, at: Position, message: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(at.line, message, at.column, self.file))


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive, alone or out of a block; `comment` is the text of the comments that explain it."""

    verb: str
    args: list[str]
    line: Line
    block_comment: str = ""

    @property
    def comment(self) -> str:
        return _comment_text(self.line) if self.line.before or self.line.suffix else self.block_comment


@dataclass(frozen=True, slots=True)
class Grammar:
    """The directives of one kind of file, and those that may be blocks.

    A reader of a directive adds to the draft or raises BadDirective. Unless strict, what has no reader is passed over.
    """

    file: str
    verbs: Mapping[str, Callable[[Draft, Directive], None]]
    blocks: frozenset[str]
    strict: bool = True


def read_directives(data: bytes, grammar: Grammar) -> Draft:
    """Read a whole file; raises ModFileError with every fault."""
    try:
        statements = parse_syntax(gotext.decode(data), grammar.file)
    except SyntaxFault as bad:
        raise ModFileError([Fault(bad.at.line, str(bad), bad.at.column, grammar.file)]) from None
    draft = Draft(grammar.file, grammar.strict)
    for statement in statements:
        if isinstance(statement, Line):
            _add(draft, grammar, Directive(statement.tokens[0], statement.tokens[1:], statement))
        elif len(statement.tokens) == 1 and statement.tokens[0] in grammar.blocks:
            comment = _comment_text(statement)
            for line in statement.lines:
                _add(draft, grammar, Directive(statement.tokens[0], line.tokens, line, comment))
        elif grammar.strict:
            draft.fault(statement.at, f"unknown block type: {' '.join(statement.tokens)}")
    if draft.faults:
        raise ModFileError(draft.faults)
    return draft


def _comment_text(holder: Line | Block) -> str:
    texts = (text.removeprefix("//") for text in (*holder.before, *holder.suffix) if text)
    return "\n".join(gotext.trim(text) for text in texts)


def _add(draft: Draft, grammar: Grammar, directive: Directive) -> None:
    read = grammar.verbs.get(directive.verb)
    try:
        if read is not None:
            read(draft, directive)
        elif grammar.strict:
            raise BadDirective(f"unknown directive: {directive.verb}")
    except BadDirective as bad:
        draft.fault(directive.line.at, str(bad))


def _parse(data: bytes, grammar: Grammar) -> GoMod:
    draft = read_directives(data, grammar)
    return GoMod(
        module=draft.module or "",
        go=draft.go or "",
        toolchain=draft.toolchain or "",
        require=tuple(draft.require),
        replace=tuple(draft.replace),
        exclude=tuple(draft.exclude),
        retract=tuple(draft.retract),
        tool=tuple(draft.tool),
        godebug=tuple(draft.godebug),
        ignore=tuple(draft.ignore),
        deprecated=draft.deprecated,
    )


_GO_VERSION = re.compile(r"[1-9][0-9]*\.(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))?(?:[a-z]+[0-9]+)?")
_LAX_GO_VERSION = re.compile(r"v?([1-9][0-9]*\.(?:0|[1-9][0-9]*))[^0-9].*")
_TOOLCHAIN = re.compile(r"default\Z|go1(?:\Z|\.)")
_DEPRECATED = re.compile(r"(?:\A|\n\n)Deprecated: *((?s:.)*?)(?:\Z|\n\n)")


def _add_module(draft: Draft, directive: Directive) -> None:
    if draft.module is not None:
        raise BadDirective("repeated module statement")
    found = _DEPRECATED.search(directive.comment)
    draft.deprecated = found[1] if found else ""
    draft.module = ""
    if len(directive.args) != 1:
        raise BadDirective("usage: module module/path")
    draft.module = string_argument(directive.args[0])


def _add_go(draft: Draft, directive: Directive) -> None:
    if draft.go is not None:
        raise BadDirective("repeated go statement")
    version = only_argument(directive.verb, directive.args)
    if not _GO_VERSION.fullmatch(version):
        mended = None if draft.strict else _LAX_GO_VERSION.fullmatch(version)
        if mended is None:
            raise BadDirective(f"invalid go version '{version}': must match format 1.23.0")
        version = mended[1]
    draft.go = version


def _add_toolchain(draft: Draft, directive: Directive) -> None:
    if draft.toolchain is not None:
        raise BadDirective("repeated toolchain statement")
    name = only_argument(directive.verb, directive.args)
    if not _TOOLCHAIN.match(name):
        raise BadDirective(f"invalid toolchain version '{name}': must match format go1.23.0 or default")
    draft.toolchain = name


def _add_godebug(draft: Draft, directive: Directive) -> None:
    setting = directive.args[0] if len(directive.args) == 1 else ""
    key, equals, value = setting.partition("=")
    if not equals or any(mark in setting for mark in "\"`',"):
        raise BadDirective("usage: godebug key=value")
    draft.godebug.append((key, value))


def _add_require(draft: Draft, directive: Directive) -> None:
    path, version = path_and_version(directive.verb, directive.args)
    words = gotext.fields(directive.line.suffix[0].removeprefix("//")) if directive.line.suffix else []
    indirect = words == ["indirect"] or (len(words) > 1 and words[0] == "indirect;")
    draft.require.append(Require(path, version, indirect))


def _add_exclude(draft: Draft, directive: Directive) -> None:
    draft.exclude.append(Exclude(*path_and_version(directive.verb, directive.args)))


def _add_replace(draft: Draft, directive: Directive) -> None:
    draft.replace.append(Replace(*replacement(directive.args)))


def _add_retract(draft: Draft, directive: Directive) -> None:
    try:
        low, high, rest = interval(directive.args)
        if rest and draft.strict:
            raise BadDirective(f"unexpected token after version: {gotext.quote(rest[0])}")
    except BadDirective:
        if draft.strict:
            raise
        return
    draft.retract.append(Retract(low, high, directive.comment))


def _add_tool(draft: Draft, directive: Directive) -> None:
    draft.tool.append(string_argument(only_argument(directive.verb, directive.args)))


def _add_ignore(draft: Draft, directive: Directive) -> None:
    draft.ignore.append(string_argument(only_argument(directive.verb, directive.args)))


_LAX = ("go", "module", "retract", "require", "ignore")
_BLOCKS = frozenset(("module", "godebug", "require", "exclude", "replace", "retract", "tool", "ignore"))

VERBS: Mapping[str, Callable[[Draft, Directive], None]] = {
    "module": _add_module,
    "go": _add_go,
    "toolchain": _add_toolchain,
    "godebug": _add_godebug,
    "require": _add_require,
    "exclude": _add_exclude,
    "replace": _add_replace,
    "retract": _add_retract,
    "tool": _add_tool,
    "ignore": _add_ignore,
}
"""The directives of go.mod."""

_STRICT = Grammar("go.mod", VERBS, _BLOCKS)
_LENIENT = Grammar("go.mod", {verb: VERBS[verb] for verb in _LAX}, _BLOCKS, strict=False)
