"""What is answered before aiohttp sees it is, byte for byte, what the ordinary road answers; and it is logged as well."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.web.conftest import PATH, Site
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.web.hot import HotReplies, is_plain_head
from vcsproxy.web.modules import FixedModules
from vcsproxy.web.respond import Reply

INFO = b"/github.com/!azure/x/@v/v1.0.0.info"
LIST = b"/github.com/!azure/x/@v/list"
GO = b"Host: proxy.test\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"
PLAIN = b"GET " + INFO + b" HTTP/1.1\r\n" + GO
LAST = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
_CHANGING = re.compile(rb"\r\nDate: [^\r]*|\(request [^)]*\)")


async def talk(site: Site, *chunks: bytes, warm: bool = True) -> bytes:
    """All that a connection gets for chunks sent one after the other, without what changes with time."""
    reader, writer = await site.connect()
    got = b""
    for chunk in (*((PLAIN, PLAIN) if warm else ()), *chunks):
        writer.write(chunk)
        await asyncio.sleep(0.01)
    try:
        async with asyncio.timeout(0.15):
            while piece := await reader.read(65536):
                got += piece
    except (TimeoutError, ConnectionError):
        got += b"<open>"
    return _CHANGING.sub(b"", got)


async def sites(start: Callable[..., Any], answers: dict[ProxyRequest, Any]) -> tuple[Site, Site]:
    """One server that keeps hot replies and one that keeps none."""
    return await start(FixedModules(answers)), await start(FixedModules(answers), hot_bytes=0)


async def test_a_plain_get_is_answered_again_without_asking(start: Callable[..., Any], answers: dict[Any, Any]) -> None:
    hot, cold = await sites(start, answers)
    assert await talk(hot, PLAIN, PLAIN, LAST) == await talk(cold, PLAIN, PLAIN, LAST)
    assert len(cold.modules.asked) == 4
    assert len(hot.modules.asked) == 1


ODD = {
    "conditional": [b"GET " + INFO + b' HTTP/1.1\r\nHost: h\r\nIf-None-Match: ".info-etag"\r\n\r\n'],
    "range": [b"GET " + INFO + b" HTTP/1.1\r\nHost: h\r\nRange: bytes=0-3\r\n\r\n"],
    "only cached": [b"GET " + INFO + b" HTTP/1.1\r\nHost: h\r\nDisable-Module-Fetch: true\r\n\r\n"],
    "authorization": [b"GET " + INFO + b" HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eDp5\r\n\r\n"],
    "query": [b"GET " + INFO + b"?x=1 HTTP/1.1\r\n" + GO],
    "encoded": [b"GET " + INFO.replace(b"!", b"%21") + b" HTTP/1.1\r\n" + GO],
    "other path": [b"GET " + LIST + b" HTTP/1.1\r\n" + GO],
    "head": [b"HEAD " + INFO + b" HTTP/1.1\r\n" + GO],
    "post": [b"POST " + INFO + b" HTTP/1.1\r\n" + GO],
    "lower case method": [b"get " + INFO + b" HTTP/1.1\r\n" + GO],
    "HTTP/1.0": [b"GET " + INFO + b" HTTP/1.0\r\n" + GO],
    "HTTP/1.2": [b"GET " + INFO + b" HTTP/1.2\r\n" + GO],
    "close": [b"GET " + INFO + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"],
    "no host": [b"GET " + INFO + b" HTTP/1.1\r\nUser-Agent: x\r\n\r\n"],
    "two hosts": [b"GET " + INFO + b" HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
    "folded": [b"GET " + INFO + b" HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"],
    "blank in a name": [b"GET " + INFO + b" HTTP/1.1\r\nHost : a\r\n\r\n"],
    "control in a value": [b"GET " + INFO + b" HTTP/1.1\r\nHost: a\r\nAccept: \0\r\n\r\n"],
    "bare newlines": [b"GET " + INFO + b" HTTP/1.1\nHost: a\n\n"],
    "two at once": [PLAIN + PLAIN],
    "three, the middle one odd": [PLAIN + b"GET " + LIST + b" HTTP/1.1\r\n" + GO + PLAIN],
    "in pieces": [PLAIN[:20], PLAIN[20:60], PLAIN[60:]],
    "pieces that look whole": [b"GET /healthz HTTP/1.1\r\nHost: h\r\nAccept: ", PLAIN],
    "a body that looks like a request": [
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(PLAIN), PLAIN,
    ],
    "a chunked body that looks like a request": [
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"%x\r\n" % len(PLAIN), PLAIN, b"\r\n0\r\n\r\n",
    ],
    "a body that was announced behind a whole request": [
        PLAIN + b"POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(PLAIN), PLAIN,
    ],
    "upgrade": [b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", PLAIN],
    "garbage": [b"\x16\x03\x01\x02", PLAIN],
    "absolute": [b"GET http://h" + INFO + b" HTTP/1.1\r\n" + GO],
    "long head": [b"GET " + INFO + b" HTTP/1.1\r\nHost: h\r\nAccept: " + b"a" * 5000 + b"\r\n\r\n"],
}  # fmt: skip


@pytest.mark.parametrize("chunks", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("then", [b"", PLAIN], ids=["", "then a plain one"])
async def test_whatever_is_sent_gets_what_the_ordinary_road_gives(
    start: Callable[..., Any], answers: dict[Any, Any], chunks: list[bytes], then: bytes
) -> None:
    hot, cold = await sites(start, answers)
    after = (then, LAST) if then else ()
    ours, theirs = await asyncio.gather(talk(hot, *chunks, *after), talk(cold, *chunks, *after))
    assert ours == theirs


async def test_every_hot_answer_is_a_line_of_the_log(start: Callable[..., Any], answers: dict[Any, Any]) -> None:
    site: Site = await start(FixedModules(answers))
    await talk(site, PLAIN, PLAIN, PLAIN)
    await asyncio.sleep(0.1)
    lines = site.lines()
    assert len(lines) == 5
    assert len({line["id"] for line in lines}) == 5
    first, last = lines[0], lines[-1]
    assert set(first) == set(last)
    for key in ("level", "event", "method", "path", "status", "bytes", "hit"):
        assert first[key] == last[key], key
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"]) for line in lines)


async def test_after_a_change_of_the_configuration_all_are_asked_for_again(
    start: Callable[..., Any], answers: dict[Any, Any]
) -> None:
    site: Site = await start(FixedModules(answers))
    await talk(site, PLAIN)
    asked = len(site.modules.asked)
    site.web.forget()
    await talk(site, warm=True)
    assert len(site.modules.asked) > asked


async def test_what_may_change_is_not_kept(start: Callable[..., Any], answers: dict[Any, Any]) -> None:
    site: Site = await start(FixedModules(answers))
    request = b"GET " + LIST + b" HTTP/1.1\r\n" + GO
    await talk(site, request, request, request, warm=False)
    assert site.modules.asked == [ProxyRequest(Kind.LIST, PATH)] * 3


async def test_a_client_that_reads_nothing_cannot_make_answers_pile_up(
    start: Callable[..., Any], answers: dict[Any, Any]
) -> None:
    site: Site = await start(FixedModules(answers))
    _, writer = await site.connect()
    for _ in range(20_000):
        writer.write(PLAIN)
        if writer.transport.get_write_buffer_size() > 1 << 20:
            break
        await asyncio.sleep(0)
    (connection,) = site.web._listener._inside  # type: ignore[union-attr]  # what the server holds for it
    assert connection._wire is not None
    assert connection._wire.get_write_buffer_size() < 256 << 10


def test_replies_are_bounded_by_bytes() -> None:
    hot = HotReplies(100_000)
    for n in range(1000):
        hot.put(f"/x/@v/v1.0.{n}.info", Reply(200, {}, b"x" * 1000, fresh=60.0))
    assert hot._size <= 100_000
    assert 30 < len(hot._replies) < 100


async def test_a_reply_is_given_again_while_it_is_fresh() -> None:
    now = 0.0
    hot = HotReplies(100_000, lambda: now)
    hot.put("/x/@v/list", Reply(200, {}, b"v1.0.0\n", fresh=10.0))
    request = b"GET /x/@v/list HTTP/1.1\r\nHost: h\r\n\r\n"
    assert hot.answer(request) is not None
    now = 11.0
    assert hot.answer(request) is None


@pytest.mark.parametrize(
    ("head", "plain"),
    [
        (GO, True),
        (b"Host: h\r\n\r\n", True),
        (b"host: h\r\nCONNECTION: Keep-Alive\r\n\r\n", True),
        (b"Host: h\r\n", False),
        (b"Host: h\r\n\r\n\r\n", False),
        (b"\r\n", False),
        (b"Host: h\r\nX-Unknown: 1\r\n\r\n", False),
        (b"Host: h\r\nAccept: \x7f\r\n\r\n", False),
        (b"Host: h\r\nAccept: \xff\r\n\r\n", False),
        (b"Host: h\r\nAccept\r\n\r\n", False),
    ],
)
def test_plain_heads(head: bytes, plain: bool) -> None:
    assert is_plain_head(head) is plain
