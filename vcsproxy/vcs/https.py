"""HTTP for workers: guarded connections, one trust a host, its proxy and certificates, and nothing ambient.

Built on urllib3, whose connections are opened through `guard.Guard`. Callers decide about redirects and statuses. A
credential goes only to a URL that its prefix covers, over TLS that was verified, and in a chain of redirects no further
than the first change of origin.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from vcsproxy import errors
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Access, Call, Called, Host
from vcsproxy.trace import note
from vcsproxy.vcs.guard import Guard

_SCHEMES = ("https", "http")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@lru_cache(maxsize=64)
def trust(ca: str) -> ssl.SSLContext:
    """A verifying TLS context: the system's authorities, or only those of a PEM file."""
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
    context = ssl.create_default_context(cafile=host.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

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
        self._check_plain(parts.scheme, parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pool = self._pool(parts.scheme, parts.hostname, given or (443 if parts.scheme == "https" else 80))
        if parts.scheme == "http" and pool.proxy is not None:
            target = url
        try:
            return pool.urlopen(
                method,
                target,
                body=body,
                headers={**headers, **(_authorization(access, url) if access else {})},
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as err:
            raise explain(err, parts.hostname) from err

    def credential(self, url: str) -> Access | None:
        """The credential to send to a URL, None if there is none. Raises Unavailable where it may not be sent."""
        access = self._guard.access(url)
        if access is None or access.kind == "agent":
            return None
        host = self._guard.host(Prefix.parse(url).host)
        if not url.startswith("https://") or (host is not None and host.insecure):
            raise errors.Unavailable(f"the credential {access.name} is not sent to a host that is not verified")
        note("credential", f"{access.name} is sent to {Prefix.parse(access.url)}")
        return access

    def _check_plain(self, scheme: str, name: str) -> None:
        host = self._guard.host(name)
        if scheme == "http" and name not in _LOOPBACK and not (host is not None and host.insecure):
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
            kind: type[HTTPConnectionPool] = HTTPSConnectionPool if scheme == "https" else HTTPConnectionPool
            if rule is not None and rule.proxy:
                options |= self._proxy(rule.proxy)
            pool = kind(host, port, **options)
            pool.ConnectionCls = _guarded(scheme, self._guard)
            self._pools[key] = pool
        return self._pools[key]

    def _proxy(self, url: str) -> dict[str, Any]:
        """What a pool needs to know of the proxy; a credential for it has the prefix https://PROXY:PORT."""
        parts = urllib3.util.parse_url(url)
        access = self._guard.access(f"https://{parts.host}:{parts.port}/")
        headers = {}
        if access is not None and access.kind == "basic":
            headers = urllib3.util.make_headers(proxy_basic_auth=f"{access.user}:{access.secret.reveal()}")
        note("host", f"through the proxy {parts.host}:{parts.port}")
        context = trust_of(self._guard.host(str(parts.host))) if parts.scheme == "https" else None
        config = urllib3._base_connection.ProxyConfig(context, False, None, None)
        return {"_proxy": parts, "_proxy_headers": headers, "_proxy_config": config}


def _authorization(access: Access, url: str) -> dict[str, str]:
    if not Prefix.parse(access.url).covers(url):
        return {}
    if access.kind == "bearer":
        return {"Authorization": f"Bearer {access.secret.reveal()}"}
    # urllib3 encodes it as latin-1, hosts expect UTF-8.
    pair = f"{access.user}:{access.secret.reveal()}".encode().decode("latin-1")
    return {"Authorization": urllib3.util.make_headers(basic_auth=pair)["authorization"]}


def _guarded(scheme: str, guard: Guard) -> Any:
    base: type[HTTPConnection] = HTTPSConnection if scheme == "https" else HTTPConnection

    class Guarded(base):  # type: ignore[misc, valid-type]  # the base differs by scheme
        def _new_conn(self) -> socket.socket:
            return guard.dial(self.host, int(self.port))

    return Guarded


def explain(err: Exception, host: str) -> errors.VCSProxyError:
    """An urllib3 error in one short sentence."""
    if isinstance(err, urllib3.exceptions.ReadTimeoutError):
        return errors.HostSilent(f"{host} stopped answering", "try again; the server's operator can raise limits.idle")
    cause: BaseException = err
    while isinstance(cause, urllib3.exceptions.HTTPError):
        inner = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if isinstance(cause, errors.VCSProxyError):
        return cause
    if isinstance(cause, TimeoutError):
        return errors.HostSilent(f"{host} stopped answering", "try again; the server's operator can raise limits.idle")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return errors.UpstreamFailed(
            f"the certificate of {host} is not trusted: {cause.verify_message}",
            f'if it has an authority of its own, name its file: [[host]] name = "{host}", ca = "FILE"',
        )
    if isinstance(cause, ssl.SSLError):
        why = (cause.reason or str(cause)).replace("_", " ").lower()
        return errors.HostUnreachable(f"TLS with {host} failed: {why}", "does it speak https on this port?")
    why = getattr(cause, "strerror", None) or str(cause)
    return errors.HostUnreachable(f"the connection to {host} failed: {why}", "is the host up? try again")


def denied(status: int, url: str, access: Access | None) -> errors.AccessDenied:
    """What a 401 or 403 for a URL means, with the cure."""
    where = Prefix.parse(url)
    if access is None:
        hint = f'add a [[credential]] with url = "{where.scheme}://{where.host}", for somebody who may read it'
        return errors.AccessDenied(f"{where.host} wants a credential for {where} (HTTP {status})", hint)
    if status == 401:
        hint = f"the secret of the credential {access.name} is wrong or has expired"
        return errors.AccessDenied(f"{where.host} refuses the credential {access.name} for {where} (HTTP 401)", hint)
    hint = "give it read access to the repository (for a GitHub token: the scope repo, or Contents: read-only)"
    return errors.AccessDenied(
        f"{where.host} knows the credential {access.name}, which may not read {where} (HTTP {status})", hint
    )


def busy(response: urllib3.BaseHTTPResponse, host: str) -> errors.HostBusy | None:
    """Whether a status asks for patience, and for how long."""
    given = response.headers.get("Retry-After", "")
    if response.status != 429 and not (response.status == 503 and given):
        return None
    seconds = _seconds(given)
    message = f"{host} asks for patience (HTTP {response.status})"
    return errors.HostBusy(message, f"it is asked again in {seconds:.0f} s", seconds)


def _seconds(given: str) -> float:
    """Retry-After in seconds, between a second and an hour; a minute if it says nothing that can be read."""
    if given.isascii() and given.isdigit() and len(given) < 9:
        return min(max(float(given), 1.0), 3600.0)
    try:
        when = parsedate_to_datetime(given).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 60.0
    return min(max(when - time.time(), 1.0), 3600.0)


def call(task: Call) -> Called:
    """Send one request for the serving process; any status is an answer. Raises UpstreamFailed or DeadlineExceeded."""
    client = HttpClient(Guard(task.hosts, task.limits))
    headers = {"Authorization": f"Bearer {task.bearer.reveal()}", "Accept": task.accept, "User-Agent": "vcsproxy"}
    host = urlsplit(task.url).hostname or ""
    try:
        response = client.send(task.method, task.url, headers, task.body or None)
        return Called(response.status, read_some(response, task.limits.page, host))
    finally:
        client.close()


def read_some(response: urllib3.BaseHTTPResponse, limit: int, host: str) -> bytes:
    """The beginning of a body, `limit` bytes at most; the response is closed."""
    body = bytearray()
    try:
        while len(body) < limit and (piece := response.read1(limit - len(body))):
            body += piece
    except (urllib3.exceptions.HTTPError, OSError) as err:
        raise explain(err, host) from err
    finally:
        response.close()
    return bytes(body)
