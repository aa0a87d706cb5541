"""HTTP for workers: guarded connections, one trust store a host, no redirects, no proxies, nothing ambient.

Built on urllib3, whose connections are opened through `guard.Guard`. Callers decide about redirects and statuses.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from vcsproxy import errors
from vcsproxy.build.job import Call, Called
from vcsproxy.vcs.guard import Guard

_SCHEMES = ("https", "http")


@lru_cache(maxsize=64)
def trust(ca: str) -> ssl.SSLContext:
    """A verifying TLS context: the system's authorities, or only those of a PEM file."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as err:
        raise errors.Unavailable(f"cannot read the authorities in {ca}: {err}") from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class HttpClient:
    """Sends single requests for one job; connections are kept open between them. Close it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._pools: dict[tuple[str, str, int], HTTPConnectionPool] = {}

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request; the response's body is still to be read, and to be released or closed.

        Raises UpstreamFailed for what goes wrong on the way, DeadlineExceeded for silence.
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
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pool = self._pool(parts.scheme, parts.hostname, given or (443 if parts.scheme == "https" else 80))
        try:
            return pool.urlopen(
                method, target, body=body, headers=headers, redirect=False, retries=False, preload_content=False
            )
        except urllib3.exceptions.HTTPError as err:
            raise explain(err, parts.hostname) from err

    def _pool(self, scheme: str, host: str, port: int) -> HTTPConnectionPool:
        key = (scheme, host, port)
        if key not in self._pools:
            timeout = urllib3.Timeout(connect=self._guard.limits.connect, read=self._guard.limits.idle)
            if scheme == "https":
                rule = self._guard.host(host)
                context = trust(rule.ca if rule else "")
                pool: HTTPConnectionPool = HTTPSConnectionPool(host, port, timeout=timeout, ssl_context=context)
            else:
                pool = HTTPConnectionPool(host, port, timeout=timeout)
            pool.ConnectionCls = _guarded(scheme, self._guard)
            self._pools[key] = pool
        return self._pools[key]


def _guarded(scheme: str, guard: Guard) -> Any:
    base: type[HTTPConnection] = HTTPSConnection if scheme == "https" else HTTPConnection

    class Guarded(base):  # type: ignore[misc, valid-type]  # the base differs by scheme
        def _new_conn(self) -> socket.socket:
            return guard.dial(self.host, int(self.port))

    return Guarded


def explain(err: Exception, host: str) -> errors.VCSProxyError:
    """An urllib3 error in one short sentence."""
    if isinstance(err, urllib3.exceptions.ReadTimeoutError):
        return errors.DeadlineExceeded(
            f"{host} stopped answering", "try again; the server's operator can raise limits.idle"
        )
    cause: BaseException = err
    while isinstance(cause, urllib3.exceptions.HTTPError):
        inner = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if isinstance(cause, errors.VCSProxyError):
        return cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        return errors.UpstreamFailed(
            f"the certificate of {host} is not trusted: {cause.verify_message}",
            'if it has an authority of its own, name it: [[host]] ca = "FILE"',
        )
    if isinstance(cause, ssl.SSLError):
        why = (cause.reason or str(cause)).replace("_", " ").lower()
        return errors.UpstreamFailed(f"TLS with {host} failed: {why}", "does it speak https on this port?")
    return errors.UpstreamFailed(f"the connection to {host} failed: {getattr(cause, 'strerror', None) or cause}")


def call(task: Call) -> Called:
    """Send one request for the serving process; any status is an answer. Raises UpstreamFailed or DeadlineExceeded."""
    guard = Guard(task.hosts, task.limits)
    client = HttpClient(guard)
    headers = {"Authorization": f"Bearer {task.bearer.reveal()}", "Accept": task.accept, "User-Agent": "vcsproxy"}
    try:
        response = client.send(task.method, task.url, headers, task.body or None)
        body = response.read(task.limits.page)
        return Called(response.status, body)
    finally:
        client.close()
