"""Filling a store with the versions of a plan.

Each version is asked for as the go command would ask, so what is here already costs nothing, and a run that was cut off
goes on where it ended. What has another hash than the plan's go.sum is not published (`Service.expect`).
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Protocol

from vcsproxy import errors
from vcsproxy.mirror.parallel import each, patiently
from vcsproxy.mirror.plan import Item
from vcsproxy.mirror.verify import AT_ONCE, request_for
from vcsproxy.mod.dirhash import hash_gomod
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer


class Outcome(enum.StrEnum):
    """What became of one version."""

    NEW = "new"
    THERE = "there"  # it was there before
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Seeded:
    """One version and what became of it. size: bytes of its zip that are new."""

    item: Item
    outcome: Outcome
    size: int = 0
    reason: str = ""
    hint: str = ""


class Asked(Protocol):
    """Answers about modules; `proxy.service.Service` is the one."""

    async def answer(self, request: ProxyRequest) -> Answer: ...

    async def cached(self, request: ProxyRequest) -> Answer | None: ...


class Seeder:
    """Has `modules` make versions. hashes: as in `mirror.plan.Plan`; what was there before is held against them too."""

    def __init__(self, modules: Asked, hashes: dict[str, str], at_once: int = AT_ONCE) -> None:
        self._modules = modules
        self._hashes = hashes
        self._at_once = at_once

    async def seed(self, items: Iterable[Item]) -> AsyncGenerator[Seeded, None]:
        """Bring every version; what became of each, as it comes."""
        async for seeded in each(self._seed, items, self._at_once):
            yield seeded

    async def missing(self, items: Iterable[Item]) -> AsyncGenerator[Item, None]:
        """Those that are not there yet, or not whole; nothing is brought."""
        async for item, there in each(self._is_there, items, self._at_once):
            if not there:
                yield item

    async def _is_there(self, item: Item) -> tuple[Item, bool]:
        try:
            kinds = (Kind.ZIP, Kind.MOD) if item.zip else (Kind.MOD,)
            found = [await self._modules.cached(request_for(kind, item.path, item.version)) for kind in kinds]
        except errors.VCSProxyError:
            return item, False
        return item, None not in found

    async def _seed(self, item: Item) -> Seeded:
        try:
            return await self._brought(item)
        except errors.VCSProxyError as err:
            return Seeded(item, Outcome.FAILED, reason=err.message, hint=err.hint)

    async def _brought(self, item: Item) -> Seeded:
        """The zip first: everything else comes with it."""
        new, size = False, 0
        for kind in (Kind.ZIP, Kind.MOD) if item.zip else (Kind.INFO, Kind.MOD):
            request = request_for(kind, item.path, item.version)
            answer = await self._modules.cached(request)
            if answer is None:
                answer = await self._ask(request)
                new, size = True, size + (answer.stored.size if kind is Kind.ZIP else 0)
            self._check(item, kind, answer)
        return Seeded(item, Outcome.NEW if new else Outcome.THERE, size)

    async def _ask(self, request: ProxyRequest) -> Answer:
        return await patiently(lambda: self._modules.answer(request))

    def _check(self, item: Item, kind: Kind, answer: Answer) -> None:
        """Raises SumMismatch where what is stored is not what go.sum has."""
        if kind is Kind.INFO:
            return
        name = f"{item.path} {item.version}" + ("/go.mod" if kind is Kind.MOD else "")
        found = hash_gomod(answer.stored.data or b"") if kind is Kind.MOD else answer.stored.h1
        wanted = self._hashes.get(name, found)
        if wanted != found:
            raise errors.SumMismatch(f"{name}: the store has {found}, go.sum has {wanted}", "see: vcsproxy verify")
