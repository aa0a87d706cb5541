"""How each Git host is doing, and how much it is asked: one sick host must cost the others nothing.

Theory of operation: a host may have so many jobs at once and no more; all hosts that the configuration does not name
share half of the workers, because anybody can invent such names. A host that fails five times within a minute without a
success in between is not asked for half a minute; then one job tries, and its outcome decides for all. Silence counts
double, it holds a worker for long. Failures about one and the same thing count for no more than a share of that: one
sick repository must not close its host for all others. A host that asks for patience (429, Retry-After) gets it.

The same serves for repositories, as hosts of one job at a time where every failure counts in full.

It knows nothing of modules and sends nothing. Everything lives in memory: a restart asks every host again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import structlog

from vcsproxy import errors

log = structlog.get_logger()

WINDOW = 60.0  # seconds in which failures are counted
ENOUGH = 5  # points that close the way
PAUSE = 30.0  # seconds that a host is left alone
_MAX_WAITING = 64  # jobs that may wait for one host
_MAX_HOSTS = 10_000
_MAX_FAILURES = 100


@dataclass(slots=True)
class _Health:
    """One host; times are those of the monotonic clock."""

    slots: asyncio.Semaphore
    waiting: int = 0
    busy: int = 0
    failures: deque[tuple[float, int, str]] = field(default_factory=deque)  # when, points, about what
    closed_until: float = 0.0
    why: str = ""
    patience: bool = False  # the host has asked for it
    trying: bool = False  # one job finds out whether the host is back


class Hosts:
    """The state of every host; lives on one event loop."""

    def __init__(
        self,
        per_host: int,
        strangers: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        enough: int = ENOUGH,
        share: int = 2,
    ) -> None:
        self._per_host = per_host
        self._enough = enough
        self._share = share
        self._strangers = asyncio.Semaphore(max(1, strangers))
        self._clock = clock
        self._known: dict[str, _Health] = {}

    def refusal(self, name: str) -> errors.HostBusy | None:
        """Why a host is not asked now; None when it may be."""
        health = self._known.get(name)
        if health is None or not health.closed_until:
            return None
        left = health.closed_until - self._clock()
        if left <= 0 and not health.trying:
            return None
        left = max(left, 1.0)
        message = f"{name} is not asked for another {left:.0f} s: {health.why}"
        kind = errors.HostBusy if health.patience else errors.HostPaused
        return kind(message, "what is stored is served meanwhile; try again later", left)

    @contextlib.asynccontextmanager
    async def turn(self, name: str, about: str = "", *, stranger: bool = False) -> AsyncIterator[None]:
        """Wait until the host may be asked, and learn from how that ends. Raises HostBusy or Overloaded instead.

        about: what it is asked for. stranger: the configuration does not name this host.
        """
        health = self._health(name)
        self._refuse(name)
        async with contextlib.AsyncExitStack() as stack:
            await self._wait(name, health)
            stack.callback(self._leave, health)
            if stranger:
                await stack.enter_async_context(self._strangers)
            self._refuse(name)  # it may have become ill while we waited
            with self._learning(name, health, about):
                yield

    async def _wait(self, name: str, health: _Health) -> None:
        if health.waiting >= _MAX_WAITING:
            raise errors.Overloaded(f"too many modules of {name} are being asked for at once", "try again in a moment")
        health.waiting += 1
        try:
            await health.slots.acquire()
            health.busy += 1
        finally:
            health.waiting -= 1

    def _leave(self, health: _Health) -> None:
        health.busy -= 1
        health.slots.release()

    @contextlib.contextmanager
    def _learning(self, name: str, health: _Health, about: str) -> Iterator[None]:
        trial = health.closed_until > 0
        health.trying = health.trying or trial
        try:
            yield
        except errors.HostPaused:
            raise  # of something inside; nothing was learned
        except errors.HostBusy as err:
            self._close(name, health, max(err.retry_after, 1.0), "it asked for patience", patience=True)
            raise
        except (errors.HostUnreachable, errors.DeadlineExceeded) as err:
            self._failed(name, health, err, about, trial=trial)
            raise
        except (errors.NotFound, errors.Refused, errors.AccessDenied):
            self._recovered(name, health)  # it answered, if only to say no
            raise
        else:
            self._recovered(name, health)
        finally:
            if trial:
                health.trying = False

    def _failed(self, name: str, health: _Health, err: errors.VCSProxyError, about: str, *, trial: bool) -> None:
        now = self._clock()
        health.failures.append((now, 2 if isinstance(err, errors.HostSilent) else 1, about))
        while health.failures and (health.failures[0][0] < now - WINDOW or len(health.failures) > _MAX_FAILURES):
            health.failures.popleft()
        points: dict[str, int] = {}
        for _, count, each in health.failures:
            points[each] = min(points.get(each, 0) + count, self._share)
        if trial or sum(points.values()) >= self._enough:
            self._close(name, health, PAUSE, f"it failed again and again ({err.message})")

    def _close(self, name: str, health: _Health, seconds: float, why: str, *, patience: bool = False) -> None:
        health.closed_until, health.why, health.patience = self._clock() + seconds, why[:200], patience
        log.warning("host_paused", host=name, seconds=round(seconds), reason=why)

    def _recovered(self, name: str, health: _Health) -> None:
        if health.closed_until:
            log.info("host_recovered", host=name)
        health.failures.clear()
        health.closed_until, health.why = 0.0, ""

    def _refuse(self, name: str) -> None:
        refusal = self.refusal(name)
        if refusal is not None:
            raise refusal

    def _health(self, name: str) -> _Health:
        if name not in self._known and len(self._known) >= _MAX_HOSTS:
            idle = [n for n, h in self._known.items() if not h.waiting and not h.busy]
            for each in idle[: _MAX_HOSTS // 2]:
                del self._known[each]
        return self._known.setdefault(name, _Health(asyncio.Semaphore(self._per_host)))
