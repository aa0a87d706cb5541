"""Our own bare copy of a repository: the refs last seen and every object fetched so far, for all its modules.

It decides when the host is asked and for what: refs when those here are too old, one commit without its parents when a
version is wanted, all commits without trees when ancestry is. What lies where is `mirrordir.py`'s. When the host must
not be asked (`offline`), answers come from what is here, however old, and whatever is missing is the host's silence.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from vcsproxy import errors
from vcsproxy.build.job import Job
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.trace import note
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.ingest import Ingest
from vcsproxy.vcs.mirrordir import PARTS, Listing, MirrorDirectory, State
from vcsproxy.vcs.objects import Objects
from vcsproxy.vcs.refs import HEADS, TAGS, RefTable
from vcsproxy.vcs.transport import connect
from vcsproxy.vcs.wire import Fetched, NotGiven, UploadPack, Wants

_MAX_HAVES = 64
_REFRESH_PAUSE = 2.0  # seconds between two looks at the host that an unknown version may cause


class Talk(Protocol):
    """A conversation with the host: our own protocol code, or system git."""

    @property
    def version(self) -> int:
        """Git's protocol version; a conversation in version 0 is over after one fetch."""

    @property
    def object_format(self) -> str: ...

    @property
    def filters(self) -> bool:
        """Whether the host can leave objects out of a pack."""

    def refs(self) -> RefTable: ...

    def fetch(self, wanted: Wants, receive: Callable[[Iterator[bytes]], None]) -> Fetched: ...


class Mirror:
    """`vcs.repo.Source` over a host. Use it for one job, then close it."""

    def __init__(self, root: RepoRoot, directory: MirrorDirectory, guard: Guard, job: Job) -> None:
        self._root = root
        self._directory = directory
        self._guard = guard
        self._ttl = job.refs_ttl
        self._offline = job.offline
        self._state = State()
        self._listing: Listing | None = None
        self._fresh = self._taken = False
        self._talk: Talk | None = None
        self._hang_up: Callable[[], None] | None = None
        self._objects: Objects | None = None

    @classmethod
    def open(cls, root: RepoRoot, job: Job) -> Mirror:
        """The mirror of a repository for a job; nothing is fetched or written yet."""
        directory = MirrorDirectory(job.mirrors, root.url)
        mirror = cls(root, directory, Guard(job.hosts, job.limits, job.access), job)
        mirror._load()
        return mirror

    def close(self) -> None:
        if self._hang_up is not None:
            self._hang_up()
        self._reopen()

    def begin_anew(self) -> None:
        """Throw away everything that is here: it is damaged."""
        self._reopen()
        with self._directory.lock():
            self._directory.empty()

    # ---- refs

    def refs(self) -> RefTable:
        """The refs, from the host if those here are older than the time to live."""
        if self._listing is None or not (self._taken or self._young(self._ttl) or self._offline):
            self._not_offline()
            with self._directory.lock():
                self._load()
                if self._listing is None or not self._young(self._ttl):
                    self._list()
        assert self._listing is not None
        if not self._taken:
            self._taken = True  # one job sees one table
            self._tell(self._listing)
        return self._listing.table

    @property
    def stale(self) -> float:
        """Seconds since the refs were read, if the host could not be asked for newer ones; else 0."""
        if not self._offline or self._listing is None:
            return 0.0
        return max(time.time() - self._listing.time, 1.0)

    def refresh(self) -> bool:
        """Read the refs from the host again unless this job or a recent one just did; whether they have changed."""
        if self._listing is None or self._offline or self._fresh or self._young(_REFRESH_PAUSE):
            return False
        with self._directory.lock():
            before = self._listing
            self._load()
            if self._listing == before:
                self._list()
        return self._listing.table != before.table

    def _young(self, ttl: float) -> bool:
        return self._listing is not None and 0 <= time.time() - self._listing.time < ttl

    def _not_offline(self) -> None:
        if self._offline:
            raise errors.HostUnreachable(f"{self._root.origin or self._root.url} is not asked now, and it is not here")

    def _list(self) -> None:
        """Ask the host; the lock is held."""
        try:
            talk = self._conversation()
            table = talk.refs()
        except errors.VCSProxyError as err:
            if self._listing is None:
                self._directory.remove()  # anybody can name a repository that is not there
            raise self._judged(err) from err
        if talk.object_format != self._state.object_format or (self._listing and self._directory.is_crowded()):
            self._directory.empty()
            self._save(State(object_format=talk.object_format))
        self._directory.make()
        self._listing, self._fresh = Listing(table, time.time()), True
        self._directory.save_listing(self._listing)

    def _judged(self, err: errors.VCSProxyError) -> errors.VCSProxyError:
        """A host's word that there is no such repository, taken for what it is worth."""
        if not isinstance(err, errors.RepositoryNotFound) or self._root.trust_not_found:
            return err
        message = f"the host says that {self._root.origin or self._root.url} does not exist or may not be seen"
        hint = "check the source's url, and give the credential read access; trust_not_found = true believes the host"
        return errors.AccessDenied(message, hint)

    def _tell(self, listing: Listing) -> None:
        names = listing.table.refs
        tags = sum(name.startswith(TAGS) for name in names)
        heads = sum(name.startswith(HEADS) for name in names)
        how = "from the host" if self._fresh else f"read {max(time.time() - listing.time, 0):.0f} s ago"
        note("refs", f"{tags} tags and {heads} branches, {how}{', the host is not asked now' if self._offline else ''}")

    # ---- objects

    @property
    def objects(self) -> Objects:
        if self._objects is None:
            shelves = [self._directory.open_packs(part, self._state.object_format) for part in PARTS]
            self._objects = Objects(shelves, self._guard.limits)
        return self._objects

    def _reopen(self) -> None:
        if self._objects is not None:
            self._objects.close()
            self._objects = None

    def fetch_commit(self, name: str, commit: str) -> None:
        """Bring one commit with its tree. Raises UpstreamFailed when it is not given, Refused when it is gone."""
        table = self.refs()
        self._not_offline()
        with self._directory.lock():
            self._load()
            self._reopen()
            if self._is_whole(commit):
                return
            try:
                self._fetch_snapshot(table.refs[name].target if name in table else commit)
            except NotGiven as err:
                if name in table:
                    raise self._moved(name) from err
                # Some hosts give only what a ref names; then the commit comes with everything else.
                self._fetch_everything(sorted(table.tips()))
        if not self._is_whole(commit):
            if name in table:
                raise self._moved(name)
            hint = "the version's tag was moved or deleted after the version was first served"
            raise errors.Refused(f"commit {commit} is gone from the repository", hint)

    def _moved(self, name: str) -> errors.HostUnreachable:
        """The refs have changed since they were read: whoever asks again reads them anew."""
        self._directory.forget_refs()
        return errors.HostUnreachable(f"the Git host does not have what {name} named a moment ago", "try again")

    def _fetch_snapshot(self, wanted: str) -> None:
        state = self._state
        if state.complete:
            self._fetch_everything([wanted])
            return
        known = state.shallow[-_MAX_HAVES:]
        got = self._fetch("objects", Wants([wanted], haves=known, shallow=known, depth=1))
        kept = [oid for oid in (*state.shallow, *got.shallow) if oid not in got.unshallow]
        self._save(replace(state, shallow=tuple(dict.fromkeys(kept))))

    def _fetch_everything(self, tips: Sequence[str]) -> None:
        """All that the tips reach and is not here, trees and blobs included."""
        state = self._state
        self._fetch("objects", Wants(tips, haves=state.complete[-_MAX_HAVES:]))
        self._save(replace(state, complete=tuple(dict.fromkeys((*state.complete, *tips)))))

    def _is_whole(self, oid: str) -> bool:
        if oid not in self.objects:
            return False
        kind, target = self.objects.peel(oid)
        return kind != 1 or self.objects.commit(target).tree in self.objects

    def fetch_history(self) -> None:
        """Bring every commit that HEAD, heads and tags reach; without trees where the host can leave them out."""
        tips = sorted(self.refs().tips())
        missing = [tip for tip in tips if tip not in {*self._state.history, *self._state.complete}]
        if missing:
            self._not_offline()
        with self._directory.lock() if missing else contextlib.nullcontext():
            self._load()
            self._reopen()
            state = self._state
            missing = [tip for tip in tips if tip not in {*state.history, *state.complete}]
            if not missing:
                return
            if self._conversation().filters and not state.complete:
                self._fetch("history", Wants(missing, haves=state.history[-_MAX_HAVES:], filter="tree:0"))
                self._save(replace(state, history=(*state.history, *missing)))
            else:
                self._fetch_everything(missing)

    # ---- the host

    def _conversation(self) -> Talk:
        if self._talk is None:
            connection = connect(self._root.url, self._guard)
            self._hang_up = connection.close
            self._talk = UploadPack(connection, self._guard.limits)
        return self._talk

    def _fetch(self, part: str, wanted: Wants) -> Fetched:
        """Fetch into one of the parts; the lock is held."""
        self._directory.make()
        self._directory.sweep(part)
        talk = self._conversation()
        ended = True
        try:
            got = talk.fetch(wanted, lambda pieces: self._ingest(part, pieces))
            ended = talk.version == 0
            return got
        finally:
            self._reopen()
            if ended and self._hang_up is not None:
                self._hang_up()
                self._talk = self._hang_up = None

    def _ingest(self, part: str, pieces: Iterator[bytes]) -> None:
        """Write a pack as it arrives, with its index, and publish both; a pack without objects is none."""
        packs = self._directory.packs(part)
        new_pack, new_index = (os.path.join(packs, f"tmp-{os.getpid()}.{kind}") for kind in ("pack", "idx"))
        with open(new_pack, "w+b") as pack, open(new_index, "wb") as index:
            reader = Ingest(pack, self._state.object_format, self._guard.limits, self._base)
            checksum = reader.read(pieces)
            reader.write_index(index, checksum)
        if not len(reader):
            return
        note("fetch", f"{len(reader)} objects in {os.stat(new_pack).st_size} bytes")
        stem = os.path.join(packs, f"pack-{checksum.hex()}")
        os.replace(new_pack, stem + ".pack")
        os.replace(new_index, stem + ".idx")

    def _base(self, name: bytes) -> tuple[int, bytes] | None:
        oid = name.hex()
        return self.objects.read(oid) if oid in self.objects else None

    # ---- what is here

    def _load(self) -> None:
        """Read refs and state again."""
        self._listing, self._state = self._directory.listing(), self._directory.state()

    def _save(self, state: State) -> None:
        self._state = state
        self._directory.save_state(state)
        self._reopen()
