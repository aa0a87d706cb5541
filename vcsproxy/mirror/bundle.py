"""Packing versions of a store into one file that can be carried to where no network is.

A bundle is a tar archive in one zstd frame: `manifest.json`, then `manifest.sig` if it is signed, then the files of
every version under their GOPROXY names. Extracted by hand it is a GOPROXY=file:// tree. Whoever reads one is
`bundleread`.

The same versions give the same bytes: they are sorted, and nothing in the file depends on when or where it was made.

Theory of operation: the manifest comes first and has the SHA-256 of every file, so every file is read twice. Published
files never change; if one did all the same, the second reading finds it and nothing is written. The bundle is written
under a temporary name beside its own, synced, and renamed.

If we crash here: the temporary file stays, and the bundle's name stands for what it stood for before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vcsproxy import errors
from vcsproxy.mirror import bundleformat, signature, tarstream
from vcsproxy.mirror.admit import check_names
from vcsproxy.mirror.bundleformat import File, Manifest, Packed
from vcsproxy.mod import dirhash, gosum, revinfo
from vcsproxy.store import Kind, Store, Stored, durable, rules

_CHUNK = 1 << 20
_MAX_NAMED = 10  # in one message
_SEED = "have the server build them first, for example with vcsproxy mod zip MODULE@VERSION"

Step = Callable[[str], None]
"""Hears of each version that is done."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A version to be packed. whole: its zip too, else only if there is one. h1s: what a go.sum says, "" if nothing."""

    path: str
    version: str
    whole: bool = False
    zip_h1: str = ""
    gomod_h1: str = ""


def wishes_of(lines: Iterable[gosum.Line]) -> list[Wish]:
    """What the lines of a go.sum ask for: zips where it has their hash, go.mod files else. Raises InvalidRequest."""
    sums: dict[tuple[str, str], dict[bool, str]] = {}
    for line in lines:
        check_names(line.path, line.module_version)
        if rules.is_h1(line.h1):
            known = sums.setdefault((line.path, line.module_version), {}).setdefault(line.is_gomod, line.h1)
            if known != line.h1:
                raise errors.InvalidRequest(f"go.sum has two hashes for {line.path} {line.version}")
    return [
        Wish(path, version, False in found, found.get(False, ""), found.get(True, ""))
        for (path, version), found in sums.items()
    ]


async def everything(store: Store) -> list[Wish]:
    """A wish for every version that is published."""
    return [Wish(path, version) async for path in store.modules() for version in await store.versions(path)]


async def create(
    store: Store,
    wishes: Iterable[Wish],
    out: Path,
    *,
    bases: Iterable[Manifest] = (),
    key: Ed25519PrivateKey | None = None,
    step: Step = lambda text: None,
) -> Manifest:
    """Write a bundle of what is wished for and is not in a base; the manifest it has.

    Raises NotFound when a version is not in the store, Refused when a go.sum has other hashes, VCSProxyError when the
    file cannot be written. `out` is written as a whole or not at all.
    """
    known = list(bases)
    try:
        packed = [each async for each in _described(store, wishes, _Before(known), step)]
        manifest = bundleformat.write([each.sha256 for each in known], packed)
        with _replacing(out) as file:
            await _write(store, file, manifest, key, step)
    except OSError as err:
        raise errors.VCSProxyError(f"{err.filename or out}: {err.strerror}") from err
    return manifest


# --- what goes in ---


class _Before:
    """What earlier bundles have."""

    def __init__(self, bases: Iterable[Manifest]) -> None:
        self._h1s: Mapping[tuple[str, str], set[str]]
        found: dict[tuple[str, str], set[str]] = {}
        for base in bases:
            for each in base.versions():
                found.setdefault((each.path, each.version), set()).add(each.zip_h1)
        self._h1s = found

    def has(self, path: str, version: str, zip_h1: str) -> bool:
        """Whether one of them has this version, and with its zip if there is one."""
        h1s = self._h1s.get((path, version), set())
        return zip_h1 in h1s or (not zip_h1 and bool(h1s))


async def _described(store: Store, wishes: Iterable[Wish], before: _Before, step: Step) -> AsyncIterator[Packed]:
    missing = []
    for wish in sorted(wishes, key=lambda wish: (wish.path, wish.version)):
        found = await _find(store, wish)
        if found is None:
            missing.append(f"{wish.path}@{wish.version}")
        elif not missing and not before.has(wish.path, wish.version, found.zip_h1):
            yield await asyncio.to_thread(_describe, wish, found)
        step(f"{wish.path}@{wish.version}")
    if missing:
        more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        raise errors.NotFound(f"not in the store: {', '.join(missing[:_MAX_NAMED])}{more}", _SEED)


@dataclass(frozen=True, slots=True)
class _Files:
    """A version in the store."""

    info: Stored
    gomod: Stored
    zip: Stored | None

    @property
    def zip_h1(self) -> str:
        return "" if self.zip is None else self.zip.h1

    def contents(self) -> Iterator[Iterator[bytes]]:
        """The bytes of every file of the bundle, in its order."""
        yield _chunks(self.info)
        yield _chunks(self.gomod)
        if self.zip is not None:
            yield iter([self.zip.h1.encode()])
            yield _chunks(self.zip)


async def _find(store: Store, wish: Wish) -> _Files | None:
    """None unless all is there that is wished for."""
    info, gomod, zipped = [await store.find(wish.path, wish.version, kind) for kind in Kind]
    if info is None or gomod is None or (wish.whole and zipped is None):
        return None
    return _Files(info, gomod, zipped if wish.whole or not wish.gomod_h1 else None)


def _describe(wish: Wish, found: _Files) -> Packed:
    """What the manifest says of a version; reads all of it."""
    gomod_h1 = dirhash.hash_gomod(found.gomod.data or b"")
    _check_sums(wish, found.zip_h1, gomod_h1)
    facts = revinfo.parse(found.info.data or b"", wish.version)
    names = bundleformat.names(wish.path, wish.version, whole=found.zip is not None)
    files = tuple(_file(name, content) for name, content in zip(names, found.contents(), strict=True))
    return Packed(wish.path, wish.version, facts.commit, facts.time, found.zip_h1, gomod_h1, files)


def _check_sums(wish: Wish, zip_h1: str, gomod_h1: str) -> None:
    for what, wanted, stored in (("zip", wish.zip_h1, zip_h1), ("go.mod", wish.gomod_h1, gomod_h1)):
        if wanted not in ("", stored):
            raise errors.Refused(f"{wish.path}@{wish.version}: {what}: go.sum has {wanted}, the store {stored}")


def _file(name: str, content: Iterable[bytes]) -> File:
    digest, size = sha256(), 0
    for chunk in content:
        digest.update(chunk)
        size += len(chunk)
    return File(name, size, digest.hexdigest())


def _chunks(stored: Stored) -> Iterator[bytes]:
    if stored.file is None:
        yield stored.data or b""
        return
    with stored.file.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


# --- the file ---


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `out`, durably, unless something goes wrong."""
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
        durable.sync_directory(out.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)


async def _write(store: Store, file: BinaryIO, manifest: Manifest, key: Ed25519PrivateKey | None, step: Step) -> None:
    writer = tarstream.Writer(file)
    writer.member(bundleformat.MANIFEST, len(manifest.data), [manifest.data])
    if key is not None:
        writer.member(bundleformat.SIGNATURE, signature.LENGTH, [key.sign(manifest.data)])
    for each in manifest.versions():
        found = await _find(store, Wish(each.path, each.version, bool(each.zip_h1), gomod_h1=each.gomod_h1))
        if found is None:
            raise errors.Corrupt(f"{each.path}@{each.version} is no longer in the store")
        await asyncio.to_thread(_write_version, writer, each, found)
        step(f"{each.path}@{each.version}")
    await asyncio.to_thread(writer.close)


def _write_version(writer: tarstream.Writer, each: Packed, found: _Files) -> None:
    for file, content in zip(each.files, found.contents(), strict=True):
        digest = sha256()
        writer.member(file.name, file.size, _hashed(content, digest.update))
        if digest.hexdigest() != file.sha256:
            raise errors.Corrupt(f"{file.name} was changed while it was read")


def _hashed(content: Iterable[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in content:
        update(chunk)
        yield chunk
