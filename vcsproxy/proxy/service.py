"""Answers to GOPROXY requests: the store first, else one build, published before it is answered.

The commit that a version's first `.info` named is its pin: whatever is built later of that version is built from that
commit, and bytes that differ from what is stored are refused. A hit touches neither flights nor workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from vcsproxy import errors
from vcsproxy.build.job import Built, Host, Job, Limits, Listed, Op
from vcsproxy.mod import module, semver
from vcsproxy.mod.proxypath import Kind as Wanted
from vcsproxy.mod.proxypath import ProxyRequest
from vcsproxy.mod.reporoot import Discover, Probe, RepoRoot, SourceRule, static_root
from vcsproxy.proxy.flight import Flight
from vcsproxy.store import Artifacts, Kind, Store, Stored

log = structlog.get_logger()

_REFUSED_TTL = 600.0  # seconds; the same commit breaks the same limit again
_MAX_KNOWN = 10_000  # failures, and roots
_MAX_TEXT = 640  # characters of a remembered message; more is not shown anyway
_ROOT_TTL = 600.0  # seconds that a go-import page is believed
_CLIENTS_OWN = ("upgrade", "patch", "none")  # queries that go answers from the list and never sends
_KINDS = {Wanted.INFO: Kind.INFO, Wanted.MOD: Kind.MOD, Wanted.ZIP: Kind.ZIP}


class JobRunner(Protocol):
    """Runs jobs away from this process; `proxy.workers.Workers` is the one."""

    @property
    def limits(self) -> Limits: ...

    async def run(self, job: Job) -> Built | Listed: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes or a file to send; `immutable` when this URL will always give the same."""

    stored: Stored
    immutable: bool
    hit: bool = False


Key = tuple[str, *tuple[Hashable, ...]]  # module path and what is asked of it


@dataclass(frozen=True, slots=True)
class _Failure:
    """An answer not to look for again before `until`, in seconds of the monotonic clock."""

    until: float
    error: type[errors.VCSProxyError]
    message: str
    hint: str


class Service:
    """Module answers for one configuration; lives on one event loop."""

    def __init__(
        self,
        *,
        store: Store,
        workers: JobRunner,
        sources: tuple[SourceRule, ...] = (),
        hosts: tuple[Host, ...] = (),
        mirrors: Path,
        refs_ttl: float = 60.0,
        negative_ttl: float = 10.0,
        go_limit: str = "",
    ) -> None:
        self._store = store
        self._workers = workers
        self._sources = sources
        self._hosts = (*hosts, *_hosts_of(sources, hosts))
        self._mirrors = mirrors
        self._refs_ttl = refs_ttl
        self._negative_ttl = negative_ttl
        self._go_limit = go_limit
        self._flight: Flight[Answer] = Flight()
        self._failures: dict[str, dict[Hashable, _Failure]] = {}  # by module path
        self._failure_count = 0
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._roots: dict[str, tuple[float, RepoRoot]] = {}  # by module path: what a go-import page said

    async def close(self, seconds: float = 30.0) -> None:
        """Let running builds end, for a bounded time."""
        await self._flight.close(seconds)

    async def answer(self, request: ProxyRequest) -> Answer:
        """What a request gets. Raises errors of every kind; NotFound only for proven absence."""
        path, version = request.path, request.version
        if request.kind is Wanted.LIST:
            return await self._once((path, Op.LIST), lambda: self._list(path))
        if request.kind is Wanted.LATEST or version == "latest":
            return await self._once((path, Op.LATEST), lambda: self._resolve(path, "", Op.LATEST))
        if version in _CLIENTS_OWN:
            raise errors.NotFound(f"{path}@{version}: invalid version: {version} is a query that go resolves by itself")
        hit = await self.cached(request)
        if hit is not None:
            return hit
        kind = _KINDS[request.kind]
        if kind is not Kind.INFO and version != module.canonical_version(version):
            raise errors.NotFound(f"{path}@{version}: invalid version: not canonical", "ask for its .info first")
        if kind is Kind.ZIP:
            return await self._once((path, version, Op.ZIP), lambda: self._zip(path, version))
        resolved = await self._once((path, version, Op.INFO), lambda: self._resolve(path, version, Op.INFO))
        return resolved if kind is Kind.INFO else await self._gomod(path, version, resolved)

    async def cached(self, request: ProxyRequest) -> Answer | None:
        """What is stored already for a canonical version; None for all else, lists and branches too."""
        if request.kind not in _KINDS or request.version != module.canonical_version(request.version):
            return None
        stored = await self._store.find(request.path, request.version, _KINDS[request.kind])
        return None if stored is None else Answer(stored, immutable=True, hit=True)

    # ---- work, each once at a time

    async def _once(self, key: Key, work: Callable[[], Awaitable[Answer]]) -> Answer:
        known = self._failures.get(key[0], {}).get(key)
        if known is not None and known.until > time.monotonic():
            raise known.error(known.message, known.hint)
        try:
            return await self._flight.once(key, work)
        except errors.ModuleChanged:
            raise  # the next build starts from the commit that won
        except (errors.NotFound, errors.Refused) as err:
            self._remember(key, err)
            raise

    def _remember(self, key: Key, err: errors.VCSProxyError) -> None:
        """Proven absence for seconds, a broken limit for minutes; trouble with the host never."""
        ttl = self._negative_ttl if isinstance(err, errors.NotFound) else _REFUSED_TTL
        self._failure_count += 1
        if self._failure_count > _MAX_KNOWN:
            self._failures.clear()
            self._failure_count = 1
        self._failures.setdefault(key[0], {})[key] = _Failure(
            time.monotonic() + ttl, type(err), err.message[:_MAX_TEXT], err.hint
        )

    def _forget_absences(self, path: str) -> None:
        """A list was just read anew: what it names must not be denied by an older answer."""
        mine = self._failures.get(path, {})
        for key in [key for key, failure in mine.items() if issubclass(failure.error, errors.NotFound)]:
            del mine[key]

    async def _list(self, path: str) -> Answer:
        listed = await self._run(self._job(Op.LIST, path))
        if not isinstance(listed, Listed):
            raise errors.Corrupt("a worker answered another question")
        self._forget_absences(path)
        return _transient("".join(version + "\n" for version in listed.versions).encode())

    async def _resolve(self, path: str, query: str, op: Op) -> Answer:
        built = await self._build(self._job(op, path, query))
        with contextlib.suppress(errors.ModuleChanged):  # what was there first is what is served
            await self._publish(path, built)
        stored = await self._store.find(path, built.version, Kind.INFO)
        if stored is None or stored.data is None:
            raise errors.Corrupt(f"{path}@{built.version} was published and is not there")
        if built.version == query:
            return Answer(stored, immutable=True)
        same = _commit_of(stored.data) == _commit_of(built.answer)
        return _transient(built.answer if same else stored.data)

    async def _gomod(self, path: str, version: str, resolved: Answer) -> Answer:
        stored = await self._store.find(path, version, Kind.MOD)
        if stored is None:
            other = json.loads(resolved.stored.data or b"{}").get("Version", "")
            raise errors.NotFound(f"{path}@{version}: invalid version: resolves to version {other}")
        return Answer(stored, immutable=True)

    async def _zip(self, path: str, version: str) -> Answer:
        known = await self._store.find(path, version, Kind.INFO)
        pinned = _commit_of(known.data) if known is not None and known.data is not None else ""
        workspace = await self._store.workspace()
        try:
            built = await self._build(self._job(Op.ZIP, path, version, pinned=pinned, workspace=workspace))
            await self._publish(path, built, known.data if known is not None else None)
        except errors.ModuleChanged:
            stored = await self._store.find(path, version, Kind.ZIP)
            if stored is None:
                raise
        else:
            stored = await self._store.find(path, version, Kind.ZIP)
        finally:
            await self._store.discard(workspace)
        if stored is None:
            raise errors.Corrupt(f"{path}@{version} was published and is not there")
        return Answer(stored, immutable=True)

    async def _build(self, job: Job) -> Built:
        built = await self._run(job)
        if not isinstance(built, Built) or not semver.is_valid(built.version):
            raise errors.Corrupt("a worker answered another question")
        return built

    async def _run(self, job: Job) -> Built | Listed:
        """Run a job, and believe for a while what it found out about where the repository is."""
        try:
            async with self._lane(job.target):
                result = await self._workers.run(job)
        except errors.VCSProxyError:
            self._roots.pop(job.path, None)
            raise
        # The worker has read hostile bytes: it may name a host to ask, never a file or a command.
        if result.root is not None and result.root.url.startswith("https://"):
            if len(self._roots) >= _MAX_KNOWN:
                self._roots.clear()
            self._roots[job.path] = (time.monotonic() + _ROOT_TTL, result.root)
        return result

    def _lane(self, target: RepoRoot | Discover | Probe) -> asyncio.Semaphore:
        """One job at a time for a repository on a host: a host that hangs must not hold every worker."""
        if isinstance(target, RepoRoot) and target.url.startswith("file:"):
            return asyncio.Semaphore()
        return self._lanes.setdefault(str(target), asyncio.Semaphore())

    def _target(self, path: str) -> RepoRoot | Discover | Probe:
        target = static_root(path, self._sources)
        until, root = self._roots.get(path, (0.0, None))
        return target if isinstance(target, RepoRoot) or root is None or until < time.monotonic() else root

    async def _publish(self, path: str, built: Built, info: bytes | None = None) -> None:
        artifacts = Artifacts(info or built.info, built.gomod, Path(built.zip) if built.zip else None, built.zip_h1)
        try:
            await self._store.publish(path, built.version, artifacts)
        except errors.ModuleChanged as err:
            log.error("module_changed", module=path, version=built.version, alarm=True, reason=err.message)
            raise

    def _job(self, op: Op, path: str, query: str = "", *, pinned: str = "", workspace: Path | None = None) -> Job:
        return Job(
            op=op,
            path=path,
            query=query,
            target=self._target(path),
            mirrors=str(self._mirrors),
            workspace=str(workspace) if workspace else "",
            pinned=pinned,
            refs_ttl=self._refs_ttl,
            go_limit=self._go_limit,
            hosts=self._hosts,
            limits=self._workers.limits,
        )


def _hosts_of(sources: Sequence[SourceRule], known: Sequence[Host]) -> list[Host]:
    """The hosts that sources name outright: as good as listed, while one that a path fills in is anybody's choice."""
    names = {rule.url.partition("://")[2].partition("/")[0].rpartition("@")[2] for rule in sources if "://" in rule.url}
    names |= {rule.url.partition(":")[0].rpartition("@")[2] for rule in sources if "://" not in rule.url}
    plain = {name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name for name in names}
    listed = {host.name for host in known}
    return [Host(name.lower()) for name in sorted(plain) if name and "{" not in name and name.lower() not in listed]


def _transient(data: bytes) -> Answer:
    etag = '"' + sha256(data).hexdigest() + '"'
    return Answer(Stored(Kind.INFO, len(data), time.time(), etag, "", data, None), immutable=False)


def _commit_of(info: bytes) -> str:
    """Origin.Hash of a stored `.info`, "" if it has none."""
    value = json.loads(info)
    origin = value.get("Origin") if isinstance(value, dict) else None
    return str(origin.get("Hash", "")) if isinstance(origin, dict) else ""
