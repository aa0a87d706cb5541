"""What happens to every request: a number, an answer whatever is raised, and one line in the log.

The line has no query string, no header and no address. An exception that nobody expected reaches only the log.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from vcsproxy import errors
from vcsproxy.trace import format_steps
from vcsproxy.web.respond import Reply, error_reply, unexpected_reply

log = structlog.get_logger()

Answer = Callable[[web.BaseRequest], Awaitable[Reply]]
Send = Callable[[web.BaseRequest, Reply], Awaitable[tuple[web.StreamResponse, int]]]
"""Sends a reply and returns the response and the bytes of its body."""

Keep = Callable[[str, Reply], None]
"""Takes a reply that a plain GET of the same raw path may get again."""

_ids = itertools.count(1)
_start = secrets.token_hex(4)


def new_request_id() -> str:
    """Unique among all runs of the server, as far as chance allows."""
    return f"{_start}-{next(_ids):x}"


class Observer:
    """Stands between the HTTP protocol and the routes."""

    def __init__(self, answer: Answer, send: Send, keep: Keep) -> None:
        self._answer = answer
        self._send = send
        self._keep = keep

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = new_request_id()
        error: errors.VCSProxyError | None = None
        reply: Reply | None = None
        sent, whole = 0, False
        try:
            try:
                reply = await self._answer(request)
                response, sent = await self._send(request, reply)
            except BaseException as err:
                if request.writer.output_size:
                    _break(request)
                    raise
                reply, error = _explained(err, request_id)
                response, sent = await self._send(request, reply)
            whole = request.transport is not None
            if reply.fresh and request.method == "GET":
                self._keep(request.raw_path, reply)
            return response
        finally:
            sent = sent if whole else request.writer.output_size
            log_request(request, request_id, time.perf_counter() - started, reply, sent, whole=whole, error=error)


def _break(request: web.BaseRequest) -> None:
    """End the connection in the middle of a reply: no other can follow, and nobody may take this one for whole."""
    if request.transport is not None:
        request.transport.abort()


def _explained(err: BaseException, request_id: str) -> tuple[Reply, errors.VCSProxyError | None]:
    """A reply for an exception; what is no answer to the client, a lost connection or our own end, goes on."""
    if isinstance(err, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise err
        err = errors.Unavailable("the server is shutting down", "ask again")
    if isinstance(err, ConnectionError) or not isinstance(err, Exception):
        raise err
    if isinstance(err, errors.VCSProxyError):
        return error_reply(err, request_id), err
    log.error("unexpected", id=request_id, exc_info=err)
    return unexpected_reply(request_id), None


def log_request(
    request: web.BaseRequest,
    request_id: str,
    seconds: float,
    reply: Reply | None,
    sent: int,
    *,
    whole: bool,
    error: errors.VCSProxyError | None = None,
) -> None:
    """Write the line; status 0: there was nothing to send.

    whole: the client was still there at the end, else `sent` counts what was on its way, headers too.
    """
    more: dict[str, object] = {}
    if reply is not None and reply.hit is not None:
        more["hit"] = reply.hit
    if not whole:
        more["aborted"] = True
    if reply is not None and reply.stale:
        more["stale"] = round(reply.stale)
    if error is not None:
        more["error"] = f"{type(error).__name__}: {error.message}"
        if error.steps:
            more["explain"] = format_steps(error.steps)
    write = log.error if reply is not None and reply.status >= 500 else log.info
    write(
        "request",
        id=request_id,
        method=request.method,
        path=request.rel_url.raw_path,
        status=reply.status if reply is not None else 0,
        bytes=sent,
        seconds=round(seconds, 6),
        **more,
    )
