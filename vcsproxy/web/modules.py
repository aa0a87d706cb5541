"""The GOPROXY routes: every path that is no page of our own.

It turns a raw path into a question and an answer into a reply; what the answer is, `proxy/service.py` knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from aiohttp import web

from vcsproxy import errors
from vcsproxy.mod import proxypath
from vcsproxy.mod.proxypath import ProxyRequest
from vcsproxy.proxy.service import Answer
from vcsproxy.web.respond import NO_STORE, PLAIN, Asked, Reply, error_reply, stored_reply

ONLY_CACHED = "Disable-Module-Fetch"  # a wish of mirrors and tools: answer without fetching anything
_TRUE = ("1", "t", "true")


class Modules(Protocol):
    """Answers questions about modules; `proxy.service.Service` is the one."""

    async def answer(self, request: ProxyRequest) -> Answer:
        """What the request gets. Raises errors of every kind."""
        ...

    async def cached(self, request: ProxyRequest) -> Answer | None:
        """What is stored already, None if that is nothing. Raises InvalidRequest or Corrupt."""
        ...


class FixedModules:
    """Modules that know their answers beforehand; for tests, and to try the HTTP side alone.

    answers: by (path, kind, version); an exception is raised instead of returned.
    """

    def __init__(self, answers: Mapping[ProxyRequest, Answer | Exception]) -> None:
        self.answers = dict(answers)
        self.asked: list[ProxyRequest] = []

    async def answer(self, request: ProxyRequest) -> Answer:
        self.asked.append(request)
        found = self.answers.get(request)
        if found is None:
            raise errors.NotFound(f"{request.path}: no such module")
        if isinstance(found, Exception):
            raise found
        return found

    async def cached(self, request: ProxyRequest) -> Answer | None:
        found = self.answers.get(request)
        return found if isinstance(found, Answer) and found.hit else None


async def module_reply(modules: Modules, request: web.BaseRequest) -> Reply:
    """Answer a GET or HEAD of a module path. InvalidRequest becomes 404, which lets `go` try its next proxy."""
    try:
        _refuse_query(request)
        _refuse_sumdb(request.rel_url.raw_path)
        wanted = proxypath.parse(request.rel_url.raw_path)
        if request.headers.get(ONLY_CACHED, "").lower() in _TRUE:
            return await _cached(modules, wanted, request)
        answer = await modules.answer(wanted)
    except errors.InvalidRequest as err:
        return error_reply(err, "", bad_request=404)
    asked = asked_of(request)
    return stored_reply(
        answer.stored, wanted.kind, immutable=answer.immutable, asked=asked,
        hit=answer.hit, stale=answer.stale, good=answer.fresh,
    )  # fmt: skip


async def _cached(modules: Modules, wanted: ProxyRequest, request: web.BaseRequest) -> Reply:
    """Answer from what is stored, or 404 without asking anybody and without anybody keeping that."""
    answer = await modules.cached(wanted)
    if answer is None:
        missing = errors.NotFound(f"{wanted.path}@{wanted.version or wanted.kind.value}: not cached here")
        reply = error_reply(missing, "")
        return replace(reply, headers={**reply.headers, "Cache-Control": NO_STORE, "Vary": ONLY_CACHED})
    return stored_reply(answer.stored, wanted.kind, immutable=True, asked=asked_of(request), hit=True)


def _refuse_sumdb(raw_path: str) -> None:
    if raw_path.startswith("/sumdb/"):
        raise errors.NotFound("no checksum database is mirrored here", "go asks the database itself then")


def _refuse_query(request: web.BaseRequest) -> None:
    query = request.rel_url.raw_query_string
    if query == "go-get=1":
        raise errors.NotFound("this server has no go-import pages", "set GOPROXY to its address instead")
    if query or request.rel_url.raw_fragment:
        raise errors.InvalidRequest("module requests have no query string")


_CONDITIONAL = {
    "If-Match": "if_match",
    "If-None-Match": "if_none_match",
    "If-Modified-Since": "if_modified_since",
    "If-Unmodified-Since": "if_unmodified_since",
    "If-Range": "if_range",
    "Range": "range",
}


def asked_of(request: web.BaseRequest) -> Asked:
    """The conditions of a request; a header given several times is one list."""
    headers = request.headers
    found = {field: ", ".join(headers.getall(name)) for name, field in _CONDITIONAL.items() if name in headers}
    return Asked(get=request.method == "GET", **found) if found else PLAIN
