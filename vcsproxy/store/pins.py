"""What published versions were made from, kept in memory by directory. Blocking: for the threads of `disk`.

Theory of operation: what an `.info` says never changes, so a directory is listed again only when its time has changed,
and of its files only new ones are read. A time that is younger than the clocks of file systems are fine is not
believed: the next change could leave it as it is. The module that was asked for longest ago is forgotten first.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from vcsproxy.mod import module
from vcsproxy.store import Kind, durable, publication, rules

Pin = tuple[str, str]

_FINE = 2_000_000_000  # nanoseconds


@dataclass(frozen=True, slots=True)
class _Known:
    """changed: the directory's time in nanoseconds, -1 when that is not to be believed."""

    changed: int = -1
    pins: Mapping[str, Pin] = field(default_factory=dict)


class PinCache:
    """(Origin.Ref, Origin.Hash) by module path and version, of about `limit` versions at most. Any thread may ask."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._count = 0
        self._entries: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Versions held."""
        return self._count

    def read(self, path: str, directory: int) -> Mapping[str, Pin]:
        """Those of the published versions in the open `@v` directory of a module."""
        now, changed = time.time_ns(), os.fstat(directory).st_mtime_ns
        with self._lock:
            known = self._entries.get(path, _Known())
            if known.changed == changed:
                self._entries.move_to_end(path)
                return known.pins
        pins = _read_all(directory, known.pins)
        self._keep(path, _Known(changed if now - changed > _FINE else -1, pins))
        return pins

    def _keep(self, path: str, new: _Known) -> None:
        with self._lock:
            old = self._entries.pop(path, _Known())
            self._entries[path] = new
            self._count += len(new.pins) - len(old.pins)
            while self._count > self._limit and len(self._entries) > 1:
                _, oldest = self._entries.popitem(last=False)
                self._count -= len(oldest.pins)


def _read_all(directory: int, known: Mapping[str, Pin]) -> dict[str, Pin]:
    pins = {}
    for version in publication.published(os.listdir(directory)):
        pin = known.get(version, rules.NO_PIN)
        pins[version] = pin if pin != rules.NO_PIN else _read_one(directory, version)
    return pins


def _read_one(directory: int, version: str) -> Pin:
    try:
        data, _ = durable.read(module.escape_version(version) + Kind.INFO.suffix, directory)
    except OSError:
        return rules.NO_PIN
    return rules.pin(data)
