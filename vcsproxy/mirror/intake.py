"""Importing a directory of module versions: a GOMODCACHE, a GOPROXY file tree, the disk storage of Athens.

It finds the files, opens them with care (no links, no devices, nothing larger than it may be) and offers each version
to `admit`, several at a time. One version that is refused does not keep the others out.

Theory of operation: versions are independent and each is published as a whole, so any number of imports may run at the
same time, and one that was ended is begun again: what is there already is found without reading its zip.

If we crash here: what was published is there; the rest is imported by the next run.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from vcsproxy import errors
from vcsproxy.mirror import layouts
from vcsproxy.mirror.admit import ABOUT_ONE, Claim, Offer, Result, admit, refused
from vcsproxy.mirror.layouts import Found, Layout
from vcsproxy.mod import gosum, gotext, modzip, revinfo
from vcsproxy.store import Store, rules

AT_ONCE = min(8, os.cpu_count() or 1)
"""Versions that are checked at the same time."""

Tell = Callable[[Result], None]
Sums = Mapping[tuple[str, str], str]
"""h1 by module path and version, with `/go.mod` behind the version for that of a go.mod file."""

_MAX_SUMS = 256 << 20  # bytes
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not make us wait


def search(directory: Path, layout: Layout | None) -> tuple[Layout, list[Found]]:
    """The layout of a directory, found out if it is None, and its versions. Blocking.

    Raises InvalidRequest when it is no such directory, Refused when it cannot be read.
    """
    try:
        layout, root = (layout, layouts.locate(layout, directory)) if layout else layouts.detect(directory)
        return layout, list(layouts.walk(layout, root))
    except OSError as err:
        raise errors.Refused(f"{err.filename or directory}: {err.strerror}") from err


def read_sums(file: Path) -> Sums:
    """The h1 hashes of a go.sum file. Raises InvalidRequest for what is none, or contradicts itself."""
    sums: dict[tuple[str, str], str] = {}
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_SUMS + 1)
    except OSError as err:
        raise errors.InvalidRequest(f"{file}: {err.strerror}") from err
    if len(data) > _MAX_SUMS:
        raise errors.InvalidRequest(f"{file}: too large for a go.sum file")
    for line in gosum.parse(gotext.decode(data)):
        known = sums.setdefault((line.path, line.version), line.h1) if rules.is_h1(line.h1) else line.h1
        if known != line.h1:
            raise errors.InvalidRequest(f"{file}: two hashes for {line.path} {line.version}")
    return sums


async def take_in(store: Store, found: Iterable[Found], sums: Sums, tell: Tell, at_once: int = AT_ONCE) -> None:
    """Offer versions to the store; `tell` hears what became of each, in no order.

    Raises Overloaded and other trouble of the store's as soon as it shows; what was told until then stays true.
    """
    rest = iter(found)

    async def work() -> None:
        for each in rest:
            tell(await _take(store, each, sums))

    await all_of(work() for _ in range(at_once))


async def all_of(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Do all at the same time; the first error ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _take(store: Store, found: Found, sums: Sums) -> Result:
    try:
        with ExitStack() as stack:
            offer = await asyncio.to_thread(_offer, found, sums, stack)
            return Result(found.path, found.version, await admit(store, offer))
    except ABOUT_ONE as err:
        return refused(found.path, found.version, err)


def _offer(found: Found, sums: Sums, stack: ExitStack) -> Offer:
    """The offer of a version, with its zip opened until `stack` closes. Raises InvalidRequest, Refused."""
    if found.fault:
        raise errors.InvalidRequest(found.fault)
    if found.gomod is None:
        raise errors.Refused("it has no .mod", "run go mod download MODULE@VERSION where it comes from")
    info = None if found.info is None else _small(found.info, revinfo.MAX_INFO)
    gomod = _small(found.gomod, modzip.MAX_GO_MOD)
    zipped = None if found.zip is None else stack.enter_context(_open(found.zip))
    zip_claims, gomod_claims = _sums_of(found, sums)
    if zipped is not None and found.ziphash is not None:
        zip_claims = (Claim(_ziphash(found.ziphash), "its .ziphash"), *zip_claims)
    return Offer(found.path, found.version, info, gomod, zipped, zip_claims, gomod_claims)


def _sums_of(found: Found, sums: Sums) -> Iterator[tuple[Claim, ...]]:
    for version in (found.version, found.version + "/go.mod"):
        h1 = sums.get((found.path, version))
        yield () if h1 is None else (Claim(h1, "go.sum"),)


def _ziphash(file: Path) -> str:
    text = _small(file, rules.H1_LENGTH + 1).decode("latin-1").removesuffix("\n")
    if not rules.is_h1(text):
        raise errors.Refused("its .ziphash holds no h1", "remove the damaged file to go without it")
    return text


def _small(file: Path, most: int) -> bytes:
    with _open(file) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise errors.Refused(f"{file.name} is too large (limit is {most} bytes)")
    return data


def _open(file: Path) -> BinaryIO:
    """A regular file, not through a link."""
    try:
        handle = os.open(file, _PLAIN)
    except OSError as err:
        raise errors.Refused(f"{file.name} cannot be read: {err.strerror}") from err
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise errors.Refused(f"{file.name} is not a regular file")
    return os.fdopen(handle, "rb")
