"""A store on disk for every test, and what is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.moduletree import Version
from vcsproxy.store import Kind
from vcsproxy.store.disk import DiskStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskStore]:
    opened = DiskStore(tmp_path / "data" / "store", tmp_path / "data" / "tmp", small_bytes=0)
    yield opened
    await opened.close()


async def h1s(store: DiskStore) -> dict[str, str]:
    """The h1 of the zip of every published version, "" without one."""
    found = {}
    async for path in store.modules():
        for version in await store.versions(path):
            stored = await store.find(path, version, Kind.ZIP)
            found[f"{path}@{version}"] = "" if stored is None else stored.h1
    return found


def expected(*versions: Version) -> dict[str, str]:
    return {f"{each.path}@{each.version}": each.h1 for each in versions}
