"""The directories of a store on disk, looked over: which versions they hold, and what else lies there.

It walks the tree once, in one thread, and changes nothing. The files of versions are `check`'s.

Source: the layout is `disk`'s and `remembered`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from vcsproxy import errors
from vcsproxy.mod import module, pseudo, semver
from vcsproxy.store import durable, publication, rules

_FILES = (".info", ".mod", ".zip", ".ziphash")
_LIST, _LOCK, _LATEST, _LIST_REMEMBERED = "list", "lock", "@latest", "list.remembered"
_LOCK_SECONDS = 60.0
_BATCH = 16  # versions of a place
_LEFTOVER = "left by a publish that did not end"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one file. path: of the module, "" outside of any. name: below the store's root."""

    path: str
    name: str
    what: str
    is_fault: bool = True


Report = Callable[[Finding], None]
Choose = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Some versions of a module, escaped, and the name of their `@v` directory below the root."""

    path: str
    name: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """An `@v` directory. versions: escaped. strays: (name, why) of what is part of none. fault: about `list`."""

    versions: list[str]
    strays: list[tuple[str, str]]
    fault: str


class Survey:
    """Walks the tree once, reports what is odd about directories, and gives out the versions to be checked."""

    def __init__(self, tree: int, report: Report, choose: Choose) -> None:
        self._tree = tree
        self._report = report
        self._choose = choose
        self.modules = self.versions = self.checked = 0

    def __iter__(self) -> Iterator[Place]:
        for where, directories, names, directory in os.fwalk(".", dir_fd=self._tree, onerror=self._unreadable):
            directories.sort()
            escaped = where.removeprefix("./")
            for name in names:
                if name != _LATEST or "@v" not in directories:
                    self._note("", f"{escaped}/{name}".removeprefix("./"), "no file of the store")
            if "@v" in directories:
                directories.remove("@v")
                yield from self._module(escaped, directory)

    def _module(self, escaped: str, directory: int) -> Iterator[Place]:
        name = f"{escaped}/@v"
        try:
            path = module.unescape_path(escaped)
            with durable.opened("@v", durable.DIRECTORY, directory) as opened:
                seen = _seen(opened)
        except errors.InvalidRequest:
            self._note("", name, "no module is called so")
            return
        except OSError as err:
            self._report(Finding(escaped, name, f"cannot be read: {err.strerror}"))
            return
        for stray, why in seen.strays:
            self._note(path, f"{name}/{stray}", why)
        if seen.fault:
            self._report(Finding(path, f"{name}/{_LIST}", seen.fault))
        chosen = self._choose(seen.versions)
        self.modules += bool(seen.versions)
        self.versions += len(seen.versions)
        self.checked += len(chosen)
        for at in range(0, len(chosen), _BATCH):
            yield Place(path, name, tuple(chosen[at : at + _BATCH]))

    def _note(self, path: str, name: str, why: str) -> None:
        self._report(Finding(path, name, why, is_fault=False))

    def _unreadable(self, err: OSError) -> None:
        self._report(Finding("", str(err.filename), f"cannot be read: {err.strerror}"))


def _seen(directory: int) -> _Seen:
    """An open `@v`; what looks wrong because a publish is under way is looked at again when that has ended."""
    seen = _look(directory)
    if seen.strays or seen.fault:
        with suppress(OSError, errors.Overloaded), _locked(directory):
            seen = _look(directory)
    return seen


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    os.stat(_LOCK, dir_fd=directory, follow_symlinks=False)  # without one nobody publishes here, and none is made
    with durable.locked(_LOCK, directory, _LOCK_SECONDS):
        yield


def _look(directory: int) -> _Seen:
    names = set(os.listdir(directory))
    known = sorted(name.removesuffix(".info") for name in names if list(publication.published([name])))
    expected = {version + ending for version in known for ending in _FILES}
    rest = sorted(names - expected - {_LIST, _LOCK, _LIST_REMEMBERED})
    strays = [(name, _why(name)) for name in rest if not _is_answer(name)]
    strays += [(f"{version}.zip", _LEFTOVER) for version in known if _has_unhashed_zip(version, names)]
    return _Seen(known, strays, _list_fault(known, directory))


def _has_unhashed_zip(version: str, names: set[str]) -> bool:
    return f"{version}.zip" in names and f"{version}.ziphash" not in names


def _is_answer(name: str) -> bool:
    version = publication.infos_version(name)
    return version is not None and not rules.is_canonical(version)


def _why(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    if f".{ending}" not in _FILES or not dot or not list(publication.published([f"{stem}.info"])):
        return "no file of the store"
    return "the hash that a later zip must have" if ending == "ziphash" else _LEFTOVER


def _list_fault(known: Iterable[str], directory: int) -> str:
    versions = semver.sort(module.unescape_version(name) for name in known)
    right = "".join(f"{version}\n" for version in versions if not pseudo.is_pseudo_version(version))
    try:
        data = durable.try_read(_LIST, directory)
    except OSError as err:
        return f"cannot be read: {err.strerror}"
    if data is None:
        return "missing" if right else ""
    return "" if data == right.encode() else "does not name the versions that are there"
