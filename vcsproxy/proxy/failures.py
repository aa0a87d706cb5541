"""Answers of the kind "no" that need not be looked for again at once: absence for seconds, a broken limit for minutes.

Trouble is never remembered: a host that was down a moment ago may be up now, and nothing about it proves absence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from vcsproxy import errors
from vcsproxy.trace import Step

Key = tuple[str, *tuple[Hashable, ...]]
"""A module path and what is asked of it."""

_REFUSED_TTL = 600.0  # seconds; the same commit breaks the same limit again
_CHANGING_TTL = 60.0  # seconds, where another commit may be meant by then
_MAX_KNOWN = 10_000
_MAX_TEXT = 640  # characters of a remembered message; more is not shown anyway
_MAX_STEPS = 40


@dataclass(frozen=True, slots=True)
class _Failure:
    """An answer not to look for again before `until`."""

    until: float
    error: type[errors.VCSProxyError]
    message: str
    hint: str
    steps: tuple[Step, ...]


class Failures:
    """Remembered failures, a bounded number of them, by module path."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, dict[Hashable, _Failure]] = {}
        self._count = 0

    def check(self, key: Key) -> None:
        """Raise what is remembered of a question."""
        known = self._known.get(key[0], {}).get(key)
        if known is not None and known.until > self._clock():
            error = known.error(known.message, known.hint)
            error.steps = known.steps
            raise error

    def remember(self, key: Key, err: errors.VCSProxyError, negative_ttl: float, *, fixed: bool) -> None:
        """Remember a failure of those kinds that will not change soon; `negative_ttl` seconds for absence.

        fixed: the question names one commit for ever.
        """
        if isinstance(err, errors.ModuleChanged) or not isinstance(err, errors.NotFound | errors.Refused):
            return  # after a change of bytes, the next build starts from the commit that won
        ttl = negative_ttl if isinstance(err, errors.NotFound) else _REFUSED_TTL if fixed else _CHANGING_TTL
        self._count += 1
        if self._count > _MAX_KNOWN:
            self.clear()
            self._count = 1
        failure = _Failure(
            self._clock() + ttl, type(err), err.message[:_MAX_TEXT], err.hint, tuple(err.steps)[:_MAX_STEPS]
        )
        self._known.setdefault(key[0], {})[key] = failure

    def forget_absences(self, path: str) -> None:
        """A list was just read anew: what it names must not be denied by an older answer."""
        mine = self._known.get(path, {})
        for key in [key for key, failure in mine.items() if issubclass(failure.error, errors.NotFound)]:
            del mine[key]

    def clear(self) -> None:
        self._known.clear()
        self._count = 0
