"""From a request to a reply: which methods there are, which pages, and everything else is a module path.

Paths are compared raw, as they came. aiohttp's own router decodes them first, so that `/a%2fb` and `/a/b` would be the
same; therefore there is no `web.Application` here.
"""

from __future__ import annotations

from aiohttp import web

from vcsproxy.web.health import Ready, pages
from vcsproxy.web.modules import Modules, module_reply
from vcsproxy.web.respond import Reply, text_reply
from vcsproxy.web.verification import PREFIX, Verifications

METHODS = ("GET", "HEAD")


class App:
    """All routes. Raises errors of every kind; `web.middleware` turns them into replies."""

    def __init__(self, modules: Modules, ready: Ready, verifications: Verifications | None = None) -> None:
        self._modules = modules
        self._pages = pages(ready)
        self._verifications = verifications

    async def reply(self, request: web.BaseRequest) -> Reply:
        path = request.rel_url.raw_path
        if self._verifications is not None and (path == PREFIX or path.startswith(PREFIX + "/")):
            return await self._verifications.reply(request)
        if request.method not in METHODS:
            return text_reply(405, "only GET and HEAD are answered here\n", Allow=", ".join(METHODS))
        if request.body_exists:
            return text_reply(413, "a request here has no body\n")
        page = self._pages.get(path)
        return await (page(request) if page is not None else module_reply(self._modules, request))
