"""Ready-made answers to plain GETs, written before aiohttp makes a request of them.

What is answered here was answered once by the ordinary road, as an immutable or still fresh reply with its bytes in
memory; the same bytes are sent again. Anything but a plain GET of such a path goes the ordinary road: a header that
could change the answer, a head in pieces, a second request behind the first. What a head may contain is decided once
for each distinct head, by its field names; a client sends the same one every time.

Every answer is logged as by the ordinary road, a batch at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from vcsproxy import logs
from vcsproxy.web.middleware import new_request_id
from vcsproxy.web.respond import BASE_HEADERS, Reply

_LARGEST = 64 << 10  # bytes of a body that is kept here
_MAX_HEADS = 1024
_LONGEST_HEAD = 4096
_OVERHEAD = 1200  # bytes that an entry costs beside its texts, roughly
# Fields that change nothing in what is answered to a GET; accept-encoding, because nothing is ever compressed.
_HARMLESS = frozenset(
    (b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"connection", b"cache-control",
     b"pragma", b"traceparent", b"tracestate", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"forwarded",
     b"via", b"x-request-id")
)  # fmt: skip
_FLUSH = 0.05  # seconds for which lines of the log are collected


@dataclass(frozen=True, slots=True)
class Hot:
    """One reply: its bytes around the Date field, and what the log says of it. `until`: of the monotonic clock."""

    before: bytes
    after: bytes
    until: float
    path: str
    size: int
    event: logs.Alike


class HotReplies:
    """Replies by raw path, bounded by bytes; the oldest go first. Belongs to one event loop."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = HotLog()
        self._limit = limit
        self._clock = clock
        self._size = 0
        self._replies: OrderedDict[bytes, Hot] = OrderedDict()
        self._heads: dict[bytes, bool] = {}
        self._date = b""
        self._second = 0
        self.closed = False

    def put(self, raw_path: str, reply: Reply) -> None:
        """Keep a reply to a plain GET for as long as it is fresh."""
        if reply.status != 200 or reply.file is not None or len(reply.data) > _LARGEST or reply.close:
            return
        key = raw_path.encode("ascii", "replace")
        self._drop(key)
        before, after = _head(reply)
        shown = logs.printable(logs.redact(raw_path))
        size = len(reply.data)
        hot = Hot(before, after + reply.data, self._clock() + reply.fresh, shown, size, _event(shown, size))
        self._replies[key] = hot
        self._size += _cost(key, hot)
        while self._size > self._limit:
            self._drop(next(iter(self._replies)))

    def clear(self) -> None:
        """Forget everything: the configuration has changed."""
        self._replies.clear()
        self._size = 0

    def _drop(self, key: bytes) -> None:
        old = self._replies.pop(key, None)
        if old is not None:
            self._size -= _cost(key, old)

    def answer(self, data: bytes) -> tuple[bytes, bytes, bytes] | None:
        """What to write for the bytes that a client has sent; None if that is for the ordinary road to say."""
        end = data.find(b" HTTP/1.1\r\n", 4, 2100)
        if end < 0 or self.closed:
            return None
        hot = self._replies.get(data[4:end])
        if hot is None or not self._is_plain(data[end + 11 :]) or not data.startswith(b"GET "):
            return None
        now = self._clock()
        if hot.until < now:
            self._drop(data[4:end])
            return None
        self.log.add(hot)
        return hot.before, self._date_line(), hot.after

    def _is_plain(self, head: bytes) -> bool:
        """Whether a head, from behind the request line to its end, is whole and changes nothing."""
        known = self._heads.get(head)
        if known is None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            known = len(head) <= _LONGEST_HEAD and is_plain_head(head)
            if len(head) <= _LONGEST_HEAD:
                self._heads[head] = known
        return known

    def _date_line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date


def is_plain_head(head: bytes) -> bool:
    """Whether header lines up to and with the blank one have only fields that do not change an answer, Host once."""
    lines = head.split(b"\r\n")
    if lines[-2:] != [b"", b""] or b"" in lines[:-2]:
        return False
    names = []
    for line in lines[:-2]:
        name, colon, value = line.partition(b":")
        lower = name.lower()
        if not colon or lower not in _HARMLESS or not _is_text(value):
            return False
        if lower == b"connection" and value.strip().lower() != b"keep-alive":
            return False
        names.append(lower)
    return names.count(b"host") == 1 and len(names) <= 64


def _is_text(value: bytes) -> bool:
    return value.isascii() and value.replace(b"\t", b" ").decode("ascii").isprintable()


def _head(reply: Reply) -> tuple[bytes, bytes]:
    """The head of a reply, up to and from behind the value of its Date field."""
    headers: Mapping[str, str] = {**BASE_HEADERS, **reply.headers, "Content-Length": str(len(reply.data))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}Date: ".encode(), b"\r\n\r\n"


def _cost(key: bytes, hot: Hot) -> int:
    return len(key) + len(hot.before) + len(hot.after) + len(hot.path) + _OVERHEAD


class HotLog:
    """Lines of the log for hot answers, written together a few times a second."""

    def __init__(self) -> None:
        self._answers: list[tuple[float, Hot]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, hot: Hot) -> None:
        self._answers.append((time.time(), hot))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH, self.flush)

    def flush(self) -> None:
        """Write what has been collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answers:
            answers, self._answers = self._answers, []
            logs.write_many((when, new_request_id(), hot.event) for when, hot in answers)


def _event(path: str, size: int) -> logs.Alike:
    """What the ordinary road logs of a request; it took no time worth a digit."""
    fields = {"method": "GET", "path": path, "status": 200, "bytes": size, "seconds": 0.0, "hit": True}
    return logs.Alike("request", fields)
