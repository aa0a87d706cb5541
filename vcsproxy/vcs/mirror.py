"""Our own bare copy of a repository: the refs last seen and every object fetched so far, for all its modules.

Theory of operation: one directory a repository URL. `objects/` holds snapshots (a commit with its whole tree, with or
without its parents), `history/` holds commits and tags without trees, from hosts that can leave trees out; both are
ordinary Git object directories. Packs are only ever added. Refs are a table in `refs.json` with the time it was read,
and `state.json` says which commits came without parents and from which tips all history is here. Whoever talks to the
host holds the lock file; readers take no lock.

If we crash here: a pack that was not finished has no index, is not seen and is removed by the next holder of the lock;
`state.json` is replaced in one step, after the pack it speaks of. All of it can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_format import get_object_format
from dulwich.object_store import DiskObjectStore
from dulwich.pack import UnresolvedDeltas

from vcsproxy import errors
from vcsproxy.build.job import Job, Limits
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.objects import Objects
from vcsproxy.vcs.refs import RefTable
from vcsproxy.vcs.transport import connect
from vcsproxy.vcs.wire import Fetched, UploadPack, Wants

_MAX_HAVES = 64
_DAMAGED = (
    ApplyDeltaError, ChecksumMismatch, UnresolvedDeltas, zlib.error, struct.error,
    AssertionError, EOFError, IndexError, KeyError, OverflowError, ValueError,
)  # fmt: skip
_REFRESH_PAUSE = 2.0  # seconds between two looks at the host that an unknown version may cause


@dataclass(frozen=True, slots=True)
class State:
    """What the objects here amount to; hashes, newest last."""

    object_format: str = "sha1"
    shallow: tuple[str, ...] = ()  # commits here without their parents
    complete: tuple[str, ...] = ()  # tips with everything they reach, in objects/
    history: tuple[str, ...] = ()  # tips with every commit they reach, in history/


class Mirror:
    """`vcs.repo.Source` over a host. Use it for one job, then close it."""

    def __init__(self, url: str, directory: str, guard: Guard, refs_ttl: float) -> None:
        self._url = url
        self._directory = directory
        self._guard = guard
        self._ttl = refs_ttl
        self._state = State()
        self._table: RefTable | None = None
        self._listed_at = 0.0
        self._fresh = self._taken = False
        self._talk: UploadPack | None = None
        self._hang_up: Callable[[], None] | None = None
        self._objects: Objects | None = None

    @classmethod
    def open(cls, root: RepoRoot, job: Job) -> Mirror:
        """The mirror of a repository for a job; nothing is fetched or written yet."""
        guard = Guard(job.hosts, job.limits, job.access)
        directory = os.path.join(job.mirrors, sha256(root.url.encode()).hexdigest()[:40])
        mirror = cls(root.url, directory, guard, job.refs_ttl)
        mirror._load()
        return mirror

    def close(self) -> None:
        if self._hang_up is not None:
            self._hang_up()
        if self._objects is not None:
            self._objects.close()

    # ---- refs

    def refs(self) -> RefTable:
        """The refs, from the host if those here are older than the time to live."""
        if self._table is None or not (self._taken or self._young(self._ttl)):
            with self._lock():
                self._load()
                if self._table is None or not self._young(self._ttl):
                    self._list()
        assert self._table is not None
        self._taken = True  # one job sees one table
        return self._table

    def refresh(self) -> bool:
        """Read the refs from the host again unless this job or a recent one just did; whether they have changed."""
        if self._table is None or self._fresh or self._young(_REFRESH_PAUSE):
            return False
        with self._lock():
            before, was = self._table, self._listed_at
            self._load()
            if self._listed_at == was:
                self._list()
        return self._table != before

    @property
    def stale(self) -> float:
        """Seconds since the refs were read, if the host could not be asked for newer ones; else 0."""
        return 0.0

    def _young(self, ttl: float) -> bool:
        return 0 <= time.time() - self._listed_at < ttl

    def _list(self) -> None:
        try:
            talk = self._conversation()
            self._table = talk.refs()
        except errors.VCSProxyError:
            if self._listed_at == 0:
                shutil.rmtree(self._directory, ignore_errors=True)  # anybody can name a repository that is not there
            raise
        self._make_directories()
        self._listed_at, self._fresh = time.time(), True
        if talk.object_format != self._state.object_format:
            self._save_state(State(object_format=talk.object_format))
            self._reopen()
        triples = [(name, ref.target, ref.peeled) for name, ref in self._table.refs.items()]
        self._replace("refs.json", {"time": self._listed_at, "url": self._url, "refs": triples})

    # ---- objects

    @property
    def objects(self) -> Objects:
        if self._objects is None:
            self._objects = Objects([self._store("objects"), self._store("history")], self._guard.limits)
        return self._objects

    def _store(self, part: str) -> DiskObjectStore:
        form = get_object_format(self._state.object_format)
        return DiskObjectStore(os.path.join(self._directory, part), object_format=form)

    def _reopen(self) -> None:
        if self._objects is not None:
            self._objects.close()
            self._objects = None

    def fetch_commit(self, name: str, commit: str) -> None:
        """Bring one commit with its tree. Raises UpstreamFailed when it is not given, Refused when it is gone."""
        table = self.refs()
        wanted = table.refs[name].target if name in table else commit
        with self._lock():
            self._load()
            self._reopen()
            if self._is_whole(commit):
                return
            try:
                self._fetch_snapshot(wanted)
            except errors.UpstreamFailed:
                if name in table:
                    raise
                # Some hosts give only what a ref names; then the commit comes with everything else.
                self._fetch_everything(sorted(table.tips()))
        if not self._is_whole(commit):
            if name not in table:
                hint = "the version's tag was moved or deleted after the version was first served"
                raise errors.Refused(f"commit {commit} is gone from the repository", hint)
            raise errors.UpstreamFailed(
                f"the Git host did not send commit {commit}", "its refs may just have changed; try again"
            )

    def _fetch_snapshot(self, wanted: str) -> None:
        state = self._state
        if state.complete:
            self._fetch_everything([wanted])
            return
        known = state.shallow[-_MAX_HAVES:]
        got = self._fetch("objects", Wants([wanted], haves=known, shallow=known, depth=1))
        self._save_state(replace(state, shallow=_merged(state.shallow, got)))

    def _fetch_everything(self, tips: Sequence[str]) -> None:
        """All that the tips reach and is not here, trees and blobs included."""
        state = self._state
        self._fetch("objects", Wants(tips, haves=state.complete[-_MAX_HAVES:]))
        self._save_state(replace(state, complete=tuple(dict.fromkeys((*state.complete, *tips)))))

    def _is_whole(self, oid: str) -> bool:
        if oid not in self.objects:
            return False
        kind, target = self.objects.peel(oid)
        return kind != 1 or self.objects.commit(target).tree in self.objects

    def fetch_history(self) -> None:
        """Bring every commit that HEAD, heads and tags reach; without trees where the host can leave them out."""
        tips = sorted(self.refs().tips())
        with self._lock():
            self._load()
            self._reopen()
            state = self._state
            missing = [tip for tip in tips if tip not in {*state.history, *state.complete}]
            if not missing:
                return
            if self._conversation().filters and not state.complete:
                self._fetch("history", Wants(missing, haves=state.history[-_MAX_HAVES:], filter="tree:0"))
                self._save_state(replace(state, history=(*state.history, *missing)))
            else:
                self._fetch_everything(missing)

    # ---- the host

    def _conversation(self) -> UploadPack:
        if self._talk is None:
            connection = connect(self._url, self._guard)
            self._hang_up = connection.close
            self._talk = UploadPack(connection, self._guard.limits)
        return self._talk

    def _fetch(self, part: str, wanted: Wants) -> Fetched:
        """Fetch into one of the two object directories; the lock is held."""
        self._sweep(part)
        talk = self._conversation()
        store = self._store(part)
        ended = True
        try:
            got = talk.fetch(wanted, lambda pieces: _ingest(store, pieces, self._guard.limits))
            ended = talk.version == 0
            return got
        finally:
            store.close()
            self._reopen()
            if ended and self._hang_up is not None:
                self._hang_up()
                self._talk = self._hang_up = None

    def _sweep(self, part: str) -> None:
        """Remove what a killed worker left: packs without an index, temporary files."""
        packs = os.path.join(self._directory, part, "pack")
        for directory, names in (
            (packs, os.listdir(packs)),
            (os.path.dirname(packs), os.listdir(os.path.dirname(packs))),
        ):
            for name in names:
                stem, ext = os.path.splitext(name)
                unfinished = name.startswith("tmp") or ext == ".lock" or (ext == ".pack" and stem + ".idx" not in names)
                if unfinished:
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(directory, name))

    # ---- files

    def _make_directories(self) -> None:
        for part in ("objects/pack", "objects/info", "history/pack", "history/info"):
            os.makedirs(os.path.join(self._directory, part), mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Exclusive among all processes of this machine; freed by the kernel if we die."""
        fd = self._open_locked()
        try:
            yield
        finally:
            os.close(fd)

    def _open_locked(self) -> int:
        """The lock file, locked, and not one that its last holder has removed with the directory."""
        path = os.path.join(self._directory, "lock")
        while True:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue
            fcntl.flock(fd, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == os.stat(path).st_ino:
                    return fd
            os.close(fd)

    def _load(self) -> None:
        """Read refs and state again; anything unreadable counts as nothing known."""
        refs = self._read("refs.json")
        state = self._read("state.json")
        try:
            if refs is not None:
                self._table = RefTable.of((str(n), str(t), str(p)) for n, t, p in refs["refs"])
                self._listed_at = float(refs["time"])
            if state is not None:
                self._state = State(
                    str(state["object_format"]),
                    *(tuple(map(str, state[k])) for k in ("shallow", "complete", "history")),
                )
        except (KeyError, TypeError, ValueError):
            self._table, self._listed_at, self._state = None, 0.0, State()

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self._directory, name), encoding="utf-8", errors="surrogateescape") as file:
                value = json.load(file)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _save_state(self, state: State) -> None:
        self._state = state
        self._replace("state.json", asdict(state))

    def _replace(self, name: str, value: object) -> None:
        target = os.path.join(self._directory, name)
        with open(target + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(value, file, ensure_ascii=False)
        os.replace(target + ".new", target)


def _merged(shallow: Sequence[str], got: Fetched) -> tuple[str, ...]:
    kept = [oid for oid in (*shallow, *got.shallow) if oid not in got.unshallow]
    return tuple(dict.fromkeys(kept))


def _ingest(store: DiskObjectStore, pieces: Iterator[bytes], limits: Limits) -> None:
    """Write a pack as it arrives, check every object against its hash by indexing it, and publish it."""
    buffer = bytearray()

    def some(size: int) -> bytes:
        if not buffer:
            buffer.extend(next(pieces, b""))
        data = bytes(buffer[:size])
        del buffer[:size]
        return data

    def exactly(size: int) -> bytes:
        while len(buffer) < size:
            piece = next(pieces, b"")
            if not piece:
                break
            buffer.extend(piece)
        return some(size)

    head = exactly(12)
    if len(head) < 12 or head[:4] != b"PACK":
        raise errors.UpstreamFailed("the Git host sent no pack")
    count = int.from_bytes(head[8:12], "big")
    if count > limits.objects:
        raise errors.Refused(f"the pack has more than {limits.objects} objects")
    if count == 0:
        return
    buffer[:0] = head
    try:
        store.add_thin_pack(exactly, some)
    except errors.VCSProxyError:
        raise
    except _DAMAGED as err:
        raise errors.UpstreamFailed(f"the Git host sent a damaged pack ({type(err).__name__})") from err
