"""The last answers to questions whose answer changes, as pure rules: their names, sizes, and what can be one.

A canonical version never is the name of an answer, and only canonical versions are published: so the two can lie in one
directory and never be taken for each other. Where they lie is for `remembered` to know.
"""

from __future__ import annotations

import re

from vcsproxy import errors
from vcsproxy.mod import module
from vcsproxy.store import rules

LIST = "list"
LATEST = "latest"
MAX_QUERIES = 200
"""Version queries that are remembered of one module: names of branches are free."""
REFRESH_SECONDS = 60.0
"""The time of an answer that has not changed is written again after so long."""

_MAX_LIST = 16 << 20  # bytes
_MAX_INFO = 1 << 20
_VERSIONS = re.compile(rb"(?:v[0-9][0-9A-Za-z.+-]*+\n)*+")


def is_query(path: str, name: str) -> bool:
    """Whether an answer may have this name. Raises InvalidRequest when path or name can be no file name."""
    module.check_path(path)
    module.escape_version(name)
    return not rules.is_canonical(name)


def check(path: str, name: str, data: bytes) -> None:
    """Refuse to remember what is no answer. Raises Corrupt: the caller has made a mistake; Refused: it is too large."""
    if not is_query(path, name):
        raise errors.Corrupt(f"{path}@{name}: a canonical version is published, not remembered")
    if len(data) > most_bytes(name):
        raise errors.Refused(f"{path}@{name}: an answer of {len(data)} bytes is too large to be remembered")
    fault = _fault(name, data)
    if fault:
        raise errors.Corrupt(f"{path}@{name}: the answer to remember is broken: {fault}")


def check_stored(path: str, name: str, data: bytes) -> None:
    """Raise Corrupt unless this may once have been remembered."""
    fault = _fault(name, data)
    if fault:
        raise broken(path, name, fault)


def most_bytes(name: str) -> int:
    """How large an answer may be."""
    return _MAX_LIST if name == LIST else _MAX_INFO


def broken(path: str, name: str, why: str) -> errors.Corrupt:
    """The error for a remembered answer that cannot be right."""
    hint = "it is replaced as soon as the Git host answers"
    return errors.Corrupt(f"{path}@{name}: the remembered answer is broken: {why}", hint)


def _fault(name: str, data: bytes) -> str:
    """Why these bytes answer no question of this name, "" if they do."""
    if name == LIST:
        return "" if _VERSIONS.fullmatch(data) else "no list of versions"
    try:
        named = rules.facts(data).version
    except ValueError as err:
        return str(err)
    return "" if rules.is_canonical(named) else "its Version is not canonical"
