"""One foreign version: what is published, and everything that is refused before anything is."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.moduletree import A1, COMMIT, OLD, PSEUDO, SEVERAL, TIME, Version, zip_of
from tests.support.oddzips import BAD
from tests.unit.mirror.conftest import expected, h1s
from vcsproxy import errors
from vcsproxy.mirror import admit as admitting
from vcsproxy.mirror.admit import Claim, Offer, Outcome, admit
from vcsproxy.mod import dirhash, modzip
from vcsproxy.store import Artifacts, Kind
from vcsproxy.store.disk import DiskStore

ZIPHASH = "h1:" + 43 * "A" + "="


OPENED = ExitStack()


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    with OPENED:
        yield


def offer(version: Version, tmp_path: Path, data: bytes | None = None, **more: Any) -> Offer:
    file = tmp_path / "offered.zip"
    file.write_bytes(version.zip if data is None else data)
    opened = OPENED.enter_context(file.open("rb"))
    return Offer(version.path, version.version, version.info, version.mod, opened, **more)


@pytest.mark.parametrize("version", SEVERAL, ids=lambda each: each.path)
async def test_a_version_is_published_with_its_h1(store: DiskStore, tmp_path: Path, version: Version) -> None:
    with_hashes = offer(
        version, tmp_path, zip_claims=(Claim(version.h1, "x"),), gomod_claims=(Claim(version.gomod_h1, "y"),)
    )
    assert await admit(store, with_hashes) is Outcome.ADDED
    assert await h1s(store) == expected(version)
    info = await store.find(version.path, version.version, Kind.INFO)
    assert info is not None
    assert info.data == version.info
    assert await admit(store, with_hashes) is Outcome.PRESENT
    assert await admit(store, offer(version, tmp_path)) is Outcome.PRESENT


async def test_the_zip_in_the_store_is_not_the_one_that_came(store: DiskStore, tmp_path: Path) -> None:
    """T6: the bytes of a foreign zip are never served."""
    await admit(store, offer(A1, tmp_path))
    stored = await store.find(A1.path, A1.version, Kind.ZIP)
    assert stored is not None
    assert stored.file is not None
    data = stored.file.read_bytes()
    assert data != A1.zip
    assert dirhash.hash_zip(io.BytesIO(data)) == A1.h1
    assert list((tmp_path / "data" / "tmp").glob("*/work-*")) == []


def changed(**fields: Any) -> Callable[[Offer], Offer]:
    return lambda offer: replace(offer, **fields)


def info(**fields: Any) -> Callable[[Offer], Offer]:
    return changed(info=json.dumps({"Version": A1.version, "Time": TIME, **fields}).encode())


INVALID: dict[str, Callable[[Offer], Offer]] = {
    "path": changed(path="example.com/../a"),
    "path without a dot": changed(path="example/a"),
    "path that is too long": changed(path="example.com/" + 1100 * "a"),
    "version": changed(version="latest"),
    "version that is not canonical": changed(version="v1.0"),
    "version with metadata": changed(version="v1.0.0+meta"),
    "major version": changed(version="v2.0.0"),
    "escape": changed(path="example.com/!a"),
}
REFUSED: dict[str, tuple[str, Callable[[Offer], Offer]]] = {
    "no .info": ("has no .info", changed(info=None)),
    ".info is no JSON": (".info is no JSON", changed(info=b"{")),
    ".info with a comment": (".info is no JSON", changed(info=b"/**/{}")),
    ".info in another encoding": (".info is no JSON", changed(info='{"Version":"v1"}'.encode("utf-16"))),
    ".info nested deeply": ("nested too deeply|no JSON", changed(info=b"[" * 100_000)),
    ".info is no object": ("no JSON object", changed(info=b"[]")),
    ".info is NaN": ("NaN is no number", changed(info=b'{"Version": NaN}')),
    ".info too large": ("too large", changed(info=b" " * ((1 << 20) + 1))),
    ".info of another version": ('that of version "v1.0.1"', info(Version="v1.0.1")),
    ".info without a version": ("that of version none", changed(info=b"{}")),
    ".info with two versions": ("comes twice", changed(info=b'{"Version":"v9.0.0","Version":"v1.0.0"}')),
    ".info with two versions in two cases": ("comes twice", changed(info=b'{"Version":"v1.0.0","version":"v9.0.0"}')),
    ".info without a time": ("no RFC 3339 time", changed(info=b'{"Version":"v1.0.0"}')),
    ".info with another time": ("no RFC 3339 time", info(Time="yesterday")),
    ".info with a 13th month": ("no RFC 3339 time", info(Time="2024-13-01T00:00:00Z")),
    ".info with a time in other digits": ("no RFC 3339 time", info(Time="2024-03-01T00:00:0٣Z")),
    ".info with a malformed origin": ("malformed Origin", info(Origin=["a"])),
    ".info with a malformed commit": ("malformed Origin", info(Origin={"Hash": 7})),
    ".mod of another module": ("which does not fit", changed(gomod=b"module example.com/a/v7\n")),
    ".mod without a module": ("no module path", changed(gomod=b"go 1.20\n")),
    ".mod too large": ("too large", changed(gomod=b"module example.com/a\n".ljust(modzip.MAX_GO_MOD + 1))),
    ".mod that is not the zip's": (".mod differs from the one in its zip", changed(gomod=b"module example.com/a\n")),
    "a hash of the zip": (re.escape(f"zip hash differs: {A1.h1} by its contents, {ZIPHASH} by go.sum"), changed(zip_claims=(Claim(ZIPHASH, "go.sum"),))),
    "one of two hashes of the zip": ("zip hash differs", changed(zip_claims=(Claim(A1.h1, "a"), Claim(ZIPHASH, "b")))),
    "a hash of go.mod": ("go.mod hash differs", changed(gomod_claims=(Claim(ZIPHASH, "go.sum"),))),
}  # fmt: skip


@pytest.mark.parametrize("what", [*INVALID, *REFUSED])
async def test_what_is_wrong_is_refused_and_stores_nothing(store: DiskStore, tmp_path: Path, what: str) -> None:
    kind, pattern, change = (
        (errors.InvalidRequest, None, INVALID[what]) if what in INVALID else (errors.Refused, *REFUSED[what])
    )
    with pytest.raises(kind, match=pattern):
        await admit(store, change(offer(A1, tmp_path)))
    assert await h1s(store) == {}
    assert list((tmp_path / "data" / "tmp").glob("*/work-*")) == []


@pytest.mark.parametrize("what", BAD)
async def test_t6_a_malformed_zip_stores_nothing(store: DiskStore, tmp_path: Path, what: str) -> None:
    version = Version("example.com/m", "v1.0.0")
    with pytest.raises(errors.Refused, match=r"example\.com/m@v1\.0\.0: "):
        await admit(store, offer(version, tmp_path, BAD[what]))
    assert await h1s(store) == {}


async def test_a_module_without_go_mod_gets_the_one_that_go_makes(store: DiskStore, tmp_path: Path) -> None:
    right = offer(OLD, tmp_path)
    with pytest.raises(errors.Refused, match="differs from the one that stands for none"):
        await admit(store, replace(right, gomod=b"module example.com/old\n\n"))
    assert await admit(store, right) is Outcome.ADDED


async def test_a_later_major_version_needs_a_go_mod(store: DiskStore, tmp_path: Path) -> None:
    version = Version("example.com/a/v2", "v2.0.0", gomod="")
    with pytest.raises(errors.Refused, match=r"has no go\.mod"):
        await admit(store, offer(version, tmp_path))


@pytest.mark.parametrize("declared", ["example.com/a", "example.com/fork/of/a", "gopkg.in/a.v1"])
async def test_a_module_line_as_forks_have_it(store: DiskStore, tmp_path: Path, declared: str) -> None:
    """As for what is built here: only the major version has to fit, because forks are used with replace."""
    version = replace(A1, gomod=f"module {declared}\n")
    assert await admit(store, offer(version, tmp_path)) is Outcome.ADDED


async def test_a_pseudo_version_says_its_time_itself(store: DiskStore, tmp_path: Path) -> None:
    assert await admit(store, replace(offer(PSEUDO, tmp_path), info=None)) is Outcome.ADDED
    stored = await store.find(PSEUDO.path, PSEUDO.version, Kind.INFO)
    assert stored is not None
    assert json.loads(stored.data or b"") == {"Version": PSEUDO.version, "Time": TIME}
    assert await admit(store, offer(PSEUDO, tmp_path)) is Outcome.PRESENT


async def test_a_version_without_its_zip_and_the_zip_later(store: DiskStore, tmp_path: Path) -> None:
    small = replace(offer(A1, tmp_path), zip=None)
    assert await admit(store, small) is Outcome.ADDED
    assert await h1s(store) == {"example.com/a@v1.0.0": ""}
    assert await admit(store, small) is Outcome.PRESENT
    assert await admit(store, offer(A1, tmp_path)) is Outcome.ADDED
    assert await h1s(store) == expected(A1)
    assert await admit(store, small) is Outcome.PRESENT


CHANGES = {
    "zip": replace(A1, files={"m.go": b"package evil\n"}),
    "go.mod": replace(A1, gomod="module {path}\n\ngo 1.21\n"),
    "time": replace(A1, time="2024-03-01T00:00:01Z"),
    "commit": replace(A1, commit="b" * 40),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_i2_what_was_published_never_changes(store: DiskStore, tmp_path: Path, what: str) -> None:
    await admit(store, offer(A1, tmp_path))
    for claims in ((), (Claim(CHANGES[what].h1, "x"),)):
        with pytest.raises(errors.ModuleChanged):
            await admit(store, offer(CHANGES[what], tmp_path, zip_claims=claims))
    assert await h1s(store) == expected(A1)


async def test_what_does_not_say_its_commit_contradicts_nobody(store: DiskStore, tmp_path: Path) -> None:
    """File proxies do not say it. But a zip that nobody vouches for does not join what a commit was promised for."""
    silent = replace(A1, commit="")
    await store.publish(A1.path, A1.version, Artifacts(A1.info, A1.mod, None, ""))
    with pytest.raises(errors.ModuleChanged):
        await admit(store, offer(silent, tmp_path))
    await admit(store, offer(A1, tmp_path))
    assert await admit(store, offer(silent, tmp_path)) is Outcome.PRESENT
    stored = await store.find(A1.path, A1.version, Kind.INFO)
    assert stored is not None
    assert COMMIT.encode() in (stored.data or b"")


async def test_a_zip_that_the_store_has_is_not_read_again(
    store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = offer(A1, tmp_path, zip_claims=(Claim(A1.h1, "x"),))
    await admit(store, claimed)
    monkeypatch.setattr(admitting, "_examine_zip", None)
    assert await admit(store, claimed) is Outcome.PRESENT
    stored = await store.find(A1.path, A1.version, Kind.ZIP)
    assert stored is not None
    assert stored.file is not None
    stored.file.unlink()
    with pytest.raises(TypeError):
        await admit(store, claimed)


async def test_a_zip_that_becomes_too_large_when_packed_anew(
    store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may pack harder, and a zip above the limit is one that go would refuse."""
    data = zip_of({f"{A1.path}@{A1.version}/go.mod": A1.mod})
    monkeypatch.setattr(modzip, "MAX_ZIP_FILE", len(data))
    with pytest.raises(errors.Refused, match="too large when packed anew"):
        await admit(store, offer(A1, tmp_path, data))
