"""Doing many things a few at a time, patiently, for those who check and seed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

import stamina

from vcsproxy import errors

T = TypeVar("T")
R = TypeVar("R")

_ATTEMPTS = 4
_LONGEST = 60.0  # seconds to wait for a host that asks for patience
_PAUSE = 1.0


async def each(work: Callable[[T], Awaitable[R]], items: Iterable[T], at_once: int) -> AsyncGenerator[R, None]:
    """What becomes of each item, as it comes; items are taken when there is room for them.

    The first exception ends everything; so does closing the iterator.
    """
    running: set[asyncio.Future[R]] = set()
    left = iter(items)
    try:
        while True:
            while len(running) < at_once:
                try:
                    item = next(left)
                except StopIteration:
                    break
                running.add(asyncio.ensure_future(work(item)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                yield one.result()
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _pause(err: Exception) -> bool | float:
    """Seconds to wait before another try, False for no other; a paused host is waited for as long as it asks."""
    if not isinstance(err, errors.HostBusy | errors.Overloaded):
        return False
    return min(err.retry_after or _PAUSE, _LONGEST)


async def patiently(work: Callable[[], Awaitable[R]]) -> R:
    """Do it, again after a while if the host asks for patience or we are overloaded. Raises what the last try does."""
    async for attempt in stamina.retry_context(on=_pause, attempts=_ATTEMPTS, timeout=None, wait_max=_LONGEST):
        with attempt:
            return await work()
    raise AssertionError("unreachable")
