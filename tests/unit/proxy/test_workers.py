"""The pool with real workers: limits, deaths, deadlines, and no room."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.githost import GitHost, Handler
from tests.support.history import Step, build
from tests.support.processes import is_alive
from vcsproxy import errors
from vcsproxy.build.job import Access, Built, Host, Job, Limits, Listed, Op
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.proxy.workers import Workers
from vcsproxy.secret import Secret

PATH = "github.com/t/x"


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    pool = Workers(Limits(wall=1.5, idle=30, memory=512 << 20), count=1, queue=1, temporary=temporary)
    await pool.start()
    yield pool
    await pool.close()


def job(pool: Workers, url: str, tmp_path: Path, op: Op = Op.LIST) -> Job:
    return Job(op, PATH, "", RepoRoot(PATH, url), str(tmp_path / "m"), hosts=(Host("127.0.0.1"),), limits=pool.limits)


async def versions(workers: Workers, asked: Job) -> tuple[str, ...]:
    found = await workers.run(asked)
    assert isinstance(found, Listed)
    return found.versions


async def test_answers_come_back(workers: Workers, tmp_path: Path) -> None:
    repo = build(tmp_path / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    assert await versions(workers, job(workers, repo.url, tmp_path)) == ("v1.0.0",)
    latest = await workers.run(job(workers, repo.url, tmp_path, Op.LATEST))
    assert isinstance(latest, Built)
    assert latest.version == "v1.0.0"


async def test_errors_come_back_as_what_they_are(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="not found"):
        await workers.run(job(workers, f"file://{tmp_path}/none", tmp_path))


def _silence(handler: Handler) -> bool:
    handler.rfile.read(1)
    return True


async def test_a_job_ends_at_its_deadline_and_the_next_one_runs(workers: Workers, tmp_path: Path) -> None:
    """I8: the kernel's clock ends a worker that hangs."""
    with (
        GitHost(tmp_path, script=_silence).running() as host,
        pytest.raises(errors.DeadlineExceeded, match=r"longer than 1\.5 s"),
    ):
        await workers.run(job(workers, host.url + "/x", tmp_path))
    left = [path.name.removeprefix("worker-") for path in (tmp_path / "temporary").glob("worker-*")]
    assert all(is_alive(int(pid)) for pid in left), "what a dead worker had is gone"
    with pytest.raises(errors.NotFound):
        await workers.run(job(workers, f"file://{tmp_path}/none", tmp_path))


async def test_beyond_the_queue_there_is_no_room(workers: Workers, tmp_path: Path) -> None:
    with GitHost(tmp_path, script=_silence).running() as host:
        asked = [asyncio.create_task(workers.run(job(workers, host.url + "/x", tmp_path))) for _ in range(4)]
        done = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(result).__name__ for result in done) == ["DeadlineExceeded"] * 2 + ["Overloaded"] * 2


async def test_a_fork_server_that_was_killed_is_replaced(workers: Workers, tmp_path: Path) -> None:
    repo = build(tmp_path / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    assert workers._server is not None
    os.kill(workers._server._process.pid, signal.SIGKILL)
    for _ in range(100):
        if not workers._server.alive:
            break
        await asyncio.sleep(0.02)
    assert await versions(workers, job(workers, repo.url, tmp_path)) == ("v1.0.0",)


async def test_leaving_kills_the_worker(workers: Workers, tmp_path: Path) -> None:
    with GitHost(tmp_path, script=_silence).running() as host:
        task = asyncio.create_task(workers.run(job(workers, host.url + "/x", tmp_path)))
        while not host.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert workers._server is not None
    for _ in range(100):
        if len(workers._server._ended) < 2 and workers._spare is not None:
            break
        await asyncio.sleep(0.02)
    assert workers._spare is not None
    assert set(workers._server._ended) == {workers._spare.number}


async def test_a_worker_does_a_second_job_of_the_same_repository(workers: Workers, tmp_path: Path) -> None:
    repo = build(tmp_path / "r" / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    with GitHost(tmp_path / "r").running() as host:
        asked = job(workers, host.url + "/x", tmp_path)
        assert await versions(workers, asked) == ("v1.0.0",)
        (worker,) = workers._resting
        connections = host.count("GET ")
        repo.tag("v1.1.0", repo.git("rev-parse", "main"))
        assert await versions(workers, replace(asked, refs_ttl=0.0)) == ("v1.0.0", "v1.1.0")
        assert list(workers._resting) == [worker]
        assert host.count("GET ") == connections, "the conversation went on"
        assert worker.key is not None


@pytest.mark.parametrize("other", [
    {"access": (Access("a", "https://git.test/", "basic", "u", Secret("p")),)}, {"hosts": (Host("127.0.0.1", insecure=True),)},
    {"limits": Limits(wall=1.6)}, {"mirrors": "/nonexistent/m"}, {"op": Op.EXPLAIN},
])  # fmt: skip
async def test_no_worker_has_to_do_with_two(workers: Workers, tmp_path: Path, other: dict[str, Any]) -> None:
    """Another credential, other rules, another repository: another process."""
    repo = build(tmp_path / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    await versions(workers, asked := job(workers, repo.url, tmp_path))
    (worker,) = workers._resting
    await workers.run(replace(asked, **{"workspace": str(tmp_path), **other}))
    assert worker in workers._resting
    elsewhere = build(tmp_path / "y", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    await versions(workers, job(workers, elsewhere.url, tmp_path))
    assert worker in workers._resting


async def test_a_worker_that_has_failed_is_not_used_again(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound):
        await workers.run(job(workers, f"file://{tmp_path}/none", tmp_path))
    assert not workers._resting


async def test_resting_workers_that_are_gone_are_not_missed(workers: Workers, tmp_path: Path) -> None:
    """Killed or dismissed: another one does it."""
    repo = build(tmp_path / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    asked = job(workers, repo.url, tmp_path)
    for end in (lambda worker: worker.server.kill(worker.number), workers._dismiss, lambda _: None):
        assert await versions(workers, asked) == ("v1.0.0",)
        (worker,) = workers._resting
        end(worker)


async def test_a_worker_that_has_used_much_cpu_time_retires(workers: Workers, tmp_path: Path) -> None:
    """No job has less than most of the CPU time that it may take; and none is lost to that."""
    repo = build(tmp_path / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"])])
    asked = job(workers, repo.url, tmp_path)
    asked = replace(asked, limits=replace(asked.limits, cpu=1))
    used = set()
    for _ in range(400):
        assert await versions(workers, asked) == ("v1.0.0",)
        used |= {worker.number for worker in workers._resting}
        if len(used) > 1:
            return
    raise AssertionError("one worker did it all")
