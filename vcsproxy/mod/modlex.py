"""The syntax of go.mod: tokens, lines, blocks, and the comments that belong to each. Not what the lines mean.

One pass over the text with one token of look-ahead and no recursion; time and memory are linear in the input.

DIFFERS: a file of more than MAX_TOKENS tokens is refused. Go reads up to 16 MiB whatever is in it; the largest go.mod
files known have a few thousand lines.

Source: golang.org/x/mod/modfile/read.go (readToken, parseFile, parseStmt, parseLineBlock, parseLine, assignComments).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from vcsproxy.mod import gotext

MAX_TOKENS = 300_000
"""Words, punctuation, comments and line ends that one file may have; they bound memory to about 200 MB."""


class Position(NamedTuple):
    """Line and column of a character, both from 1; columns count characters."""

    line: int
    column: int


class SyntaxFault(ValueError):
    """The text is no go.mod file; `at` says where that became clear."""

    def __init__(self, at: Position, message: str) -> None:
        super().__init__(message)
        self.at = at


@dataclass(slots=True)
class Line:
    """One directive: its tokens (quoted strings still quoted) and its comments.

    `before` has the whole-line comments above it ("" for a blank line in a block), `suffix` those that end its line.
    """

    at: Position
    tokens: list[str]
    before: list[str] = field(default_factory=list)
    suffix: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Block:
    """`verb ( ... )`: the tokens before the parenthesis, the lines inside, and the comments of the block itself."""

    at: Position
    tokens: list[str]
    lines: list[Line] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    suffix: list[str] = field(default_factory=list)


def parse_syntax(text: str, name: str = "go.mod") -> list[Line | Block]:
    """Read a whole file; raises SyntaxFault. `name` is the file's name in messages."""
    return _Parser(text, name).parse_file()


# --- tokens ---

_EOF, _NEWLINE, _WORD, _COMMENT, _SUFFIX = "EOF", "\n", "word", "//", "suffix //"
_ENDS_LINE = frozenset((_EOF, _NEWLINE, _SUFFIX))

_BLANKS = re.compile(r"[ \t\r]*+")
_BLANK_LINES = re.compile(r"(?:[ \t\r]*+\n)*+")
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*+\n?)"""
    r"""|(?P<newline>\n)"""
    r"""|(?P<mark>[()\[\]{},])"""
    r"""|(?P<string>"(?:[^"\\\n]|\\(?s:.))*+"|`[^`\n]*+`)"""
    rf"""|(?P<word>(?!["`])[!-'*+\--Z\\^-z|~{gotext.PRINTABLE_CLASS}\udc80-\udcff]++)"""
)
_OPEN_STRING = re.compile(r'"(?:[^"\\\n]|\\(?s:.))*+|`[^`\n]*+')


class _Lexer:
    """The token under the eye: `kind`, `token` (its text), `at` and `lines` (how many line ends it contains)."""

    __slots__ = ("_begin", "_fresh", "_left", "_line", "_next", "_text", "at", "kind", "lines", "token")

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = MAX_TOKENS
        self._next = 0  # index of the first character not read yet
        self._line = 1
        self._begin = 0  # index of the first character of that line
        self._fresh = True  # nothing but blanks so far on this line
        self.advance()

    def here(self) -> Position:
        """The position behind the current token."""
        return self._position(self._next)

    def _position(self, index: int) -> Position:
        return Position(self._line, index - self._begin + 1)

    def advance(self) -> None:
        """Read the next token; raises SyntaxFault."""
        start = _skip(_BLANKS, self._text, self._next)
        self.at = self._position(start)
        self.lines = 0
        found = _TOKEN.match(self._text, start)
        if found is None:
            self._next = start
            if start < len(self._text):
                raise self._fault(start)
            self.kind, self.token = _EOF, ""
            return
        self._left -= 1
        if self._left < 0:
            raise SyntaxFault(self.at, f"more than {MAX_TOKENS} words")
        self.token = found[0]
        self._next = found.end()
        self._classify(found.lastgroup or "")

    def _classify(self, group: str) -> None:
        if group in ("newline", "comment"):
            self._end_line(group == "comment")
            return
        self._fresh = False
        self.kind = self.token if group == "mark" else _WORD
        if group == "string":
            self._count_lines()
        elif group == "word" and "/" in self.token:
            self._cut_at_comment()

    def _cut_at_comment(self) -> None:
        begin = self._next - len(self.token)
        comment = self._text.find("//", begin, self._next)
        star = self._text.find("/*", begin, self._next)
        if star >= 0 and not 0 <= comment < star:
            raise self._fault(star)
        if comment >= 0:
            self._next = comment
            self.token = self._text[begin:comment]

    def _end_line(self, is_comment: bool) -> None:
        if is_comment:
            self.kind = _COMMENT if self._fresh else _SUFFIX
            self.token = _without_line_end(self.token)
        else:
            self.kind = _NEWLINE
            if self._fresh:  # blank lines count once, however many they are
                self._next = _skip(_BLANK_LINES, self._text, self._next)
                self._line += self._text.count("\n", self.at.column - 1 + self._begin, self._next) - 1
        if self._text[self._next - 1] == "\n":
            self._line += 1
            self._begin = self._next
        self._fresh = True

    def _count_lines(self) -> None:
        """A quoted string may hold line ends, each behind a backslash."""
        self.lines = self.token.count("\n")
        if self.lines:
            self._line += self.lines
            self._begin = self._next - len(self.token) + self.token.rindex("\n") + 1

    def _fault(self, start: int) -> SyntaxFault:
        text = self._text
        if text.startswith("/*", start):
            return SyntaxFault(self._position(start), "mod files must use // comments (not /* */ comments)")
        open_string = _OPEN_STRING.match(text, start)
        if open_string is None:
            return SyntaxFault(self._position(start), f"unexpected input character {gotext.quote_rune(text[start])}")
        end = open_string.end()
        if end == len(text) or text[end] != "\n":
            return SyntaxFault(self._position(start), "unexpected EOF in string")
        self.token, self._next = open_string[0], end
        self._count_lines()
        return SyntaxFault(self._position(end), "unexpected newline in string")


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The index behind what `pattern` matches at `at`."""
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _without_line_end(comment: str) -> str:
    return comment[:-2] if comment.endswith("\r\n") else comment.removesuffix("\n")


# --- lines and blocks ---

_Statement = TypeVar("_Statement", Line, Block)


class _Parser:
    """Builds the statements; `_last` is where a comment at the end of a line goes: to the syntax that ended last.

    Only syntax that begins and ends on one line takes such comments, so a comment behind a string with a line end in it
    goes to whatever came before.
    """

    def __init__(self, text: str, name: str) -> None:
        self._lexer = _Lexer(text)
        self._name = name
        self._last: list[str] = []

    def parse_file(self) -> list[Line | Block]:
        lexer = self._lexer
        statements: list[Line | Block] = []
        comments: list[str] = []
        while lexer.kind != _EOF:
            if lexer.kind == _NEWLINE:
                if comments:
                    comments, self._last = [], []
                lexer.advance()
            elif lexer.kind == _COMMENT:
                comments.append(lexer.token)
                lexer.advance()
            else:
                statement = self._statement()
                statement.before = comments
                statements.append(statement)
                comments = []
        return statements

    def _statement(self) -> Line | Block:
        lexer = self._lexer
        at, tokens, lines = lexer.at, [lexer.token], lexer.lines
        lexer.advance()
        while lexer.kind not in _ENDS_LINE:
            kind, token = lexer.kind, lexer.token
            lines += lexer.lines
            lexer.advance()
            if kind != "(":
                tokens.append(token)
            elif lexer.kind in _ENDS_LINE:
                return self._block(Block(at, tokens))
            elif lexer.kind != ")":
                tokens.append(token)
            else:
                lexer.advance()
                if lexer.kind in _ENDS_LINE:
                    return self._finish(Block(at, tokens), single=not lines)
                tokens += ["(", ")"]
        return self._finish(Line(at, tokens), single=not lines)

    def _finish(self, item: _Statement, *, single: bool) -> _Statement:
        if single:
            self._last = item.suffix
        self._end_of_line()
        return item

    def _end_of_line(self) -> None:
        if self._lexer.kind == _SUFFIX:
            self._last.append(self._lexer.token)
        self._lexer.advance()

    def _block(self, block: Block) -> Block:
        lexer = self._lexer
        comments: list[str] = []
        self._last = []
        while lexer.kind != ")":
            if lexer.kind == _SUFFIX:
                self._end_of_line()
            elif lexer.kind == _NEWLINE:
                if comments[-1] if comments else block.lines:
                    comments.append("")
                lexer.advance()
            elif lexer.kind == _COMMENT:
                comments.append(lexer.token)
                lexer.advance()
            elif lexer.kind == _EOF:
                where = f"{self._name}:{block.at.line}:{block.at.column}"
                raise SyntaxFault(lexer.here(), f"syntax error (unterminated block started at {where})")
            else:
                block.lines.append(self._line(comments))
                comments = []
        lexer.advance()
        if lexer.kind not in _ENDS_LINE:
            raise SyntaxFault(lexer.here(), "syntax error (expected newline after closing paren)")
        self._last = []
        self._end_of_line()
        return block

    def _line(self, comments: list[str]) -> Line:
        lexer = self._lexer
        line = Line(lexer.at, [], comments)
        lines = 0
        while lexer.kind not in _ENDS_LINE:
            line.tokens.append(lexer.token)
            lines += lexer.lines
            lexer.advance()
        return self._finish(line, single=not lines)
