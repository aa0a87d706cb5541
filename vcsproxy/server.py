"""The only composition root: settings in, opened parts out, and the life of the serving process.

Everything is opened in the order in which it is needed and closed in the reverse one. Nothing here decides anything
about modules or HTTP.

Theory of operation: a server and any number of `vcsproxy mod` may use the same data directory at the same time; store
and mirrors see to that. Only a server sweeps, once, while it begins to serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import structlog

from vcsproxy import errors, logs
from vcsproxy.config import Settings
from vcsproxy.live import Live, ReadSettings, job_limits
from vcsproxy.process import keep_secrets
from vcsproxy.proxy import tagjournal
from vcsproxy.proxy.dispatch import Dispatch
from vcsproxy.proxy.hosts import Hosts
from vcsproxy.proxy.service import Service
from vcsproxy.proxy.tagwatch import TagWatch
from vcsproxy.proxy.wiring import Wiring
from vcsproxy.proxy.workers import Workers
from vcsproxy.store.disk import DiskStore
from vcsproxy.web.app import App
from vcsproxy.web.serving import WebServer
from vcsproxy.web.verification import Verifications

log = structlog.get_logger()

T = TypeVar("T")

OUT_TMP = ".vcsproxy"  # of a store that is made elsewhere: unfinished files must be on its file system
_LAST_WORDS = 2.0  # seconds for builds to end after the last request has


# --- parts ---


@contextlib.contextmanager
def _our_errors(data: Path) -> Iterator[None]:
    """Turn what goes wrong with the data directory into one sentence."""
    try:
        yield
    except OSError as err:
        where = err.filename or data
        hint = "choose another directory with server.data or --data"
        raise errors.VCSProxyError(f"{where}: {err.strerror}", hint) from err


def _make_directories(data: Path) -> None:
    for directory in (data, data / "store", data / "mirrors", data / "tmp"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", str(directory))


@contextlib.asynccontextmanager
async def open_parts(
    settings: Settings, *, sweep: bool = False, out: Path | None = None
) -> AsyncIterator[tuple[Service, Live]]:
    """The service with all it stands on, and its exchangeable configuration; builds that still run then are ended.

    sweep: first remove what dead processes left. out: where the store is, if not in the data directory. Raises
    VCSProxyError if the data directory cannot be used, ConfigError if a secret cannot be had.
    """
    data = settings.server.data
    with _our_errors(data):
        _make_directories(data)
        store = DiskStore(out or data / "store", out / OUT_TMP if out else data / "tmp")
    async with contextlib.AsyncExitStack() as stack:
        if out is not None:
            stack.callback(_remove_empty, out / OUT_TMP)
        stack.push_async_callback(store.close)
        if sweep:
            sweeping = asyncio.create_task(store.sweep())  # what dead processes left is in nobody's way
            stack.push_async_callback(_ended, sweeping)
        temporary = await store.workspace()  # goes with the store, at the latest when the next server sweeps
        workers = Workers(job_limits(settings), settings.limits.workers, settings.limits.queue, temporary)
        stack.push_async_callback(workers.close)
        await workers.start()
        hosts = Hosts(settings.limits.per_host, settings.limits.workers // 2)
        dispatch = Dispatch(workers, hosts, Wiring(data / "mirrors"))
        service = Service(store=store, dispatch=dispatch, watch=TagWatch(store, data / tagjournal.FILE_NAME))
        stack.push_async_callback(service.close, 0)
        live = Live(settings, dispatch, service, workers)
        stack.push_async_callback(live.close)
        await live.open()
        yield service, live


@contextlib.asynccontextmanager
async def open_service(settings: Settings, out: Path | None = None) -> AsyncIterator[Service]:
    """As open_parts, for a few questions without a server."""
    async with open_parts(settings, sweep=out is not None, out=out) as (service, _):
        yield service


def _remove_empty(directory: Path) -> None:
    """Leave no trace in a tree that is to be copied, unless another process is at work there."""
    with contextlib.suppress(OSError):
        directory.rmdir()


async def _ended(sweeping: asyncio.Task[int]) -> None:
    """Wait for the sweep, and say so in the log if it failed: the next start sweeps again."""
    try:
        found = await sweeping
    except (OSError, errors.VCSProxyError) as err:
        log.warning("sweep_failed", reason=str(err))
    else:
        log.debug("swept", dead=found)


# --- the serving process ---


class Readiness:
    """Says whether requests should come here: not while shutting down, nor when the disk takes nothing."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.closing = False

    async def __call__(self) -> str:
        if self.closing:
            return "shutting down"
        try:
            async with asyncio.timeout(5):
                return await asyncio.to_thread(self._try_disk)
        except TimeoutError:
            return "the disk does not answer"

    def _try_disk(self) -> str:
        try:
            (self._data / "store").stat()
            with tempfile.TemporaryFile(dir=self._data / "tmp") as file:
                file.write(b"x")
        except OSError as err:
            return f"the data directory cannot be written: {err.strerror}"
        return ""


class Signals:
    """SIGINT and SIGTERM: the first asks to end, the second to end at once. SIGHUP: read the configuration again."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.reload = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._arrived)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def _arrived(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def run(settings: Settings, read: ReadSettings) -> int:
    """Serve until a signal comes; returns the process's exit code. Expected trouble is logged in one line.

    read: reads the configuration again, on SIGHUP.
    """
    os.umask(0o077)
    keep_secrets()
    logs.configure(settings.log.format, settings.log.level)
    signals = Signals()
    try:
        return await _serve(settings, signals, read)
    except errors.ConfigError as err:
        for fault in err.faults:
            log.error("cannot start", reason=fault)
        return 1
    except errors.VCSProxyError as err:
        log.error("cannot start", reason=err.message, hint=err.hint)
        return 1


async def _serve(settings: Settings, signals: Signals, read: ReadSettings) -> int:
    ready = Readiness(settings.server.data)
    async with open_parts(settings, sweep=True) as (service, live):
        watching = asyncio.create_task(live.watch(signals.reload, read))
        verifications = Verifications(service)
        try:
            web = WebServer(App(service, ready, verifications).reply)
            live.forget = web.forget
            url = await _listen(web, settings)
            log.info("serving", url=url, use=f"GOPROXY={url}", data=str(settings.server.data))
            await signals.first.wait()
            ready.closing = True
            log.info("stopping", seconds=settings.server.shutdown_seconds)
            if not await _unless(signals.second, _finish(web, service, settings.server.shutdown_seconds)):
                log.warning("stopped at once")
                await web.close(0)
                return 1
        finally:
            watching.cancel()
            await verifications.close()
    log.info("stopped")
    return 0


async def _finish(web: WebServer, service: Service, seconds: float) -> None:
    await web.close(seconds)
    await service.close(_LAST_WORDS)


async def _listen(web: WebServer, settings: Settings) -> str:
    host, port = settings.server.address
    try:
        return await web.start(host, port, shared=settings.server.workers > 1)
    except OSError as err:
        reason = f"cannot listen on {settings.server.listen}: {os.strerror(err.errno) if err.errno else err}"
        raise errors.VCSProxyError(reason, "choose another address with server.listen or --listen") from err


async def _unless(hurry: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do the work to its end and report True, or give it up when `hurry` is set."""
    task, other = asyncio.create_task(work), asyncio.create_task(hurry.wait())
    await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
    done = task.done()
    for each in (task, other):
        each.cancel()
    await asyncio.gather(task, other, return_exceptions=True)
    return done


def run_async(work: Coroutine[None, None, T]) -> T:
    """asyncio.run, on uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - not everywhere
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def main(settings: Settings, read: ReadSettings) -> int:
    """Serve from the main thread; returns the exit code. read: as for `run`."""
    return run_async(run(settings, read))
