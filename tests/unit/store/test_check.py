"""Looking over a store: nothing is said of a sound one, and every kind of damage is found."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.moduletree import A1, A2, OLD, PSEUDO, SEVERAL, B, Version
from tests.support.oddzips import BAD
from vcsproxy import errors
from vcsproxy.mirror.admit import Offer, admit
from vcsproxy.store.check import Counts, check
from vcsproxy.store.disk import DiskStore
from vcsproxy.store.survey import Finding

AT_V = "example.com/a/@v"


async def fill(top: Path, *versions: Version) -> None:
    store = DiskStore(top / "store", top / "tmp")
    for each in versions:
        file = top / "offered.zip"
        file.write_bytes(each.zip)
        with file.open("rb") as opened:
            await admit(store, Offer(each.path, each.version, each.info, each.mod, opened))
        file.unlink()
    await store.remember(A1.path, "list", b"v1.0.0\nv9.0.0\n")
    await store.remember(A1.path, "latest", A1.info)
    await store.remember(A1.path, "main", A1.info)
    await store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that every test gets a copy of."""
    top = tmp_path_factory.mktemp("filled")
    asyncio.run(fill(top, *SEVERAL))
    return top / "store"


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "store"))


def findings(root: Path, percent: float = 100, processes: int | None = 0) -> tuple[list[Finding], Counts, list[str]]:
    found: list[Finding] = []
    steps: list[str] = []
    counts = check(root, percent, found.append, steps.append, processes=processes)
    return found, counts, sorted(steps)


def test_of_a_sound_store_nothing_is_said(root: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    found, counts, steps = findings(root)
    assert found == []
    assert counts == Counts(4, 5, 5)
    assert steps == sorted(f"{each.path}@{each.version}" for each in SEVERAL)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


def test_an_empty_store_and_none(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert findings(tmp_path / "store") == ([], Counts(0, 0, 0), [])
    with pytest.raises(errors.VCSProxyError):
        findings(tmp_path / "none")


def test_a_sample_is_one(root: Path) -> None:
    checked = [findings(root, 40)[1].checked for _ in range(60)]
    assert 60 * 5 * 0.2 < sum(checked) < 60 * 5 * 0.6
    assert len(set(checked)) > 1
    assert findings(root, 0.0001)[1].versions == 5


def overwrite(name: str, data: bytes | Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def work(root: Path) -> None:
        file = root / name
        new = data if isinstance(data, bytes) else data(file.read_bytes())
        file.unlink(missing_ok=True)
        file.write_bytes(new)

    return work


def flip(data: bytes) -> bytes:
    return data[:60] + bytes([data[60] ^ 1]) + data[61:]


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def link(name: str) -> Callable[[Path], None]:
    def work(root: Path) -> None:
        (root / name).rename(root.parent / "elsewhere")
        (root / name).symlink_to(root.parent / "elsewhere")

    return work


FAULTS: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "a flipped bit in a zip": ("v1.0.0.zip", "", overwrite(f"{AT_V}/v1.0.0.zip", flip)),
    "a zip that is cut off": ("v1.0.0.zip", "zip", overwrite(f"{AT_V}/v1.0.0.zip", lambda data: data[:-5])),
    "a zip of another version": ("v1.0.0.zip", "prefix", overwrite(f"{AT_V}/v1.0.0.zip", A2.zip)),
    "a zip that nobody should serve": ("v1.0.0.zip", "behind its end", overwrite(f"{AT_V}/v1.0.0.zip", BAD["bytes behind the end"])),
    "another hash": ("v1.0.0.zip", "by .ziphash", overwrite(f"{AT_V}/v1.0.0.ziphash", B.h1.encode())),
    "another go.mod than in the zip": ("v1.0.0.zip", "is not the .mod", overwrite(f"{AT_V}/v1.0.0.mod", b"module example.com/a\n")),
    "a go.mod that is gone": ("v1.0.0.mod", "missing", remove(f"{AT_V}/v1.0.0.mod")),
    "a huge go.mod": ("v1.0.0.mod", "larger than it can be", overwrite(f"{AT_V}/v1.0.0.mod", bytes((16 << 20) + 1))),
    "an .info that is no JSON": ("v1.0.0.info", "no JSON", overwrite(f"{AT_V}/v1.0.0.info", b"{")),
    "an .info of another version": ("v1.0.0.info", "not of v1.0.0", overwrite(f"{AT_V}/v1.0.0.info", A2.info)),
    "an .info without a time": ("v1.0.0.info", "time", overwrite(f"{AT_V}/v1.0.0.info", b'{"Version":"v1.0.0"}')),
    "an .info that is a link": ("v1.0.0.info", "cannot be read", link(f"{AT_V}/v1.0.0.info")),
    "a zip that is a link": ("v1.0.0.zip", "cannot be read", link(f"{AT_V}/v1.0.0.zip")),
    "a list that lacks a version": ("list", "does not name", overwrite(f"{AT_V}/list", b"v1.0.0\n")),
    "a list with a version more": ("list", "does not name", overwrite(f"{AT_V}/list", b"v1.0.0\nv1.1.0\nv1.2.0\n")),
    "a list that is gone": ("list", "missing", remove(f"{AT_V}/list")),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_damage_is_found_where_it_is(root: Path, what: str) -> None:
    name, pattern, damage = FAULTS[what]
    damage(root)
    faults = [each for each in findings(root)[0] if each.is_fault]
    assert {(each.path, each.name) for each in faults} == {("example.com/a", f"{AT_V}/{name}")}
    assert pattern in faults[0].what


def test_a_hash_that_is_none_is_found(root: Path) -> None:
    overwrite(f"{AT_V}/v1.0.0.ziphash", bytes(47))(root)
    assert f"{AT_V}/v1.0.0.ziphash" in {each.name for each in findings(root)[0] if each.is_fault}


NOTES: dict[str, tuple[set[str], Callable[[Path], object]]] = {
    "a version that was not finished": (
        {"v1.0.0.zip", "v1.0.0.mod", "v1.0.0.ziphash"},
        lambda root: [remove(f"{AT_V}/v1.0.0.info")(root), overwrite(f"{AT_V}/list", b"v1.1.0\n")(root)],
    ),
    "a zip that does not count": ({"v1.0.0.zip"}, remove(f"{AT_V}/v1.0.0.ziphash")),
    "something else": ({"README", "x.zip"}, lambda root: [overwrite(f"{AT_V}/{n}", b"x")(root) for n in ("README", "x.zip")]),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTES)
def test_leftovers_are_notes(root: Path, what: str) -> None:
    names, change = NOTES[what]
    change(root)
    found, _, _ = findings(root)
    assert {each.name for each in found} == {f"{AT_V}/{name}" for name in names}
    assert not any(each.is_fault for each in found)


def test_strangers_outside_of_modules_are_notes(root: Path) -> None:
    (root / ".0123456789abcdef").touch()
    (root / "UPPER" / "@v").mkdir(parents=True)
    (root / "example.com" / "notes.txt").touch()
    found, _, _ = findings(root)
    assert sorted(each.name for each in found) == [".0123456789abcdef", "UPPER/@v", "example.com/notes.txt"]
    assert not any(each.is_fault for each in found)


def test_an_evicted_zip_is_fine(root: Path) -> None:
    remove(f"{AT_V}/v1.0.0.zip")(root)
    assert findings(root)[0] == []


def test_processes_find_the_same(root: Path) -> None:
    overwrite(f"{AT_V}/v1.0.0.zip", flip)(root)
    remove("example.com/old/@v/v3.0.0+incompatible.mod")(root)
    alone, together = findings(root, processes=0), findings(root, processes=2)
    assert sorted(map(str, together[0])) == sorted(map(str, alone[0]))
    assert len(alone[0]) == 2
    assert together[1:] == alone[1:]


async def test_a_publish_under_way_is_no_fault(tmp_path: Path) -> None:
    """Over and over while versions are published: names that are there for a moment only are not reported."""
    await fill(tmp_path, A1)
    found: list[Finding] = []
    stop = threading.Event()

    def keep_checking() -> int:
        rounds = 0
        while not stop.is_set():
            check(tmp_path / "store", 100, found.append, lambda text: None, processes=0)
            rounds += 1
        return rounds

    checking = asyncio.create_task(asyncio.to_thread(keep_checking))
    await asyncio.sleep(0)
    await fill(tmp_path, A2, *(Version(A1.path, f"v1.{number}.0") for number in range(2, 14)), OLD, PSEUDO)
    stop.set()
    assert await checking > 1
    assert found == []
    assert not os.listdir(tmp_path / "tmp")
