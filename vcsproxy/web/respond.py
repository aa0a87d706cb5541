"""What to answer, as values: the one table of errors, headers, conditional requests and ranges.

Pure: it writes to no socket and opens no file; `web/serving.py` sends what is decided here.

Source: RFC 9110 sections 13 (conditional requests) and 14 (ranges); specification sections 8.2, 8.6 and 8.7.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

from vcsproxy import errors
from vcsproxy.logs import printable, redact
from vcsproxy.mod.proxypath import Kind
from vcsproxy.store import Stored

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NO_STORE = "no-store"
IMMUTABLE = "public, max-age=31536000, immutable"
CHANGING = "public, max-age=60"
STALE = "Vcsproxy-Stale"  # seconds since the Git host was last asked: it cannot be asked now

BASE_HEADERS = {
    "Server": "vcsproxy",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
}

CONTENT_TYPES = {Kind.LIST: TEXT, Kind.LATEST: JSON, Kind.INFO: JSON, Kind.MOD: TEXT, Kind.ZIP: "application/zip"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One response. The body is `data`, or `count` bytes of `file` (of `size` bytes in all) from `start`.

    headers: without Content-Length. close: end the connection afterwards. hit: whether the store had it already, None
    where that means nothing. stale: seconds since the Git host was asked, if it could not be asked now. fresh: seconds
    for which a plain GET of the same path gets the same reply.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes = b""
    file: Path | None = None
    size: int = 0
    start: int = 0
    count: int = 0
    close: bool = False
    hit: bool | None = None
    stale: float = 0.0
    fresh: float = 0.0


# --- errors ---


@dataclass(frozen=True, slots=True)
class Rule:
    """How one class of errors is told. retry_after: seconds, 0 for no such header."""

    status: int
    cache: str = NO_STORE
    retry_after: int = 0


TABLE: dict[type[errors.VCSProxyError], Rule] = {
    errors.VCSProxyError: Rule(500),
    errors.InvalidRequest: Rule(400),
    errors.NotFound: Rule(404, "public, max-age=10"),
    errors.RepositoryNotFound: Rule(404, "public, max-age=10"),
    errors.HostUnknown: Rule(404, "public, max-age=10"),
    errors.NotSeeded: Rule(404, "public, max-age=10"),
    errors.Gone: Rule(410),
    errors.Denied: Rule(403),
    errors.Unauthenticated: Rule(401),
    errors.Forbidden: Rule(403),
    errors.Refused: Rule(422),
    errors.ModuleChanged: Rule(422),
    errors.SumMismatch: Rule(422),
    errors.Unavailable: Rule(503, retry_after=5),
    errors.UpstreamFailed: Rule(502),
    errors.AccessDenied: Rule(502),
    errors.HostUnreachable: Rule(502, retry_after=5),
    errors.HostBusy: Rule(503, retry_after=30),
    errors.HostPaused: Rule(502, retry_after=30),
    errors.Overloaded: Rule(503, retry_after=5),
    errors.DeadlineExceeded: Rule(504, retry_after=30),
    errors.HostSilent: Rule(504, retry_after=30),
    errors.Corrupt: Rule(500),
    errors.ConfigError: Rule(500),
}

_FOR_EVER = 3600.0  # seconds; what is kept for longer is looked at again now and then
_BRIEF = 1.0  # for which an answer that may change is given again unseen: newer refs may end its life at any time
_MAX_LINES = 8
_MAX_BYTES = 640
_MAX_DATE = 64


def rule_for(error: errors.VCSProxyError) -> Rule:
    """The table's entry for the nearest class."""
    return next(TABLE[cls] for cls in type(error).__mro__ if cls in TABLE)


def error_reply(error: errors.VCSProxyError, request_id: str, *, bad_request: int = 400) -> Reply:
    """A response that the `go` command prints to a developer. bad_request: the status of an InvalidRequest."""
    rule = rule_for(error)
    status = bad_request if rule.status == 400 else rule.status
    headers = {"Content-Type": TEXT, "Cache-Control": rule.cache}
    wait = math.ceil(getattr(error, "retry_after", 0.0)) or rule.retry_after
    if wait:
        headers["Retry-After"] = str(wait)
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="vcsproxy", charset="UTF-8"'
    return Reply(status, headers, error_body(status, error.message, error.hint, request_id))


def unexpected_reply(request_id: str) -> Reply:
    """A response that says nothing but where to look."""
    headers = {"Content-Type": TEXT, "Cache-Control": NO_STORE}
    return Reply(500, headers, error_body(500, "internal error", "the server's log has the details", request_id))


def error_body(status: int, message: str, hint: str, request_id: str) -> bytes:
    """One paragraph of graphic characters, at most 8 lines and 640 bytes, the last line whole.

    The `go` command shows nothing at all of a text with other characters, and stops at the first blank line.
    """
    if status == 404 and not message.startswith("not found:"):
        message = "not found: " + message
    text = redact(f"{message}\n{hint}").replace("\t", " ")
    lines = [printable(line) for line in text.splitlines() if line.strip()] or ["no reason given"]
    last = f"\n(request {request_id})\n" if status not in (404, 410) else "\n"
    room = _MAX_BYTES - len(last.encode())
    body = "\n".join(lines[: _MAX_LINES - last.count("\n") + 1]).encode()
    if len(body) > room:
        body = body[: room - 3].decode(errors="ignore").rstrip().encode() + b"..."
    return body + last.encode()


# --- success ---


@dataclass(frozen=True, slots=True)
class Asked:
    """The headers of a request that change what is sent, "" where absent; `get` is False for HEAD."""

    get: bool = True
    if_match: str = ""
    if_none_match: str = ""
    if_modified_since: str = ""
    if_unmodified_since: str = ""
    if_range: str = ""
    range: str = ""


PLAIN = Asked()
UNSATISFIABLE = (-1, -1)


def stored_reply(
    stored: Stored, kind: Kind, *, immutable: bool, asked: Asked = PLAIN,
    hit: bool | None = None, stale: float = 0.0, good: float = 0.0,
) -> Reply:  # fmt: skip
    """The response for bytes or a file of the store. stale: seconds since it was known to be true, if that matters.

    good: seconds for which an answer that may change will be the same.
    """
    reply = _stored_reply(stored, kind, immutable, asked)
    if stale:
        age = {STALE: str(math.ceil(stale)), "Cache-Control": NO_STORE}
        return replace(reply, headers={**reply.headers, **age}, hit=hit, stale=stale)
    fresh = 0.0 if asked is not PLAIN else _FOR_EVER if immutable else min(good, _BRIEF)
    return replace(reply, hit=hit, fresh=fresh)


def _stored_reply(stored: Stored, kind: Kind, immutable: bool, asked: Asked) -> Reply:
    headers = {
        "Content-Type": CONTENT_TYPES[kind],
        "Cache-Control": IMMUTABLE if immutable else CHANGING,
        "ETag": stored.etag,
        "Last-Modified": http_date(int(stored.mtime)),
        "Accept-Ranges": "bytes",
    }
    if asked is not PLAIN:
        status = precondition(stored.etag, int(stored.mtime), asked)
        if status == 304:
            del headers["Content-Type"], headers["Accept-Ranges"]
            return Reply(304, headers)
        if status == 412:
            return Reply(412, {"Content-Type": TEXT, "Cache-Control": NO_STORE}, b"precondition failed\n")
        wanted = _wanted_range(stored, asked)
        if wanted is UNSATISFIABLE:
            headers |= {"Content-Type": TEXT, "Cache-Control": NO_STORE, "Content-Range": f"bytes */{stored.size}"}
            return Reply(416, headers, b"range not satisfiable\n")
        if wanted is not None:
            headers["Content-Range"] = f"bytes {wanted[0]}-{wanted[1] - 1}/{stored.size}"
            return _body(206, headers, stored, *wanted)
    return _body(200, headers, stored, 0, stored.size)


def _body(status: int, headers: Mapping[str, str], stored: Stored, start: int, stop: int) -> Reply:
    if stored.data is not None:
        data = stored.data if stop - start == len(stored.data) else stored.data[start:stop]
        return Reply(status, headers, data)
    return Reply(status, headers, file=stored.file, size=stored.size, start=start, count=stop - start)


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """RFC 9110's fixed form of a date."""
    return formatdate(seconds, usegmt=True)


def _seconds(date: str) -> int | None:
    """Unix time of an HTTP date, None if it is none."""
    if len(date) > _MAX_DATE:
        return None
    try:
        when = parsedate_to_datetime(date)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


# --- conditional requests ---

_TAG = re.compile(r'[ \t]*+(?:(W/)?("[\x21\x23-\x7e\x80-\uffff]*+"))?[ \t]*+(?:,|$)')


def precondition(etag: str, mtime: int, asked: Asked) -> int:
    """200 to go on, 304 or 412, in RFC 9110's order (section 13.2.2)."""
    if asked.if_match:
        if not _matches(asked.if_match, etag, weak=False):
            return 412
    elif asked.if_unmodified_since:
        date = _seconds(asked.if_unmodified_since)
        if date is not None and mtime > date:
            return 412
    if asked.if_none_match:
        return 304 if _matches(asked.if_none_match, etag, weak=True) else 200
    if asked.if_modified_since:
        date = _seconds(asked.if_modified_since)
        if date is not None and mtime <= date:
            return 304
    return 200


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags, or `*`, has this strong one; a malformed list has what was read before."""
    if header.strip() == "*":
        return True
    at = 0
    while at < len(header):
        found = _TAG.match(header, at)
        if found is None:
            return False
        if found[2] == etag and (weak or not found[1]):
            return True
        at = found.end()
    return False


# --- ranges ---

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


def _wanted_range(stored: Stored, asked: Asked) -> tuple[int, int] | None:
    if not asked.range or not asked.get:
        return None
    if asked.if_range and not _same(asked.if_range.strip(), stored):
        return None
    return byte_range(asked.range, stored.size)


def _same(validator: str, stored: Stored) -> bool:
    """If-Range: the very same strong tag, or the very same date."""
    if validator.startswith(('"', "W/")):
        return validator == stored.etag
    return _seconds(validator) == int(stored.mtime)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of a single range, UNSATISFIABLE, or None for what is ignored: other units, several ranges."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        return (size - length, size) if length else UNSATISFIABLE
    start = int(found[1])
    last = int(found[2]) if found[2] else max(size - 1, start)
    if last < start:
        return None
    return (start, min(last + 1, size)) if start < size else UNSATISFIABLE


def text_reply(status: int, text: str, *, content_type: str = TEXT, **headers: str) -> Reply:
    """A short answer of our own that nobody may keep; keywords are headers with `_` for `-`."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"Content-Type": content_type, "Cache-Control": NO_STORE, **more}, text.encode())
