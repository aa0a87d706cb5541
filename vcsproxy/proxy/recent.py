"""Answers to changing questions that are as young as the refs they come from: lists, `@latest`, branches.

As long as the refs of a repository are believed, the same question has the same answer, and needs no worker. An answer
that comes from newer refs ends the life of all others about its module. It lives in memory, bounded by bytes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_OVERHEAD = 500  # bytes that an entry costs beside its data, roughly


@dataclass(frozen=True, slots=True)
class _Known:
    data: bytes
    read: float


class Recent:
    """Answers by module path and query. read: when the refs were read, in seconds since 1970; ttl: seconds."""

    def __init__(self, limit: int = 8 << 20, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._size = 0
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._read: OrderedDict[str, float] = OrderedDict()  # by module path: the newest refs seen

    def get(self, path: str, query: str, ttl: float) -> tuple[bytes, float] | None:
        """(answer, seconds for which it is good), None if it has to be asked for."""
        known = self._known.get((path, query))
        if known is None:
            return None
        left = known.read + ttl - self._clock()
        if not 0 < left <= ttl or known.read < self._read.get(path, 0.0):
            self._drop((path, query))
            return None
        return known.data, left

    def put(self, path: str, query: str, data: bytes, read: float) -> None:
        """Keep an answer, unless newer refs have been seen meanwhile."""
        self.saw(path, read)
        self._drop((path, query))
        if read < self._read.get(path, 0.0):
            return
        self._known[path, query] = _Known(data, read)
        self._size += len(data) + _OVERHEAD
        while self._size > self._limit:
            self._drop(next(iter(self._known)))

    def saw(self, path: str, read: float) -> None:
        """Some answer about the module has come from refs of that time."""
        if read > self._read.get(path, 0.0):
            self._read[path] = read
            self._read.move_to_end(path)
            while len(self._read) * _OVERHEAD > self._limit:
                self._read.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: the configuration has changed."""
        self._known.clear()
        self._read.clear()
        self._size = 0

    def _drop(self, key: tuple[str, str]) -> None:
        old = self._known.pop(key, None)
        if old is not None:
            self._size -= len(old.data) + _OVERHEAD
