"""The format of .netrc files, as far as credentials for hosts go: machine, login, password.

`default` is read and ignored: a credential must not go to hosts that nobody named. So are `account` and macros.

Source: netrc(5); the file format of ftp(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vcsproxy.secret import Secret

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]\S*)')


@dataclass(frozen=True, slots=True)
class Machine:
    """One entry; `name` in lower case."""

    name: str
    login: str
    password: Secret


def parse(text: str) -> list[Machine]:
    """Entries in the order of the file; of equal machines the first counts. Raises ValueError with the line."""
    found: list[Machine] = []
    name: str | None = None
    values: dict[str, str] = {}

    def close() -> None:
        if name:
            found.append(Machine(name, values.get("login", ""), Secret(values.get("password", ""))))

    tokens = _tokens(text)
    for line, word in tokens:
        if word in ("machine", "default"):
            close()
            values = {}
            name = _next(tokens, line, word).lower() if word == "machine" else ""
        elif word in ("login", "password", "account"):
            if name is None:
                raise ValueError(f"line {line}: {word} before any machine")
            values[word] = _next(tokens, line, word)
        else:
            raise ValueError(f"line {line}: expected machine, login or password")
    close()
    return found


def _next(tokens: Iterator[tuple[int, str]], line: int, word: str) -> str:
    for _, value in tokens:
        return value
    raise ValueError(f"line {line}: nothing follows {word}")


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """(line number, word) of everything that is neither a comment nor a macro."""
    in_macro = False
    for number, line in enumerate(text.split("\n"), 1):
        if in_macro:
            in_macro = bool(line.strip())
            continue
        at = 0
        while at < len(line):
            if line[at].isspace():
                at += 1
                continue
            match = _TOKEN.match(line, at)
            if match is None:
                raise ValueError(f"line {number}: a quotation mark is not closed")
            at = match.end()
            word = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
            if match[1] is None and word.startswith("#") and line[: match.start()].strip() == "":
                break
            if match[1] is None and word == "macdef":
                in_macro = True
                break
            yield number, word
