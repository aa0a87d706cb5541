"""HTTP for workers: guarded connections, one trust a host, its proxy and certificates, and nothing ambient.

Built on urllib3, whose connections are opened through `guard.Guard`. Callers decide about redirects and statuses. A
credential goes only to a URL that its prefix covers, over TLS that was verified, and in a chain of redirects no further
than the first change of origin.
"""

from __future__ import annotations

import http.client
import ipaddress
import math
import re
import socket
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from vcsproxy import errors
from vcsproxy.access.prefix import DEFAULT_PORTS, Prefix
from vcsproxy.build.job import Access, Call, Called, Host
from vcsproxy.trace import note
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.httpwords import explain

_SCHEMES = ("https", "http")
_HEADER = re.compile(r"[\x21-\x7e]+\Z")


@lru_cache(maxsize=64)
def trust(ca: str) -> ssl.SSLContext:
    """A verifying TLS context: the system's authorities, or only those of a PEM file. It is shared: leave it alone."""
    return _context(ca)


def _context(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as err:
        raise errors.Unavailable(f"cannot read the authorities in {ca}: {err}") from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def trust_of(host: Host | None) -> ssl.SSLContext:
    """The TLS context for a host: its authorities, our certificate for it, or no verification where that is allowed."""
    if host is None or not (host.client_cert or host.insecure):
        return trust(host.ca if host else "")
    context = _context(host.ca)
    if host.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if host.client_cert:
        try:
            password = host.client_key_password.reveal() or _no_password
            context.load_cert_chain(host.client_cert, host.client_key or None, password)
        except (OSError, ssl.SSLError, ValueError) as err:
            reason = getattr(err, "strerror", None) or getattr(err, "reason", None) or "wrong password?"
            message = f"the client certificate for {host.name} cannot be used: {reason}"
            raise errors.Unavailable(message, "check client_cert, client_key and its password") from err
    return context


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal."""
    raise ValueError("the key needs a password")


class HttpClient:
    """Sends single requests for one job; connections are kept open between them. Close it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._pools: dict[tuple[str, str, int], HTTPConnectionPool] = {}
        self._told: set[str] = set()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def resume(self) -> None:
        """Tell the next job what the last one was told."""
        self._told.clear()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        access: Access | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request; the response's body is still to be read, and to be released or closed.

        access: what to say who we are, from `credential`. Raises HostUnreachable or UpstreamFailed for what goes wrong
        on the way, HostSilent for silence.
        """
        try:
            parts = urlsplit(url)
            given = parts.port
        except ValueError:
            raise errors.UpstreamFailed("cannot fetch a malformed URL") from None
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise errors.UpstreamFailed(
                f"cannot fetch {parts.scheme or 'a URL without scheme'}: only https and http are spoken"
            )
        self.check_plain(parts.scheme, parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        said = {**headers, **(_authorization(access, url) if access else {})}
        try:
            pool = self._pool(parts.scheme, parts.hostname, given or DEFAULT_PORTS[parts.scheme])
            if parts.scheme == "http" and pool.proxy is not None:
                target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
            return pool.urlopen(
                method, target, body, said, False, redirect=False, assert_same_host=False, preload_content=False
            )
        except urllib3.exceptions.HTTPError as err:
            raise explain(err, parts.hostname) from err
        except ValueError:  # from None: http.client repeats what it was given
            raise errors.UpstreamFailed(f"cannot send a request to {parts.hostname[:80]!r}") from None

    def credential(self, url: str) -> Access | None:
        """The credential to send to a URL, None if there is none. Raises Unavailable where it may not be sent."""
        access = self._guard.access(url)
        if access is None or access.kind == "agent":
            return None
        self.check_verified(url, f"the credential {access.name}")
        if access.name not in self._told:
            self._told.add(access.name)
            note("credential", f"{access.name} is sent to {Prefix.parse(access.url)}")
        return access

    def check_verified(self, url: str, what: str) -> None:
        """Raises Unavailable if anybody could be behind a URL, who must not see `what`."""
        where = Prefix.parse(url)
        host = self._guard.host(where.host)
        if where.scheme != "https" or (host is not None and host.insecure):
            hint = f'take insecure = true away from [[host]] name = "{where.host}"' if host else "use https"
            raise errors.Unavailable(f"{what} is not sent to {where.host}, which is not verified", hint)

    def check_plain(self, scheme: str, name: str) -> None:
        """Raises UpstreamFailed for http to a host that may not be asked in the clear."""
        host = self._guard.host(name)
        if scheme == "http" and not _is_loopback(name) and not (host is not None and host.insecure):
            hint = f'use https, or allow it: [[host]] name = "{name}", insecure = true'
            raise errors.UpstreamFailed(f"{name} is not asked over plain http", hint)

    def _pool(self, scheme: str, host: str, port: int) -> HTTPConnectionPool:
        key = (scheme, host, port)
        if key not in self._pools:
            rule = self._guard.host(host)
            options: dict[str, Any] = {
                "timeout": urllib3.Timeout(connect=self._guard.limits.connect, read=self._guard.limits.idle)
            }
            if scheme == "https":
                options["ssl_context"] = trust_of(rule)
            if rule is not None and rule.proxy:
                options |= self._proxy(rule.proxy)
                if scheme == "http":  # the proxy fetches it: the connection is one to the proxy
                    scheme, host, port = options["_proxy"][0], options["_proxy"].host, options["_proxy"].port
            kind: type[HTTPConnectionPool] = HTTPSConnectionPool if scheme == "https" else HTTPConnectionPool
            pool = kind(host, port, **options)
            pool.ConnectionCls = _guarded(scheme, self._guard)
            self._pools[key] = pool
        return self._pools[key]

    def _proxy(self, url: str) -> dict[str, Any]:
        """What a pool needs to know of the proxy; a credential for it has the prefix https://PROXY:PORT."""
        given = urllib3.util.parse_url(url)
        parts = given._replace(port=given.port or DEFAULT_PORTS[given.scheme or "http"])
        access = self._guard.access(f"https://{parts.host}:{parts.port}/")
        headers = {}
        if access is not None and access.kind == "basic":
            headers = urllib3.util.make_headers(proxy_basic_auth=_pair(access))
            note("credential", f"{access.name} is sent to the proxy {parts.host}:{parts.port}")
        note("host", f"through the proxy {parts.host}:{parts.port}")
        context = trust_of(self._guard.host(str(parts.host))) if parts.scheme == "https" else None
        config = urllib3._base_connection.ProxyConfig(context, False, None, None)
        return {"_proxy": parts, "_proxy_headers": headers, "_proxy_config": config}


def _authorization(access: Access, url: str) -> dict[str, str]:
    if not Prefix.parse(access.url).covers(url):
        return {}
    if access.kind == "bearer":
        if not _HEADER.match(access.secret.reveal()):
            hint = "is it the token alone, without spaces and line ends?"
            raise errors.AccessDenied(f"the token of the credential {access.name} cannot be sent", hint)
        return {"Authorization": f"Bearer {access.secret.reveal()}"}
    return {"Authorization": urllib3.util.make_headers(basic_auth=_pair(access))["authorization"]}


def _pair(access: Access) -> str:
    """User and password for urllib3, which encodes them as latin-1 where hosts expect UTF-8."""
    return f"{access.user}:{access.secret.reveal()}".encode().decode("latin-1")


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Whole(http.client.HTTPResponse):
    """A response whose head must end with its empty line, and not with the connection, as http.client allows.

    A page that was cut off there would be an empty one, and an empty page proves that there is no go-import tag.
    """

    def begin(self) -> None:
        fp = self.fp
        self.fp = _Lines(fp)  # type: ignore[assignment]  # all that is used of it while the head is read
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp = fp


class _Lines:
    def __init__(self, fp: BinaryIO) -> None:
        self._fp = fp
        self.close = fp.close

    def readline(self, limit: int = -1) -> bytes:
        line = self._fp.readline(limit)
        if not line.endswith(b"\n") and len(line) != limit:
            raise http.client.RemoteDisconnected("the head ended early")
        return line


def _guarded(scheme: str, guard: Guard) -> Any:
    base: type[HTTPConnection] = HTTPSConnection if scheme == "https" else HTTPConnection

    class Guarded(base):  # type: ignore[misc, valid-type]  # the base differs by scheme
        response_class = _Whole

        def _new_conn(self) -> socket.socket:
            return guard.dial(self.host, int(self.port))

        def connect(self) -> None:
            super().connect()
            # Only hosts with insecure = true get here unverified: the operator knows, a warning a request tells nobody.
            self.is_verified = True

    return Guarded


def call(task: Call) -> Called:
    """Send one request for the serving process; any status is an answer. Raises UpstreamFailed or DeadlineExceeded."""
    client = HttpClient(Guard(task.hosts, task.limits))
    client.check_verified(task.url, "a token")
    headers = {"Authorization": f"Bearer {task.bearer.reveal()}", "Accept": task.accept, "User-Agent": "vcsproxy"}
    host = urlsplit(task.url).hostname or ""
    try:
        response = client.send(task.method, task.url, headers, task.body or None)
        return Called(response.status, read_some(response, task.limits.page, host))
    finally:
        client.close()


def read_some(response: urllib3.BaseHTTPResponse, limit: int, host: str, until: float = math.inf) -> bytes:
    """The beginning of a body, `limit` bytes at most; the response is closed. until: by the monotonic clock."""
    body = bytearray()
    try:
        while len(body) < limit and (piece := response.read1(limit - len(body))):
            body += piece
            if time.monotonic() > until:
                raise errors.HostSilent(f"{host} takes too long to answer", "try again")
    except (urllib3.exceptions.HTTPError, OSError) as err:
        raise explain(err, host) from err
    finally:
        response.close()
    return bytes(body)
