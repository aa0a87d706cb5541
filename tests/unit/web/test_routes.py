"""Routes, methods, raw paths and error texts, over real sockets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.web.conftest import DATE, INFO, PATH, ZIP, Got, Site
from vcsproxy import errors
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.trace import Step
from vcsproxy.web.modules import FixedModules

BASE = "/github.com/!azure/x"


# --- pages ---


async def test_the_front_page_says_how_to_point_go_here(site: Site) -> None:
    got = await site.ask("/")
    assert got.status == 200
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert b"export GOPROXY=http://proxy.test\n" in got.body


async def test_the_front_page_repeats_no_odd_host(site: Site) -> None:
    got = Got.parse(await site.raw(b"GET / HTTP/1.1\r\nHost: <script>\r\nConnection: close\r\n\r\n"))
    assert b"script" not in got.body
    assert b"export GOPROXY=http://HOST:PORT\n" in got.body


async def test_health(site: Site) -> None:
    assert ((await site.ask("/healthz")).status, (await site.ask("/readyz")).status) == (200, 200)
    site.ready[0] = "shutting down"
    got = await site.ask("/readyz")
    assert (got.status, got.body, got.headers["retry-after"]) == (503, b"not ready: shutting down\n", "5")
    assert (await site.ask("/healthz")).status == 200


async def test_version(site: Site) -> None:
    got = await site.ask("/version")
    assert got.headers["content-type"] == "application/json"
    found = json.loads(got.body)
    assert set(found) == {"version", "python", "aiohttp", "dulwich"}
    assert all(found.values())


@pytest.mark.parametrize("path", ["/healthz/", "/Healthz", "/%68ealthz", "//", "//healthz", "/healthz/../version"])
async def test_pages_have_one_spelling(site: Site, path: str) -> None:
    assert (await site.ask(path)).status == 404


# --- methods and bodies ---


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/healthz", f"{BASE}/@v/list"])
async def test_other_methods(site: Site, method: str, path: str) -> None:
    got = await site.ask(path, method)
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")
    assert site.modules.asked == []


async def test_options_of_the_whole_server_and_connect(site: Site) -> None:
    assert (await site.ask("*", "OPTIONS")).status == 405
    assert (await site.ask("github.com:443", "CONNECT")).status in (400, 405)


BODIES = [
    b"Content-Length: 3\r\n\r\nabc",
    b"Content-Length: 3\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"Content-Length: 99999999999\r\n\r\nabc",
    b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    b"Content-Encoding: gzip\r\nContent-Length: 10210\r\n\r\n" + gzip.compress(bytes(10 << 20))[:10210],
]


@pytest.mark.parametrize("rest", BODIES, ids=lambda rest: rest[:30].decode("latin-1"))
async def test_a_body_is_refused_and_the_connection_ends(site: Site, rest: bytes) -> None:
    got = Got.parse(await site.raw(f"GET {BASE}/@v/list HTTP/1.1\r\nHost: x\r\n".encode() + rest))
    assert (got.status, got.headers["connection"]) == (413, "close")
    assert site.modules.asked == []


async def test_a_post_with_a_body_is_no_request_after_it(site: Site) -> None:
    smuggled = f"GET {BASE}/@v/list HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    data = await site.raw(head + smuggled)
    assert data.count(b"HTTP/1.1 ") == 1
    assert site.modules.asked == []


# --- what is no HTTP ---

MALFORMED = [
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(200)) + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x1b[31m",
    b"<script> / HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("request_", MALFORMED, ids=lambda request: repr(request[:20]))
async def test_what_is_no_http_gets_400_and_nothing_of_it_back(site: Site, request_: bytes) -> None:
    got = Got.parse(await site.raw(request_))
    assert (got.status, got.body) == (400, b"malformed HTTP request\n")
    assert got.headers["server"] == "vcsproxy"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert site.lines()[-1]["status"] == 400


# --- raw paths ---


@pytest.mark.parametrize("path", [BASE, "/github.com/%21azure/x", "/github%2Ecom/%21azure/%78", "/github.com/!azure/x"])
async def test_one_module_many_spellings_one_question(site: Site, path: str) -> None:
    for file in ("v1.0.0.info", "%761.0.0.inf%6f"):
        got = await site.ask(f"{path}/@v/{file}")
        assert (got.status, got.body) == (200, INFO)
        assert site.modules.asked.pop() == ProxyRequest(Kind.INFO, PATH, "v1.0.0")


async def test_an_absolute_target(site: Site) -> None:
    assert (await site.ask(f"http://other.test{BASE}/@v/v1.0.0.info")).body == INFO


async def test_plus_stays_plus(site: Site) -> None:
    await site.ask(f"{BASE}/@v/v2.0.0+incompatible.info")
    await site.ask(f"{BASE}/@v/v2.0.0%2bincompatible.info")
    assert site.modules.asked == [ProxyRequest(Kind.INFO, PATH, "v2.0.0+incompatible")] * 2


ODD = [
    "/", "/github.com", "/github.com/", BASE, f"{BASE}/", f"{BASE}/@v", f"{BASE}/@v/", f"{BASE}/@latest/",
    f"{BASE}/@v/v1.0.0", f"{BASE}/@v/v1.0.0.zip/", f"{BASE}/@v/v1.0.0.exe", f"{BASE}/@v/.info", f"{BASE}/@v/a/b.info",
    f"{BASE}//@v/list", f"/{BASE}/@v/list", f"{BASE}/./@v/list", f"{BASE}/../x/@v/list", f"{BASE}/%2e%2e/x/@v/list",
    "/..%2f..%2fetc/passwd/@v/list", f"{BASE}%2f@v%2flist", f"{BASE}/@v%2flist", f"{BASE}/@v/%2e%2e.info",
    f"{BASE}/@v/a%2fb.info", f"{BASE}/@v/a%5cb.info", f"{BASE}/@v/a%00b.info", f"{BASE}/%00/@v/list",
    f"{BASE}/%0a/@v/list", f"{BASE}/@v/a%0d%0ab.info", "/github.com/Azure/x/@v/list", "/github.com/%41zure/x/@v/list",
    "/github.com/%2541zure/x/@v/list", "/github.com/!Azure/x/@v/list", "/github.com/!/x/@v/list",
    "/github.com/x!/@v/list",
    "/github.com/%zz/x/@v/list", "/github.com/x%/@v/list", "/github.com/%c3%28/x/@v/list", "/github.com/%ff/@v/list",
    "/github.com/gr%c3%bc%c3%9fe/@v/list", "/github.com/a b/@v/list".replace(" ", "%20"), f"{BASE}/@v/-x.info",
    f"{BASE}/@v/--upload-pack=x.info", f"{BASE}/@v/HEAD@%7b1%7d.info", f"{BASE}/@v/:%2fx.info", f"{BASE}/@v/a..b.info",
    "/con/@v/list", "/-x.example/@v/list", "/a.example/" + "x" * 3000 + "/@v/list", f"{BASE}/@v/list;x",
     "/favicon.ico", "/robots.txt", "/.well-known/x", "/C:/Windows/@v/list",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD[1:])
async def test_odd_paths_are_404_with_a_reason_and_reach_no_module(site: Site, path: str) -> None:
    got = await site.ask(path)
    assert got.status == 404, got.body
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["cache-control"] == "no-store"
    text = got.body.decode()
    assert text.startswith("not found: ")
    assert all(c.isprintable() or c == "\n" for c in text)
    assert site.modules.asked == []


async def test_a_query_string_is_404(site: Site) -> None:
    got = await site.ask(f"{BASE}?go-get=1")
    assert got.status == 404
    assert b"go-import" in got.body
    for query in ("?x=1", "?go-get=1&x", "?%00"):
        assert (await site.ask(f"{BASE}/@v/list{query}")).status == 404
    assert site.modules.asked == []
    assert "go-get" not in site.log.getvalue()
    assert (await site.ask(f"{BASE}/@v/list?")).status == 200


# --- success and errors ---


async def test_every_response_has_the_security_headers_and_no_server_version(site: Site) -> None:
    for path in ("/", f"{BASE}/@v/v1.0.0.zip", f"{BASE}/@v/v9.info", "/x"):
        headers = (await site.ask(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["server"] == "vcsproxy"


@pytest.mark.parametrize(
    ("file", "content_type", "immutable"),
    [
        ("@v/list", "text/plain; charset=utf-8", False),
        ("@latest", "application/json", False),
        ("@v/main.info", "application/json", False),
        ("@v/v1.0.0.info", "application/json", True),
        ("@v/v1.0.0.mod", "text/plain; charset=utf-8", True),
        ("@v/v1.0.0.zip", "application/zip", True),
    ],
)
async def test_success(site: Site, file: str, content_type: str, immutable: bool) -> None:
    got = await site.ask(f"{BASE}/{file}")
    cache = "public, max-age=31536000, immutable" if immutable else "public, max-age=60"
    assert (got.status, got.headers["content-type"], got.headers["cache-control"]) == (200, content_type, cache)
    assert got.headers["last-modified"] == DATE
    assert got.headers["accept-ranges"] == "bytes"
    assert int(got.headers["content-length"]) == len(got.body)
    assert "transfer-encoding" not in got.headers


async def test_a_zip_comes_whole(site: Site) -> None:
    assert (await site.ask(f"{BASE}/@v/v1.0.0.zip")).body == ZIP


@pytest.mark.parametrize(
    "file", ["@v/list", "@latest", "@v/v1.0.0.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip", "@v/v9.mod", "x"]
)
async def test_head_is_get_without_the_body(site: Site, file: str) -> None:
    get, head = await site.ask(f"{BASE}/{file}"), await site.ask(f"{BASE}/{file}", "HEAD")
    assert (head.status, head.body) == (get.status, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


async def test_many_requests_on_one_connection(site: Site) -> None:
    one = f"GET {BASE}/@v/v1.0.0.info HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    zip_ = f"GET {BASE}/@v/v1.0.0.zip HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = f"GET {BASE}/@v/v1.0.0.mod HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    data = await site.raw(one * 3 + zip_ + one + last)
    assert data.count(b"HTTP/1.1 200 OK") == 6
    assert data.count(INFO) == 4
    assert data.count(ZIP) == 1


async def test_http_1_0(site: Site) -> None:
    got = Got.parse(await site.raw(f"GET {BASE}/@v/v1.0.0.zip HTTP/1.0\r\n\r\n".encode()))
    assert (got.version, got.status, got.body) == ("HTTP/1.0", 200, ZIP)


ERRORS = [
    (errors.NotFound("github.com/Azure/x@v9: unknown revision v9"), 404),
    (errors.InvalidRequest("bad query"), 404),
    (errors.Gone("withdrawn"), 410),
    (errors.Forbidden("no"), 403),
    (errors.ModuleChanged("changed", "the first bytes stay"), 422),
    (errors.UpstreamFailed("host is down", "ask again"), 502),
    (errors.Overloaded("too many"), 503),
    (errors.DeadlineExceeded("slow"), 504),
    (errors.Corrupt("broken"), 500),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda value: type(value).__name__)
async def test_errors_of_modules(start: Callable[..., Any], error: errors.VCSProxyError, status: int) -> None:
    site: Site = await start(FixedModules({ProxyRequest(Kind.ZIP, PATH, "v9"): error}))
    got = await site.ask(f"{BASE}/@v/v9.zip")
    assert got.status == status
    assert error.message in got.body.decode()
    assert error.hint in got.body.decode()
    (line,) = site.lines()
    assert line["status"] == status
    assert (f"(request {line['id']})" in got.body.decode()) == (status not in (404, 410))
    assert ("error" in line) == (not isinstance(error, errors.InvalidRequest))


async def test_a_failed_request_tells_its_steps_in_the_log_and_not_to_the_client(start: Callable[..., Any]) -> None:
    error = errors.AccessDenied("refused")
    error.steps = (Step(0.25, "refs", "3 tags of \x1b[31mteam"),)
    site: Site = await start(FixedModules({ProxyRequest(Kind.LIST, PATH): error}))
    got = await site.ask(f"{BASE}/@v/list")
    (line,) = site.lines()
    assert "3 tags" in line["explain"][0]
    assert "\x1b" not in line["explain"][0]
    assert b"3 tags" not in got.body


async def test_a_bug_shows_nothing_but_an_id_whose_traceback_is_in_the_log(start: Callable[..., Any]) -> None:
    site: Site = await start(FixedModules({ProxyRequest(Kind.LIST, PATH): ZeroDivisionError("secret detail")}))
    got = await site.ask(f"{BASE}/@v/list")
    (line,), (trace,) = site.lines(), site.lines("unexpected")
    assert (got.status, line["status"]) == (500, 500)
    assert got.body.decode() == f"internal error\nthe server's log has the details\n(request {line['id']})\n"
    assert trace["id"] == line["id"]
    assert "ZeroDivisionError: secret detail" in trace["exception"]


async def test_one_line_a_request_without_queries_and_credentials(site: Site) -> None:
    await site.ask(f"{BASE}/@v/v1.0.0.info?token=canary", Authorization="Basic canary", Cookie="canary")
    await site.ask(f"http://user:canary@x{BASE}/@v/v1.0.0.info")
    await site.ask(f"{BASE}/@v/v1.0.0.zip")
    await site.ask("/a%1b%0a\xe2\x80\xae/@v/list")
    assert "canary" not in site.log.getvalue()
    lines = site.lines()
    assert [line["status"] for line in lines][2] == 200
    assert len(lines) == 4 == len({line["id"] for line in lines})
    assert lines[2]["path"] == f"{BASE}/@v/v1.0.0.zip"
    assert (lines[2]["method"], lines[2]["bytes"], lines[2]["hit"]) == ("GET", len(ZIP), True)
    assert 0 < lines[2]["seconds"] < 5
