"""From a question about a module to a job at the right repository, with the right credential, at a good moment.

Finding the repository may itself need the network; that is a job of its own, whose outcome is believed for minutes, so
that the job which then reads the repository gets the one credential that goes there and no other. One repository has
one job at a time, a host a few (`proxy/hosts.py`); a broken connection is tried once more. When the host cannot be
asked, the worker answers from what its mirror has, if that is enough.

It publishes nothing and remembers no answers; that is `proxy/service.py`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import stamina
import stamina.instrumentation
import structlog

from vcsproxy import errors
from vcsproxy.build.job import Access, Answered, Call, Called, Job, Limits, Located, Op, Outcome, Task
from vcsproxy.mod.reporoot import Discover, Probe, RepoRoot, static_root
from vcsproxy.proxy.flight import Flight
from vcsproxy.proxy.hosts import Hosts
from vcsproxy.proxy.wiring import Wiring, authority_of, host_of
from vcsproxy.trace import Trace

log = structlog.get_logger()

T = TypeVar("T")

_ROOT_TTL = 600.0  # seconds that a go-import page is believed
_MAX_ROOTS = 10_000
_LOCATE_WALL = 30.0  # seconds to find a repository
_RETRIES = stamina.AsyncRetryingCaller(attempts=2, timeout=None, wait_initial=0.1, wait_max=0.6, wait_jitter=0.5)

stamina.instrumentation.set_on_retry_hooks([])  # we say ourselves what is tried again


class JobRunner(Protocol):
    """Runs jobs away from this process; `proxy.workers.Workers` is the one."""

    @property
    def limits(self) -> Limits: ...

    async def run(self, job: Task) -> Outcome: ...


class Dispatch:
    """Runs jobs for one wiring at a time; lives on one event loop."""

    def __init__(self, workers: JobRunner, hosts: Hosts, wiring: Wiring) -> None:
        self._workers = workers
        self._hosts = hosts
        self.wiring = wiring
        # One job at a time, there is one mirror of each; and each failure has been tried twice already.
        self._repositories = Hosts(1, 1, enough=3, share=3)
        self._roots: dict[str, tuple[float, RepoRoot]] = {}  # by module path: what a go-import page said, until when
        self._absent: dict[str, tuple[float, str, str]] = {}  # by URL: until when, and what the host said
        self._locating: Flight[RepoRoot] = Flight()

    def configure(self, wiring: Wiring) -> None:
        """Use another configuration from the next question on."""
        self.wiring = wiring
        self._roots.clear()
        self._absent.clear()

    async def ask(
        self, op: Op, path: str, query: str = "", *, pinned: str = "", workspace: Path | None = None, trace: Trace
    ) -> Answered:
        """Answer one question. Raises errors of every kind, each with its steps."""
        wiring = self.wiring
        if wiring.is_offline(path):
            raise errors.Unavailable(
                f"{path}: this server is offline and asks no host", "see server.offline and source.offline"
            )
        try:
            root = await self._root(wiring, path, trace)
            job = self._job(wiring, op, path, root, query=query, pinned=pinned, workspace=workspace)
            answer = await self._at_repository(wiring, job, root, trace)
        except errors.VCSProxyError as err:
            if isinstance(err, errors.NotFound):
                self._roots.pop(path, None)  # the page may name another repository by now
            err.steps = tuple(trace.steps)
            raise
        if not isinstance(answer, Answered):
            raise errors.Corrupt("a worker answered another question")
        return answer

    def _job(
        self, wiring: Wiring, op: Op, path: str, target: RepoRoot | Discover | Probe, *,
        query: str = "", pinned: str = "", workspace: Path | None = None,
    ) -> Job:  # fmt: skip
        return Job(
            op=op,
            path=path,
            query=query,
            target=target,
            mirrors=str(wiring.mirrors),
            workspace=str(workspace) if workspace else "",
            pinned=pinned,
            refs_ttl=wiring.refs_ttl,
            go_limit=wiring.go_limit,
            hosts=wiring.all_hosts,
            limits=self._workers.limits,
        )

    # ---- which repository

    async def _root(self, wiring: Wiring, path: str, trace: Trace) -> RepoRoot:
        target = static_root(path, wiring.sources)
        if isinstance(target, RepoRoot):
            root = wiring.guarded(path, target)
            by = f"the source {root.source}" if root.source else "the table of well-known hosts"
            trace.note("rule", f"{by} maps {path} to {root.url or root.origin}")
            return root
        until, known = self._roots.get(path, (0.0, None))
        if known is not None and time.monotonic() < until:
            trace.note("rule", f"no source matches {path}; an earlier look found {known.url}")
            return known
        try:
            return await self._locating.once(path, lambda: self._locate(wiring, path, target, trace))
        except (errors.HostUnreachable, errors.HostBusy, errors.DeadlineExceeded) as err:
            if known is None:
                raise
            trace.note("discovery", f"{err.message}; an earlier look found {known.url}")
            return known

    async def _locate(self, wiring: Wiring, path: str, target: Discover | Probe, trace: Trace) -> RepoRoot:
        """Ask the network where the repository is."""
        where = f"https://{path if isinstance(target, Discover) else target.repo}"
        how = "its page is asked" if isinstance(target, Discover) else "its host is asked for a repository"
        trace.note("rule", f"no source matches {path}; {how}")
        wiring.check_private(path, host_of(where))
        limits = replace(self._workers.limits, wall=min(self._workers.limits.wall, _LOCATE_WALL))
        access = (*await wiring.credentials.for_page(where), *await wiring.credentials.for_way(where))
        job = replace(self._job(wiring, Op.LOCATE, path, target), access=access, limits=limits)
        answer = await self._at_host(wiring, where, lambda: self._run(job, trace))
        if not isinstance(answer, Located):
            raise errors.Corrupt("a worker answered another question")
        # The worker has read hostile bytes: it may name a repository to ask, never a file, a command or a credential.
        found = answer.root
        if not found.url.startswith("https://"):
            raise errors.Corrupt("a worker named a repository that is not to be asked")
        root = wiring.guarded(path, RepoRoot(found.root, found.url, found.subdir))
        if len(self._roots) >= _MAX_ROOTS:
            self._roots.clear()
        self._roots[path] = (time.monotonic() + _ROOT_TTL, root)
        return root

    # ---- the job at its repository

    async def _at_repository(self, wiring: Wiring, job: Job, root: RepoRoot, trace: Trace) -> object:
        if root.url.startswith("file:"):
            return await self._run(job, trace)
        try:
            refusal = self._hosts.refusal(authority_of(root.url))
            if refusal is not None:
                raise refusal
            async with self._repositories.turn(root.origin or root.url):
                return await self._if_present(wiring, job, root, trace)
        except (errors.HostUnreachable, errors.HostBusy, errors.DeadlineExceeded) as err:
            trouble = err
        trace.note("host", trouble.message)
        try:
            return await self._run(replace(job, offline=True), trace)
        except (errors.Unavailable, errors.NotFound) as err:
            raise trouble from err  # what old refs do not have is not proven to be absent

    async def _if_present(self, wiring: Wiring, job: Job, root: RepoRoot, trace: Trace) -> object:
        """Ask the repository, unless its host has just said that there is none: a path has many paths below it."""
        until, message, hint = self._absent.get(root.url, (0.0, "", ""))
        if time.monotonic() < until:
            raise errors.RepositoryNotFound(message, hint)
        try:
            return await self._with_credential(wiring, job, root, trace)
        except errors.RepositoryNotFound as err:
            if len(self._absent) >= _MAX_ROOTS:
                self._absent.clear()
            self._absent[root.url] = (time.monotonic() + wiring.negative_ttl, err.message, err.hint)
            raise

    async def _with_credential(self, wiring: Wiring, job: Job, root: RepoRoot, trace: Trace) -> object:
        access = await self._access(wiring, root, trace)
        try:
            return await self._at_host(wiring, root.url, lambda: self._run(replace(job, access=access), trace))
        except errors.AccessDenied:
            renewed = await self._renewed(wiring, root, access)
            if renewed is None:
                raise
        trace.note("credential", "it was renewed and is tried once more")
        return await self._at_host(wiring, root.url, lambda: self._run(replace(job, access=renewed), trace))

    async def _access(self, wiring: Wiring, root: RepoRoot, trace: Trace) -> tuple[Access, ...]:
        access = await wiring.credentials.for_url(root.url, root.credential)
        if access is None:
            trace.note("credential", f"none is configured for {root.origin or root.url}")
        else:
            trace.note("credential", f"{access.name} goes to {access.url}")
        way = await wiring.credentials.for_way(root.url)
        return (*([access] if access is not None else []), *way)

    async def _renewed(self, wiring: Wiring, root: RepoRoot, access: tuple[Access, ...]) -> tuple[Access, ...] | None:
        """Another secret for the same credential, if the one refused was no longer the newest."""
        for each in access:
            wiring.credentials.denied(each)
        again = await self._access(wiring, root, Trace())
        changed = any(new.secret != old.secret for new, old in zip(again, access, strict=False))
        return again if changed else None

    async def _at_host(self, wiring: Wiring, url: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that asks the host of a URL, once more if the connection failed."""

        async def attempt() -> T:
            async with self._hosts.turn(authority_of(url), url, stranger=wiring.is_stranger(host_of(url))):
                return await work()

        return await _RETRIES.on(errors.HostUnreachable)(attempt)

    async def _run(self, job: Job, trace: Trace) -> Outcome:
        began = time.monotonic()
        try:
            answer = await self._workers.run(job)
        except errors.VCSProxyError as err:
            trace.join(tuple(err.steps), began)
            raise
        trace.join(answer.steps, began)
        return answer

    async def call(self, task: Call) -> Called:
        """One request of our own, to an API that the configuration names."""
        wiring = self.wiring
        task = replace(task, hosts=wiring.all_hosts, limits=self._workers.limits)
        answer = await self._at_host(wiring, task.url, lambda: self._workers.run(task))
        if not isinstance(answer, Called):
            raise errors.Corrupt("a worker answered another question")
        return answer
