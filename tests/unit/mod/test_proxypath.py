"""proxypath: raw URL paths to requests."""

from __future__ import annotations

import pytest

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod.proxypath import Kind, ProxyRequest, parse


@pytest.mark.parametrize(
    ("raw", "request_"),
    [
        ("/a.com/x/@v/list", ProxyRequest(Kind.LIST, "a.com/x")),
        ("a.com/x/@v/list", ProxyRequest(Kind.LIST, "a.com/x")),
        ("/a.com/x/@latest", ProxyRequest(Kind.LATEST, "a.com/x")),
        ("/a.com/x/@v/v1.0.0.info", ProxyRequest(Kind.INFO, "a.com/x", "v1.0.0")),
        ("/a.com/x/@v/v1.0.0.mod", ProxyRequest(Kind.MOD, "a.com/x", "v1.0.0")),
        ("/a.com/x/@v/v1.0.0.zip", ProxyRequest(Kind.ZIP, "a.com/x", "v1.0.0")),
        ("/github.com/!azure/x/@v/list", ProxyRequest(Kind.LIST, "github.com/Azure/x")),
        ("/github.com/%21azure/x/@v/list", ProxyRequest(Kind.LIST, "github.com/Azure/x")),
        ("/a.com/x/@v/v1.0.0-%21r%21c1.info", ProxyRequest(Kind.INFO, "a.com/x", "v1.0.0-RC1")),
        ("/a.com/x/v2/@v/v2.0.0+incompatible.zip", ProxyRequest(Kind.ZIP, "a.com/x/v2", "v2.0.0+incompatible")),
        ("/a.com/x/@v/v2.0.0%2Bincompatible.zip", ProxyRequest(Kind.ZIP, "a.com/x", "v2.0.0+incompatible")),
        ("/a.com/x/@v/main.info", ProxyRequest(Kind.INFO, "a.com/x", "main")),
        ("/a.com/x/@v/a%20b.info", ProxyRequest(Kind.INFO, "a.com/x", "a b")),
        ("/a.com/x/@v/list.info", ProxyRequest(Kind.INFO, "a.com/x", "list")),
        ("/a.com/x/@v/latest.info", ProxyRequest(Kind.INFO, "a.com/x", "latest")),
        ("/a.com/x/@v/v1.info.mod.zip", ProxyRequest(Kind.ZIP, "a.com/x", "v1.info.mod")),
        ("/a%2ecom/x/%40v/%6cist", ProxyRequest(Kind.LIST, "a.com/x")),
    ],
)
def test_requests(raw: str, request_: ProxyRequest) -> None:
    assert parse(raw) == request_


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("/github.com/Azure/x/@v/list", "invalid escaped module path"),
        ("/a.com/!!x/@v/list", "invalid escaped module path"),
        ("/a.com/x!/@v/list", "invalid escaped module path"),
        ("/a.com/x/@v/v1.0.0-RC1.info", "invalid escaped version"),
        ("/a.com/x/@v/v1.0.0-!!.info", "invalid escaped version"),
        ("/a.com/x/@v/.info", "invalid escaped version"),
        ("/a.com/x/@v/con.info", "invalid escaped version"),
        ("/a.com/x/@v/v1.0.0", "unknown kind of file"),
        ("/a.com/x/@v/v1.0.0.ziphash", "unknown kind of file"),
        ("/a.com/x/@v/", "unknown kind of file"),
        ("/a.com/x/@v/LIST", "unknown kind of file"),
        ("/a.com/x/@v", "a version in a proxy request cannot contain a slash"),
        ("/a.com/x/@v/feature/x.info", "a version in a proxy request cannot contain a slash"),
        ("/a.com/@v/x/@v/list", "invalid escaped module path"),
        ("/a.com/x/@v/@latest", "invalid escaped module path"),
        ("/@v/list", "invalid escaped module path"),
        ("/@latest", "invalid escaped module path"),
        ("//a.com/x/@v/list", "invalid escaped module path"),
        ("/a.com//x/@v/list", "invalid escaped module path"),
        ("/../a.com/x/@v/list", "invalid escaped module path"),
        ("/a.com/x/../y/@v/list", "invalid escaped module path"),
        ("/a.com/%2e%2e/y/@v/list", "invalid escaped module path"),
        ("/a.com/%252e/y/@v/list", "invalid escaped module path"),
        ("/a.com/x/@latest/", "not a module proxy request"),
        ("/a.com/x", "not a module proxy request"),
        ("/", "not a module proxy request"),
        ("", "not a module proxy request"),
        ("/a.com/x%2f@v/list", "encoded slash or control character"),
        ("/a.com/x%2F%40v%2Flist", "encoded slash or control character"),
        ("/a.com/x/@v/v1.0.0%00.info", "encoded slash or control character"),
        ("/a.com/x/@v/v1%0d%0a.info", "encoded slash or control character"),
        ("/a.com/x%7f/@v/list", "encoded slash or control character"),
        ("/a.com/x\n/@v/list", "encoded slash or control character"),
        ("/a.com/%ff/@v/list", "request path is not valid UTF-8"),
        ("/a.com/%c0%af/@v/list", "request path is not valid UTF-8"),
        ("/a.com/%/@v/list", "malformed percent-encoding"),
        ("/a.com/%2/@v/list", "malformed percent-encoding"),
        ("/a.com/%u0041/@v/list", "malformed percent-encoding"),
        ("/a.com/é/@v/list", "invalid escaped module path"),
        ("/a.com/\udcff/@v/list", "invalid escaped module path"),
        ("/a.com/%c3%a9/@v/list", "invalid escaped module path"),
        ("/a.com/" + "x" * 5_000_000 + "/@v/list", "request path is too long"),
        ("/a.com/" + "x" * 1020 + "/@v/list", "module path is longer than 1024 bytes"),
        ("/a.com/x/@v/" + "x" * 257 + ".info", "version is longer than 256 bytes"),
    ],
)
def test_refusals(raw: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(raw)
    assert caught.value.message.startswith(reason)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "version",
    [
        "-x",
        "--output=x",
        "-",
        "a..b",
        "v1.0.0..v2.0.0",
        "%40%7b1}",
        "@{u}",
        "main@{1}",
        "a:b",
        ":x",
        "%2fx",
        "..",
        "a%3ab",
    ],
)
def test_versions_that_git_could_misread(version: str) -> None:
    """T2: refused before anything is asked of a repository."""
    with pytest.raises(InvalidRequest):
        parse(f"/a.com/x/@v/{version}.info")


def test_the_longest() -> None:
    path, version = "a.com/" + "x" * 1018, "v" * 256
    assert parse(f"/{path}/@v/{version}.info") == ProxyRequest(Kind.INFO, path, version)
    escaped = "a.com/" + "%21x" * 1018
    assert parse(f"/{escaped}/@v/" + "%21v" * 256 + ".info").version == "V" * 256
