"""One sick host costs the others nothing: how many ask it at once, when it is left alone, and when it is tried again."""

from __future__ import annotations

import asyncio

import pytest

from vcsproxy import errors
from vcsproxy.proxy.hosts import ENOUGH, PAUSE, WINDOW, Hosts

GIT = "git.test"


class Clock:
    """Time that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def visit(hosts: Hosts, error: Exception | None = None, name: str = GIT, about: str = "") -> None:
    async with hosts.turn(name, about):
        if error is not None:
            raise error


async def fail(hosts: Hosts, times: int, error: type[errors.VCSProxyError] = errors.HostUnreachable) -> None:
    for number in range(times):
        with pytest.raises(error):
            await visit(hosts, error("down"), about=f"repository {number}")


async def test_a_host_that_fails_again_and_again_is_left_alone_and_the_others_are_not() -> None:
    clock = Clock()
    hosts = Hosts(4, 4, clock)
    await fail(hosts, ENOUGH)
    with pytest.raises(errors.HostPaused, match=r"git\.test is not asked for another 30 s: .*down") as caught:
        await visit(hosts)
    assert caught.value.retry_after == PAUSE
    await visit(hosts, name="other.test")


async def test_one_sick_repository_does_not_close_its_host() -> None:
    hosts, repositories = Hosts(4, 4, Clock()), Hosts(1, 1, Clock(), share=ENOUGH)
    for each in (hosts, repositories):
        for _ in range(ENOUGH):
            with pytest.raises(errors.HostUnreachable):
                await visit(each, errors.HostUnreachable("500"), about="the same")
    assert hosts.refusal(GIT) is None
    assert repositories.refusal(GIT) is not None


async def test_silence_counts_double() -> None:
    hosts = Hosts(4, 4, Clock())
    await fail(hosts, (ENOUGH + 1) // 2, errors.HostSilent)
    assert hosts.refusal(GIT) is not None


async def test_a_success_between_failures_forgives_them() -> None:
    hosts = Hosts(4, 4, Clock())
    for _ in range(3):
        await fail(hosts, ENOUGH - 1)
        await visit(hosts)
    assert hosts.refusal(GIT) is None


@pytest.mark.parametrize("answer", [errors.NotFound("no"), errors.AccessDenied("no"), errors.Refused("no")])
async def test_a_host_that_says_no_is_well(answer: errors.VCSProxyError) -> None:
    hosts = Hosts(4, 4, Clock())
    await fail(hosts, ENOUGH - 1)
    with pytest.raises(type(answer)):
        await visit(hosts, answer)
    await fail(hosts, ENOUGH - 1)
    assert hosts.refusal(GIT) is None


async def test_failures_long_ago_do_not_count() -> None:
    clock = Clock()
    hosts = Hosts(4, 4, clock)
    await fail(hosts, ENOUGH - 1)
    clock.now += WINDOW + 1
    await fail(hosts, 1)
    assert hosts.refusal(GIT) is None


async def test_after_the_pause_one_job_tries_and_its_outcome_decides() -> None:
    clock = Clock()
    hosts = Hosts(4, 4, clock)
    await fail(hosts, ENOUGH)
    clock.now += PAUSE + 1
    inside, leave = asyncio.Event(), asyncio.Event()

    async def trial() -> None:
        async with hosts.turn(GIT):
            inside.set()
            await leave.wait()

    task = asyncio.create_task(trial())
    await inside.wait()
    with pytest.raises(errors.HostBusy):
        await visit(hosts)
    leave.set()
    await task
    await visit(hosts)

    await fail(hosts, ENOUGH)
    clock.now += PAUSE + 1
    await fail(hosts, 1)
    assert hosts.refusal(GIT) is not None, "a failed trial closes the way again"


async def test_a_host_that_asks_for_patience_gets_it() -> None:
    clock = Clock()
    hosts = Hosts(4, 4, clock)
    with pytest.raises(errors.HostBusy):
        await visit(hosts, errors.HostBusy("429", retry_after=120))
    clock.now += 119
    assert hosts.refusal(GIT) is not None
    clock.now += 2
    await visit(hosts)


async def most_at_once(hosts: Hosts, names: list[str], *, stranger: bool = False) -> int:
    running = most = 0

    async def one(name: str) -> None:
        nonlocal running, most
        async with hosts.turn(name, stranger=stranger):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1

    await asyncio.gather(*(one(name) for name in names))
    return most


async def test_a_host_has_so_many_visitors_and_no_more() -> None:
    assert await most_at_once(Hosts(3, 8), [GIT] * 12) == 3
    assert await most_at_once(Hosts(3, 8), [GIT] * 6 + ["other.test"] * 6) == 6


async def test_strangers_share_what_is_left_to_them() -> None:
    assert await most_at_once(Hosts(3, 2), [f"h{n}.test" for n in range(12)], stranger=True) == 2


async def test_only_so_many_wait_for_one_host() -> None:
    hosts = Hosts(1, 1)
    leave = asyncio.Event()

    async def stay() -> None:
        async with hosts.turn(GIT):
            await leave.wait()

    tasks = [asyncio.create_task(stay()) for _ in range(65)]
    await asyncio.sleep(0.01)
    with pytest.raises(errors.Overloaded):
        await visit(hosts)
    leave.set()
    await asyncio.gather(*tasks)
    await visit(hosts)


async def test_one_who_gives_up_waiting_leaves_nothing_behind() -> None:
    hosts = Hosts(1, 1)
    async with hosts.turn(GIT):
        waiter = asyncio.create_task(visit(hosts))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    await asyncio.wait_for(visit(hosts), 1)


async def test_those_who_waited_while_it_fell_ill_are_told_at_once() -> None:
    hosts = Hosts(1, 1)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def ill() -> None:
        async with hosts.turn(GIT):
            entered.set()
            await leave.wait()
            raise errors.HostBusy("patience", retry_after=60)

    task = asyncio.create_task(ill())
    await entered.wait()
    waiter = asyncio.create_task(visit(hosts))
    await asyncio.sleep(0)
    leave.set()
    with pytest.raises(errors.HostBusy):
        await asyncio.wait_for(waiter, 1)
    with pytest.raises(errors.HostBusy):
        await task
