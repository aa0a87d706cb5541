"""Our own bare copy of a repository: the refs last seen and every object fetched so far, for all its modules.

It decides when the host is asked and for what: refs when those here are too old, one commit without its parents when a
version is wanted, all commits without trees when ancestry is. What lies where is `mirrordir.py`'s. When the host must
not be asked (`offline`), answers come from what is here, however old, and whatever is missing is the host's silence.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from vcsproxy import errors
from vcsproxy.build.job import Job
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.trace import note
from vcsproxy.vcs import talks
from vcsproxy.vcs.gitengine import GitEngine
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.ingest import NoBase
from vcsproxy.vcs.landing import Landing
from vcsproxy.vcs.mirrordir import PARTS, Listing, MirrorDirectory, State
from vcsproxy.vcs.objects import COMMIT, Objects
from vcsproxy.vcs.packs import Damaged
from vcsproxy.vcs.refs import HEAD, HEADS, TAGS, RefTable
from vcsproxy.vcs.wire import Fetched, NotGiven, Wants

_MAX_HAVES = 64
_MAX_SORTED = 1024
_FEW_REFS = 60  # of a repository that is taken to be small
_NO_BLOBS = "blob:none"
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

    @property
    def sparse(self) -> bool:
        """Whether the host can leave blobs out and give them by their hashes later."""

    def refs(self) -> RefTable: ...

    def fetch(self, wanted: Wants, landing: Landing) -> Fetched: ...


class Moved(errors.HostUnreachable):
    """The refs have changed since they were read. They are forgotten: whoever asks again reads them anew."""


class Mirror:
    """`vcs.repo.Source` over a host. Use it for one job, then close it."""

    def __init__(self, root: RepoRoot, directory: MirrorDirectory, guard: Guard, job: Job) -> None:
        self._root = root
        self._directory = directory
        self._guard = guard
        self._ttl = job.refs_ttl
        self._part = job.path != root.root  # most likely; a major version's suffix is a directory as well
        self._offline = job.offline
        self._state = State()
        self._listing: Listing | None = None
        self._fresh = self._taken = self._offered = False
        self._talk: Talk | None = None
        self._hang_up: Callable[[bool], None] | None = None
        self._key = (root.url, job.hosts, job.access, job.limits)
        self._objects: Objects | None = None

    @classmethod
    def open(cls, root: RepoRoot, job: Job) -> Mirror:
        """The mirror of a repository for a job; nothing is fetched or written yet."""
        directory = MirrorDirectory(job.mirrors, root.url)
        mirror = cls(root, directory, Guard(job.hosts, job.limits, job.access), job)
        mirror._load()
        return mirror

    def close(self) -> None:
        self._end_talk(well=True)
        self._reopen()

    def begin_anew(self) -> None:
        """Throw away everything that is here: it is damaged. Raises what the host raises if it cannot be asked now."""
        self._reopen()
        with self._directory.lock():
            with self._asking() as talk:
                talk.refs()  # what is here may still be of use while there is nothing else
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

    @property
    def read_at(self) -> float:
        """When the refs were read, in seconds since 1970."""
        return self._listing.time if self._listing is not None else 0.0

    def refresh(self) -> bool:
        """Read the refs from the host again unless this job or a recent one just did; whether they have changed."""
        if self._listing is None or self._fresh or self._young(_REFRESH_PAUSE):
            return False
        self._not_offline()  # what old refs do not have is not proven to be absent
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
            with self._asking() as talk:
                table = talk.refs()
        except errors.VCSProxyError:
            self._directory.remove_if_new()  # anybody can name a repository that is not there
            raise
        if talk.object_format != self._state.object_format:
            self._directory.empty()
            self._state = State(talk.object_format)
        self._directory.make()
        self._save(self._state)
        self._listing, self._fresh = Listing(table, time.time()), True
        self._directory.save_listing(self._listing)

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
        """Bring one commit with its trees, and its blobs if they cannot be had later.

        Raises Moved when it is not given, Refused when it is gone.
        """
        table = self.refs()
        self._not_offline()
        given = True
        with self._directory.lock():
            self._load_state()
            if self._is_whole(commit):
                return
            try:
                self._fetch_snapshot(table.refs[name].target if name in table else commit)
            except NotGiven as err:
                if name in table:
                    raise self._moved(name) from err
                # Some hosts give only what a ref names; then the commit comes with everything else.
                given = False
                self._fetch_everything(_tips(table))
            if self._is_whole(commit):
                return
        if given and self._offered:
            raise Damaged(f"commit {commit} is not whole")  # the host believes that we have the rest
        if name in table:
            raise self._moved(name)
        hint = "the version's tag was moved or deleted after the version was first served"
        raise errors.Refused(f"commit {commit} is gone from the repository", hint)

    def _moved(self, name: str) -> Moved:
        self._directory.forget_refs()
        return Moved(f"the Git host does not have what {name or 'a ref'} named a moment ago", "try again")

    def _fetch_snapshot(self, wanted: str) -> None:
        state = self._state
        if state.complete:
            self._fetch_everything([wanted])
            return
        sparse = self._is_sparse(state)
        known = self._newest(state.shallow)
        wants = Wants([wanted], haves=known, shallow=known, depth=1, filter=_NO_BLOBS if sparse else "")
        got = self._fetch("objects", wants)
        kept = [oid for oid in (*state.shallow, *got.shallow) if oid not in got.unshallow]
        self._save(replace(state, shallow=tuple(dict.fromkeys(kept)), sparse=sparse))

    def _is_sparse(self, state: State) -> bool:
        """Whether to take trees first and blobs when they are needed.

        It is one question more, and less than all where a module is a part of a large repository. What is here already
        decides: a host that has been told of a commit takes all its blobs to be here, or none.
        """
        if state.shallow:
            return state.sparse
        with self._asking() as talk:
            large = self._part or len(self.refs().refs) > _FEW_REFS
            return large and talk.sparse and not state.whole

    def fetch_blobs(self, commit: str, blobs: Sequence[str]) -> None:
        """Bring blobs of a commit that came without them; all that it has, if the host gives no blob by its hash."""
        self._not_offline()
        with self._directory.lock():
            self._load_state()
            missing = [oid for oid in blobs if oid not in self.objects]
            if not missing:
                return
            try:
                self._fetch("objects", Wants(missing), f"the host is asked for {len(missing)} of its files")
            except NotGiven:
                note("fetch", "the host gives no single files, and is asked for the whole commit")
                self._fetch("objects", Wants([commit], depth=1))
                self._save(replace(self._state, shallow=(commit,), sparse=False, whole=True))

    def _fetch_everything(self, tips: Sequence[str]) -> None:
        """All that the tips reach and is not here, trees and blobs included."""
        state = self._state
        self._fetch("objects", Wants(tips, haves=self._newest(state.complete)))
        self._save(replace(state, complete=_with(state.complete, tips)))

    def _newest(self, known: Sequence[str]) -> list[str]:
        """Those to offer, by their commits' time: new commits descend from the newest."""
        late = [oid for oid in known[-_MAX_SORTED:] if oid in self.objects]
        return sorted(late, key=self._time)[-_MAX_HAVES:]

    def _time(self, oid: str) -> int:
        kind, target = self.objects.peel(oid)
        return (self.objects.commit(target).time or 0) if kind == COMMIT else 0

    def _is_whole(self, oid: str) -> bool:
        if oid not in self.objects:
            return False
        kind, target = self.objects.peel(oid)
        return kind != COMMIT or self.objects.commit(target).tree in self.objects

    def fetch_history(self) -> None:
        """Bring every commit that HEAD, heads and tags reach; without trees where the host can leave them out."""
        tips = _tips(self.refs())
        if not self._lacking(tips):
            return
        self._not_offline()
        with self._directory.lock():
            self._load_state()
            missing = self._lacking(tips)
            if not missing:
                return
            try:
                self._fetch_tips(missing)
            except NotGiven as err:
                raise self._moved("") from err

    def _lacking(self, tips: Sequence[str]) -> list[str]:
        known = {*self._state.history, *self._state.complete}
        return [tip for tip in tips if tip not in known]

    def _fetch_tips(self, missing: Sequence[str]) -> None:
        state = self._state
        with self._asking() as talk:
            filters = talk.filters
        if state.complete or not filters:
            self._fetch_everything(missing)
            return
        self._fetch("history", Wants(missing, haves=self._newest(state.history), filter="tree:0"))
        self._save(replace(state, history=_with(state.history, missing)))

    # ---- the host

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Talk]:
        """The conversation with the host; whatever goes wrong in it ends it. The lock is held."""
        self._not_offline()
        try:
            yield self._conversation()
        except errors.RepositoryNotFound as err:
            self._end_talk()
            raise self._judged(err) from err
        except BaseException:
            self._end_talk()
            raise

    def _conversation(self) -> Talk:
        if self._talk is None and self._root.engine == "git":
            git = GitEngine(self._root.url, self._guard, self._directory.scratch(), self._state.object_format)
            self._talk, self._hang_up = git, lambda _: git.close()
        elif self._talk is None:
            self._talk, self._hang_up = talks.take(self._root.url, self._guard, self._key)
        return self._talk

    def _end_talk(self, *, well: bool = False) -> None:
        hang_up, self._talk, self._hang_up = self._hang_up, None, None
        if hang_up is not None:
            hang_up(well)

    def _judged(self, err: errors.RepositoryNotFound) -> errors.VCSProxyError:
        """A host's word that there is no such repository, taken for what it is worth."""
        if self._root.trust_not_found:
            return err
        name = self._root.origin or self._root.url
        message = f"the host says that {name} does not exist; hosts say so too of what they do not want to show"
        hint = "give the credential read access, or set trust_not_found = true if this host never hides repositories"
        return errors.AccessDenied(message, hint)

    def _fetch(self, part: str, wanted: Wants, what: str = "") -> Fetched:
        """Fetch into one of the parts; the lock is held."""
        self._directory.make()
        self._directory.sweep(part)
        self._reopen()
        self._offered = bool(wanted.haves)
        note("fetch", what or _asked(wanted))
        limits = self._guard.limits
        landing = Landing(self._directory.packs(part), self._state.object_format, limits, self._base)
        try:
            with self._asking() as talk:
                if talk.object_format != self._state.object_format:
                    raise self._moved("")
                got = talk.fetch(wanted, landing)
        except NoBase as err:
            raise Damaged(str(err)) from err  # the host believes that we have it
        finally:
            self._reopen()
        if talk.version == 0:
            self._end_talk()
        self._directory.tidy(part, self._state.object_format)
        return got

    def _base(self, name: bytes) -> tuple[int, bytes] | None:
        oid = name.hex()
        return self.objects.read(oid) if oid in self.objects else None

    # ---- what is here

    def _load(self) -> None:
        """Read refs and state again."""
        self._listing, self._state = self._directory.load()

    def _load_state(self) -> None:
        """Read the state again, and see the packs that others have brought; the refs of this job stay."""
        self._state = self._directory.state()
        self._reopen()

    def _save(self, state: State) -> None:
        self._state = state
        self._directory.save_state(state)
        self._reopen()


def _tips(table: RefTable) -> list[str]:
    """Every hash that a ref holds, once; tags first, HEAD last: the newest commits are on branches."""
    by_kind = sorted(table.refs.items(), key=lambda item: (item[0] == HEAD, item[0].startswith(HEADS)))
    return list(dict.fromkeys(ref.target for _, ref in reversed(by_kind)))[::-1]


def _with(known: Sequence[str], tips: Sequence[str]) -> tuple[str, ...]:
    """Both, each once, the tips last."""
    new = frozenset(tips)
    return (*(oid for oid in known if oid not in new), *tips)


def _asked(wanted: Wants) -> str:
    what = f"commit {wanted.wants[0][:12]}" if len(wanted.wants) == 1 else f"what {len(wanted.wants)} refs name"
    how = "alone" if wanted.depth else "with all history"
    less = {_NO_BLOBS: ", trees only", "": ""}.get(wanted.filter, ", without files")
    known = f"; {len(wanted.haves)} commits are here already" if wanted.haves else ""
    return f"the host is asked for {what} {how}{less}{known}"
