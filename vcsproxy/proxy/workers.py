"""The pool of workers: where async ends. A Job goes to the fork server, a Result or an error comes back.

Theory of operation: at most `count` jobs run and at most `queue` wait, first come first served; beyond that callers are
told to come back. Every worker has a socket pair of its own; its end closes with the worker, so its death is noticed at
once, whatever killed it. The deadline is enforced twice: by the kernel in the worker, and here.

A worker is used again only for the same repository with the same credentials, only after answers that are no failures,
and only for a few seconds: what a repository may have done to it can hurt nobody else. One more worker is always kept
ready, because starting one takes longer than most jobs.

If we crash here: the fork server and all workers die with this process; what they had written lies in workspaces that
the next start sweeps.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from vcsproxy import errors
from vcsproxy.build.entry import EXITED, LENGTH, MAX_FRAME, MESSAGE
from vcsproxy.build.job import (
    RESULT,
    TASK,
    Access,
    Failed,
    Host,
    Job,
    Limits,
    Op,
    Outcome,
    Result,
    Task,
)  # fmt: skip
from vcsproxy.mod.reporoot import RepoRoot

log = structlog.get_logger()

_GRACE = 5.0  # seconds after a worker's own deadline before it is killed from here
_REST = 3.0  # seconds that a worker is kept for another job of its repository
_MOST_RESTING = 8
_NO_FAULT = (0, signal.SIGKILL)  # wait statuses that do not tell that the job was to blame
_BREATH = 0.1  # seconds between a job's start and that of the next spare worker, which are not to compete


@dataclass(eq=False, slots=True)
class _Worker:
    """A worker that takes jobs; `ended` gets its wait status. `key`: of whose jobs it has had one, None before any."""

    server: _ForkServer
    number: int
    channel: socket.socket
    ended: asyncio.Future[int]
    key: _Key | None = None

    @property
    def alive(self) -> bool:
        return not self.ended.done() and self.server.alive

    def end(self) -> None:
        self.channel.close()
        self.server.kill(self.number)


class Workers:
    """Runs jobs in killable processes. Use within one event loop; `start` first, `close` last.

    temporary: an existing directory for the temporary files of workers.
    """

    def __init__(self, limits: Limits, count: int, queue: int, temporary: Path) -> None:
        self.limits = limits
        self._temporary = temporary
        self._slots = asyncio.Semaphore(count)
        self._room = count + queue
        self._inside = 0
        self._number = 0
        self._server: _ForkServer | None = None
        self._spare: _Worker | None = None
        self._resting: dict[_Worker, asyncio.TimerHandle] = {}  # the oldest first

    async def start(self) -> None:
        """Start the fork server now, so that no request waits for it. Raises Unavailable if it cannot."""
        await self._fork_server().ready()
        self._have_spare()

    def _fork_server(self) -> _ForkServer:
        if self._server is None or not self._server.alive:
            if self._server is not None:
                self._server.abandon()
            self._server = _ForkServer(asyncio.get_running_loop(), self._temporary)
        return self._server

    async def run(self, job: Task) -> Outcome:
        """The job's result. Raises what the worker reported, Overloaded, DeadlineExceeded, Unavailable when it died."""
        if self._inside >= self._room:
            raise errors.Overloaded("too many modules are being built at once", "try again in a moment")
        self._inside += 1
        try:
            async with self._slots:
                result = await self._run(job)
        finally:
            self._inside -= 1
        if isinstance(result, Failed):
            raise result.exception()
        return result

    async def _run(self, job: Task) -> Result:
        key = _key(job)
        worker = self._rested(key)
        if worker is not None:
            result = await self._ask(worker, job, key)
            if result is not None:
                return result
        result = await self._ask(self._fresh(), job, key)
        return result if result is not None else Failed.of(_died(job, 0))

    async def _ask(self, worker: _Worker, job: Task, key: _Key | None) -> Result | None:
        """The worker's answer; None if it had retired, or was killed, perhaps before it took the job."""
        keep = False
        try:
            async with asyncio.timeout(job.limits.wall + _GRACE):
                data = await _exchange(worker.channel, TASK.dump_json(job))
                status = await worker.server.status(worker.ended) if data is None else None
            if data is None:
                return None if worker.key is not None and status in _NO_FAULT else Failed.of(_died(job, status))
            result = RESULT.validate_json(data)
            keep = key is not None and not isinstance(result, Failed)
            return result
        except TimeoutError:
            raise _too_slow(job) from None
        except ValidationError as err:
            raise errors.Corrupt("a worker's answer could not be read") from err
        finally:
            if keep:
                self._rest(worker, key)
            else:
                worker.end()

    # ---- workers that wait

    def _start(self) -> _Worker:
        self._number += 1
        server = self._fork_server()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                return _Worker(server, self._number, ours, server.start(self._number, theirs))
        except BaseException:
            ours.close()
            raise

    def _fresh(self) -> _Worker:
        """A worker without a past: the one that waits for this, or a new one."""
        spare, self._spare = self._spare, None
        if spare is not None and not spare.alive:
            spare.end()
            spare = None
        worker = spare if spare is not None else self._start()
        asyncio.get_running_loop().call_later(_BREATH, self._have_spare)
        return worker

    def _have_spare(self) -> None:
        """Let a worker get ready for a job that is still to come; without one the next job waits a little longer."""
        if self._spare is None and self._server is not None and self._server.alive:
            with contextlib.suppress(errors.VCSProxyError):
                self._spare = self._start()

    def _rest(self, worker: _Worker, key: _Key | None) -> None:
        """Keep a worker for the next question about its repository, which often follows at once."""
        worker.key = key
        timer = asyncio.get_running_loop().call_later(_REST, self._dismiss, worker)
        self._resting[worker] = timer
        while len(self._resting) > _MOST_RESTING:
            self._dismiss(next(iter(self._resting)))

    def _rested(self, key: _Key | None) -> _Worker | None:
        """One that has had to do with the same repository only, and in the same way."""
        if key is None:
            return None
        for worker, timer in list(self._resting.items()):
            if worker.key == key:
                timer.cancel()
                del self._resting[worker]
                if worker.alive:
                    return worker
                worker.end()
        return None

    def _dismiss(self, worker: _Worker) -> None:
        timer = self._resting.pop(worker, None)
        if timer is not None:
            timer.cancel()
            worker.end()

    async def close(self) -> None:
        """End the fork server and every worker."""
        for worker in list(self._resting):
            self._dismiss(worker)
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.end()
        if self._server is not None:
            server, self._server = self._server, None
            await server.close()


_Key = tuple[str, str, str, tuple[Host, ...], tuple[Access, ...], Limits]


def _key(task: Task) -> _Key | None:
    """What two jobs must have in common for one worker to do both; None for one that has a worker of its own."""
    if not isinstance(task, Job) or not isinstance(task.target, RepoRoot) or task.op is Op.EXPLAIN:
        return None
    return task.target.url, task.target.engine, task.mirrors, task.hosts, task.access, task.limits


def subject(task: Task) -> str:
    """What a task does, for the beginning of a sentence."""
    return f"building {task.path}" if isinstance(task, Job) else f"asking {task.url}"


def _too_slow(job: Task) -> errors.DeadlineExceeded:
    return errors.DeadlineExceeded(
        f"{subject(job)} took longer than {job.limits.wall:g} s",
        "try again; the server's operator can raise limits.wall",
    )


def _died(job: Task, status: int | None) -> errors.VCSProxyError:
    """What a wait status tells about a worker that left no answer."""
    number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
    if number == signal.SIGALRM:
        return _too_slow(job)
    if number == signal.SIGXCPU:
        return errors.Refused(f"{subject(job)} needs more than {job.limits.cpu} s of CPU")
    if number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS):
        return errors.Refused(f"{subject(job)} crashed the worker", "the repository may be damaged or too large")
    how = f"died of {signal.Signals(number).name}" if number else "ended without an answer"
    return errors.Unavailable(f"the worker {subject(job)} {how}", "the server's log may say more")


async def _exchange(channel: socket.socket, job: bytes) -> bytes | None:
    """Send the job and read the answer; None when the worker's end closed first."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(channel, LENGTH.pack(len(job)) + job)
        head = await _read(loop, channel, LENGTH.size)
        if head is None:
            return None
        (size,) = LENGTH.unpack(head)
        if size > MAX_FRAME:
            raise errors.Corrupt("a worker's answer is too long")
        return await _read(loop, channel, size)
    except (ConnectionResetError, BrokenPipeError):
        return None


async def _read(loop: asyncio.AbstractEventLoop, channel: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = await loop.sock_recv(channel, min(1 << 18, size - len(data)))
        if not piece:
            return None
        data += piece
    return bytes(data)


class _ForkServer:
    """This side of the fork server's control socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, temporary: Path) -> None:
        self._loop = loop
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "vcsproxy.build.entry", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=_closed_environment() | {"TMPDIR": str(temporary)},
            )
        self._control.setblocking(False)
        self._buffer = b""
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._loaded = asyncio.Event()
        loop.add_reader(self._control, self._receive)
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        loop.add_reader(self._stderr, self._hear)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None and self._control.fileno() >= 0

    async def ready(self) -> None:
        """Wait until the fork server has loaded all it needs."""
        try:
            async with asyncio.timeout(30):
                await self._loaded.wait()
        except TimeoutError:
            pass
        if not self._loaded.is_set() or self._control.fileno() < 0:
            raise errors.Unavailable("the fork server does not start", "see what it says in the log")

    def start(self, number: int, channel: socket.socket) -> asyncio.Future[int]:
        """Fork a worker that owns `channel`; the future gets its wait status."""
        fds = array.array("i", [channel.fileno()])
        try:
            self._control.sendmsg([MESSAGE.pack(b"J", number)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except BlockingIOError as err:
            raise errors.Overloaded("too many workers are being started at once", "try again in a moment") from err
        except OSError as err:
            self._gone()
            raise errors.Unavailable("the fork server is gone", "try again") from err
        ended = self._loop.create_future()
        self._ended[number] = ended
        return ended

    def kill(self, number: int) -> None:
        """Make sure that a worker is gone; nothing happens to one that has ended."""
        if number in self._ended:
            with contextlib.suppress(OSError):
                self._control.sendmsg([MESSAGE.pack(b"K", number)])

    async def status(self, ended: asyncio.Future[int]) -> int | None:
        """The wait status of a worker whose channel closed; None when even the fork server cannot tell."""
        try:
            async with asyncio.timeout(2):
                return await asyncio.shield(ended)
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if ended.cancelled():  # the fork server is gone; else somebody has cancelled us
                return None
            raise

    def _receive(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        self._buffer += data
        while len(self._buffer) >= EXITED.size:
            letter, number, status = EXITED.unpack(self._buffer[: EXITED.size])
            self._buffer = self._buffer[EXITED.size :]
            if letter == b"R":
                self._loaded.set()
                continue
            ended = self._ended.pop(number, None)
            if ended is not None and not ended.done():
                ended.set_result(status)

    def _hear(self) -> None:
        """What workers print in their distress, as log events."""
        try:
            text = os.read(self._stderr.fileno(), 65536)
        except BlockingIOError:
            return
        if not text:
            self._close_stderr()
        else:
            log.warning("worker_says", text=text.decode("utf-8", "replace")[-4000:])

    def _gone(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control)
            self._control.close()
        for ended in self._ended.values():
            ended.cancel()
        self._ended.clear()
        self._loaded.set()  # whoever waits for it has waited enough

    def abandon(self) -> None:
        """Give back what a dead fork server leaves here."""
        self._gone()
        self._close_stderr()

    async def close(self) -> None:
        self._gone()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, 5)
        self._process.kill()
        self._process.wait()
        self._close_stderr()

    def _close_stderr(self) -> None:
        if not self._stderr.closed:
            self._loop.remove_reader(self._stderr)
            self._stderr.close()


def _closed_environment() -> dict[str, str]:
    """What a worker may see of our environment: where programs and this package are, nothing that may be secret."""
    kept = (
        "PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "LD_LIBRARY_PATH",
    )
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {**env, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent", "PYTHONSAFEPATH": "1"}
