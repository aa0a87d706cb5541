"""The least recently used `.info` and `.mod` artifacts, bounded by bytes.

What is published never changes, so an entry is right for ever and is only dropped to make room. It belongs to one event
loop and takes no lock; it never holds a zip, which the operator may evict from the disk.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from vcsproxy.store import Kind, Stored

Key: TypeAlias = tuple[str, str, Kind]

_OVERHEAD = 512  # bytes: about what the key, the values and their places in the dictionary weigh


class SmallCache:
    """Artifacts with their bytes, by module path, version and kind; `limit` is in bytes, 0 keeps nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[Key, Stored] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes held, with an estimate of what keeping them costs."""
        return self._size

    def get(self, key: Key) -> Stored | None:
        """The artifact, which becomes the most recently used."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Key, stored: Stored) -> None:
        """Keep an artifact, unless it would push out more than an eighth of all others."""
        cost = stored.size + _OVERHEAD
        if key in self._entries or cost > self._limit // 8:
            return
        self._entries[key] = stored
        self._size += cost
        while self._size > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size + _OVERHEAD
