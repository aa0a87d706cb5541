"""The service alone: what is a hit, what is remembered, whose bytes win. Jobs are answered by a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vcsproxy import errors
from vcsproxy.build.job import Built, Job, Limits, Listed, Op
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.mod.reporoot import Discover, RepoRoot
from vcsproxy.proxy.flight import Flight
from vcsproxy.proxy.service import Service
from vcsproxy.store.memory import MemoryStore

PATH = "meta.test/x"
ONE, TWO = "1" * 40, "2" * 40


def info(version: str, commit: str) -> bytes:
    return json.dumps(
        {"Version": version, "Time": "2024-03-01T00:00:00Z", "Origin": {"VCS": "git", "Hash": commit}}
    ).encode()


def built(version: str = "v1.0.0", commit: str = ONE, root: RepoRoot | None = None) -> Built:
    data = info(version, commit)
    return Built(version, data, data, b"module meta.test/x\n", root=root)


class Script:
    """Runs jobs by a function and notes them."""

    def __init__(self, answer: Callable[[Job], Built | Listed]) -> None:
        self.answer, self.jobs, self.limits = answer, list[Job](), Limits()

    async def run(self, job: Job) -> Built | Listed:
        self.jobs.append(job)
        await asyncio.sleep(0)
        return self.answer(job)


def service(script: Script, **more: float) -> Service:
    return Service(store=MemoryStore(), workers=script, mirrors=Path("/nonexistent"), **more)  # type: ignore[arg-type]


def request(kind: Kind, version: str = "") -> ProxyRequest:
    return ProxyRequest(kind, PATH, version)


async def test_a_hit_runs_no_job() -> None:
    script = Script(lambda _: built())
    modules = service(script)
    first = await modules.answer(request(Kind.INFO, "v1.0.0"))
    again = await modules.answer(request(Kind.INFO, "v1.0.0"))
    assert (first.hit, again.hit, again.immutable, len(script.jobs)) == (False, True, True, 1)
    assert (await modules.answer(request(Kind.MOD, "v1.0.0"))).stored.data == b"module meta.test/x\n"
    assert len(script.jobs) == 1


async def test_many_who_ask_at_once_are_one_job_and_one_who_leaves_ends_nothing() -> None:
    script = Script(lambda _: built())
    modules = service(script)
    waiters = [asyncio.create_task(modules.answer(request(Kind.INFO, "v1.0.0"))) for _ in range(50)]
    while not script.jobs:
        await asyncio.sleep(0)
    waiters[0].cancel()
    answers = await asyncio.gather(*waiters[1:])
    assert len(script.jobs) == 1
    assert len({answer.stored.data for answer in answers}) == 1


async def test_what_was_published_first_is_served_whatever_comes_later() -> None:
    commits = [ONE, TWO, TWO]
    script = Script(lambda job: built(commit=commits[len(script.jobs) - 1]))
    modules = service(script)
    await modules.answer(request(Kind.INFO, "v1.0.0"))
    branch = await modules.answer(request(Kind.INFO, "main"))
    assert json.loads(branch.stored.data or b"")["Origin"]["Hash"] == ONE
    assert not branch.immutable


async def test_the_zip_is_asked_for_by_the_commit_of_its_info(tmp_path: Path) -> None:
    script = Script(lambda job: built())
    modules = service(script)
    await modules.answer(request(Kind.INFO, "v1.0.0"))
    with pytest.raises(errors.Corrupt):  # the script makes no zip
        await modules.answer(request(Kind.ZIP, "v1.0.0"))
    assert (script.jobs[-1].op, script.jobs[-1].pinned) == (Op.ZIP, ONE)


async def test_absence_is_remembered_briefly_and_trouble_never() -> None:
    def answer(job: Job) -> Built:
        raise {"v1.0.0": errors.NotFound, "v2.0.0": errors.UpstreamFailed, "v3.0.0": errors.Refused}[job.query]("no")

    script = Script(answer)
    modules = service(script, negative_ttl=60.0)
    for version, error, jobs in (
        ("v1.0.0", errors.NotFound, 1),
        ("v2.0.0", errors.UpstreamFailed, 3),
        ("v3.0.0", errors.Refused, 4),
    ):
        for _ in range(2):
            with pytest.raises(error):
                await modules.answer(request(Kind.INFO, version))
        assert len(script.jobs) == jobs, version


@pytest.mark.parametrize(
    ("url", "believed"), [("https://git.test/x", True), ("file:///etc", False), ("ssh://git.test/x", False)]
)
async def test_a_worker_can_name_a_host_and_nothing_else(url: str, believed: bool) -> None:
    """The worker has read hostile bytes; what it says of the repository must not open files or run ssh."""
    script = Script(lambda _: built(root=RepoRoot(PATH, url)))
    modules = service(script)
    await modules.answer(request(Kind.INFO, "main"))
    await modules.answer(request(Kind.INFO, "dev"))
    assert script.jobs[0].target == Discover(PATH)
    assert script.jobs[1].target == (RepoRoot(PATH, url) if believed else Discover(PATH))


@pytest.mark.parametrize("version", ["upgrade", "patch", "none"])
async def test_queries_of_the_client_are_not_revisions(version: str) -> None:
    script = Script(lambda _: built())
    with pytest.raises(errors.NotFound, match="resolves by itself"):
        await service(script).answer(request(Kind.INFO, version))
    assert script.jobs == []


@pytest.mark.parametrize("kind", [Kind.MOD, Kind.ZIP])
async def test_only_versions_have_files(kind: Kind) -> None:
    with pytest.raises(errors.NotFound, match="not canonical"):
        await service(Script(lambda _: built())).answer(request(kind, "main"))


async def test_the_go_mod_of_a_version_that_resolves_to_another_is_refused() -> None:
    script = Script(lambda _: built("v2.0.0+incompatible"))
    with pytest.raises(errors.NotFound, match=r"resolves to version v2\.0\.0\+incompatible"):
        await service(script).answer(request(Kind.MOD, "v2.0.0"))


async def test_one_repository_holds_one_worker() -> None:
    """However many versions of it are asked for: if its host hangs, the other workers stay free."""
    running, most = 0, 0

    class Slow(Script):
        async def run(self, job: Job) -> Built | Listed:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return built(job.query)

    modules = service(Slow(lambda _: built()))
    await asyncio.gather(*(modules.answer(request(Kind.INFO, f"v1.0.{n}")) for n in range(5)))
    assert most == 1


async def test_a_list_is_one_version_a_line() -> None:
    script = Script(lambda _: Listed(("v1.0.0", "v1.1.0")))
    answer = await service(script).answer(request(Kind.LIST))
    assert (answer.stored.data, answer.immutable) == (b"v1.0.0\nv1.1.0\n", False)


async def test_closing_a_flight_waits_and_then_cancels() -> None:
    flight: Flight[int] = Flight()
    stuck = asyncio.Event()
    waiter = asyncio.create_task(flight.once("k", lambda: asyncio.wait_for(stuck.wait(), 60)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert flight.count == 1
    await flight.close(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert flight.count == 0
