"""Artifacts as files, in the layout of GOMODCACHE/cache/download.

    <root>/<escaped path>/@v/<escaped version>.info     the version exists
                                              .mod
                                              .zip      may come later, may be evicted
                                              .ziphash  the zip's dirhash, 47 bytes; the zip counts only with it
                            /list              what `go` reads with GOPROXY=file://<root>; derived, never served by us
                            /lock              empty; held while the directory changes

and the last answers to changing questions, see `remembered`.

So the tree is a valid GOPROXY=file:// proxy, and an offline mirror is a copy of it. `list` names the versions of the
directory without pseudo-versions: a list of nothing else would make clients pick the newest one. This is no cache:
nothing is evicted here, and no version is ever replaced.

Theory of operation: everything is written and synced in a private directory on the same file system and then gets its
final name by link(2), in the order zip, ziphash, mod, info, with an fsync of the directory before each of the two
manifests (`.ziphash` for the zip, `.info` for the version) and after the last name. Readers look at the manifest first
and then at what it stands for. The module's lock is held from comparing with what is there to the last fsync, by every
publisher on every node, so there is one winner and the others find its files. A name whose manifest is missing was
never served, and is replaced. Reads and publishes have threads of their own: a hit never waits behind a build.

If we crash here: what has a name is complete. A zip without `.ziphash`, and a `.mod` without `.info`, are replaced by
the next publish; a `.ziphash` without `.info` stays, as the hash that the zip must have. `list` may lack the last
version: the next publish to that module writes it anew, and so does the sweep at the next start. After a failed fsync
the names of that publish are withdrawn again.

Source: cmd/go/internal/modfetch/cache.go.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from vcsproxy import errors
from vcsproxy.mod import module
from vcsproxy.store import Artifacts, Kind, Remembered, Stored, answers, durable, publication, remembered, rules, walk
from vcsproxy.store.pins import PinCache
from vcsproxy.store.smallcache import SmallCache
from vcsproxy.store.tempdir import TempDir

P = ParamSpec("P")
R = TypeVar("R")

_READERS = 8
_PUBLISHERS = 4
_LOCK = "lock"
_LOCK_SECONDS = 60.0
_MAX_KNOWN_DIRECTORIES = 100_000
_BATCH = 100  # modules that are looked for at a time


class DiskStore:
    """A store in the directory `root`, with unfinished files below `temp`, both on one file system.

    Any number of processes and nodes may share the two, given that the file system keeps locks (flock) between them.
    small_bytes bounds the `.info` and `.mod` artifacts kept in memory. Raises ConfigError when the directories cannot
    be used. Call `sweep` once after construction and `close` at the end.
    """

    def __init__(self, root: Path, temp: Path, *, small_bytes: int = 64 << 20) -> None:
        self._root = root.absolute()
        try:
            durable.make_directories(self._root)
            self._temp = TempDir(temp.absolute())
        except OSError as err:
            raise errors.ConfigError([f"store: {err.filename or root} cannot be used: {err.strerror}"]) from err
        try:
            self._tree = _open_linkable(self._root, self._temp)
        except BaseException:
            self._temp.close()
            raise
        self._small = SmallCache(small_bytes)
        self._pins = PinCache()
        self._durable: set[str] = set()
        self._readers = ThreadPoolExecutor(_READERS, "store-read")
        self._publishers = ThreadPoolExecutor(_PUBLISHERS, "store-publish")

    async def find(self, path: str, version: str, kind: Kind) -> Stored | None:
        """See Store.find. Small artifacts that were found before cost no thread and no system call."""
        key = (path, version, kind)
        stored = self._small.get(key)
        if stored is not None:
            return stored
        if not rules.is_canonical(version):
            _base(path, version)
            return None  # an `.info` of that name is a remembered answer
        if kind is Kind.ZIP:
            return await self._on(self._readers, self._find_zip, path, version)
        stored = await self._on(self._readers, self._find_small, path, version, kind)
        if stored is not None:
            self._small.put(key, stored)
        return stored

    async def publish(self, path: str, version: str, artifacts: Artifacts) -> None:
        """See Store.publish. A task that is cancelled meanwhile leaves the publish to end by itself."""
        await self._on(self._publishers, self._publish, path, version, artifacts)

    async def versions(self, path: str) -> list[str]:
        """See Store.versions."""
        return await self._on(self._readers, self._in_versions, path, [], publication.listed)

    async def remember(self, path: str, name: str, data: bytes) -> None:
        """See Store.remember. A task that is cancelled meanwhile leaves it to end by itself."""
        await self._on(self._publishers, self._remember, path, name, data)

    async def recall(self, path: str, name: str) -> Remembered | None:
        """See Store.recall."""
        if not answers.is_query(path, name):
            return None
        return await self._on(self._readers, remembered.read, path, name, self._tree)

    async def pins(self, path: str) -> Mapping[str, tuple[str, str]]:
        """See Store.pins."""
        read = functools.partial(self._pins.read, path)
        return await self._on(self._readers, self._in_versions, path, {}, read)

    async def modules(self) -> AsyncIterator[str]:
        """See Store.modules."""
        found = walk.modules(self._tree)
        while batch := await self._on(self._readers, list, islice(found, _BATCH)):
            for path in batch:
                yield path

    async def workspace(self) -> Path:
        """See Store.workspace."""
        return await self._on(self._publishers, self._temp.new, "work-")

    async def discard(self, workspace: Path) -> None:
        """See Store.discard."""
        await self._on(self._publishers, self._temp.remove, workspace)

    async def sweep(self) -> int:
        """Remove what dead processes left, and write anew each `list` that they may have missed; how many had died.

        Reads the whole tree if any had.
        """
        return await self._on(self._publishers, self._sweep)

    async def close(self) -> None:
        """See Store.close."""
        last = ThreadPoolExecutor(1, "store-close")
        await self._on(last, self._close)
        last.shutdown(wait=False)

    def _close(self) -> None:
        self._publishers.shutdown()
        self._readers.shutdown()
        self._temp.close()
        os.close(self._tree)

    @staticmethod
    async def _on(pool: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(work, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, call)
        except OSError as err:
            raise durable.explain(err) from err

    # ---- finding, in a reader's thread

    def _find_small(self, path: str, version: str, kind: Kind) -> Stored | None:
        base = _base(path, version)
        try:
            if kind is Kind.MOD and not self._exists(base):
                return None
            data, mtime = durable.read(base + kind.suffix, self._tree)
        except OSError as err:
            if err.errno in durable.ABSENT and kind is Kind.INFO:
                return None
            raise _unreadable(path, version, kind.suffix, err) from err
        if kind is Kind.INFO:
            _check_stored_info(path, version, data)
        return Stored(kind, len(data), mtime, rules.data_etag(data), "", data, None)

    def _find_zip(self, path: str, version: str) -> Stored | None:
        base = _base(path, version)
        try:
            h1 = publication.read_h1(path, version, base, self._tree)
            if not h1 or not self._exists(base):
                return None
            with durable.opened(base + Kind.ZIP.suffix, durable.READ, self._tree) as handle:
                known = os.fstat(handle)
                whole = publication.is_whole(handle)
        except OSError as err:
            if err.errno in durable.ABSENT:
                return None
            raise _unreadable(path, version, Kind.ZIP.suffix, err) from err
        if not whole:
            raise rules.broken(path, version, Kind.ZIP.suffix, f"no whole zip in its {known.st_size} bytes")
        file = self._root / (base + Kind.ZIP.suffix)
        return Stored(Kind.ZIP, known.st_size, known.st_mtime, rules.zip_etag(h1, known.st_size), h1, None, file)

    def _exists(self, base: str) -> bool:
        try:
            os.stat(base + Kind.INFO.suffix, dir_fd=self._tree, follow_symlinks=False)
        except OSError as err:
            if err.errno in durable.ABSENT:
                return False
            raise
        return True

    def _in_versions(self, path: str, nothing: R, work: Callable[[int], R]) -> R:
        """What `work` makes of the open `@v` directory of a module, `nothing` if there is none."""
        try:
            directory = durable.open_directory(_directory(path), self._tree)
        except OSError as err:
            if err.errno in durable.ABSENT:
                return nothing
            raise
        try:
            return work(directory)
        finally:
            os.close(directory)

    # ---- publishing, in a publisher's thread

    def _publish(self, path: str, version: str, artifacts: Artifacts) -> None:
        rules.check_artifacts(path, version, artifacts)
        name = module.escape_version(version)
        with self._entered(_directory(path)) as directory:
            change = publication.Change(path, version, name, artifacts, directory)
            with durable.locked(_LOCK, directory, _LOCK_SECONDS):
                missing = change.missing()
            if not missing:
                os.fsync(directory)  # the one who linked it may have died before
                return
            with self._private() as private:
                change.stage(private, missing)
                with durable.locked(_LOCK, directory, _LOCK_SECONDS):
                    change.link(private, change.missing())
                    publication.write_list(directory, private)

    def _remember(self, path: str, name: str, data: bytes) -> None:
        answers.check(path, name, data)
        where = remembered.place(path, name)
        if remembered.refresh(where, data, self._tree):
            return
        with self._entered(where.directory) as directory, self._private() as private:
            if not where.is_query:
                remembered.replace(where, data, directory, private)
                return
            with durable.locked(_LOCK, directory, _LOCK_SECONDS):
                remembered.replace(where, data, directory, private)

    @contextmanager
    def _private(self) -> Iterator[int]:
        """An open new directory on the same file system, removed at the end."""
        made = self._temp.new("publish-")
        try:
            with durable.opened(str(made), durable.DIRECTORY) as private:
                yield private
        finally:
            self._temp.remove(made)

    @contextmanager
    def _entered(self, directory: str) -> Iterator[int]:
        """The directory below the root, open; it and its parents are made when absent, and durable."""
        with _chain(self._tree) as chain:
            done = ""
            for name in directory.split("/"):
                done = f"{done}/{name}"
                handle, made = durable.enter(name, chain[-1])
                chain.append(handle)
                if made or done not in self._durable:
                    os.fsync(chain[-2])
                    self._note_durable(done)
            yield chain[-1]

    def _note_durable(self, directory: str) -> None:
        if len(self._durable) >= _MAX_KNOWN_DIRECTORIES:
            self._durable.clear()
        self._durable.add(directory)

    # ---- start

    def _sweep(self) -> int:
        dead = self._temp.sweep()
        if dead:
            os.sync()  # names that they gave may be visible and not yet durable
            for name in dead:
                with suppress(FileNotFoundError):
                    os.unlink(f".{name}", dir_fd=self._tree)
            self._mend_lists()
        return len(dead)

    def _mend_lists(self) -> None:
        with self._private() as private:
            for _, parent in walk.places(self._tree):
                with suppress(OSError, errors.Overloaded):  # derived data never keeps a server from starting
                    _mend_list(parent, private)


def _open_linkable(root: Path, temp: TempDir) -> int:
    """The open root. One link proves that both are one file system, with hard links, and not two mounts of it."""
    probe = f".{temp.name}"
    try:
        tree = durable.open_directory(str(root))
    except OSError as err:
        raise errors.ConfigError([f"store: {root} cannot be used: {err.strerror}"]) from err
    try:
        os.link(temp.path / "lock", probe, dst_dir_fd=tree, follow_symlinks=False)
        os.unlink(probe, dir_fd=tree)
    except OSError as err:
        os.close(tree)
        fault = f"store: files cannot be linked from {temp.path.parent} to {root} ({err.strerror}): use one file system"
        raise errors.ConfigError([fault]) from err
    return tree


@contextmanager
def _chain(root: int) -> Iterator[list[int]]:
    """A list of open directories, the first of which is not ours to close."""
    chain = [root]
    try:
        yield chain
    finally:
        for handle in chain[1:]:
            os.close(handle)


def _directory(path: str) -> str:
    return module.escape_path(path) + "/@v"


def _base(path: str, version: str) -> str:
    return f"{_directory(path)}/{module.escape_version(version)}"


def _check_stored_info(path: str, version: str, data: bytes) -> None:
    try:
        named = rules.facts(data).version
    except ValueError as err:
        raise rules.broken(path, version, Kind.INFO.suffix, str(err)) from err
    if named != version:
        raise rules.broken(path, version, Kind.INFO.suffix, f"it is that of version {named}")


def _unreadable(path: str, version: str, suffix: str, err: OSError) -> errors.VCSProxyError:
    known = durable.explain(err)
    if isinstance(known, errors.Overloaded):
        return known
    return rules.broken(path, version, suffix, f"{err.strerror or err} ({errno.errorcode.get(err.errno or 0, '?')})")


def _mend_list(parent: int, private: int) -> None:
    with durable.opened("@v", durable.DIRECTORY, parent) as directory, durable.locked(_LOCK, directory, _LOCK_SECONDS):
        publication.write_list(directory, private)
