"""Sockets: the listener and its limits.

Theory of operation: aiohttp parses requests; a connection that sends nothing whole within the keep-alive time is closed
by it. Against readers that are too slow, or read nothing, a sweep looks at every connection's unsent bytes: after a
grace of 10 seconds they must have shrunk by 16 KiB a second.

If we crash here: clients see a closed connection before Content-Length bytes, which none takes for a whole answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import cast

import aiohttp.http_parser
from aiohttp import web

from vcsproxy import errors
from vcsproxy.web.hot import HotReplies
from vcsproxy.web.middleware import Answer, Observer, log_request, new_request_id
from vcsproxy.web.respond import BASE_HEADERS, NO_STORE, TEXT, Reply
from vcsproxy.web.sending import Sender

_MAX_FIELDS = 64
_MAX_LINE = 8190
_LINGER = 2.0
_NO_LINGER = struct.pack("ii", 1, 0)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"Retry-After: 5\r\nConnection: close\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may take.

    keepalive: seconds for a whole request head, and between requests. rate: bytes a second that a reader must take
    after `grace` seconds. sweep: seconds between two looks.
    """

    keepalive: float = 15.0
    grace: float = 10.0
    rate: int = 16 << 10
    sweep: float = 2.0


def check_parser() -> None:
    """Raise VCSProxyError unless aiohttp parses requests with its C parser, which is the strict one."""
    parser = aiohttp.http_parser.HttpRequestParser
    if parser is aiohttp.http_parser.HttpRequestParserPy:  # type: ignore[comparison-overlap,unused-ignore]
        raise errors.VCSProxyError(
            "aiohttp runs without its C parser", "install aiohttp from a wheel, and unset AIOHTTP_NO_EXTENSIONS"
        )


# --- connections ---


class Connection(web.RequestHandler):
    """One client; knows how fast it reads."""

    __slots__ = ("_file_left", "_left", "_listener", "_moved", "_since", "_whole", "_wire")

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop, patience: Patience) -> None:
        super().__init__(
            listener,
            loop=loop,
            keepalive_timeout=patience.keepalive,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own way to have none
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            max_headers=_MAX_FIELDS,
            lingering_time=_LINGER,
            auto_decompress=False,
        )
        self._listener = listener
        self._wire: asyncio.Transport | None = None
        self._moved = False
        self._since = 0.0
        self._left = self._file_left = 0
        self._whole = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = cast("asyncio.Transport", transport)
        if self._listener.is_full:
            wire.write(_BUSY)
            wire.close()
            return
        self._wire = wire  # aiohttp forgets its own reference when it begins to close
        self._listener.enter(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.leave(self)
        self._wire = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer at once what is hot; the rest is aiohttp's.

        Only between requests: what aiohttp has got so far must have ended with a whole one that has no body.
        """
        if self._whole:
            if self._is_idle():
                answer = self._listener.hot.answer(data)
                if answer is not None and self._wire is not None:
                    self._moved = True
                    self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                    self._wire.write(b"".join(answer))
                    return
            self._whole = _is_whole(data)
        super().data_received(data)

    def _is_idle(self) -> bool:
        """Whether aiohttp waits for a request, and the client has taken the reply before."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and self._wire is not None
            and not self._wire.get_write_buffer_size()
        )

    def resume_writing(self) -> None:
        self._moved = True
        super().resume_writing()

    def begin_reply(self) -> None:
        """Another reply is about to be written: what was unsent before is no measure any more."""
        self._moved, self._file_left = True, 0

    def file_left(self, size: int) -> None:
        """So many bytes of a file are not even in the kernel's buffer yet."""
        self._file_left = size

    def is_slow(self, now: float, patience: Patience) -> bool:
        """Whether this client has been taking less than it should since the last sign of progress."""
        left = self._file_left + (self._wire.get_write_buffer_size() if self._wire is not None else 0)
        if self._moved or not left or not self._left:
            self._moved, self._since, self._left = False, now, left
            return False
        elapsed = now - self._since
        return elapsed > patience.grace and self._left - left < patience.rate * elapsed

    def drop(self) -> None:
        """End the connection without sending what is unsent, not even what the kernel holds."""
        if self._wire is not None:
            wire = self._wire.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            if self._file_left:
                _shut(wire.fileno())  # whoever sends the file has a descriptor of its own
            self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A reply to what is no HTTP. Nothing of the request is repeated in it, as aiohttp would.

        What the observer let go has been logged and told by it; then only the connection is left to be ended.
        """
        if request.writer.output_size or isinstance(exc, ConnectionError):
            raise ConnectionResetError
        text = b"malformed HTTP request\n" if status < 500 else b"internal error\n"
        reply = Reply(status, {"Content-Type": TEXT, "Cache-Control": NO_STORE}, text)
        log_request(request, new_request_id(), 0.0, reply, len(reply.data), whole=True)
        response = web.Response(status=status, body=reply.data, headers={**BASE_HEADERS, **reply.headers})
        response.force_close()
        return response


def _shut(fd: int) -> None:
    """Shut a socket for all who have a descriptor of it; the object that uvloop gives for one cannot."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as wire:
        wire.shutdown(socket.SHUT_RDWR)


_BODY = (b"\ncontent-length", b"\ntransfer-encoding", b"\nupgrade", b"\nexpect")


def _is_whole(data: bytes) -> bool:
    """Whether these bytes are one whole request without a body, so that the next ones begin another."""
    if not data.startswith((b"GET ", b"HEAD ")) or not data.endswith(b"\r\n\r\n") or data.count(b"\r\n\r\n") != 1:
        return False
    lower = data.lower()
    return not any(name in lower for name in _BODY)


class Listener(web.Server):
    """Makes a Connection of each client, and watches over them."""

    def __init__(self, observer: Observer, hot: HotReplies, patience: Patience, max_connections: int) -> None:
        super().__init__(observer)
        self.hot = hot
        self._patience = patience
        self._max = max_connections
        self._inside: set[Connection] = set()

    def __call__(self) -> Connection:
        return Connection(self, self._loop, self._patience)

    @property
    def is_full(self) -> bool:
        return len(self._inside) >= self._max

    def enter(self, connection: Connection) -> None:
        self._inside.add(connection)

    def leave(self, connection: Connection) -> None:
        self._inside.discard(connection)

    async def sweep(self) -> None:
        """Drop slow readers, for ever."""
        while True:
            await asyncio.sleep(self._patience.sweep)
            now = time.monotonic()
            for connection in [c for c in self._inside if c.is_slow(now, self._patience)]:
                connection.drop()


# --- the whole ---


class WebServer:
    """Listens on one address. `start` first, `close` last."""

    def __init__(
        self,
        answer: Answer,
        *,
        patience: Patience | None = None,
        max_connections: int = 1024,
        hot_bytes: int = 32 << 20,
    ) -> None:
        self._sender = Sender()
        self._hot = HotReplies(hot_bytes)
        self._observer = Observer(answer, self._sender.send, self._hot.put)
        self._patience = patience or Patience()
        self._max = max_connections
        self._listener: Listener | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, *, shared: bool = False) -> str:
        """Begin to listen; returns the URL. Port 0 takes a free one. Raises OSError.

        shared: other processes listen there, too.
        """
        check_parser()
        self._listener = Listener(self._observer, self._hot, self._patience, self._max)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._listener, host or None, port, backlog=1024, reuse_port=shared or None
        )
        self._sweeper = asyncio.create_task(self._listener.sweep())
        name, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def forget(self) -> None:
        """Give no reply again without asking for it: the configuration has changed."""
        self._hot.clear()

    async def close(self, seconds: float) -> None:
        """Take no more connections, let running requests end within `seconds`, then break what is left."""
        if self._server is None or self._listener is None or self._sweeper is None:
            return
        self._sender.closing = self._hot.closed = True
        self._server.close()
        self._listener.pre_shutdown()
        try:
            async with asyncio.timeout(seconds):
                await self._listener.shutdown(seconds + 1)
        except TimeoutError:
            await self._listener.shutdown(0.05)
        finally:
            self._sweeper.cancel()
            self._hot.log.flush()
            self._sender.close()
