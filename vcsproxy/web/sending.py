"""How a reply is sent: bytes by aiohttp, files by the kernel.

Theory of operation: files are opened, read and sent by threads of their own, so that neither a slow disk nor a build
elsewhere holds up the event loop. A small file, and any file where the kernel cannot do it, is read and written as
bytes. Of a large one only the head is written by the transport; then sendfile(2) fills the socket's buffer as far as it
goes, and again whenever the client has taken some of it. The descriptor for that is a copy, because the event loop lets
nobody wait for one of its own; aiohttp writes nothing meanwhile, since a connection has one reply at a time.

If we crash here: clients see a closed connection before Content-Length bytes, which none takes for a whole answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, cast, runtime_checkable

from aiohttp import web

from vcsproxy import errors
from vcsproxy.web.respond import BASE_HEADERS, Reply

_PIECE = 256 << 10  # bytes that are read at once; a file that is no larger is not worth sendfile
_READERS = 8
_LINGER_MS = 5  # for which a thread waits for a quick client, instead of coming back later
_STINT = 8 << 20  # bytes that a thread sends before others have their turn

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@runtime_checkable
class Watched(Protocol):
    """A connection that is watched for slow readers."""

    def begin_reply(self) -> None: ...

    def file_left(self, size: int) -> None: ...


@dataclass(slots=True)
class Sender:
    """Sends replies. `closing`: tell clients that each reply is the last on its connection."""

    closing: bool = False
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_READERS, "vcsproxy-send"))

    async def send(self, request: web.BaseRequest, reply: Reply) -> tuple[web.StreamResponse, int]:
        """Send all of it; returns the response and the bytes of its body.

        Raises Corrupt when the file is not what the store said, ConnectionError when the client has gone.
        """
        if isinstance(request.protocol, Watched):
            request.protocol.begin_reply()
        if reply.file is not None and request.method != "HEAD":
            return await self._send_file(request, reply, reply.file)
        return await self._send_data(request, reply)

    def _finish(self, response: web.StreamResponse, request: web.BaseRequest, reply: Reply) -> None:
        if self.closing or reply.close or request.body_exists:
            response.force_close()

    async def _send_data(self, request: web.BaseRequest, reply: Reply) -> tuple[web.StreamResponse, int]:
        response = web.Response(status=reply.status, body=reply.data, headers={**BASE_HEADERS, **reply.headers})
        if request.method == "HEAD":
            response.headers["Content-Length"] = str(reply.count if reply.file is not None else len(reply.data))
        self._finish(response, request, reply)
        await response.prepare(request)
        await response.write_eof()
        return response, 0 if request.method == "HEAD" else len(reply.data)

    async def _send_file(self, request: web.BaseRequest, reply: Reply, file: Path) -> tuple[web.StreamResponse, int]:
        fd, piece = await self._thread(_open, file, reply)
        try:
            response = web.StreamResponse(status=reply.status, headers={**BASE_HEADERS, **reply.headers})
            response.content_length = reply.count
            self._finish(response, request, reply)
            await response.prepare(request)
            at, stop = reply.start, reply.start + reply.count
            if not piece and at < stop:
                at = await self._by_kernel(request, fd, at, stop)
                if at < stop:
                    piece = await self._thread(_read, fd, at, stop)
            while piece:
                await response.write(piece)
                at += len(piece)
                piece = await self._thread(_read, fd, at, stop) if at < stop else b""
            if at != stop:
                raise errors.Corrupt("a stored file ended early")
            await response.write_eof()
        finally:
            os.close(fd)
        return response, reply.count

    async def _by_kernel(self, request: web.BaseRequest, fd: int, at: int, stop: int) -> int:
        """Send as much of a file as can be sent without copying it; where that ended. Raises ConnectionError."""
        wire = await _flushed(request.transport)
        if wire is None:
            return at
        watched = request.protocol if isinstance(request.protocol, Watched) else None
        out = os.dup(wire)
        try:
            while at < stop:
                sent = await self._thread(_pour, out, fd, at, stop)
                if sent < 0:
                    return at
                at += sent
                if watched is not None:
                    watched.file_left(stop - at)
                if at < stop:
                    await _writable(out)
        finally:
            if watched is not None:
                watched.file_left(0)
            os.close(out)
        return at

    async def _thread(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Do it in a thread. Who is cancelled meanwhile waits for the end: the thread uses what would be closed."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False)


# --- in the event loop ---


async def _flushed(transport: asyncio.BaseTransport | None) -> int | None:
    """The descriptor of a plain connection whose transport has written all it was given; None if there is none such."""
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return None
    writing = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
    for _ in range(3):
        if writing.is_closing():
            raise ConnectionResetError
        if not writing.get_write_buffer_size():
            wire = writing.get_extra_info("socket")
            return wire.fileno() if wire is not None and wire.family in (socket.AF_INET, socket.AF_INET6) else None
        await asyncio.sleep(0)
    return None


async def _writable(fd: int) -> None:
    """Wait until a socket takes bytes again, or is gone."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fd, wake)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


# --- in threads ---


def _open(file: Path, reply: Reply) -> tuple[int, bytes]:
    """(descriptor, all of a small part or nothing). Raises Corrupt if it is not the file that the store described."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise errors.Unavailable("the zip was removed from the store just now", "ask again") from None
    except OSError as err:
        raise errors.Corrupt("a stored file cannot be opened", err.strerror or "") from err
    with _closed_on_error(fd):
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != reply.size:
            raise errors.Corrupt("a stored file has another size than it had")
        return fd, _read(fd, reply.start, reply.start + reply.count) if reply.count <= _PIECE else b""


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _read(fd: int, start: int, stop: int) -> bytes:
    """The next piece; short or empty at the end of the file or where the disk fails."""
    try:
        return os.pread(fd, min(_PIECE, stop - start), start)
    except OSError:
        return b""


def _pour(out: int, fd: int, start: int, stop: int) -> int:
    """Bytes that the kernel has taken, as long as the client is quick; -1 if it takes none of this file at all.

    Raises ConnectionError when the client has gone.
    """
    at = start
    while at < stop and at - start < _STINT:
        try:
            sent = os.sendfile(out, fd, at, stop - at)
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(out, select.POLLOUT)
            if not waiting.poll(_LINGER_MS):
                break
            continue
        except ConnectionError:
            raise
        except OSError:  # the disk fails, or the file is of a kind that the kernel does not send
            return at - start or -1
        if not sent:  # the file has become shorter
            return at - start or -1
        at += sent
    return at - start
