"""Reading a bundle: verifying all of it without a store, or importing it into one.

A bundle is a stranger's file even when it is signed: the signature says who made it, not that it is well made. So the
manifest decides which bytes come next (`tarstream`), every file must have its size and SHA-256, and every version then
goes through `admit` like any other, where hashes are computed from contents and claims are compared.

Theory of operation: the file is read once, front to back, by one thread at a time; zips are spooled into files without
a name, several at a time, while others are checked and packed. Whatever is wrong with one version is reported for that
version; whatever is wrong with the stream ends the reading, after what came before it has been imported.

If we crash here: spooled zips have no names and are gone; what was published is there, and the next run finds it.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vcsproxy import errors
from vcsproxy.mirror import bundleformat, signature, tarstream
from vcsproxy.mirror.admit import ABOUT_ONE, Claim, Offer, Outcome, Result, admit, examine, is_present, refused
from vcsproxy.mirror.bundleformat import File, Manifest, Packed
from vcsproxy.mirror.intake import AT_ONCE, Tell
from vcsproxy.mod import revinfo
from vcsproxy.store import Store

_BY = "the bundle's manifest"
_DAMAGED = "the bundle was damaged or changed on its way: fetch it again"


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle whose manifest has been checked. signed: whether it has a signature; verified: by the key given."""

    manifest: Manifest
    signed: bool
    verified: bool
    stream: tarstream.Reader


def open_bundle(file: BinaryIO, key: Ed25519PublicKey | None) -> Opened:
    """Read a bundle's beginning from an open file. Blocking.

    Raises Refused when it is no bundle, or when a key is given and the manifest is not signed with it.
    """
    stream = tarstream.Reader(file)
    data = stream.first(bundleformat.MANIFEST, bundleformat.MAX_MANIFEST)
    signed = stream.has(bundleformat.SIGNATURE, signature.LENGTH)
    found = b"".join(stream.member(bundleformat.SIGNATURE, signature.LENGTH)) if signed else None
    if key is not None:
        signature.check(key, found, data)
    return Opened(bundleformat.read(data), signed, key is not None, stream)


def read_manifest(file: Path) -> Manifest:
    """The manifest of a bundle, or in a file of its own. Blocking. Raises InvalidRequest, Refused."""
    try:
        with file.open("rb") as stream:
            is_plain = stream.read(1) == b"{"
            stream.seek(0)
            if is_plain:
                return bundleformat.read(stream.read(bundleformat.MAX_MANIFEST + 1))
            return open_bundle(stream, None).manifest
    except OSError as err:
        raise errors.InvalidRequest(f"{file}: {err.strerror}") from err


async def import_bundle(store: Store, opened: Opened, tell: Tell) -> None:
    """Offer every version of a bundle to the store; `tell` hears what became of each, in no order.

    Raises Refused when the stream is cut off or damaged, after what came whole has been imported; and what `admit`
    raises when the store is in trouble.
    """
    workspace = await store.workspace()
    try:
        await _receive(opened, _Importing(store), tell, workspace)
    finally:
        await store.discard(workspace)


async def verify(opened: Opened, tell: Tell) -> None:
    """Make every check that an import makes, but for those against a store. Raises Refused as import_bundle does."""
    await _receive(opened, _Verifying(), tell, None)


# --- who takes the versions ---


class _Taker(Protocol):
    async def has(self, offer: Offer) -> bool: ...

    async def take(self, offer: Offer) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class _Importing:
    store: Store

    async def has(self, offer: Offer) -> bool:
        return await is_present(self.store, offer)

    async def take(self, offer: Offer) -> Outcome:
        return await admit(self.store, offer)


@dataclass(frozen=True, slots=True)
class _Verifying:
    async def has(self, offer: Offer) -> bool:
        return False

    async def take(self, offer: Offer) -> Outcome:
        await asyncio.to_thread(examine, offer, None)
        return Outcome.SOUND


# --- the stream ---


async def _receive(opened: Opened, taker: _Taker, tell: Tell, spool: Path | None) -> None:
    """spool: where zips lie meanwhile, None for the system's directory of temporary files."""
    room = asyncio.Semaphore(AT_ONCE)
    tasks: set[asyncio.Task[None]] = set()
    try:
        for packed in opened.manifest.versions():
            await room.acquire()
            _raise_from(tasks)
            with ExitStack() as stack:
                arrived = await _arrive(opened.stream, packed, taker, stack, spool)
                kept = stack.pop_all()
            task = asyncio.create_task(_settle(taker, arrived, kept, tell))
            task.add_done_callback(lambda _: room.release())
            tasks.add(task)
        await asyncio.to_thread(opened.stream.close)
    except OSError as err:
        where = err.filename or "the bundle, or the directory for temporary files"
        raise errors.VCSProxyError(f"{where}: {err.strerror}") from err
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)
    _raise_from(tasks)


def _raise_from(tasks: set[asyncio.Task[None]]) -> None:
    """Forget what has ended, and raise what it raised."""
    for task in [task for task in tasks if task.done()]:
        tasks.remove(task)
        task.result()


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A version that has been read as a whole; `fault` says why it cannot be taken. known: the store has it already."""

    packed: Packed
    offer: Offer
    known: bool = False
    fault: errors.VCSProxyError | None = None


async def _settle(taker: _Taker, arrived: _Arrived, stack: ExitStack, tell: Tell) -> None:
    packed = arrived.packed
    with stack:
        try:
            if arrived.fault is not None:
                raise arrived.fault
            outcome = Outcome.PRESENT if arrived.known else await taker.take(arrived.offer)
            result = Result(packed.path, packed.version, outcome)
        except ABOUT_ONE as err:
            result = refused(packed.path, packed.version, err)
    tell(result)


async def _arrive(
    stream: tarstream.Reader, packed: Packed, taker: _Taker, stack: ExitStack, spool: Path | None
) -> _Arrived:
    """Read a version to its end, whatever is wrong with it; its zip is spooled if somebody wants to look at it."""
    fault: errors.VCSProxyError | None = None
    offer, known = _empty(packed), False
    small = await asyncio.to_thread(_read_small, stream, packed)
    try:
        offer = _offer(packed, small)
        known = bool(packed.zip_h1) and await taker.has(offer)
    except ABOUT_ONE as err:
        fault = err
    if packed.zip_h1:
        spooled = None
        if not known and not fault:
            spooled = stack.enter_context(tempfile.TemporaryFile(dir=spool))  # noqa: SIM115 - the stack closes it
        other = await asyncio.to_thread(_read_zip, stream, packed.files[-1], spooled)
        offer, fault = replace(offer, zip=spooled), fault or other
    return _Arrived(packed, offer, known, fault)


def _empty(packed: Packed) -> Offer:
    return Offer(packed.path, packed.version, None, b"")


def _read_small(stream: tarstream.Reader, packed: Packed) -> list[tuple[File, bytes]]:
    files = packed.files[:-1] if packed.zip_h1 else packed.files
    return [(file, b"".join(stream.member(file.name, file.size))) for file in files]


def _offer(packed: Packed, small: list[tuple[File, bytes]]) -> Offer:
    """The offer without its zip. Raises Refused when a file, or what the manifest says of it, is not right."""
    for file, data in small:
        fault = _mismatch(file, sha256(data).hexdigest())
        if fault is not None:
            raise fault
    info, gomod, *ziphash = (data for _, data in small)
    facts = revinfo.parse(info, packed.version)
    if (facts.commit, facts.time) != (packed.commit, packed.time):
        raise errors.Refused(".info has another commit or time than the manifest", _DAMAGED)
    if ziphash not in ([], [packed.zip_h1.encode()]):
        raise errors.Refused(".ziphash has another h1 than the manifest", _DAMAGED)
    zip_claims = (Claim(packed.zip_h1, _BY),) if packed.zip_h1 else ()
    return Offer(packed.path, packed.version, info, gomod, None, zip_claims, (Claim(packed.gomod_h1, _BY),))


def _read_zip(stream: tarstream.Reader, file: File, spooled: BinaryIO | None) -> errors.Refused | None:
    """Read a zip to its end, which the stream goes on behind; why it is not the one that the manifest means."""
    digest = sha256()
    for chunk in stream.member(file.name, file.size):
        digest.update(chunk)
        if spooled is not None:
            spooled.write(chunk)
    if spooled is not None:
        spooled.flush()
    return _mismatch(file, digest.hexdigest())


def _mismatch(file: File, found: str) -> errors.Refused | None:
    if found == file.sha256:
        return None
    name = file.name.rpartition("/")[2]
    return errors.Refused(f"{name} has SHA-256 {found}, and {file.sha256} by {_BY}", _DAMAGED)
