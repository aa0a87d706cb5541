"""The files of a mirror: its lock, the refs last seen, what its packs amount to, and the packs themselves.

One directory a repository URL. `objects/` holds snapshots (a commit with its whole tree, with or without its parents),
`history/` commits and tags without trees; both are object directories as Git's. Packs are only ever added, the index
last. `refs.json` has the refs and the time they were read, `state.json` says which commits came without parents and
from which tips all history is here. Whoever changes anything holds the lock; readers take none.

If we crash here: a pack that was not finished has no index, is not seen and is removed by the next holder of the lock;
`state.json` is replaced in one step, after the pack it speaks of. Nothing is synced: what a power cut has spoilt is
noticed when it is read, and the mirror begins anew. All of it can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from vcsproxy.vcs.packs import Packs
from vcsproxy.vcs.refs import RefTable

PARTS = ("objects", "history")
MAX_PACKS = 500  # of one part; more of them cost more than fetching anew what is still wanted
HASH_SIZES = {"sha1": 20, "sha256": 32}


@dataclass(frozen=True, slots=True)
class State:
    """What the objects here amount to; hashes, newest last."""

    object_format: str = "sha1"
    shallow: tuple[str, ...] = ()  # commits here without their parents
    complete: tuple[str, ...] = ()  # tips with everything they reach, in objects/
    history: tuple[str, ...] = ()  # tips with every commit they reach, in history/


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

    def listing(self) -> Listing | None:
        """The refs as last saved; None if there are none, or if they cannot be read."""
        value = self._read("refs.json")
        try:
            if value is None:
                return None
            return Listing(RefTable.of((str(n), str(t), str(p)) for n, t, p in value["refs"]), float(value["time"]))
        except (KeyError, TypeError, ValueError):
            return None

    def state(self) -> State:
        """What is here; nothing, if that cannot be read."""
        value = self._read("state.json")
        try:
            if value is None or value["object_format"] not in HASH_SIZES:
                return State()
            return State(value["object_format"], *(_hashes(value[k]) for k in ("shallow", "complete", "history")))
        except (KeyError, TypeError, ValueError):
            return State()

    def save_listing(self, listing: Listing) -> None:
        triples = [(name, ref.target, ref.peeled) for name, ref in listing.table.refs.items()]
        self._replace("refs.json", {"time": listing.time, "url": self._url, "refs": triples})

    def save_state(self, state: State) -> None:
        self._replace("state.json", asdict(state))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self.path, name), encoding="utf-8", errors="surrogateescape") as file:
                value = json.load(file)
        except (OSError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def _replace(self, name: str, value: object) -> None:
        target = os.path.join(self.path, name)
        with open(target + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(value, file, ensure_ascii=False)
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

    def is_crowded(self) -> bool:
        return any(len(os.listdir(self.packs(part))) > 2 * MAX_PACKS for part in PARTS)

    def forget_refs(self) -> None:
        """Let the next one who looks ask the host."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, "refs.json"))

    def empty(self) -> None:
        """Begin anew; the lock is held. Readers keep what they have open."""
        for name in (*PARTS, "refs.json", "state.json"):
            path = os.path.join(self.path, name)
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def remove(self) -> None:
        """The whole directory, for a repository that is not there; the lock is held."""
        shutil.rmtree(self.path, ignore_errors=True)


def _hashes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError
    return tuple(value)
