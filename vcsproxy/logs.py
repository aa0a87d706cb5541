"""Structured logs: one event, one line, whatever hostile text is in it.

For people on a terminal, JSON elsewhere. Control characters, bidirectional marks and line separators are escaped,
user information in URLs is removed, and a line is never longer than 64 KiB. It decides nothing about what is logged.
Lines of `logging` (asyncio, aiohttp) come out in the same form.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from vcsproxy.secret import Redactor, Secret

MAX_LINE = 64 << 10
_SHORT = 1000  # characters that are left of each text when a line is too long
_MAX_DEPTH = 4

_USERINFO = re.compile(r"://[^/?#\s]*@")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def printable(text: str) -> str:
    r"""Text for one line of a terminal or a log: what is not graphic becomes \n, \x1b, \u202e and the like."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


class _Hidden:
    """The secrets in use, asked for anew when their number changes; tokens are renewed while the server runs."""

    def __init__(self) -> None:
        self.current: Callable[[], tuple[Secret, ...]] = tuple
        self._last: tuple[Secret, ...] = ()
        self._redactor = Redactor()

    def __call__(self, text: str) -> str:
        secrets = self.current()
        if secrets is not self._last:
            self._last, self._redactor = secrets, Redactor(secrets)
        return self._redactor(text)


_hidden = _Hidden()


def hide(current: Callable[[], tuple[Secret, ...]]) -> None:
    """Take these secrets out of every text from now on; `current` gives the same tuple until one of them changes."""
    _hidden.current = current


def redact(text: str) -> str:
    """Text without the user information of the URLs in it, and without any secret in use."""
    text = _hidden(text)
    return _USERINFO.sub("://****@", text) if "@" in text and "://" in text else text


def configure(
    format: Literal["auto", "console", "json"] = "auto",  # noqa: A002 - the name of the setting
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> None:
    """Send every event of `level` and above to `stream` (default: standard error); may be called again."""
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    console = format == "console" or (format == "auto" and terminal)
    render = _console(terminal and not os.environ.get("NO_COLOR")) if console else _json
    processors: list[Callable[[WrappedLogger, str, EventDict], Any]] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _clean,
        _capped(render),
    ]
    lines = _Lines(out)
    _many.use(lines, as_json=not console, wanted=_LEVELS[level] <= logging.INFO)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [*(h for h in root.handlers if not isinstance(h, _Bridge)), _Bridge()]
    root.setLevel(max(logging.WARNING, _LEVELS[level]) if level != "debug" else logging.INFO)


class _Lines:
    """Writes lines; a closed pipe at the other end is no reason to fail a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


class _Many:
    """Events of one kind written together; each line is what the processors would have made of it."""

    def __init__(self) -> None:
        self._lines: _Lines | None = None
        self._as_json = False

    def use(self, lines: _Lines, *, as_json: bool, wanted: bool) -> None:
        self._lines, self._as_json = lines if wanted else None, as_json

    def write(self, events: Iterable[tuple[float, str, Alike]]) -> None:
        if self._lines is None:
            return
        if self._as_json:
            self._lines.msg("\n".join(alike.line(when, number) for when, number, alike in events))
        else:
            for _, number, alike in events:
                structlog.get_logger().info(id=number, **alike.fields)


class Alike:
    """Events of level info that differ only in their time and id; `fields` are the others, their texts clean already.

    Writing them costs a small part of what it costs to render each.
    """

    __slots__ = ("_after", "_before", "_between", "fields")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.fields = {"event": event, **fields}
        whole = _encode({"timestamp": "", "level": "info", "event": event, "id": "", **fields})
        self._before, _, rest = whole.partition('""')
        self._between, _, self._after = rest.partition('""')

    def line(self, when: float, number: str) -> str:
        """One event as JSON. when: seconds since 1970. number: its id."""
        second = int(when)
        stamp = f"{_second(second)}.{int((when - second) * 1e6):06d}Z"
        return f'{self._before}"{stamp}"{self._between}"{number}"{self._after}'


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


_many = _Many()


def write_many(events: Iterable[tuple[float, str, Alike]]) -> None:
    """Write events, each with its time in seconds since 1970 and its id."""
    _many.write(events)


class _Bridge(logging.Handler):
    """Hands records of `logging` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        name = record.levelname.lower() if record.levelname.lower() in _LEVELS else "error"
        log = structlog.get_logger()
        getattr(log, name)(record.getMessage(), logger=record.name, exc_info=record.exc_info or None)


# --- processors ---


def _clean(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if type(value) is str:
            event[key] = printable(redact(value)) if key != "exception" else _each_line(redact(value))
        elif value is not None and type(value) not in (int, float, bool):
            event[key] = _plain(value, _MAX_DEPTH)
    return event


def _each_line(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _plain(value: object, depth: int) -> object:
    """Only what JSON knows, cleaned."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, dict):
        return {printable(redact(str(key))): _plain(each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth - 1) for each in value]
    return printable(redact(str(value)))


_FIRST = ("timestamp", "level", "event")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return _encode({**dict.fromkeys(_FIRST), **event})


def _console(colors: bool) -> Callable[[WrappedLogger, str, EventDict], str]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=10, exception_formatter=structlog.dev.plain_traceback
    )
    return lambda logger, name, event: str(renderer(logger, name, event))


def _capped(render: Callable[[WrappedLogger, str, EventDict], str]) -> Callable[[WrappedLogger, str, EventDict], str]:
    """Keep lines below MAX_LINE bytes by shortening texts, then by dropping all but the event's name."""

    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        line = render(logger, name, dict(event))
        if _fits(line):
            return line
        short = {key: _shortened(value) for key, value in event.items()}
        line = render(logger, name, {**short, "truncated": True})
        if _fits(line):
            return line
        kept = {str(key): short[key] for key in _FIRST if key in short}
        return render(logger, name, {**kept, "truncated": True})

    return rendered


def _fits(line: str) -> bool:
    return len(line) < MAX_LINE // 4 or len(line.encode(errors="replace")) < MAX_LINE


def _shortened(value: object) -> object:
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= _SHORT else f"{text[:_SHORT]}... ({len(text)} characters)"
