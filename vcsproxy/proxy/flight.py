"""One piece of work per key, however many ask for it at once.

Work belongs to nobody: it goes on when the caller that started it leaves, because others may be waiting, and because
its result is published for the next one. Nothing is kept after it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """Coalesces equal work on one event loop."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of the work running for `key`, started now if there is none. Raises what the work raises."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.ensure_future(_await(work))
            self._running[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    @property
    def count(self) -> int:
        return len(self._running)

    async def close(self, seconds: float) -> None:
        """Give running work some time to end, then cancel it."""
        tasks = list(self._running.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)


async def _await(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
