"""What a host's HTTP answers, and the failures on the way to them, mean: one error class and one cure each.

It sends nothing. No message repeats what a host sent, and none holds a secret.

Source: RFC 9110, 10.2.3 (Retry-After) and 15 (statuses).
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from email.utils import parsedate_to_datetime

import urllib3

from vcsproxy import errors
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Access

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")
_AGAIN = "try again; the server's operator can raise limits.idle"


def explain(err: Exception, host: str) -> errors.VCSProxyError:
    """An urllib3 error in one short sentence; it repeats nothing that a host sent."""
    cause = _cause(err)
    if isinstance(cause, errors.VCSProxyError):
        return cause
    if isinstance(err, urllib3.exceptions.ReadTimeoutError) or isinstance(cause, TimeoutError):
        return errors.HostSilent(f"{host} stopped answering", _AGAIN)
    if isinstance(cause, ssl.SSLError):
        return _tls_trouble(cause, host)
    if tunnel := _TUNNEL.match(str(cause)):
        return _proxy_trouble(int(tunnel[1]), host)
    if isinstance(cause, http.client.BadStatusLine | http.client.LineTooLong) and not isinstance(cause, OSError):
        return errors.UpstreamFailed(f"{host} does not speak HTTP", "is this the right port?")
    if isinstance(err, urllib3.exceptions.DecodeError | urllib3.exceptions.LocationParseError):
        return errors.UpstreamFailed(f"{host} sent something that makes no sense")
    why = cause.strerror if isinstance(cause, OSError) else None
    return errors.HostUnreachable(f"the connection to {host} broke: {why or 'it ended early'}", "try again")


def _cause(err: BaseException) -> BaseException:
    """What is below urllib3's wrapping."""
    while isinstance(err, urllib3.exceptions.HTTPError):
        inner = getattr(err, "reason", None) or err.__cause__ or err.__context__
        if not isinstance(inner, BaseException):
            break
        err = inner
    return err


def _tls_trouble(err: ssl.SSLError, host: str) -> errors.UpstreamFailed:
    if isinstance(err, ssl.SSLCertVerificationError):
        hint = f'if it has an authority of its own, name its file: [[host]] name = "{host}", ca = "FILE"'
        return errors.UpstreamFailed(f"the certificate of {host} is not trusted: {err.verify_message}", hint)
    why = (err.reason or "it broke off").replace("_", " ").lower()
    if "certificate required" in why or "handshake failure" in why:
        hint = f'if it wants a client certificate: [[host]] name = "{host}", client_cert = "FILE"'
        return errors.AccessDenied(f"TLS with {host} failed: {why}", hint)
    return errors.HostUnreachable(f"TLS with {host} failed: {why}", "does it speak https on this port?")


def _proxy_trouble(status: int, host: str) -> errors.UpstreamFailed:
    message = f"the proxy for {host} answered HTTP {status}"
    if status == 407:
        return errors.AccessDenied(message, 'add a [[credential]] with kind = "basic" and url = "https://PROXY:PORT"')
    if status == 403:
        return errors.AccessDenied(message, f"ask its operator to let this server reach {host}")
    return errors.HostUnreachable(message, "is the host up, and may the proxy reach it?")


def denied(status: int, url: str, access: Access | None) -> errors.AccessDenied:
    """What a 401 or 403 for a URL means, with the cure."""
    where = Prefix.parse(url)
    if access is None:
        hint = f'add a [[credential]] with url = "{Prefix(*where.origin, "")}/..." for somebody who may read it'
        return errors.AccessDenied(f"{where.host} needs a credential for {where} (HTTP {status})", hint)
    if status == 401:
        hint = f"the secret of {access.name} is wrong or has expired"
        return errors.AccessDenied(f"{where.host} refuses the credential {access.name} for {where} (HTTP 401)", hint)
    hint = "give it read access to the repository (GitHub: Contents, read-only)"
    message = f"{where.host} does not let the credential {access.name} read {where} (HTTP {status})"
    return errors.AccessDenied(message, hint)


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
