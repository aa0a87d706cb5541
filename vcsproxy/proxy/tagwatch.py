"""Watches whether the tags of served versions stay where they were.

A version is served from the commit that its tag named first, for ever. When the tag names another commit later, or is
gone, clients that build it elsewhere get other bytes or none: somebody has to hear of that, once. Nothing is decided
here about what is served; `tagjournal` remembers what was noticed.

Theory of operation: after each list of a module its tags are compared with the origins of its published versions. What
differs and is not in the journal yet is journalled and logged, by one process of all that share the journal. The list
may have been read before a version that another request has published since, from a tag that was pushed in between: so
the tag of a version that is younger than `settle` seconds is not said to be gone.

If we crash here: what was not journalled is noticed again after the next list.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import structlog

from vcsproxy import errors
from vcsproxy.proxy.tagjournal import Journal, Moved, read_journal
from vcsproxy.store import Kind, Store
from vcsproxy.trace import note

__all__ = ["Moved", "TagWatch", "read_journal"]

log = structlog.get_logger()

Pins: TypeAlias = Mapping[str, tuple[str, str]]

_SETTLE = 120.0
_MAX_NAMED = 5  # versions in one sentence


class TagWatch:
    """Compares tags with what was served; findings go to the log and to the file `journal`.

    moved_total and gone_total count what this process was the first to notice.
    """

    def __init__(self, store: Store, journal: Path, *, settle: float = _SETTLE) -> None:
        self._store = store
        self._journal = Journal(journal)
        self._settle = settle
        self._said: set[tuple[str, str, str, str]] = set()  # logged and not journalled, because that failed
        self._lock = threading.Lock()
        self.moved_total = 0
        self.gone_total = 0

    async def look(self, path: str, tags: Sequence[tuple[str, str]]) -> list[Moved]:
        """The versions of a module that were served from another commit than the one their tag names now.

        tags: (full ref name, commit) of all tags that name versions of the module, just read from the host. Raises
        nothing that has to do with the watching: trouble with that is logged.
        """
        try:
            pins = await self._store.pins(path)
            if not pins:
                return []
            found, new = await asyncio.to_thread(self._compare, path, pins, dict(tags))
            young = {each.version for each in new if not each.now and await self._is_young(each)}
            new = [each for each in new if each.version not in young]
            if new:
                await asyncio.to_thread(self._record, new)
        except errors.VCSProxyError as err:
            log.warning("tag_watch_failed", module=path, reason=err.message)
            return []
        found = [each for each in found if each.version not in young]
        if found:
            note("tags", _sentence(found))
        return found

    async def _is_young(self, each: Moved) -> bool:
        stored = await self._store.find(each.path, each.version, Kind.INFO)
        return stored is not None and abs(time.time() - stored.mtime) < self._settle

    def _compare(self, path: str, pins: Pins, tags: Mapping[str, str]) -> tuple[list[Moved], list[Moved]]:
        """(all that differs, what the journal does not say yet)"""
        with self._lock:
            with suppress(OSError):  # will be said when there is something to write
                self._journal.refresh()
            return self._differences(path, pins, tags)

    def _differences(self, path: str, pins: Pins, tags: Mapping[str, str]) -> tuple[list[Moved], list[Moved]]:
        found: list[Moved] = []
        new: list[Moved] = []
        for version, (ref, served) in pins.items():
            if not ref or not served:
                continue
            now, known = tags.get(ref, ""), self._journal.known(path, version)
            if now == served and known is None:
                continue
            if known is None or (known.served, known.now) != (served, now):
                known = Moved(path, version, served, now, time.time())
                new.append(known)
            if not known.is_back:
                found.append(known)
        return found, new

    def _record(self, found: Iterable[Moved]) -> None:
        """Journal and log; in one thread, so that a task which is cancelled meanwhile does not swallow the alarm."""
        found = list(found)
        with self._lock:
            try:
                new = self._journal.add(found)
            except OSError as err:
                log.error("tag_journal_failed", reason=str(err.strerror or err), findings=len(found))
                new = [each for each in found if _key(each) not in self._said]
                self._said |= set(map(_key, new))
            else:
                new = [each for each in new if _key(each) not in self._said]
                self._said -= set(map(_key, found))
            for each in new:
                self._announce(each)

    def _announce(self, each: Moved) -> None:
        about = {"module": each.path, "version": each.version, "served": each.served, "now": each.now}
        if each.is_back:
            log.info("tag_back", **about)
        elif each.now:
            self.moved_total += 1
            log.error("tag_moved", alarm=True, **about)
        else:
            self.gone_total += 1
            log.warning("tag_gone", **about)


def _key(each: Moved) -> tuple[str, str, str, str]:
    return each.path, each.version, each.served, each.now


def _sentence(found: Sequence[Moved]) -> str:
    named = [f"{each.version} ({'gone' if not each.now else 'moved'})" for each in found[:_MAX_NAMED]]
    more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    return f"tags are no longer where they were when their versions were first served: {', '.join(named)}{more}"
