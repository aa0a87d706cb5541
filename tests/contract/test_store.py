"""The store's contract, over every backend; then what only the disk has: names, modes, races, damage, no room."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.gotool import GoTool
from vcsproxy import errors
from vcsproxy.store import Artifacts, Kind, Store, Stored, rules
from vcsproxy.store.disk import DiskStore
from vcsproxy.store.memory import MemoryStore
from vcsproxy.store.pins import PinCache
from vcsproxy.store.smallcache import SmallCache

TOP = Path(__file__).resolve().parents[2]
PATH = "github.com/Azure/x"
ESCAPED = "github.com/!azure/x"
VERSION = "v1.2.3-RC.1"
ESCAPED_VERSION = "v1.2.3-!r!c.1"
COMMIT = "a" * 40
GOMOD = b"module github.com/Azure/x\n"


@dataclass
class Backend:
    store: Store
    evict: Callable[[str, str], Awaitable[None]]


def disk_store(tmp_path: Path, **options: int) -> DiskStore:
    return DiskStore(tmp_path / "store", tmp_path / "tmp", **options)


@pytest.fixture(params=["disk", "memory"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "memory":
        memory = MemoryStore()
        yield Backend(memory, memory.evict_zip)
        await memory.close()
        return
    disk = disk_store(tmp_path)

    async def evict(path: str, version: str) -> None:
        found = await disk.find(path, version, Kind.ZIP)
        assert found is not None
        assert found.file is not None
        found.file.unlink()

    yield Backend(disk, evict)
    await disk.close()


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[DiskStore]:
    store = disk_store(tmp_path)
    yield store
    await store.close()


def info(version: str = VERSION, commit: str = COMMIT, when: str = "2024-03-01T00:00:00Z", **more: object) -> bytes:
    return json.dumps({"Version": version, "Time": when, "Origin": {"VCS": "git", "Hash": commit}, **more}).encode()


def zip_bytes(version: str = VERSION, text: str = "package x\n", level: int = 6) -> tuple[bytes, str]:
    """A module zip and its h1, computed here by the definition of dirhash.Hash1."""
    files = {f"{PATH}@{version}/go.mod": GOMOD, f"{PATH}@{version}/x.go": text.encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return out.getvalue(), "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def small(version: str = VERSION) -> Artifacts:
    """A version without its zip."""
    return Artifacts(info(version), GOMOD, None, "")


async def whole(store: Store, version: str = VERSION, text: str = "package x\n") -> Artifacts:
    """A version with a zip in a workspace of the store."""
    data, h1 = zip_bytes(version, text)
    return Artifacts(info(version), GOMOD, await laid(store, data), h1)


async def laid(store: Store, data: bytes) -> Path:
    file = await store.workspace() / "module.zip"
    file.write_bytes(data)
    return file


def content(stored: Stored | None) -> bytes:
    assert stored is not None
    assert (stored.data is None) != (stored.file is None)
    data = stored.data if stored.data is not None else Path(str(stored.file)).read_bytes()
    assert len(data) == stored.size
    return data


async def everything(store: Store, version: str = VERSION) -> list[Stored | None]:
    return [await store.find(PATH, version, kind) for kind in Kind]


# ---- every backend


async def test_nothing_is_found_before_it_is_published(backend: Backend) -> None:
    assert await everything(backend.store) == [None, None, None]
    assert await backend.store.versions(PATH) == []


async def test_published_artifacts_are_found_with_their_bytes(backend: Backend) -> None:
    before = time.time()
    artifacts = await whole(backend.store)
    await backend.store.publish(PATH, VERSION, artifacts)
    found_info, found_mod, found_zip = await everything(backend.store)
    assert content(found_info) == artifacts.info
    assert content(found_mod) == GOMOD
    assert content(found_zip) == zip_bytes()[0]
    assert found_info is not None
    assert found_mod is not None
    assert found_zip is not None
    assert (found_info.kind, found_mod.kind, found_zip.kind) == (Kind.INFO, Kind.MOD, Kind.ZIP)
    assert (found_info.h1, found_mod.h1, found_zip.h1) == ("", "", artifacts.zip_h1)
    assert found_info.etag == f'"{hashlib.sha256(artifacts.info).hexdigest()}"'
    assert found_mod.etag == f'"{hashlib.sha256(GOMOD).hexdigest()}"'
    assert found_info.data is not None
    assert found_mod.data is not None
    assert all(before - 2 <= stored.mtime <= time.time() + 2 for stored in (found_info, found_mod, found_zip))


async def test_info_and_mod_come_before_the_zip_which_is_added_later(backend: Backend) -> None:
    await backend.store.publish(PATH, VERSION, small())
    assert content(await backend.store.find(PATH, VERSION, Kind.INFO)) == info()
    assert content(await backend.store.find(PATH, VERSION, Kind.MOD)) == GOMOD
    assert await backend.store.find(PATH, VERSION, Kind.ZIP) is None
    await backend.store.publish(PATH, VERSION, await whole(backend.store))
    assert content(await backend.store.find(PATH, VERSION, Kind.ZIP)) == zip_bytes()[0]


async def test_the_zip_survives_its_workspace(backend: Backend) -> None:
    artifacts = await whole(backend.store)
    await backend.store.publish(PATH, VERSION, artifacts)
    assert artifacts.zip is not None
    await backend.store.discard(artifacts.zip.parent)
    await backend.store.discard(artifacts.zip.parent)
    assert not artifacts.zip.parent.exists()
    assert content(await backend.store.find(PATH, VERSION, Kind.ZIP)) == zip_bytes()[0]


async def test_workspaces_are_private_and_new(backend: Backend) -> None:
    first, second = await backend.store.workspace(), await backend.store.workspace()
    assert first != second
    assert list(first.iterdir()) == []
    assert stat.S_IMODE(first.stat().st_mode) == 0o700


async def test_discard_leaves_other_directories_alone(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    await backend.store.discard(tmp_path / "other")
    assert (tmp_path / "other").is_dir()


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(info(), id="same bytes"),
        pytest.param(info(Extra=1), id="another field"),
        pytest.param(info().replace(b", ", b","), id="other white space"),
    ],
)
async def test_publishing_equal_artifacts_again_changes_nothing(backend: Backend, again: bytes) -> None:
    await backend.store.publish(PATH, VERSION, await whole(backend.store))
    before = await everything(backend.store)
    await backend.store.publish(PATH, VERSION, Artifacts(again, GOMOD, None, ""))
    other_bytes, same_h1 = zip_bytes(level=1)
    await backend.store.publish(PATH, VERSION, Artifacts(again, GOMOD, await laid(backend.store, other_bytes), same_h1))
    assert await everything(backend.store) == before
    assert content(before[0]) == info()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (replace(small(), info=info(commit="b" * 40)), [COMMIT, "b" * 40]),
        (replace(small(), info=json.dumps({"Version": VERSION}).encode()), [COMMIT, "none"]),
        (
            replace(small(), info=info(when="2025-01-01T00:00:00Z")),
            [hashlib.sha256(info()).hexdigest(), hashlib.sha256(info(when="2025-01-01T00:00:00Z")).hexdigest()],
        ),
        (
            replace(small(), gomod=b"module example.com/m\n"),
            [rules.gomod_h1(GOMOD), "h1:flS2VctbRrTv+sBE+VKgxx6hlkMGPVz9MGOmzMYFg3k="],
        ),
    ],
    ids=["commit", "no commit", "time", "go.mod"],
)
async def test_i2_other_info_or_mod_is_refused(backend: Backend, changed: Artifacts, named: list[str]) -> None:
    await backend.store.publish(PATH, VERSION, await whole(backend.store))
    before = await everything(backend.store)
    with pytest.raises(errors.ModuleChanged) as caught:
        await backend.store.publish(PATH, VERSION, changed)
    assert all(text in caught.value.message for text in [PATH, VERSION, *named])
    assert await everything(backend.store) == before


async def test_i2_a_zip_with_another_h1_is_refused(backend: Backend) -> None:
    first, other = await whole(backend.store), await whole(backend.store, text="package y\n")
    await backend.store.publish(PATH, VERSION, first)
    before = await everything(backend.store)
    with pytest.raises(errors.ModuleChanged) as caught:
        await backend.store.publish(PATH, VERSION, other)
    assert first.zip_h1 in caught.value.message
    assert other.zip_h1 in caught.value.message
    assert await everything(backend.store) == before


async def test_i2_an_evicted_zip_comes_back_with_the_same_h1_only(backend: Backend) -> None:
    artifacts = await whole(backend.store)
    await backend.store.publish(PATH, VERSION, artifacts)
    await backend.evict(PATH, VERSION)
    assert await backend.store.find(PATH, VERSION, Kind.ZIP) is None
    assert content(await backend.store.find(PATH, VERSION, Kind.INFO)) == info()
    with pytest.raises(errors.ModuleChanged):
        await backend.store.publish(PATH, VERSION, await whole(backend.store, text="package y\n"))
    assert await backend.store.find(PATH, VERSION, Kind.ZIP) is None
    other_bytes, same_h1 = zip_bytes(level=1)
    await backend.store.publish(
        PATH, VERSION, Artifacts(info(), GOMOD, await laid(backend.store, other_bytes), same_h1)
    )
    found = await backend.store.find(PATH, VERSION, Kind.ZIP)
    assert content(found) == other_bytes
    assert found is not None
    assert found.h1 == artifacts.zip_h1


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"Version": 1}',
        b'{"Version": ""}',
        b"\xff",
        b"[" * 100_000,
        info("v9.9.9"),
    ],
)
async def test_an_info_that_is_not_the_version_s_own_is_not_published(backend: Backend, broken: bytes) -> None:
    with pytest.raises(errors.Corrupt):
        await backend.store.publish(PATH, VERSION, Artifacts(broken, GOMOD, None, ""))
    assert await everything(backend.store) == [None, None, None]


async def test_a_zip_that_is_not_whole_is_not_published(backend: Backend) -> None:
    data, h1 = zip_bytes()
    for wrong in (b"", data[:-1], data[1:], data + b"\0", data[: len(data) // 2]):
        with pytest.raises(errors.Corrupt):
            await backend.store.publish(PATH, VERSION, Artifacts(info(), GOMOD, await laid(backend.store, wrong), h1))
    for bad_h1 in ("", "h1:", h1 + "\n", "h2:" + h1[3:], h1[:-1]):
        with pytest.raises(errors.Corrupt):
            await backend.store.publish(
                PATH, VERSION, Artifacts(info(), GOMOD, await laid(backend.store, data), bad_h1)
            )
    with pytest.raises(errors.Corrupt):
        await backend.store.publish(PATH, VERSION, Artifacts(info(), GOMOD, await backend.store.workspace() / "no", h1))
    assert await everything(backend.store) == [None, None, None]
    assert await backend.store.versions(PATH) == []


async def test_versions_are_those_with_an_info_in_semver_order(backend: Backend) -> None:
    pseudo = "v0.0.0-20240301000000-aaaaaaaaaaaa"
    for version in ("v1.10.0", "v1.9.0", VERSION, pseudo, "v2.0.0+incompatible"):
        await backend.store.publish(PATH, version, small(version))
    await backend.store.publish("github.com/Azure/x/v9", "v9.0.0", small("v9.0.0"))
    assert await backend.store.versions(PATH) == [pseudo, VERSION, "v1.9.0", "v1.10.0", "v2.0.0+incompatible"]
    assert await backend.store.versions("github.com/Azure") == []


@pytest.mark.parametrize(
    "path", ["", "x", "../x", "a.b/../c", "/a.b", "a.b//c", "a.b/@v", "a.b/.git", "a.b\0", "a!.b", "é.b"]
)
async def test_t1_paths_that_are_no_module_paths_reach_nothing(backend: Backend, path: str) -> None:
    for kind in Kind:
        with pytest.raises(errors.InvalidRequest):
            await backend.store.find(path, VERSION, kind)
    with pytest.raises(errors.InvalidRequest):
        await backend.store.publish(path, VERSION, small())
    with pytest.raises(errors.InvalidRequest):
        await backend.store.versions(path)
    with pytest.raises(errors.InvalidRequest):
        await backend.store.pins(path)
    for name in ("list", "latest", "main", VERSION):
        with pytest.raises(errors.InvalidRequest):
            await backend.store.remember(path, name, info())
        with pytest.raises(errors.InvalidRequest):
            await backend.store.recall(path, name)


@pytest.mark.parametrize("version", ["", ".", "..", "../v1.0.0", "v1/0", "v1\0", "v1!0", "\u00e9", "v1.0.0/../../x"])
async def test_t2_versions_that_are_no_file_names_reach_nothing(backend: Backend, version: str) -> None:
    for kind in Kind:
        with pytest.raises(errors.InvalidRequest):
            await backend.store.find(PATH, version, kind)
    with pytest.raises((errors.InvalidRequest, errors.Corrupt)):
        await backend.store.publish(PATH, version, small(version))
    with pytest.raises(errors.InvalidRequest):
        await backend.store.remember(PATH, version, info())
    with pytest.raises(errors.InvalidRequest):
        await backend.store.recall(PATH, version)


@pytest.mark.parametrize("version", ["main", "v1", "v1.2", "v1.2.3+meta", "v01.0.0", "latest", "list"])
async def test_only_canonical_versions_are_published(backend: Backend, version: str) -> None:
    with pytest.raises(errors.Corrupt, match="canonical"):
        await backend.store.publish(PATH, version, small(version))
    assert await backend.store.versions(PATH) == []


# ---- every backend: what is remembered

LISTED = b"v1.0.0\nv1.1.0-rc.1\nv2.0.0+incompatible\n"
QUESTIONS = [("list", LISTED), ("list", b""), ("latest", info()), ("Main", info()), ("v1", info()), ("0123456", info())]


@pytest.mark.parametrize(("name", "data"), QUESTIONS)
async def test_an_answer_is_remembered_with_its_time(backend: Backend, name: str, data: bytes) -> None:
    assert await backend.store.recall(PATH, name) is None
    before = time.time()
    await backend.store.remember(PATH, name, data)
    last = await backend.store.recall(PATH, name)
    assert last is not None
    assert last.data == data
    assert before - 1 <= last.time <= time.time() + 1
    assert await backend.store.recall("github.com/azure/x", name) is None
    assert await backend.store.recall(PATH, "other") is None


async def test_an_answer_takes_the_place_of_the_last(backend: Backend) -> None:
    for name in ("latest", "main"):
        for version in ("v1.0.0", "v1.1.0", "v1.0.0"):
            await backend.store.remember(PATH, name, info(version))
            assert await recalled(backend.store, name) == info(version)
    for data in (LISTED, b"", LISTED):
        await backend.store.remember(PATH, "list", data)
        assert await recalled(backend.store, "list") == data


async def recalled(store: Store, name: str) -> bytes | None:
    last = await store.recall(PATH, name)
    return None if last is None else last.data


async def test_what_is_remembered_is_no_published_version(backend: Backend) -> None:
    for name, data in QUESTIONS:
        await backend.store.remember(PATH, name, data)
    assert await backend.store.versions(PATH) == []
    assert await backend.store.pins(PATH) == {}
    assert [path async for path in backend.store.modules()] == []
    for name in ("list", "latest", "Main", "v1"):
        for kind in Kind:
            assert await backend.store.find(PATH, name, kind) is None
    await backend.store.publish(PATH, VERSION, small())
    assert await backend.store.versions(PATH) == [VERSION]


@pytest.mark.parametrize("version", [VERSION, "v1.0.0", "v2.0.0+incompatible", "v0.0.0-20240301000000-aaaaaaaaaaaa"])
async def test_i2_nothing_remembered_has_the_name_of_a_version(backend: Backend, version: str) -> None:
    for published in (False, True):
        if published:
            await backend.store.publish(PATH, version, small(version))
        with pytest.raises(errors.Corrupt):
            await backend.store.remember(PATH, version, info("v9.0.0"))
        assert await backend.store.recall(PATH, version) is None
    assert content(await backend.store.find(PATH, version, Kind.INFO)) == info(version)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list", info()),
        ("list", b"v1.0.0"),
        ("list", b"main\n"),
        ("list", b"v1.0.0\n\n"),
        ("latest", LISTED),
        ("main", b""),
        ("main", b"{"),
        ("main", info("main")),
        ("main", b"[" * 100_000),
    ],
)
async def test_what_is_no_answer_is_not_remembered(backend: Backend, name: str, data: bytes) -> None:
    with pytest.raises(errors.Corrupt):
        await backend.store.remember(PATH, name, data)
    assert await backend.store.recall(PATH, name) is None


async def test_what_is_remembered_has_bounds(backend: Backend) -> None:
    most = {"list": b"v1.0.0\n" * ((16 << 20) // 7), "main": info(Extra="x" * ((1 << 20) - 1000))}
    for name, data in most.items():
        await backend.store.remember(PATH, name, data)
        with pytest.raises(errors.Refused):
            await backend.store.remember(PATH, name, data + b"\n" * (17 << 20))
        assert await recalled(backend.store, name) == data
    names = [f"branch-{number}" for number in range(203)]
    for name in ("list", "latest"):
        await backend.store.remember(PATH, name, dict(QUESTIONS)[name])
    await backend.store.publish(PATH, VERSION, small())
    for name in names:
        await backend.store.remember(PATH, name, info())
    kept = [name for name in ("main", *names) if await recalled(backend.store, name) is not None]
    assert kept == names[3:]
    assert None not in [await recalled(backend.store, name) for name in ("list", "latest")]
    assert await backend.store.versions(PATH) == [VERSION]
    await backend.store.remember("github.com/azure/y", "main", info())
    assert await recalled(backend.store, names[3]) is not None


async def test_two_hundred_tasks_remember_one_answer(backend: Backend) -> None:
    answers = [info(f"v1.{number % 5}.0") for number in range(200)]
    await asyncio.gather(*(backend.store.remember(PATH, "main", data) for data in answers))
    assert await recalled(backend.store, "main") in answers


async def test_pins_are_what_versions_were_made_from(backend: Backend) -> None:
    tagged = {"Ref": "refs/tags/v1.1.0", "Hash": "b" * 40}
    await backend.store.publish(PATH, VERSION, small())
    await backend.store.publish(PATH, "v1.1.0", Artifacts(info("v1.1.0", Origin=tagged), GOMOD, None, ""))
    await backend.store.publish(PATH, "v1.2.0", Artifacts(b'{"Version": "v1.2.0"}', GOMOD, None, ""))
    await backend.store.publish(PATH, "v1.3.0", Artifacts(info("v1.3.0", Origin=[1]), GOMOD, None, ""))
    await backend.store.publish("github.com/Azure/y", "v1.0.0", small("v1.0.0"))
    expected = {VERSION: ("", COMMIT), "v1.1.0": tuple(tagged.values()), "v1.2.0": ("", ""), "v1.3.0": ("", "")}
    for _ in range(2):
        assert await backend.store.pins(PATH) == expected
    await backend.store.publish(PATH, "v1.4.0", small("v1.4.0"))
    assert await backend.store.pins(PATH) == {**expected, "v1.4.0": ("", COMMIT)}
    assert await backend.store.pins("github.com/Azure/none") == {}


async def test_modules_are_those_with_a_published_version(backend: Backend) -> None:
    paths = [PATH, f"{PATH}/v2", f"{PATH}/sub/Deep", "a.example/b", *(f"many.example/m{n}" for n in range(250))]
    assert [path async for path in backend.store.modules()] == []
    for path in paths:
        await backend.store.publish(path, VERSION, small())
    await backend.store.remember("a.example/only-asked", "list", LISTED)
    found = [path async for path in backend.store.modules()]
    assert sorted(found) == sorted(paths)


async def test_two_hundred_tasks_publish_one_version(backend: Backend) -> None:
    same, other = await whole(backend.store), await whole(backend.store, text="package y\n")
    tasks = [backend.store.publish(PATH, VERSION, other if n % 2 else same) for n in range(200)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    found = await backend.store.find(PATH, VERSION, Kind.ZIP)
    assert found is not None
    lost = 1 if found.h1 == same.zip_h1 else 0
    assert [type(result) for result in results[lost::2]] == [errors.ModuleChanged] * 100
    assert results[1 - lost :: 2] == [None] * 100


# ---- the disk's tree


def at_v(tmp_path: Path) -> Path:
    return tmp_path / "store" / ESCAPED / "@v"


def entry(tmp_path: Path, suffix: str, version: str = ESCAPED_VERSION) -> Path:
    return at_v(tmp_path) / f"{version}{suffix}"


async def test_the_tree_has_the_layout_of_the_download_cache(disk: DiskStore, tmp_path: Path) -> None:
    artifacts = await whole(disk)
    await disk.publish(PATH, VERSION, artifacts)
    names = {f"{ESCAPED_VERSION}{suffix}" for suffix in (".info", ".mod", ".zip", ".ziphash")}
    assert {file.name for file in at_v(tmp_path).iterdir()} == names | {"list", "lock"}
    assert entry(tmp_path, ".ziphash").read_bytes() == artifacts.zip_h1.encode()
    assert entry(tmp_path, ".ziphash").stat().st_size == 47
    found = await disk.find(PATH, VERSION, Kind.ZIP)
    assert found is not None
    assert found.file == entry(tmp_path, ".zip")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        disk = disk_store(tmp_path)
        await disk.publish(PATH, VERSION, await whole(disk))
        await disk.close()
    finally:
        os.umask(before)
    for top, directories, files in os.walk(tmp_path / "store"):
        for name in (top, *(os.path.join(top, name) for name in directories)):
            assert stat.S_IMODE(os.stat(name).st_mode) == 0o700, name
        for name in files:
            mode = 0o600 if name == "lock" else 0o400
            assert stat.S_IMODE(os.stat(os.path.join(top, name)).st_mode) == mode, name


async def test_list_names_the_versions_without_pseudo_versions(disk: DiskStore, tmp_path: Path) -> None:
    listed = at_v(tmp_path) / "list"
    pseudo = "v0.0.0-20240301000000-aaaaaaaaaaaa"
    await disk.publish(PATH, pseudo, small(pseudo))
    assert listed.read_bytes() == b""
    for version in ("v1.10.0", "v1.9.0", VERSION):
        await disk.publish(PATH, version, small(version))
    assert listed.read_text() == f"{VERSION}\nv1.9.0\nv1.10.0\n"
    at_v(tmp_path).joinpath("v1.9.0.info").unlink()
    await disk.publish(PATH, "v1.11.0", small("v1.11.0"))
    assert listed.read_text() == f"{VERSION}\nv1.10.0\nv1.11.0\n"


async def test_no_private_file_outlives_its_publish(tmp_path: Path) -> None:
    disk = disk_store(tmp_path)
    artifacts = await whole(disk)
    await disk.publish(PATH, VERSION, artifacts)
    with pytest.raises(errors.ModuleChanged):
        await disk.publish(PATH, VERSION, replace(small(), gomod=b""))
    assert artifacts.zip is not None
    await disk.discard(artifacts.zip.parent)
    (own,) = (tmp_path / "tmp").iterdir()
    assert [file.name for file in own.iterdir()] == ["lock"]
    await disk.close()
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_small_artifacts_come_from_memory_the_second_time(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, small())
    before = [await disk.find(PATH, VERSION, kind) for kind in (Kind.INFO, Kind.MOD)]
    shutil.rmtree(tmp_path / "store")
    assert [await disk.find(PATH, VERSION, kind) for kind in (Kind.INFO, Kind.MOD)] == before


async def test_a_store_without_memory_reads_the_disk(tmp_path: Path) -> None:
    disk = disk_store(tmp_path, small_bytes=0)
    await disk.publish(PATH, VERSION, small())
    assert content(await disk.find(PATH, VERSION, Kind.INFO)) == info()
    shutil.rmtree(tmp_path / "store")
    assert await disk.find(PATH, VERSION, Kind.INFO) is None
    await disk.close()


def test_the_small_cache_is_bounded_by_bytes() -> None:
    cache = SmallCache(100_000)
    for number in range(1000):
        data = bytes(1000)
        cache.put((PATH, str(number), Kind.MOD), Stored(Kind.MOD, len(data), 0.0, '""', "", data, None))
        cache.get((PATH, "0", Kind.MOD))
        assert cache.size <= 100_000
    assert cache.get((PATH, "0", Kind.MOD)) is not None
    assert cache.get((PATH, "1", Kind.MOD)) is None
    assert cache.get((PATH, "999", Kind.MOD)) is not None
    cache.put((PATH, "big", Kind.MOD), Stored(Kind.MOD, 20_000, 0.0, '""', "", bytes(20_000), None))
    assert cache.get((PATH, "big", Kind.MOD)) is None


async def test_names_too_long_for_the_file_system_are_absent_and_refused(disk: DiskStore) -> None:
    version = "v1.0.0-" + "a" * 250
    for kind in Kind:
        assert await disk.find(PATH, version, kind) is None
    with pytest.raises(errors.InvalidRequest):
        await disk.publish(PATH, version, small(version))
    long_path = "example.com/" + "a" * 300
    assert await disk.find(long_path, VERSION, Kind.MOD) is None
    assert await disk.versions(long_path) == []
    with pytest.raises(errors.InvalidRequest):
        await disk.publish(long_path, VERSION, small())


async def test_the_real_go_command_takes_the_tree_as_its_proxy(disk: DiskStore, tmp_path: Path, go: GoTool) -> None:
    version = "v1.0.0"
    artifacts = await whole(disk, version)
    await disk.publish(PATH, version, artifacts)
    await disk.publish(PATH, VERSION, small())
    proxy = f"file://{tmp_path / 'store'}"
    copied = tmp_path / "copy"
    shutil.copytree(tmp_path / "store", copied)
    for where in (proxy, f"file://{copied}"):
        go.fresh_cache()
        found = go.json("mod", "download", "-json", f"{PATH}@{version}", GOPROXY=where)
        assert found.get("Sum") == artifacts.zip_h1, found
        assert found.get("GoModSum") == rules.gomod_h1(GOMOD)
        listed = go.json("list", "-m", "-versions", "-json", f"{PATH}@latest", GOPROXY=where)
        assert listed.get("Version") == version, listed
        assert listed.get("Versions") == [version, VERSION]


# ---- the disk's remembered answers


async def test_answers_lie_where_go_looks_for_them_except_the_list_of_the_host(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, small())
    published = {file.name for file in at_v(tmp_path).iterdir()}
    for name, data in QUESTIONS:
        await disk.remember(PATH, name, data)
    new = {file.name for file in at_v(tmp_path).iterdir()} - published
    assert new == {"list.remembered", "!main.info", "v1.info", "0123456.info"}
    assert (at_v(tmp_path).parent / "@latest").read_bytes() == info()
    assert (at_v(tmp_path) / "list").read_text() == f"{VERSION}\n"
    for file in (at_v(tmp_path).parent / "@latest", *(at_v(tmp_path) / name for name in new)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o400
    (own,) = (tmp_path / "tmp").iterdir()
    assert [file.name for file in own.iterdir()] == ["lock"]


async def test_a_copy_of_the_tree_answers_for_a_branch_by_the_real_go(
    disk: DiskStore, tmp_path: Path, go: GoTool
) -> None:
    pseudo = "v0.0.0-20240301000000-aaaaaaaaaaaa"
    await disk.publish(PATH, pseudo, small(pseudo))
    await disk.remember(PATH, "list", LISTED)
    await disk.remember(PATH, "latest", info(pseudo))
    await disk.remember(PATH, "Main", info(pseudo))
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    for query in ("latest", "Main", pseudo):
        go.fresh_cache()
        found = go.json("list", "-m", "-versions", "-json", f"{PATH}@{query}", GOPROXY=f"file://{tmp_path / 'copy'}")
        assert found.get("Version") == pseudo, found
        assert found.get("Versions") is None


async def test_answers_outlive_the_process(disk: DiskStore, tmp_path: Path) -> None:
    for name, data in QUESTIONS:
        await disk.remember(PATH, name, data)
    again = disk_store(tmp_path)
    await again.sweep()
    assert [await recalled(again, name) for name, _ in QUESTIONS] == [b"", b"", info(), info(), info(), info()]
    await again.close()


@pytest.mark.parametrize("name", ["list", "latest", "main"])
async def test_the_same_answer_again_costs_no_new_file(disk: DiskStore, tmp_path: Path, name: str) -> None:
    data = dict(QUESTIONS)["list"] if name == "list" else info()
    await disk.remember(PATH, name, data)
    file = {"list": at_v(tmp_path) / "list.remembered", "latest": at_v(tmp_path).parent / "@latest"}.get(
        name, at_v(tmp_path) / "main.info"
    )
    inode = file.stat().st_ino
    for age, refreshed in ((30, False), (90, True), (-90, True)):
        then = time.time() - age
        os.utime(file, (then, then))
        await disk.remember(PATH, name, data)
        last = await disk.recall(PATH, name)
        assert last is not None
        assert (last.time == pytest.approx(time.time(), abs=5)) is refreshed
        assert last.time == pytest.approx(then, abs=0.01) or refreshed
    assert file.stat().st_ino == inode


async def test_the_oldest_queries_are_dropped_by_their_time(disk: DiskStore, tmp_path: Path) -> None:
    names = [f"branch-{number}" for number in range(200)]
    for name in names:
        await disk.remember(PATH, name, info())
    for name, age in (("branch-0", -1.0), ("branch-150", 200.0), ("branch-7", 100.0)):
        os.utime(at_v(tmp_path) / f"{name}.info", (time.time() - age, time.time() - age))
    await disk.remember(PATH, "one", info())
    await disk.remember(PATH, "two", info())
    gone = [name for name in (*names, "one", "two") if await recalled(disk, name) is None]
    assert gone == ["branch-7", "branch-150"]


@pytest.mark.parametrize("damage", [b"", b"{", b"v1.0.0", bytes(50), b"x" * (17 << 20)])
async def test_a_damaged_answer_is_corrupt_and_the_next_one_heals_it(
    disk: DiskStore, tmp_path: Path, damage: bytes
) -> None:
    await disk.remember(PATH, "main", info())
    overwrite(at_v(tmp_path) / "main.info", damage)
    with pytest.raises(errors.Corrupt):
        await disk.recall(PATH, "main")
    await disk.remember(PATH, "main", info())
    assert await recalled(disk, "main") == info()


async def test_t1_an_answer_is_not_read_nor_written_through_a_link(disk: DiskStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(info("v6.6.6"))
    await disk.publish(PATH, VERSION, small())
    for name, file in (("main", at_v(tmp_path) / "main.info"), ("latest", at_v(tmp_path).parent / "@latest")):
        file.symlink_to(secret)
        with pytest.raises(errors.Corrupt):
            await disk.recall(PATH, name)
        await disk.remember(PATH, name, info())
        assert await recalled(disk, name) == info()
    assert secret.read_bytes() == info("v6.6.6")


async def test_an_answer_with_too_long_a_name_is_absent_and_refused(disk: DiskStore) -> None:
    name = "b" * 256
    assert await disk.recall(PATH, name) is None
    with pytest.raises(errors.InvalidRequest):
        await disk.remember(PATH, name, info())


async def test_a_branch_with_a_capital_is_another(disk: DiskStore) -> None:
    await disk.remember(PATH, "Main", info("v1.0.0"))
    await disk.remember(PATH, "main", info("v2.0.0"))
    assert await recalled(disk, "Main") == info("v1.0.0")


async def test_pins_of_files_that_were_read_are_not_read_again(disk: DiskStore, tmp_path: Path) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        await disk.publish(PATH, version, small(version))
    before = await disk.pins(PATH)
    for age in (0, 100):
        overwrite(entry(tmp_path, ".info", "v1.0.0"), info("v1.0.0", "c" * 40))  # nobody does that; it shows a read
        os.utime(at_v(tmp_path), (time.time() - age, time.time() - age))
        assert await disk.pins(PATH) == before
    assert await disk.pins(PATH) is await disk.pins(PATH)
    entry(tmp_path, ".info", "v1.1.0").unlink()
    assert await disk.pins(PATH) == {"v1.0.0": ("", COMMIT)}


async def test_pins_pass_over_what_is_damaged_until_it_is_healed(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, small())
    await disk.publish(PATH, "v1.0.0", small("v1.0.0"))
    for damage in (b"", b"[" * 100_000, b"[]", b'{"Origin": {"Hash": 5}}'):
        overwrite(entry(tmp_path, ".info"), damage)
        assert (await disk.pins(PATH))["v1.0.0"] == ("", COMMIT)
    overwrite(entry(tmp_path, ".info"), info(commit="d" * 40))
    assert await disk.pins(PATH) == {VERSION: ("", "d" * 40), "v1.0.0": ("", COMMIT)}


def test_the_cache_of_pins_is_bounded_by_versions(tmp_path: Path) -> None:
    cache = PinCache(limit=10)
    for number in range(12):
        file = tmp_path / str(number % 6)
        file.mkdir(exist_ok=True)
        for version in range(4):
            (file / f"v1.{version}.0.info").write_bytes(info(f"v1.{version}.0"))
        handle = os.open(file, os.O_RDONLY)
        assert len(cache.read(file.name, handle)) == 4
        os.close(handle)
        assert cache.count <= 10
    assert cache.count == 8


async def test_modules_passes_over_what_is_none(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, small())
    for name in ("github.com/Upper/@v", "github.com/!azure/empty/@v", "nodot/@v"):
        (tmp_path / "store" / name).mkdir(parents=True)
    for name in ("github.com/Upper/@v", "nodot/@v"):
        (tmp_path / "store" / name / "v1.0.0.info").write_bytes(info("v1.0.0"))
    (tmp_path / "store" / "github.com" / "@v").touch()
    assert [path async for path in disk.modules()] == [PATH]


# ---- the disk's leftovers of crashes


async def test_a_zip_without_its_hash_is_not_published_and_is_replaced(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, small())
    entry(tmp_path, ".zip").write_bytes(zip_bytes(text="package other\n")[0])
    assert await disk.find(PATH, VERSION, Kind.ZIP) is None
    await disk.publish(PATH, VERSION, await whole(disk))
    assert content(await disk.find(PATH, VERSION, Kind.ZIP)) == zip_bytes()[0]


async def test_nothing_exists_without_its_info(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, await whole(disk))
    entry(tmp_path, ".info").unlink()
    assert await everything(disk) == [None, None, None]
    assert await disk.versions(PATH) == []
    await disk.publish(PATH, VERSION, await whole(disk))
    assert None not in await everything(disk)


async def test_a_go_mod_without_info_was_never_served_and_is_replaced(disk: DiskStore, tmp_path: Path) -> None:
    at_v(tmp_path).mkdir(parents=True)
    entry(tmp_path, ".mod").write_bytes(b"module another.example/one\n")
    await disk.publish(PATH, VERSION, small())
    assert content(await disk.find(PATH, VERSION, Kind.MOD)) == GOMOD


async def test_i2_a_zip_left_over_from_another_commit_never_joins_a_version(disk: DiskStore, tmp_path: Path) -> None:
    other, other_h1 = zip_bytes(text="package other\n")
    at_v(tmp_path).mkdir(parents=True)
    entry(tmp_path, ".zip").write_bytes(other)
    entry(tmp_path, ".ziphash").write_text(other_h1)
    await disk.publish(PATH, VERSION, small())
    assert await disk.find(PATH, VERSION, Kind.ZIP) is None
    with pytest.raises(errors.ModuleChanged):
        await disk.publish(PATH, VERSION, await whole(disk))
    await disk.publish(PATH, VERSION, Artifacts(info(), GOMOD, await laid(disk, other), other_h1))
    assert content(await disk.find(PATH, VERSION, Kind.ZIP)) == other


async def test_sweep_removes_what_dead_processes_left_and_mends_lists(tmp_path: Path) -> None:
    disk, living = disk_store(tmp_path), disk_store(tmp_path)
    await disk.publish(PATH, VERSION, small())
    (at_v(tmp_path) / "list").unlink()
    workspace = await living.workspace()
    assert await disk.sweep() == 0
    dead = tmp_path / "tmp" / "0123456789abcdef"
    (dead / "work-1").mkdir(parents=True)
    (dead / "work-1" / "module.zip").write_bytes(b"x")
    (dead / "lock").touch()
    unlocked = tmp_path / "tmp" / "fedcba9876543210"
    unlocked.mkdir()
    (tmp_path / "store" / ".0123456789abcdef").touch()
    (tmp_path / "tmp" / "not-ours").mkdir()
    assert await disk.sweep() == 2
    assert not dead.exists()
    assert not unlocked.exists()
    assert not (tmp_path / "store" / ".0123456789abcdef").exists()
    assert (tmp_path / "tmp" / "not-ours").is_dir()
    assert workspace.is_dir()
    assert (at_v(tmp_path) / "list").read_text() == f"{VERSION}\n"
    await disk.close()
    await living.close()


# ---- the disk's damage


@pytest.mark.parametrize("damage", [b"", b"{", b"null", info("v9.9.9"), bytes(120)])
async def test_a_damaged_info_is_corrupt_and_is_not_overwritten(disk: DiskStore, tmp_path: Path, damage: bytes) -> None:
    await disk.publish(PATH, VERSION, small())
    overwrite(entry(tmp_path, ".info"), damage)
    with pytest.raises(errors.Corrupt):
        await disk.find(PATH, VERSION, Kind.INFO)
    with pytest.raises((errors.Corrupt, errors.ModuleChanged)):
        await disk.publish(PATH, VERSION, small())
    assert entry(tmp_path, ".info").read_bytes() == damage


async def test_an_info_without_its_mod_is_corrupt_and_the_next_publish_heals_it(
    disk: DiskStore, tmp_path: Path
) -> None:
    await disk.publish(PATH, VERSION, small())
    entry(tmp_path, ".mod").unlink()
    with pytest.raises(errors.Corrupt):
        await disk.find(PATH, VERSION, Kind.MOD)
    await disk.publish(PATH, VERSION, small())
    assert content(await disk.find(PATH, VERSION, Kind.MOD)) == GOMOD


async def test_every_truncation_of_a_zip_is_corrupt_and_the_next_publish_heals_it(
    disk: DiskStore, tmp_path: Path
) -> None:
    await disk.publish(PATH, VERSION, await whole(disk))
    data = zip_bytes()[0]
    for length in range(len(data)):
        overwrite(entry(tmp_path, ".zip"), data[:length])
        with pytest.raises(errors.Corrupt):
            await disk.find(PATH, VERSION, Kind.ZIP)
    overwrite(entry(tmp_path, ".zip"), data + b"\0")
    with pytest.raises(errors.Corrupt):
        await disk.find(PATH, VERSION, Kind.ZIP)
    await disk.publish(PATH, VERSION, await whole(disk))
    assert content(await disk.find(PATH, VERSION, Kind.ZIP)) == data


async def test_a_damaged_ziphash_is_corrupt(disk: DiskStore, tmp_path: Path) -> None:
    await disk.publish(PATH, VERSION, await whole(disk))
    for damage in (b"", b"h1:", entry(tmp_path, ".ziphash").read_bytes() + b"\n", bytes(47)):
        overwrite(entry(tmp_path, ".ziphash"), damage)
        with pytest.raises(errors.Corrupt):
            await disk.find(PATH, VERSION, Kind.ZIP)
        with pytest.raises(errors.Corrupt):
            await disk.publish(PATH, VERSION, await whole(disk))


async def test_t1_symbolic_links_are_never_followed(disk: DiskStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(info())
    await disk.publish(PATH, VERSION, await whole(disk))
    for kind in Kind:
        entry(tmp_path, kind.suffix).unlink()
        entry(tmp_path, kind.suffix).symlink_to(secret)
        with pytest.raises(errors.Corrupt):
            await disk.find(PATH, VERSION, kind)
    hostile = await disk.workspace() / "module.zip"
    hostile.symlink_to(entry(tmp_path, ".zip"))
    with pytest.raises(errors.Corrupt):
        await disk.publish(PATH, "v1.0.0", Artifacts(info("v1.0.0"), GOMOD, hostile, zip_bytes()[1]))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / "example.com").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.Corrupt):
        await disk.publish("example.com/m", "v1.0.0", small("v1.0.0"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def overwrite(file: Path, data: bytes) -> None:
    file.unlink()
    file.write_bytes(data)


def test_large_zips_end_in_zip64_records() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number in range(65_536):
            archive.writestr(zipfile.ZipInfo(f"{number:x}"), b"")
    data = out.getvalue()
    assert rules.is_whole_zip(io.BytesIO(data), len(data))
    for wrong in (data[:-1], data[1:], data + b"\0", data[:100_000] + data[100_001:]):
        assert not rules.is_whole_zip(io.BytesIO(wrong), len(wrong))
    assert rules.is_whole_zip(io.BytesIO(b"PK\x05\x06" + bytes(18)), 22)


# ---- directories that cannot be used


def test_root_and_temp_on_two_file_systems_are_refused(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no second file system here")
    temp = elsewhere / f"vcsproxy-test-{os.getpid()}"
    try:
        with pytest.raises(errors.ConfigError, match="one file system"):
            DiskStore(tmp_path / "store", temp)
        assert list(temp.iterdir()) == []
        assert list((tmp_path / "store").iterdir()) == []
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root, temp in ((tmp_path / "file", tmp_path / "tmp"), (tmp_path / "store", tmp_path / "file")):
        with pytest.raises(errors.ConfigError):
            DiskStore(root, temp)


async def test_a_lock_that_others_keep_ends_in_overloaded(
    disk: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcsproxy.store.disk._LOCK_SECONDS", 0.05)
    await disk.publish(PATH, VERSION, small())
    with (at_v(tmp_path) / "lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(errors.Overloaded):
            await disk.publish(PATH, "v1.0.0", small("v1.0.0"))
        assert content(await disk.find(PATH, VERSION, Kind.INFO)) == info()
    await disk.publish(PATH, "v1.0.0", small("v1.0.0"))


# ---- many processes, and no room; each child is a real process with a store of its own

CHILD = """
import asyncio, json, resource, sys, time
from pathlib import Path
from vcsproxy import errors
from vcsproxy.store import Artifacts, Kind
from vcsproxy.store.disk import DiskStore
from tests.contract.test_store import GOMOD, PATH, info, zip_bytes

async def main(top, mode, me):
    store = DiskStore(top / "store", top / "tmp")
    print("ready", flush=True)
    sys.stdin.readline()
    outcomes = []
    for number in range(40 if mode == "race" else 3):
        version = f"v1.{number}.0"
        text = f"package x{int(me) % 2}" + (" " + 400_000 * "." if mode == "room" else "")
        data, h1 = zip_bytes(version, text, level=0 if mode == "room" else 6)
        workspace = await store.workspace()
        artifacts = Artifacts(info(version), GOMOD, workspace / "module.zip", h1)
        try:
            artifacts.zip.write_bytes(data)
            if mode == "limit":
                resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
            await store.publish(PATH, version, artifacts)
            outcomes.append(h1)
        except errors.VCSProxyError as err:
            outcomes.append(type(err).__name__)
        except OSError as err:
            outcomes.append("OSError")
        await store.discard(workspace)
    await store.close()
    print(json.dumps(outcomes))

asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


def child(top: Path, mode: str, me: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(top), mode, me]
    return subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def outcomes(children: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Start all at once when all are ready; what each saw, version by version."""
    for process in children:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in children:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    texts = [process.communicate(timeout=240)[0] for process in children]
    return [json.loads(text.splitlines()[-1]) for text in texts]


@pytest.mark.slow
async def test_sixteen_processes_race_and_each_version_has_one_winner(disk: DiskStore, tmp_path: Path) -> None:
    seen = outcomes([child(tmp_path, "race", str(me)) for me in range(16)])
    for number in range(40):
        version = f"v1.{number}.0"
        found = await disk.find(PATH, version, Kind.ZIP)
        won = content(found)
        assert found is not None
        for me, ends in enumerate(seen):
            data, h1 = zip_bytes(version, f"package x{me % 2}")
            assert ends[number] == (h1 if won == data else "ModuleChanged"), (version, me)
        assert found.h1 == entry(tmp_path, ".ziphash", version).read_text()
        assert None not in await everything(disk, version)
    assert len(await disk.versions(PATH)) == 40
    assert (at_v(tmp_path) / "list").read_text() == "".join(f"v1.{number}.0\n" for number in range(40))
    (own,) = (tmp_path / "tmp").iterdir()
    assert [file.name for file in own.iterdir()] == ["lock"]


async def test_a_file_size_limit_is_no_room_and_leaves_nothing(disk: DiskStore, tmp_path: Path) -> None:
    (seen,) = outcomes([child(tmp_path, "limit", "0")])
    assert seen == ["Overloaded", "OSError", "OSError"]
    assert await disk.versions(PATH) == []
    assert sorted(file.name for file in at_v(tmp_path).iterdir()) == ["lock"]


TINY_DISK = 'mount -t tmpfs -o size=1m,mode=700 none "$1" && shift && exec "$@"'


async def test_a_full_disk_is_no_room_and_hits_go_on(tmp_path: Path) -> None:
    """The tiny disk is a mount of the child's own, so the child asks all the questions itself."""
    script = CHILD.replace(
        "await store.close()",
        """
    big = await store.workspace() / "big"
    try:
        big.write_bytes(bytes(2 << 20))
    except OSError:
        pass
    try:
        await store.publish(PATH, "v9.0.0", Artifacts(info("v9.0.0"), GOMOD * 9, None, ""))
    except errors.Overloaded as err:
        outcomes.append(err.message)
    outcomes.append(await store.versions(PATH))
    outcomes.append((await store.find(PATH, "v1.0.0", Kind.ZIP)).h1 == outcomes[0])
    big.unlink()
    await store.publish(PATH, "v9.0.0", Artifacts(info("v9.0.0"), GOMOD, None, ""))
    outcomes.append(await store.versions(PATH))
    await store.close()""".strip(),
    )
    top = tmp_path / "tiny"
    top.mkdir()
    command = [
        "unshare",
        "-Urm",
        "sh",
        "-c",
        TINY_DISK,
        "sh",
        str(top),
        sys.executable,
        "-c",
        script,
        str(top),
        "room",
        "0",
    ]
    done = subprocess.run(command, cwd=TOP, input="\n", capture_output=True, text=True, timeout=120, check=False)
    if "ready" not in done.stdout:
        pytest.skip(f"no mount of our own is possible here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    first, second, third, full, before, hit, after = json.loads(done.stdout.splitlines()[-1])
    assert first.startswith("h1:")
    assert second.startswith("h1:")
    assert third in ("Overloaded", "OSError")
    assert full.startswith("no room in the store")
    assert before == ["v1.0.0", "v1.1.0"]
    assert hit
    assert after == ["v1.0.0", "v1.1.0", "v9.0.0"]
