"""Whether the zip of a new version will be asked for next, by what happened to earlier versions of its module.

Some modules are only looked at for their requirements, others are built from: `go` asks for `.info`, `.mod` and, of
the latter alone, then for `.zip`. Where that was so for most versions made here before, the zip is made as soon as its
go.mod is asked for. Nothing is kept over a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_MOST_MODULES = 10_000
_MOST_NEW = 10_000


@dataclass(slots=True)
class _Past:
    """Of how many new versions of a module the go.mod was asked for, and of how many of these the zip."""

    gomods: int = 0
    zips: int = 0


class Foresight:
    """Belongs to one event loop; bounded, the oldest go first."""

    def __init__(self) -> None:
        self._past: OrderedDict[str, _Past] = OrderedDict()
        self._new: OrderedDict[tuple[str, str], bool] = OrderedDict()  # whether the go.mod was asked for

    def made(self, path: str, version: str) -> None:
        """A version was published just now, without its zip."""
        self._new[path, version] = False
        if len(self._new) > _MOST_NEW:
            self._new.popitem(last=False)

    def gomod_asked(self, path: str, version: str) -> bool:
        """Note it, and say whether the zip of this new version is likely to follow."""
        if self._new.get((path, version), True):
            return False  # known for long, or asked for before
        self._new[path, version] = True
        past = self._past.setdefault(path, _Past())
        self._past.move_to_end(path)
        if len(self._past) > _MOST_MODULES:
            self._past.popitem(last=False)
        likely = past.zips > 0 and 2 * past.zips >= past.gomods
        past.gomods += 1
        return likely

    def zip_asked(self, path: str, version: str) -> None:
        """Note it."""
        if self._new.pop((path, version), False):
            self._past.setdefault(path, _Past()).zips += 1
