"""Answers to GOPROXY requests: the store first, else one build, published before it is answered.

The commit that a version's first `.info` named is its pin: whatever is built later of that version is built from that
commit, and bytes that differ from what is stored are refused. A hit touches neither flights nor workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import structlog

from vcsproxy import errors
from vcsproxy.build.job import Built, Listed, Modules, Op, Variants
from vcsproxy.mod import module, semver
from vcsproxy.mod.dirhash import hash_gomod
from vcsproxy.mod.proxypath import Kind as Wanted
from vcsproxy.mod.proxypath import ProxyRequest
from vcsproxy.proxy.dispatch import Dispatch
from vcsproxy.proxy.failures import Failures, Key
from vcsproxy.proxy.flight import Flight
from vcsproxy.proxy.foresight import Foresight
from vcsproxy.proxy.recent import Recent
from vcsproxy.proxy.shelf import Shelf
from vcsproxy.proxy.tagwatch import TagWatch
from vcsproxy.proxy.wiring import Wiring
from vcsproxy.store import Artifacts, Kind, Store, Stored
from vcsproxy.trace import Step, Trace

log = structlog.get_logger()

_MOST_BEGUN = 2  # zips that are made ahead at once
_LIST = "list"  # the name under which a list is remembered
_CLIENTS_OWN = ("upgrade", "patch", "none")  # queries that go answers from the list and never sends
_MISMATCH = "see what explains it: vcsproxy verify"
_KINDS = {Wanted.INFO: Kind.INFO, Wanted.MOD: Kind.MOD, Wanted.ZIP: Kind.ZIP}


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes or a file to send; `immutable` when this URL will always give the same.

    stale: seconds since the host was last asked, if it could not be asked now; else 0.
    fresh: seconds for which an answer that may change is good.
    """

    stored: Stored
    immutable: bool
    hit: bool = False
    stale: float = 0.0
    fresh: float = 0.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a question was answered just now; exactly one of `version` and `error` says how it ended."""

    path: str
    query: str
    version: str
    steps: tuple[Step, ...]
    error: errors.VCSProxyError | None


class Service:
    """Module answers; lives on one event loop."""

    def __init__(self, *, store: Store, dispatch: Dispatch, watch: TagWatch) -> None:
        self._store = store
        self._dispatch = dispatch
        self._watch = watch
        self._flight: Flight[Answer] = Flight()
        self._failures = Failures()
        self._recent = Recent()
        self._shelf = Shelf(store)
        self._foresight = Foresight()
        self._begun: set[asyncio.Future[None]] = set()  # zips that are made ahead
        self._expected: Mapping[str, str] = {}

    def configure(self, wiring: Wiring) -> None:
        """Use another configuration from the next question on."""
        self._dispatch.configure(wiring)
        self._failures.clear()
        self._recent.clear()

    async def close(self, seconds: float = 30.0) -> None:
        """Let running builds end, for a bounded time."""
        await self._flight.close(seconds)
        await asyncio.gather(*self._begun, return_exceptions=True)

    async def answer(self, request: ProxyRequest) -> Answer:
        """What a request gets. Raises errors of every kind; NotFound only for proven absence."""
        path, version = request.path, request.version
        self._dispatch.wiring.check(path)
        name = _changing(request)
        if self._dispatch.wiring.is_offline(path):
            return await self._offline(request, name)
        recent = self._recent.get(path, name, self._dispatch.wiring.refs_ttl) if name else None
        if recent is not None:
            return replace(_transient(recent[0]), hit=True, fresh=recent[1])
        if request.kind is Wanted.LIST:
            return await self._once((path, Op.LIST), lambda: self._list(path))
        if name == "latest":
            return await self._once((path, Op.LATEST), lambda: self._resolve(path, "", Op.LATEST))
        if version in _CLIENTS_OWN:
            raise errors.NotFound(f"{path}@{version}: invalid version: {version} is a query that go resolves by itself")
        if request.kind is Wanted.ZIP:
            self._foresight.zip_asked(path, version)
        elif request.kind is Wanted.MOD and self._foresight.gomod_asked(path, version):
            self._begin_zip(path, version)
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
        self._dispatch.wiring.check(request.path)
        if request.kind not in _KINDS or request.version != module.canonical_version(request.version):
            return None
        stored = await self._store.find(request.path, request.version, _KINDS[request.kind])
        return None if stored is None else Answer(stored, immutable=True, hit=True)

    async def _offline(self, request: ProxyRequest, name: str) -> Answer:
        """What the store has. Raises NotFound for all else."""
        if name:
            return _transient(await self._shelf.answer(request.path, name))
        hit = await self.cached(request)
        if hit is None:
            raise await self._shelf.absent(request.path, request.version)
        return hit

    # ---- work, each once at a time

    async def _once(self, key: Key, work: Callable[[], Awaitable[Answer]]) -> Answer:
        self._failures.check(key)
        try:
            return await self._flight.once(key, work)
        except errors.VCSProxyError as err:
            fixed = len(key) > 2 and key[1] == module.canonical_version(str(key[1]))
            self._failures.remember(key, err, self._dispatch.wiring.negative_ttl, fixed=fixed)
            raise

    async def _list(self, path: str) -> Answer:
        try:
            listed = await self._dispatch.ask(Op.LIST, path, trace=Trace())
        except errors.Unavailable as err:
            return await self._recalled(path, _LIST, err)
        if not isinstance(listed, Listed):
            raise errors.Corrupt("a worker answered another question")
        data = "".join(version + "\n" for version in listed.versions).encode()
        if not listed.stale:
            self._failures.forget_absences(path)
            self._recent.put(path, _LIST, data, listed.read)
            await self._remember(path, _LIST, data)
            await self._watch.look(path, listed.tags)
        return _transient(data, listed.stale)

    async def _resolve(self, path: str, query: str, op: Op) -> Answer:
        name = query or "latest"
        try:
            built = await self._build(op, path, query)
        except errors.Unavailable as err:
            if query == _LIST:  # a branch may be called that, but what is remembered under the name is the list
                raise
            return await self._recalled(path, name, err)
        with contextlib.suppress(errors.ModuleChanged):  # what was there first is what is served
            await self._publish(path, built)
            self._foresight.made(path, built.version)
        stored = await self._store.find(path, built.version, Kind.INFO)
        if stored is None or stored.data is None:
            raise errors.Corrupt(f"{path}@{built.version} was published and is not there")
        if built.version == query:
            return Answer(stored, immutable=True)
        same = _commit_of(stored.data) == _commit_of(built.answer)
        data = built.answer if same else stored.data
        if not built.stale and query != _LIST:
            if not _is_fixed(name):
                self._recent.put(path, name, data, built.read)
            await self._remember(path, name, data)
        return _transient(data, built.stale)

    async def _remember(self, path: str, name: str, data: bytes) -> None:
        """Keep an answer for the day when the host is down; that the disk does not take it costs nobody this answer."""
        if _is_fixed(name):
            return
        try:
            await self._store.remember(path, name, data)
        except errors.VCSProxyError as err:
            log.warning("not_remembered", module=path, query=name, reason=err.message)

    async def _recalled(self, path: str, name: str, err: errors.Unavailable) -> Answer:
        """The last answer, for want of a new one. Raises `err` if there is none, or if the host has said no."""
        if isinstance(err, errors.AccessDenied | errors.Overloaded) or _is_fixed(name):
            raise err
        last = await self._store.recall(path, name)
        if last is None:
            raise err
        age = max(time.time() - last.time, 1.0)
        log.warning("stale", module=path, query=name, seconds=round(age), reason=err.message)
        return _transient(last.data, age)

    async def _gomod(self, path: str, version: str, resolved: Answer) -> Answer:
        stored = await self._store.find(path, version, Kind.MOD)
        if stored is None:
            other = json.loads(resolved.stored.data or b"{}").get("Version", "")
            raise errors.NotFound(f"{path}@{version}: invalid version: resolves to version {other}")
        return Answer(stored, immutable=True)

    def _begin_zip(self, path: str, version: str) -> None:
        """Make a zip before it is asked for, unless that is going on for others already. Its failure is nobody's."""

        async def begun() -> None:
            with contextlib.suppress(errors.VCSProxyError):
                await self._once((path, version, Op.ZIP), lambda: self._zip(path, version))

        if len(self._begun) < _MOST_BEGUN:
            task = asyncio.ensure_future(begun())
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)

    async def _zip(self, path: str, version: str) -> Answer:
        known = await self._store.find(path, version, Kind.INFO)
        pinned = _commit_of(known.data) if known is not None and known.data is not None else ""
        workspace = await self._store.workspace()
        try:
            built = await self._build(Op.ZIP, path, version, pinned=pinned, workspace=workspace)
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

    async def _build(self, op: Op, path: str, query: str, *, pinned: str = "", workspace: Path | None = None) -> Built:
        built = await self._dispatch.ask(op, path, query, pinned=pinned, workspace=workspace, trace=Trace())
        if not isinstance(built, Built) or not semver.is_valid(built.version):
            raise errors.Corrupt("a worker answered another question")
        self._recent.saw(path, built.read)
        return built

    async def _publish(self, path: str, built: Built, info: bytes | None = None) -> None:
        self._check_expected(path, built)
        artifacts = Artifacts(info or built.info, built.gomod, Path(built.zip) if built.zip else None, built.zip_h1)
        try:
            await self._store.publish(path, built.version, artifacts)
        except errors.ModuleChanged as err:
            log.error("module_changed", module=path, version=built.version, alarm=True, reason=err.message)
            raise

    def _check_expected(self, path: str, built: Built) -> None:
        """Raise SumMismatch if the version has a sum and this is not it."""
        made = {f"{path} {built.version}/go.mod": hash_gomod(built.gomod)}
        if built.zip:
            made[f"{path} {built.version}"] = built.zip_h1
        for name, h1 in made.items():
            wanted = self._expected.get(name, h1)
            if wanted != h1:
                raise errors.SumMismatch(f"{name}: the repository gives {h1}, expected {wanted}", _MISMATCH)

    # ---- for those who check and seed

    def expect(self, sums: Mapping[str, str]) -> None:
        """Publish no version whose hashes are others than these.

        sums: h1 by `PATH VERSION` and `PATH VERSION/go.mod`, as in go.sum.
        """
        self._expected = sums

    async def variants(self, path: str, version: str) -> Variants:
        """What the hashes of a version would be under every known cause, at the commit it was first served from."""
        known = await self._store.find(path, version, Kind.INFO)
        pinned = _commit_of(known.data) if known is not None and known.data is not None else ""
        return await self.variants_at(path, version, pinned)

    async def variants_at(self, path: str, version: str, commit: str) -> Variants:
        """As `variants`, at a commit; "" for the one that the version's tag is on now."""
        self._dispatch.wiring.check(path)
        answer = await self._dispatch.ask(Op.VARIANTS, path, version, pinned=commit, trace=Trace())
        if not isinstance(answer, Variants):
            raise errors.Corrupt("a worker answered another question")
        return answer

    async def modules(self, path: str) -> tuple[str, ...]:
        """The paths of all modules in the repository that holds a module path."""
        self._dispatch.wiring.check(path)
        answer = await self._dispatch.ask(Op.MODULES, path, trace=Trace())
        if not isinstance(answer, Modules):
            raise errors.Corrupt("a worker answered another question")
        return answer.paths

    # ---- for people

    async def explain(self, path: str, query: str) -> Explanation:
        """Answer a question anew, publish nothing, and tell every step. Raises only what is no answer to it."""
        trace = Trace(detailed=True)
        workspace = await self._store.workspace()
        try:
            self._dispatch.wiring.check(path)
            await self._note_stored(path, query, trace)
            built = await self._dispatch.ask(Op.EXPLAIN, path, query, workspace=workspace, trace=trace)
        except errors.VCSProxyError as err:
            return Explanation(path, query, "", tuple(trace.steps), err)
        finally:
            await self._store.discard(workspace)
        version = built.version if isinstance(built, Built) else ""
        return Explanation(path, query, version, tuple(trace.steps), None)

    async def _note_stored(self, path: str, query: str, trace: Trace) -> None:
        """What the server would say without looking."""
        if query != module.canonical_version(query) or not query:
            return
        stored = await self._store.find(path, query, Kind.INFO)
        if stored is None:
            trace.note("store", f"{query} is not stored yet")
        else:
            commit = _commit_of(stored.data or b"{}")[:12]
            trace.note("store", f"{query} is stored, from commit {commit}; that is what the server gives")


def _is_fixed(name: str) -> bool:
    """Whether a query is a version, and not one that stands for another every day."""
    return name == module.canonical_version(name)


def _changing(request: ProxyRequest) -> str:
    """The name under which the answer of today is kept, "" for a version and for what may pass for the list."""
    if request.kind is Wanted.LIST:
        return _LIST
    if request.kind is Wanted.LATEST:
        return "latest"
    changing = request.kind is Wanted.INFO and not _is_fixed(request.version) and request.version != _LIST
    return request.version if changing else ""


def _transient(data: bytes, stale: float = 0.0) -> Answer:
    etag = '"' + sha256(data).hexdigest() + '"'
    return Answer(Stored(Kind.INFO, len(data), time.time() - stale, etag, "", data, None), immutable=False, stale=stale)


def _commit_of(info: bytes) -> str:
    """Origin.Hash of a stored `.info`, "" if it has none."""
    value = json.loads(info)
    origin = value.get("Origin") if isinstance(value, dict) else None
    return str(origin.get("Hash", "")) if isinstance(origin, dict) else ""
