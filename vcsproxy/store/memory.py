"""Artifacts in this process's memory: for tests, and for embedding the proxy where nothing has to last.

Keeps the rules of every store but durability; zips come back as bytes. It bounds nothing but the queries it remembers,
and shares nothing with other processes.

Theory of operation: two dictionaries on one event loop. Everything is checked before anything is put in, and nothing is
awaited in between, so a publish is seen as a whole or not at all.

If we crash here: everything is gone; workspaces stay below the system's temporary directory.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vcsproxy import errors
from vcsproxy.mod import module, semver
from vcsproxy.store import Artifacts, Kind, Remembered, Stored, answers, rules


@dataclass(frozen=True, slots=True)
class _Version:
    info: Stored
    gomod: Stored
    zip: Stored | None = None
    h1: str = ""


class MemoryStore:
    """A store without a disk; see Store for its methods."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], _Version] = {}
        self._answers: dict[str, dict[str, Remembered]] = {}  # by path and name, the oldest first
        self._workspaces: set[Path] = set()
        self._files = ThreadPoolExecutor(1, "store-files")

    async def find(self, path: str, version: str, kind: Kind) -> Stored | None:
        """See Store.find."""
        module.escape_path(path)
        module.escape_version(version)
        known = self._versions.get((path, version))
        if known is None:
            return None
        return {Kind.INFO: known.info, Kind.MOD: known.gomod, Kind.ZIP: known.zip}[kind]

    async def publish(self, path: str, version: str, artifacts: Artifacts) -> None:
        """See Store.publish."""
        module.escape_path(path)
        module.escape_version(version)
        rules.check_artifacts(path, version, artifacts)
        data = await self._read_zip(path, version, artifacts.zip) if artifacts.zip is not None else None
        known = self._versions.get((path, version))
        if known is None:
            known = _Version(_small(Kind.INFO, artifacts.info), _small(Kind.MOD, artifacts.gomod))
        else:
            rules.check_info(path, version, known.info.data or b"", artifacts.info)
            rules.check_gomod(path, version, known.gomod.data or b"", artifacts.gomod)
        if data is not None:
            rules.check_h1(path, version, known.h1 or artifacts.zip_h1, artifacts.zip_h1)
            if known.zip is None:
                known = replace(known, zip=_zip(data, artifacts.zip_h1), h1=artifacts.zip_h1)
        self._versions[path, version] = known

    async def evict_zip(self, path: str, version: str) -> None:
        """Forget the bytes of a zip but not its h1."""
        known = self._versions.get((path, version))
        if known is not None:
            self._versions[path, version] = replace(known, zip=None)

    async def versions(self, path: str) -> list[str]:
        """See Store.versions."""
        module.escape_path(path)
        return semver.sort(version for known, version in self._versions if known == path)

    async def remember(self, path: str, name: str, data: bytes) -> None:
        """See Store.remember."""
        answers.check(path, name, data)
        known = self._answers.setdefault(path, {})
        known.pop(name, None)
        known[name] = Remembered(data, time.time())
        queries = [each for each in known if each not in (answers.LIST, answers.LATEST)]
        for oldest in queries[: -answers.MAX_QUERIES]:
            del known[oldest]

    async def recall(self, path: str, name: str) -> Remembered | None:
        """See Store.recall."""
        return self._answers.get(path, {}).get(name) if answers.is_query(path, name) else None

    async def pins(self, path: str) -> Mapping[str, tuple[str, str]]:
        """See Store.pins."""
        module.escape_path(path)
        mine = ((version, known.info) for (owner, version), known in self._versions.items() if owner == path)
        return {version: rules.pin(info.data or b"") for version, info in mine}

    async def modules(self) -> AsyncIterator[str]:
        """See Store.modules."""
        for path in sorted({path for path, _ in self._versions}):
            yield path

    async def workspace(self) -> Path:
        """See Store.workspace."""
        made = Path(await asyncio.get_running_loop().run_in_executor(self._files, tempfile.mkdtemp, None, "vcsproxy-"))
        self._workspaces.add(made)
        return made

    async def discard(self, workspace: Path) -> None:
        """See Store.discard."""
        if workspace in self._workspaces:
            self._workspaces.remove(workspace)
            await asyncio.get_running_loop().run_in_executor(self._files, _remove, workspace)

    async def close(self) -> None:
        """See Store.close."""
        for workspace in tuple(self._workspaces):
            await self.discard(workspace)
        self._files.shutdown(wait=False)

    async def _read_zip(self, path: str, version: str, file: Path) -> bytes:
        try:
            data = await asyncio.get_running_loop().run_in_executor(self._files, _whole_zip, file)
        except OSError as err:
            raise errors.Corrupt(f"{path}@{version}: the zip to publish cannot be read: {err.strerror}") from err
        if data is None:
            raise errors.Corrupt(f"{path}@{version}: the zip to publish is not whole")
        return data


def _small(kind: Kind, data: bytes) -> Stored:
    return Stored(kind, len(data), time.time(), rules.data_etag(data), "", data, None)


def _zip(data: bytes, h1: str) -> Stored:
    return Stored(Kind.ZIP, len(data), time.time(), rules.zip_etag(h1, len(data)), h1, data, None)


def _whole_zip(file: Path) -> bytes | None:
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        if not rules.is_whole_zip(opened, size):
            return None
        opened.seek(0)
        return opened.read()


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
