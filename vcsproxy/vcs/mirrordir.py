"""The files of a mirror: its lock, the refs last seen, what its packs amount to, and the packs themselves.

One directory a repository URL. `objects/` holds snapshots (a commit with its trees, with or without its parents, and
such blobs as were needed), `history/` commits and tags without trees; both are object directories as Git's. Packs are
added, the index last; when there are many, the small ones are made one. `refs` has the refs and the time they were
read, `state` says which commits came without parents and from which tips all history is here. Whoever changes anything
holds the lock; readers take none.

If we crash here: a pack that was not finished has no index, is not seen and is removed by the next holder of the lock;
`state` is replaced in one step, after the pack it speaks of. Nothing is synced: what a power cut has spoilt is
noticed when it is read, and the mirror begins anew. All of it can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, TypeVar

from vcsproxy.trace import note
from vcsproxy.vcs.packjoin import join, small
from vcsproxy.vcs.packs import Packs, stems_of
from vcsproxy.vcs.refs import RefTable

PARTS = ("objects", "history")
MAX_PACKS = 50  # of one part; each of them costs every look for an object
HASH_SIZES = {"sha1": 20, "sha256": 32}
_SCRATCH = "git-"
_OLD = 3600.0  # seconds; no job takes that long

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class State:
    """What the objects here amount to; hashes, newest last."""

    object_format: str = "sha1"
    shallow: tuple[str, ...] = ()  # commits here without their parents
    complete: tuple[str, ...] = ()  # tips with everything they reach, in objects/
    history: tuple[str, ...] = ()  # tips with every commit they reach, in history/
    sparse: bool = False  # those came without their blobs
    whole: bool = False  # the host gives whole commits only, though it says that it can leave blobs out


@dataclass(frozen=True, slots=True)
class Listing:
    """Refs, and when they were read, in seconds since 1970."""

    table: RefTable
    time: float


class MirrorDirectory:
    """One mirror's directory; nothing is made before somebody locks it."""

    def __init__(self, mirrors: str, url: str) -> None:
        self.path = os.path.join(mirrors, sha256(url.encode()).hexdigest()[:40])
        self._url = url

    # ---- the lock

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Exclusive among all processes of this machine; freed by the kernel if we die."""
        fd = self._open_locked()
        try:
            yield
        finally:
            os.close(fd)

    def _open_locked(self) -> int:
        """The lock file, locked, and not one that its last holder has removed with the directory."""
        path = os.path.join(self.path, "lock")
        while True:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue
            fcntl.flock(fd, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == os.stat(path).st_ino:
                    return fd
            os.close(fd)

    # ---- refs and state

    def load(self) -> tuple[Listing | None, State]:
        """The refs as last saved, and what is here; of what cannot be read nothing is known.

        Refs without a state are not believed: whose hashes they are is not known then.
        """
        state = self._parsed("state", _state)
        listing = self._parsed("refs", lambda value: _listing(value, state.object_format)) if state else None
        return listing, state or State()

    def state(self) -> State:
        """What is here; nothing, if that cannot be read."""
        return self._parsed("state", _state) or State()

    def save_listing(self, listing: Listing) -> None:
        triples = [(name, ref.target, ref.peeled) for name, ref in listing.table.refs.items()]
        self._replace("refs", {"time": listing.time, "url": self._url, "refs": triples})

    def save_state(self, state: State) -> None:
        self._replace("state", asdict(state))

    def _parsed(self, name: str, parse: Callable[[Any], T]) -> T | None:
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                checksum, text = file.readline(), file.read()
            if checksum.strip() != _checksum(text):
                return None
            return parse(json.loads(text.decode("utf-8", "surrogateescape")))
        except (OSError, LookupError, OverflowError, RecursionError, TypeError, ValueError):
            return None

    def _replace(self, name: str, value: object) -> None:
        """Write a value behind a line with its checksum."""
        target = os.path.join(self.path, name)
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
        with open(target + ".new", "wb") as file:
            file.write(_checksum(text) + b"\n" + text)
        os.replace(target + ".new", target)

    # ---- packs

    def make(self) -> None:
        for part in PARTS:
            os.makedirs(self.packs(part), mode=0o700, exist_ok=True)

    def packs(self, part: str) -> str:
        """Directory of the packs of a part."""
        return os.path.join(self.path, part, "pack")

    def open_packs(self, part: str, object_format: str) -> Packs:
        """Raises `packs.Damaged`; no packs at all for a directory that is not there yet."""
        return Packs(self.packs(part), HASH_SIZES[object_format])

    def sweep(self, part: str) -> None:
        """Remove what a killed worker left: packs without an index, temporary files. The lock is held."""
        names = os.listdir(self.packs(part))
        for name in names:
            stem, ext = os.path.splitext(name)
            finished = {".idx": stem + ".pack", ".pack": stem + ".idx"}.get(ext, "") in names
            if not finished or name.startswith("tmp-"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.packs(part), name))

    def tidy(self, part: str, object_format: str) -> None:
        """Make one pack of many small ones, if there are too many; the lock is held. Raises `packs.Damaged`.

        Readers have mapped the packs that are removed, or look once more. A full disk leaves things as they are.
        """
        stems = stems_of(self.packs(part))
        chosen = small(stems, HASH_SIZES[object_format]) if len(stems) > MAX_PACKS else []
        if len(chosen) < 2:
            return
        with contextlib.suppress(OSError):
            self._join(chosen, object_format, os.path.join(self.packs(part), f"tmp-{os.getpid()}"))
            note("fetch", f"{len(chosen)} packs of the mirror were made one")

    def _join(self, stems: Sequence[str], object_format: str, new: str) -> None:
        with open(new + ".pack", "w+b") as pack, open(new + ".idx", "wb") as index:
            checksum, _ = join(stems, object_format, pack, index)
        target = os.path.join(os.path.dirname(new), f"pack-{checksum}")
        for ext in (".pack", ".idx"):
            os.replace(new + ext, target + ext)
        for stem in stems:
            for ext in (".idx", ".pack"):
                os.unlink(stem + ext)

    def forget_refs(self) -> None:
        """Let the next one who looks ask the host."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, "refs"))

    def empty(self) -> None:
        """Begin anew; the lock is held. Readers keep what they have open."""
        for name in (*PARTS, "refs", "state"):
            path = os.path.join(self.path, name)
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def remove_if_new(self) -> None:
        """The whole directory, unless a repository was ever found here; the lock is held."""
        if not any(os.path.isdir(self.packs(part)) for part in PARTS):
            shutil.rmtree(self.path, ignore_errors=True)

    def scratch(self) -> str:
        """A directory that one engine may make; those of killed workers are removed. The lock is held."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.startswith(_SCRATCH) and entry.stat(follow_symlinks=False).st_mtime < time.time() - _OLD:
                    shutil.rmtree(entry.path, ignore_errors=True)
        return os.path.join(self.path, f"{_SCRATCH}{os.getpid()}")


def _checksum(text: bytes) -> bytes:
    return sha256(text).hexdigest().encode()


def _listing(value: Any, object_format: str) -> Listing:
    table = RefTable.of(_triple(row, object_format) for row in value["refs"])
    when = float(value["time"])
    if not math.isfinite(when):
        raise ValueError
    return Listing(table, when)


def _triple(row: Any, object_format: str) -> tuple[str, str, str]:
    name, target, peeled = row
    if not isinstance(name, str):
        raise TypeError
    return name, _hash(target, object_format), _hash(peeled, object_format)


def _state(value: Any) -> State:
    form = value["object_format"]
    parts = [value[key] for key in ("shallow", "complete", "history")]
    if not all(isinstance(part, list) for part in parts):
        raise TypeError
    shallow, complete, history = (tuple(_hash(each, form) for each in part) for part in parts)
    return State(form, shallow, complete, history, value["sparse"] is True, value["whole"] is True)


def _hash(value: Any, object_format: str) -> str:
    if not isinstance(value, str) or len(value) != 2 * HASH_SIZES[object_format] or not _HEX.fullmatch(value):
        raise ValueError
    return value


_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
