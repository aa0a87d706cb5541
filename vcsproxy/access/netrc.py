"""The format of .netrc files, as far as credentials for hosts go: machine, login, password.

`default` is read and ignored: a credential must not go to hosts that nobody named. So are `account`, macros, and
machines without a password. A line that begins with # is a comment. No message repeats what the file says: a word in
the wrong place may be a password.

Source: netrc(5); the file format of ftp(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vcsproxy.secret import Secret

_SPACE = re.compile(r"\s*", re.ASCII)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|([^\s"]\S*)', re.ASCII)
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9])?", re.ASCII)
_VALUES = ("login", "password", "account")

Words = Iterator[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Machine:
    """One entry; `name` in lower case."""

    name: str
    login: str
    password: Secret


def parse(text: str) -> list[Machine]:
    """Entries with a password in the order of the file; of equal machines the first counts.

    Raises ValueError that begins with the line's number.
    """
    entries: list[tuple[str, dict[str, str]]] = []
    words = _words(text)
    for line, word in words:
        if word == "machine":
            entries.append((_host(line, _after(words, line, word)), {}))
        elif word == "default":
            entries.append(("", {}))
        elif word in _VALUES and entries:
            entries[-1][1][word] = _value(line, word, _after(words, line, word))
        elif word in _VALUES:
            raise ValueError(f"line {line}: {word} before any machine")
        else:
            raise ValueError(f"line {line}: expected machine, login or password")
    found = [Machine(name, said.get("login", ""), Secret(said.get("password", ""))) for name, said in entries if name]
    return [entry for entry in found if entry.password]


def _after(words: Words, line: int, word: str) -> str:
    for _, value in words:
        return value
    raise ValueError(f"line {line}: nothing follows {word}")


def _host(line: int, name: str) -> str:
    if not _HOST.fullmatch(name.lower()):
        raise ValueError(f"line {line}: what follows machine is not the name of a host")
    return name.lower()


def _value(line: int, word: str, value: str) -> str:
    if not value.isprintable() or (word == "login" and ":" in value):
        raise ValueError(f"line {line}: the {word} has a character that cannot be sent")
    return value


def _words(text: str) -> Words:
    """(line number, word) of everything that is neither a comment nor a macro."""
    in_macro = is_value = False
    for number, line in enumerate(text.split("\n"), 1):
        if in_macro:
            in_macro = bool(line.strip())
        elif not line.lstrip().startswith("#"):
            for word in _of_line(number, line):
                if word == "macdef" and not is_value:
                    in_macro = True  # until an empty line
                    break
                is_value = not is_value and word in ("machine", *_VALUES)
                yield number, word


def _of_line(number: int, line: str) -> Iterator[str]:
    at = _end_of_space(line, 0)
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            raise ValueError(f"line {number}: a quotation mark is not closed, or something touches it")
        yield found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1])
        at = _end_of_space(line, found.end())


def _end_of_space(line: str, at: int) -> int:
    found = _SPACE.match(line, at)
    return found.end() if found else at
