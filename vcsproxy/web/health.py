"""Pages about the server itself: the front page, /healthz, /readyz and /version."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from vcsproxy import __version__
from vcsproxy.web.respond import JSON, Reply, text_reply

Ready = Callable[[], Awaitable[str]]
"""Says why requests should go elsewhere, "" if they should not."""

Page = Callable[[web.BaseRequest], Awaitable[Reply]]

_FRONT = """\
vcsproxy {version}: a Go module proxy that builds modules straight from Git.

Point the go command at it:

    export GOPROXY={url}

Pages: /healthz  /readyz  /version
"""
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?", re.ASCII)


def pages(ready: Ready) -> dict[str, Page]:
    """Every page by its raw path."""
    version = json.dumps(versions(), separators=(",", ":"))

    async def front(request: web.BaseRequest) -> Reply:
        host = request.host if _HOST.fullmatch(request.host) else "HOST:PORT"
        return text_reply(200, _FRONT.format(version=__version__, url=f"{request.scheme}://{host}"))

    async def healthz(_request: web.BaseRequest) -> Reply:
        return text_reply(200, "ok\n")

    async def readyz(_request: web.BaseRequest) -> Reply:
        reason = await ready()
        return text_reply(503, f"not ready: {reason}\n", Retry_After="5") if reason else text_reply(200, "ok\n")

    async def version_page(_request: web.BaseRequest) -> Reply:
        return text_reply(200, version, content_type=JSON)

    return {"/": front, "/healthz": healthz, "/readyz": readyz, "/version": version_page}


def versions() -> dict[str, str]:
    """What runs here. Reads the metadata of installed packages, and does not import them."""
    found = {"version": __version__, "python": platform.python_version()}
    for name in ("aiohttp", "dulwich"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found
