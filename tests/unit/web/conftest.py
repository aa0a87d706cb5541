"""A real server on loopback whose modules know their answers beforehand, and raw sockets to it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop

from vcsproxy import logs
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer
from vcsproxy.store import Kind as Artifact
from vcsproxy.store import Stored
from vcsproxy.web.app import App
from vcsproxy.web.modules import FixedModules, Modules
from vcsproxy.web.serving import Patience, WebServer

MTIME = 1_700_000_000.0
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
PATH = "github.com/Azure/x"
INFO = b'{"Version":"v1.0.0"}'
ZIP = bytes(range(256)) * 4096  # 1 MiB, several pieces


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Transfers depend on the loop's transports: they run on asyncio's loop and on the one that the server prefers."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem == "test_transfer":
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@dataclass
class Got:
    """A response as it came over the wire; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Got:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        pairs = [line.split(": ", 1) for line in lines]
        assert len({name.lower() for name, _ in pairs}) == len(pairs), f"a header came twice: {lines}"
        return cls(int(status), {name.lower(): value for name, value in pairs}, body, version)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        await writer.wait_closed()


@dataclass
class Site:
    """A running server."""

    url: str
    web: WebServer
    modules: Any
    log: io.StringIO
    ready: list[str]
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that is closed after the test at the latest."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def raw(self, request: bytes, timeout: float = 5.0) -> bytes:
        """Send bytes and read until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            async with asyncio.timeout(timeout):
                return await reader.read()
        finally:
            await hang_up(writer)

    async def ask(self, target: str | bytes, method: str = "GET", **headers: str) -> Got:
        """One request on a connection of its own; keywords are headers with `_` for `-`."""
        raw = target.encode() if isinstance(target, str) else target
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = method.encode() + b" " + raw + b" HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n"
        return Got.parse(await self.raw(head + lines.encode() + b"\r\n"))

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]


def stored(kind: Artifact, data: bytes | None, file: Path | None = None, size: int | None = None) -> Stored:
    length = len(data) if data is not None else size or 0
    return Stored(kind, length, MTIME, f'"{kind.value}-etag"', "h1:x", data, file)


@pytest.fixture
def zip_file(tmp_path: Path) -> Path:
    file = tmp_path / "v1.0.0.zip"
    file.write_bytes(ZIP)
    return file


@pytest.fixture
def answers(zip_file: Path) -> dict[ProxyRequest, Answer | Exception]:
    info = stored(Artifact.INFO, INFO)
    return {
        ProxyRequest(Kind.INFO, PATH, "v1.0.0"): Answer(info, immutable=True, hit=True),
        ProxyRequest(Kind.INFO, PATH, "main"): Answer(info, immutable=False),
        ProxyRequest(Kind.LATEST, PATH): Answer(info, immutable=False),
        ProxyRequest(Kind.LIST, PATH): Answer(stored(Artifact.INFO, b""), immutable=False),
        ProxyRequest(Kind.MOD, PATH, "v1.0.0"): Answer(stored(Artifact.MOD, b"module m\n"), immutable=True),
        ProxyRequest(Kind.ZIP, PATH, "v1.0.0"): Answer(
            stored(Artifact.ZIP, None, zip_file, len(ZIP)), immutable=True, hit=True
        ),
    }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    logs.configure("json", "debug", out)
    yield out
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def start(log: io.StringIO) -> AsyncIterator[Callable[..., Any]]:
    """Start a server for given modules; all are closed at the end."""
    running: list[Site] = []

    async def begin(
        modules: Modules, patience: Patience | None = None, max_connections: int = 1024, hot_bytes: int = 32 << 20
    ) -> Site:
        ready = [""]

        async def is_ready() -> str:
            return ready[0]

        web = WebServer(
            App(modules, is_ready).reply, patience=patience, max_connections=max_connections, hot_bytes=hot_bytes
        )
        site = Site(await web.start("127.0.0.1", 0), web, modules, log, ready)
        running.append(site)
        return site

    yield begin
    for site in running:
        for writer in site.writers:
            await hang_up(writer)
        await site.web.close(0.2)


@pytest.fixture
async def site(start: Callable[..., Any], answers: dict[ProxyRequest, Answer | Exception]) -> Site:
    started: Site = await start(FixedModules(answers))
    return started
