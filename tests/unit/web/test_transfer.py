"""Conditional requests and ranges over the wire, files that change, slow and lost clients, shutting down."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp.http_parser
import pytest

from tests.unit.web.conftest import DATE, INFO, PATH, ZIP, Got, Site, hang_up, stored
from vcsproxy import errors
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer
from vcsproxy.store import Kind as Artifact
from vcsproxy.web import serving
from vcsproxy.web.modules import FixedModules
from vcsproxy.web.serving import Patience

BASE = "/github.com/!azure/x/@v/v1.0.0"
INFO_TAG, ZIP_TAG = '".info-etag"', '".zip-etag"'


# --- conditions and ranges ---


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": INFO_TAG}, 304),
        ({"If-None-Match": f'"x", W/{INFO_TAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": DATE}, 304),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": DATE}, 200),
        ({"If-Match": '"x"'}, 412),
    ],
)
async def test_conditional_requests(site: Site, method: str, headers: dict[str, str], status: int) -> None:
    got = await site.ask(f"{BASE}.info", method, **headers)
    assert got.status == status
    if status == 304:
        assert got.body == b""
        assert "content-length" not in got.headers
        assert (got.headers["etag"], got.headers["last-modified"]) == (INFO_TAG, DATE)


async def test_a_condition_may_come_in_several_lines(site: Site) -> None:
    head = f'GET {BASE}.info HTTP/1.1\r\nHost: x\r\nIf-None-Match: "a"\r\nIf-None-Match: {INFO_TAG}\r\n'
    assert Got.parse(await site.raw(head.encode() + b"Connection: close\r\n\r\n")).status == 304


@pytest.mark.parametrize(
    ("value", "first", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=5-", 5, len(ZIP)), ("bytes=-7", len(ZIP) - 7, len(ZIP)),
     ("bytes=262143-262144", 262143, 262145), ("bytes=1-999999999", 1, len(ZIP))],
)  # fmt: skip
async def test_ranges_of_a_file(site: Site, value: str, first: int, stop: int) -> None:
    got = await site.ask(f"{BASE}.zip", Range=value)
    assert (got.status, got.body) == (206, ZIP[first:stop])
    assert got.headers["content-range"] == f"bytes {first}-{stop - 1}/{len(ZIP)}"
    assert int(got.headers["content-length"]) == stop - first
    assert got.headers["etag"] == ZIP_TAG


async def test_ranges_of_bytes(site: Site) -> None:
    got = await site.ask(f"{BASE}.info", Range="bytes=2-8")
    assert (got.status, got.body) == (206, INFO[2:9])


@pytest.mark.parametrize("value", ["bytes=0-1,3-4", "bytes=4-2", "lines=1-2", "bytes=x"])
async def test_what_is_no_single_range_gets_everything(site: Site, value: str) -> None:
    got = await site.ask(f"{BASE}.zip", Range=value)
    assert (got.status, got.body) == (200, ZIP)


@pytest.mark.parametrize(("file", "size"), [("zip", len(ZIP)), ("info", len(INFO))])
async def test_a_range_behind_the_end(site: Site, file: str, size: int) -> None:
    got = await site.ask(f"{BASE}.{file}", Range=f"bytes={size}-")
    assert (got.status, got.headers["content-range"]) == (416, f"bytes */{size}")


async def test_if_range(site: Site) -> None:
    assert (await site.ask(f"{BASE}.zip", Range="bytes=0-0", If_Range=ZIP_TAG)).status == 206
    assert (await site.ask(f"{BASE}.zip", Range="bytes=0-0", If_Range='"other"')).status == 200


async def test_head_ignores_ranges(site: Site) -> None:
    got = await site.ask(f"{BASE}.zip", "HEAD", Range="bytes=0-0")
    assert (got.status, got.headers["content-length"]) == (200, str(len(ZIP)))


# --- files that are not what the store said ---


async def test_a_file_of_another_size_is_never_begun(site: Site, zip_file: Path) -> None:
    with zip_file.open("ab") as file:
        file.write(b"more")
    got = await site.ask(f"{BASE}.zip")
    assert got.status == 500
    assert b"another size" in got.body


async def test_an_evicted_file_may_be_asked_for_again(site: Site, zip_file: Path) -> None:
    zip_file.unlink()
    got = await site.ask(f"{BASE}.zip")
    assert (got.status, got.headers["retry-after"]) == (503, "5")


async def test_a_link_is_not_followed(site: Site, zip_file: Path) -> None:
    zip_file.rename(zip_file.with_name("other"))
    zip_file.symlink_to("other")
    got = await site.ask(f"{BASE}.zip")
    assert got.status == 500
    assert str(zip_file.parent) not in got.body.decode()


async def test_a_file_that_ends_early_breaks_the_connection(start: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "big.zip"
    with file.open("wb") as out:
        out.truncate(64 << 20)
    size = file.stat().st_size
    site = await start(_zip_of(file, size))
    reader, writer = await site.connect()
    writer.write(f"GET {BASE}.zip HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in head
    os.truncate(file, 1 << 20)
    received = 0
    try:
        while data := await reader.read(1 << 20):
            received += len(data)
    except ConnectionResetError:
        pass
    assert received < size
    await _until(lambda: bool(site.lines()))
    assert site.lines()[-1]["aborted"] is True


def _zip_of(file: Path, size: int) -> FixedModules:
    answer = Answer(stored(Artifact.ZIP, None, file, size), immutable=True)
    return FixedModules({ProxyRequest(Kind.ZIP, PATH, "v1.0.0"): answer})


async def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


# --- slow and lost clients ---

HASTE = Patience(keepalive=0.5, grace=0.4, rate=16 << 10, sweep=0.1)


async def _is_dropped(sock: socket.socket) -> bool:
    """Whether the other end has reset the connection, without reading what was sent."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    return int(struct.unpack("B", raw[:1])[0]) != 1  # 1: established


@pytest.mark.skipif(sys.platform != "linux", reason="looks at TCP_INFO")
@pytest.mark.parametrize("pace", [0, 1000], ids=["reads nothing", "reads slowly"])
async def test_a_reader_that_is_too_slow_is_dropped(start: Callable[..., Any], tmp_path: Path, pace: int) -> None:
    file = tmp_path / "big.zip"
    with file.open("wb") as out:
        out.truncate(64 << 20)
    site = await start(_zip_of(file, 64 << 20), HASTE)
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", site.port))
        await loop.sock_sendall(sock, f"GET {BASE}.zip HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        began = time.monotonic()
        while not await _is_dropped(sock):
            if pace:
                await loop.sock_recv(sock, pace // 10)
            await asyncio.sleep(0.1)
            assert time.monotonic() - began < 10
        assert time.monotonic() - began > HASTE.grace
    await _until(lambda: bool(site.lines()))
    assert site.lines()[-1]["aborted"] is True
    assert (await site.ask(f"{BASE}.zip", "HEAD")).status == 200


async def test_a_client_that_reads_fast_enough_is_served_to_the_end(start: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "big.zip"
    with file.open("wb") as out:
        out.truncate(24 << 20)
    site = await start(_zip_of(file, 24 << 20), Patience(grace=0.2, rate=1 << 20, sweep=0.05))
    reader, writer = await site.connect()
    writer.write(f"GET {BASE}.zip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    received = 0
    while data := await reader.read(1 << 20):
        received += len(data)
        await asyncio.sleep(0.02)
    assert received > 24 << 20


async def test_answers_that_nobody_reads_do_not_pile_up(start: Callable[..., Any]) -> None:
    answer = Answer(stored(Artifact.INFO, b"x" * 60_000), immutable=True)
    site = await start(FixedModules({ProxyRequest(Kind.INFO, PATH, "v1.0.0"): answer}), HASTE)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", site.port))
        request = f"GET {BASE}.info HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_send_for_ever(sock, request * 100), 20)
        assert len(site.lines()) < 1000


async def _send_for_ever(sock: socket.socket, data: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, data)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET"])
async def test_an_unfinished_head_is_closed(start: Callable[..., Any], sent: bytes) -> None:
    site = await start(FixedModules({}), HASTE)
    reader, writer = await site.connect()
    writer.write(sent)
    began = time.monotonic()
    assert await reader.read() == b""
    assert 0.3 < time.monotonic() - began < 3


async def test_a_dripping_head_is_closed(start: Callable[..., Any]) -> None:
    site = await start(FixedModules({}), HASTE)
    reader, writer = await site.connect()
    began = time.monotonic()
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\n" * 4:
        if reader.at_eof() or reader.exception():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.1)
    assert 0.3 < time.monotonic() - began < 3


async def test_an_idle_connection_is_closed(start: Callable[..., Any]) -> None:
    site = await start(FixedModules({}), HASTE)
    reader, writer = await site.connect()
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).endswith(b"ok\n")


async def test_a_full_house_says_so(start: Callable[..., Any]) -> None:
    site = await start(FixedModules({}), max_connections=2)
    kept = [await site.connect() for _ in range(2)]
    await asyncio.sleep(0.05)
    got = Got.parse(await site.raw(b""))
    assert (got.status, got.headers["retry-after"], got.body) == (503, "5", b"too many connections\n")
    for _, writer in kept:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.05)
    assert (await site.ask("/healthz")).status == 200


class Slow:
    """Modules that answer when told to."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.go_on = asyncio.Event()
        self.entered = asyncio.Event()
        self.done = 0
        self._answer = answer or Answer(stored(Artifact.INFO, INFO), immutable=True)

    async def answer(self, request: ProxyRequest) -> Answer:
        self.entered.set()
        await self.go_on.wait()
        self.done += 1
        return self._answer


async def test_work_goes_on_when_the_client_leaves(start: Callable[..., Any]) -> None:
    modules = Slow()
    site = await start(modules)
    _, writer = await site.connect()
    writer.write(f"GET {BASE}.info HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await modules.entered.wait()
    writer.transport.abort()
    await asyncio.sleep(0.05)
    modules.go_on.set()
    await _until(lambda: bool(site.lines()))
    assert modules.done == 1
    assert site.lines()[-1]["aborted"] is True


# --- the end ---


async def test_closing_lets_running_requests_end(start: Callable[..., Any]) -> None:
    modules = Slow()
    site = await start(modules)
    idle = await site.connect()
    running = asyncio.create_task(site.ask(f"{BASE}.info"))
    await modules.entered.wait()
    closing = asyncio.create_task(site.web.close(5))
    await asyncio.sleep(0.1)
    assert not closing.done()
    with pytest.raises(ConnectionRefusedError):
        await site.connect()
    modules.go_on.set()
    assert (await running).body == INFO
    await asyncio.wait_for(closing, 2)
    assert await idle[0].read() == b""


async def test_closing_tells_clients_not_to_come_back_on_the_same_connection(start: Callable[..., Any]) -> None:
    modules = Slow()
    site = await start(modules)
    reader, writer = await site.connect()
    writer.write(f"GET {BASE}.info HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await modules.entered.wait()
    closing = asyncio.create_task(site.web.close(5))
    await asyncio.sleep(0.05)
    modules.go_on.set()
    got = Got.parse(await reader.read())
    assert (got.headers["connection"], got.body) == ("close", INFO)
    await closing


async def test_closing_has_a_deadline(start: Callable[..., Any]) -> None:
    modules = Slow()
    site = await start(modules)
    reader, writer = await site.connect()
    writer.write(f"GET {BASE}.info HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await modules.entered.wait()
    began = time.monotonic()
    await site.web.close(0.3)
    assert 0.2 < time.monotonic() - began < 2
    assert await reader.read() == b""


async def test_work_that_is_cancelled_below_is_told_as_unavailable(start: Callable[..., Any]) -> None:
    class Cancelled:
        async def answer(self, request: ProxyRequest) -> Answer:
            raise asyncio.CancelledError

    site = await start(Cancelled())
    got = await site.ask(f"{BASE}.info")
    assert got.status == 503
    assert b"shutting down" in got.body


async def test_no_descriptor_stays_open(site: Site) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    await site.ask(f"{BASE}.zip")
    before = count()
    for _ in range(20):
        await site.ask(f"{BASE}.zip")
        await site.ask(f"{BASE}.zip", "HEAD")
        _, writer = await site.connect()
        writer.write(f"GET {BASE}.zip HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await writer.drain()
        writer.transport.abort()
    await _until(lambda: count() <= before + 1)


async def _connect_often(site: Site) -> None:
    for _ in range(500):
        await site.connect()


async def test_without_descriptors_it_recovers(site: Site) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
        with pytest.raises(OSError, match="Too many open files"):
            await _connect_often(site)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for writer in site.writers:
        await hang_up(writer)
    await asyncio.sleep(1.2)  # asyncio pauses accepting for a second
    assert (await site.ask("/healthz")).status == 200


async def test_it_does_not_start_with_the_lenient_parser(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.http_parser, "HttpRequestParser", aiohttp.http_parser.HttpRequestParserPy)
    with pytest.raises(errors.VCSProxyError, match="without its C parser"):
        serving.check_parser()
    with pytest.raises(errors.VCSProxyError):
        await start(FixedModules({}))
