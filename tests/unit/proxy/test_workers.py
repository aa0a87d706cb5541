"""The pool with real workers: limits, deaths, deadlines, and no room."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.githost import GitHost, Handler
from tests.support.history import Step, build
from vcsproxy import errors
from vcsproxy.build.job import Built, Host, Job, Limits, Listed, Op
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.proxy.workers import Workers

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
    assert not list((tmp_path / "temporary").iterdir())
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
        if not workers._server._ended:
            break
        await asyncio.sleep(0.02)
    assert workers._server._ended == {}
