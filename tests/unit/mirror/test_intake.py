"""Directories of module versions in every layout: what is found, imported, refused, and imported again."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.moduletree import A1, A2, OLD, PSEUDO, SEVERAL, B, Version, athens_tree, proxy_tree
from tests.support.oddzips import BAD
from tests.unit.mirror.conftest import expected, h1s
from vcsproxy import errors
from vcsproxy.mirror import intake
from vcsproxy.mirror.admit import Outcome, Result
from vcsproxy.mirror.layouts import Layout
from vcsproxy.store import Artifacts
from vcsproxy.store.disk import DiskStore

TREES = {
    "modcache": lambda top: proxy_tree(top / "cache" / "download", *SEVERAL, hashes=True).parent.parent,
    "download": lambda top: proxy_tree(top / "cache" / "download", *SEVERAL, hashes=True),
    "proxy": lambda top: proxy_tree(top, *SEVERAL),
    "athens": lambda top: athens_tree(top, *SEVERAL),
}


async def import_all(store: DiskStore, directory: Path, sums: intake.Sums | None = None) -> list[Result]:
    results: list[Result] = []
    _, found = intake.search(directory, None)
    await intake.take_in(store, found, sums or {}, results.append)
    return results


def counts(results: list[Result]) -> dict[str, int]:
    return Counter(result.outcome.value for result in results)


def only(results: list[Result]) -> Result:
    (refused,) = [result for result in results if result.outcome is Outcome.REFUSED]
    return refused


@pytest.mark.parametrize("kind", TREES)
async def test_every_layout_is_recognised_and_imported_once(store: DiskStore, tmp_path: Path, kind: str) -> None:
    top = TREES[kind](tmp_path / "tree")
    layout, found = intake.search(top, None)
    assert layout is {"athens": Layout.ATHENS, "proxy": Layout.PROXY}.get(kind, Layout.MODCACHE)
    assert len(found) == len(SEVERAL)
    assert intake.search(top, layout) == (layout, found)
    assert counts(await import_all(store, top)) == {"added": len(SEVERAL)}
    assert await h1s(store) == expected(*SEVERAL)
    assert counts(await import_all(store, top)) == {"present": len(SEVERAL)}
    assert await h1s(store) == expected(*SEVERAL)


def test_a_directory_that_holds_no_versions(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "go.mod").touch()
    with pytest.raises(errors.InvalidRequest, match="no module versions there"):
        intake.search(tmp_path, None)
    with pytest.raises(errors.InvalidRequest, match="no such directory"):
        intake.search(tmp_path / "none", Layout.PROXY)


async def test_what_is_no_version_is_passed_over(store: DiskStore, tmp_path: Path) -> None:
    at_v = proxy_tree(tmp_path / "tree", A1) / "example.com" / "a" / "@v"
    for name in ("main.info", "lock", "v1.0.0.lock", "list.remembered", "v1.0.0.partial", "README"):
        (at_v / name).write_bytes(A1.info)
    (tmp_path / "tree" / "sumdb" / "sum.golang.org").mkdir(parents=True)
    assert counts(await import_all(store, tmp_path / "tree")) == {"added": 1}


async def test_a_version_that_is_refused_does_not_keep_others_out(store: DiskStore, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", A1, A2, hashes=True)
    (tree / "example.com" / "a" / "@v" / "v1.0.0.zip").write_bytes(A2.zip)
    results = await import_all(store, tree)
    assert "does not have prefix" in only(results).reason
    assert await h1s(store) == expected(A2)


@pytest.mark.parametrize("what", ["bytes behind the end", "a way out", "a CRC that lies"])
async def test_t6_an_import_of_malformed_zips_stores_nothing(store: DiskStore, tmp_path: Path, what: str) -> None:
    tree = proxy_tree(tmp_path / "tree", Version("example.com/m", "v1.0.0"))
    (tree / "example.com" / "m" / "@v" / "v1.0.0.zip").write_bytes(BAD[what])
    assert only(await import_all(store, tree)).reason.startswith("zip: ")
    assert await h1s(store) == {}


def damage(tree: Path, name: str, data: bytes | None) -> None:
    file = tree / "example.com" / "a" / "@v" / name
    file.unlink()
    if data is not None:
        file.write_bytes(data)


DAMAGE = {
    "a hash of other contents": ("v1.0.0.ziphash", A2.h1.encode(), "by its .ziphash"),
    "a hash that is none": ("v1.0.0.ziphash", b"\0" * 47, "its .ziphash holds no h1"),
    "a long hash": ("v1.0.0.ziphash", b"h1:" * 1000, "too large"),
    "no .mod": ("v1.0.0.mod", None, "it has no .mod"),
    "no .info": ("v1.0.0.info", None, "it has no .info"),
    "a large .info": ("v1.0.0.info", b" " * ((1 << 20) + 1), "too large"),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_damage_is_reported_with_its_reason(store: DiskStore, tmp_path: Path, what: str) -> None:
    tree = proxy_tree(tmp_path / "tree", A1, hashes=True)
    name, data, reason = DAMAGE[what]
    damage(tree, name, data)
    assert reason in only(await import_all(store, tree)).reason
    assert await h1s(store) == {}


async def test_a_version_without_its_info_says_what_to_do(store: DiskStore, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", A1, PSEUDO)
    for file in tree.rglob("*.info"):
        file.unlink()
    results = await import_all(store, tree)
    assert "go mod download" in only(results).hint
    assert await h1s(store) == expected(PSEUDO)


async def test_t1_links_and_pipes_are_not_followed(store: DiskStore, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", A1, A2, B, OLD)
    at_v = tree / "example.com" / "a" / "@v"
    for name in ("v1.0.0.mod", "v1.1.0.zip"):
        (at_v / name).rename(tmp_path / name)
        (at_v / name).symlink_to(tmp_path / name)
    (tree / "example.com" / "linked").symlink_to(tree / "example.com" / "a")
    pipe = next((tree / "example.com" / "old" / "@v").glob("*.info"))
    pipe.unlink()
    os.mkfifo(pipe)
    results = await import_all(store, tree)
    reasons = sorted(result.reason for result in results if result.outcome is Outcome.REFUSED)
    assert len(reasons) == 3
    assert "is not a regular file" in reasons[2]
    assert "cannot be read" in reasons[0]
    assert await h1s(store) == expected(B)


async def test_names_that_no_module_has(store: DiskStore, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", A1)
    for bad in ("example.com/UPPER", "example.com/con", "nodot"):
        (tree / bad / "@v").mkdir(parents=True)
        (tree / bad / "@v" / "v1.0.0.zip").write_bytes(A1.zip)
    os.makedirs(os.path.join(os.fsencode(tree), b"example.com", b"\xff", b"@v"))
    (tree / os.fsdecode(b"example.com/\xff/@v/v1.0.0.mod")).write_bytes(A1.mod)
    for name in ("v1.0.zip", "V1.0.0.mod", "latest.mod"):
        (tree / "example.com" / "a" / "@v" / name).write_bytes(b"x")
    results = await import_all(store, tree)
    assert counts(results) == {"added": 1, "refused": 7}
    assert all(result.reason for result in results if result.outcome is Outcome.REFUSED)


# --- go.sum ---


async def test_sums_are_compared_as_far_as_they_go(store: DiskStore, tmp_path: Path) -> None:
    sums_file = tmp_path / "go.sum"
    forged = replace(A2, files={"m.go": b"package forged\n"})
    sums_file.write_text(A1.sums + forged.sums + "example.com/a v1.0.0 h9:future\n")
    results = await import_all(store, proxy_tree(tmp_path / "tree", A1, A2, B), intake.read_sums(sums_file))
    assert only(results).reason == f"zip hash differs: {A2.h1} by its contents, {forged.h1} by go.sum"
    assert await h1s(store) == expected(A1, B)


async def test_sums_of_go_mod_files_are_compared(store: DiskStore, tmp_path: Path) -> None:
    sums_file = tmp_path / "go.sum"
    sums_file.write_text(f"{A1.path} {A1.version}/go.mod {B.gomod_h1}\n")
    results = await import_all(store, proxy_tree(tmp_path / "tree", A1), intake.read_sums(sums_file))
    assert only(results).reason.startswith("go.mod hash differs")


async def test_sums_are_compared_with_what_is_there_already(store: DiskStore, tmp_path: Path) -> None:
    """A claim that contradicts the store is not waved through because the version is known."""
    tree = proxy_tree(tmp_path / "tree", A1, hashes=True)
    await import_all(store, tree)
    sums_file = tmp_path / "go.sum"
    sums_file.write_text(replace(A1, files={}).sums)
    assert only(await import_all(store, tree, intake.read_sums(sums_file))).reason.startswith("zip hash differs")


def test_sums_that_are_none(tmp_path: Path) -> None:
    sums_file = tmp_path / "go.sum"
    for text in ("a b\n", f"{A1.path} v1.0.0 {A1.h1}\n{A1.path} v1.0.0 {B.h1}\n"):
        sums_file.write_text(text)
        with pytest.raises(errors.InvalidRequest):
            intake.read_sums(sums_file)
    with pytest.raises(errors.InvalidRequest):
        intake.read_sums(tmp_path / "none")


# --- trouble that is not about one version ---


async def test_a_full_disk_ends_the_import(store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(path: str, version: str, artifacts: Artifacts) -> None:
        raise errors.Overloaded("no room in the store")

    monkeypatch.setattr(store, "publish", full)
    with pytest.raises(errors.Overloaded, match="no room"):
        await import_all(store, proxy_tree(tmp_path / "tree", *SEVERAL))
