"""/-/verify: a go.sum is posted, and its report can be fetched while it grows and afterwards.

    POST /-/verify        the text of a go.sum; 202 with the report's address in Location
    GET  /-/verify/ID     {"state": "running" or "done", "total": lines, ...} as `vcsproxy verify --json` prints it

Theory of operation: each go.sum is a task that asks the service as clients do, a few versions at a time. Few tasks run
at once, few reports are kept, the oldest go first; an ID cannot be guessed. Nothing is written to disk: what was built
is in the store, and posting the same file again finds it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from aiohttp import web

from vcsproxy import errors
from vcsproxy.mirror.report import report
from vcsproxy.mirror.sums import SumLine, parse
from vcsproxy.mirror.verify import Finding, Rebuilds, Verifier
from vcsproxy.web.respond import JSON, Reply, text_reply

PREFIX = "/-/verify"
_LARGEST = 4 << 20  # bytes of a go.sum
_MOST_LINES = 20_000
_MOST_RUNNING = 4
_MOST_KEPT = 64
_AT_ONCE = 8  # versions of one go.sum: other clients want theirs, too
_PATIENCE = 30.0  # seconds for all of a body to arrive
_USAGE = "POST a go.sum here: curl --data-binary @go.sum http://HOST/-/verify\n"


@dataclass(slots=True)
class _Report:
    total: int
    findings: list[Finding] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    fault: str = ""

    @property
    def is_done(self) -> bool:
        return self.task is None or self.task.done()


class Verifications:
    """Reports by ID. Lives on one event loop; `close` ends what runs."""

    def __init__(self, modules: Rebuilds) -> None:
        self._verifier = Verifier(modules, _AT_ONCE)
        self._reports: OrderedDict[str, _Report] = OrderedDict()

    async def reply(self, request: web.BaseRequest) -> Reply:
        """Answer a request below the prefix. Raises InvalidRequest, Refused, Overloaded, NotFound."""
        rest = request.rel_url.raw_path.removeprefix(PREFIX)
        if request.method == "POST":
            if rest:
                return text_reply(405, "only GET and HEAD are answered here\n", Allow="GET, HEAD")
            return await self._posted(request)
        if not rest:
            return text_reply(405, _USAGE, Allow="POST")
        return self._fetched(rest.removeprefix("/"))

    async def close(self) -> None:
        """End what runs, and forget everything."""
        tasks = [each.task for each in self._reports.values() if each.task is not None]
        self._reports.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- POST

    async def _posted(self, request: web.BaseRequest) -> Reply:
        if sum(not each.is_done for each in self._reports.values()) >= _MOST_RUNNING:
            raise errors.Overloaded("too many go.sum files are being verified", "try again in a minute", 60.0)
        lines = parse((await _body(request)).decode("utf-8", "replace"), "go.sum")
        if len(lines) > _MOST_LINES:
            raise errors.Refused(f"a go.sum of more than {_MOST_LINES} lines", "post it in parts")
        identity = self._begin(lines)
        place = f"{PREFIX}/{identity}"
        reply = text_reply(202, json.dumps({"report": place, "total": len(lines)}) + "\n", content_type=JSON)
        return Reply(reply.status, {**reply.headers, "Location": place}, reply.data)

    def _begin(self, lines: list[SumLine]) -> str:
        made = _Report(len(lines))
        made.task = asyncio.create_task(self._run(made, lines))
        identity = secrets.token_hex(16)
        self._reports[identity] = made
        while len(self._reports) > _MOST_KEPT:
            _, oldest = self._reports.popitem(last=False)
            if oldest.task is not None:
                oldest.task.cancel()
        return identity

    async def _run(self, made: _Report, lines: list[SumLine]) -> None:
        try:
            async with contextlib.aclosing(self._verifier.check(lines)) as findings:
                async for finding in findings:
                    made.findings.append(finding)
        except Exception:
            made.fault = "it ended early; the server's log has the details"
            raise

    # ---- GET

    def _fetched(self, identity: str) -> Reply:
        made = self._reports.get(identity)
        if made is None:
            raise errors.NotFound("no such report", "reports are kept for a while only; post the go.sum again")
        value = {"state": "done" if made.is_done else "running", "total": made.total, **report(made.findings)}
        if made.fault:
            value["fault"] = made.fault
        return text_reply(200, json.dumps(value) + "\n", content_type=JSON)


async def _body(request: web.BaseRequest) -> bytes:
    """All of a request's body. Raises Refused if it is too large, InvalidRequest if it does not come."""
    data = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            async for piece in request.content.iter_chunked(1 << 16):
                data += piece
                if len(data) > _LARGEST:
                    raise errors.Refused(f"a go.sum of more than {_LARGEST >> 20} MiB", "post it in parts")
    except TimeoutError:
        raise errors.InvalidRequest("the go.sum did not arrive in time") from None
    return bytes(data)
