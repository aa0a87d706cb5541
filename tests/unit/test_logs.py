"""Logs: one event is one line, whatever is in it, and no line holds a URL's user information."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from vcsproxy import logs

HOSTILE = "a\nb\r\x1b[31m\x00\x7f\x9b\u202e\u2066\u2028\u2029\u200f\ud800z"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def json_log(level: str = "info") -> tuple[Any, io.StringIO]:
    out = io.StringIO()
    logs.configure("json", level, out)  # type: ignore[arg-type]
    return structlog.get_logger(), out


def test_an_event_is_a_json_line_with_time_and_level() -> None:
    log, out = json_log()
    log.info("request", status=200, hit=True, seconds=0.5, none=None)
    (line,) = lines(out)
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {"event": "request", "level": "info", "status": 200, "hit": True, "seconds": 0.5, "none": None}


def test_json_where_there_is_no_terminal_and_words_where_there_is_one() -> None:
    out, terminal = io.StringIO(), Terminal()
    logs.configure("auto", "info", out)
    structlog.get_logger().info("hello")
    assert lines(out)[0]["event"] == "hello"
    logs.configure("auto", "info", terminal)
    structlog.get_logger().info("hello", path="/x")
    assert "hello" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert "{" not in terminal.getvalue()


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    out, terminal = io.StringIO(), Terminal()
    logs.configure("console", "info", out)
    structlog.get_logger().info("hello", path="/x")
    monkeypatch.setenv("NO_COLOR", "1")
    logs.configure("auto", "info", terminal)
    structlog.get_logger().info("hello", path="/x")
    assert "\x1b" not in out.getvalue() + terminal.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_hostile_text_stays_on_its_line(form: Any) -> None:
    out = io.StringIO()
    logs.configure(form, "info", out)
    structlog.get_logger().info(HOSTILE, path=HOSTILE, many=[HOSTILE, {HOSTILE: HOSTILE}], kind=Exception(HOSTILE))
    text = out.getvalue()
    assert text.count("\n") == 1
    assert all(c.isprintable() for c in text[:-1])
    assert not set(HOSTILE) & set(text[:-1]) - set("ab[31mz")


def test_user_information_of_urls_is_removed() -> None:
    log, out = json_log()
    log.info(
        "https://me:canary@a.example/x",
        url="ssh://canary@b.example",
        deep={"k": ["git+https://a:canary@c.example/p?q=canary2@x and http://canary@@d.example"]},
        error=ValueError("https://canary:x@e.example"),
    )
    assert "canary@" not in out.getvalue().replace("canary2@x", "")
    assert "me:" not in out.getvalue()
    assert lines(out)[0]["event"] == "https://****@a.example/x"
    assert lines(out)[0]["url"] == "ssh://****@b.example"


def test_an_exception_is_one_json_line_without_secrets() -> None:
    log, out = json_log()
    try:
        raise ValueError(f"https://u:canary@a.example {HOSTILE}")
    except ValueError:
        log.exception("unexpected")
    (line,) = lines(out)
    assert "Traceback" in line["exception"]
    assert "ValueError" in line["exception"]
    assert "canary@" not in out.getvalue()


def test_on_the_console_an_exception_has_lines_but_no_controls() -> None:
    out = io.StringIO()
    logs.configure("console", "info", out)
    try:
        raise ValueError("\x1b]0;evil\x07")
    except ValueError:
        structlog.get_logger().exception("unexpected")
    assert "Traceback" in out.getvalue()
    assert all(line.isprintable() for line in out.getvalue().split("\n"))


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("fields", [{"a": "x" * 200_000}, {"a": "\n" * 60_000}, {"a": ["é"] * 90_000},
                                    {f"k{n}": "y" * 900 for n in range(200)}])  # fmt: skip
def test_a_line_has_at_most_64_kib(form: Any, fields: dict[str, Any]) -> None:
    out = io.StringIO()
    logs.configure(form, "info", out)
    structlog.get_logger().info("large", **fields)
    assert len(out.getvalue().encode()) <= logs.MAX_LINE
    assert "large" in out.getvalue()
    assert "truncated" in out.getvalue()
    if form == "json":
        assert lines(out)[0]["level"] == "info"


def test_levels() -> None:
    log, out = json_log("warning")
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


def test_lines_of_logging_come_out_in_the_same_form_and_once() -> None:
    json_log()
    _, out = json_log()
    logging.getLogger("asyncio").warning("slow %s", "https://u:canary@x/\n")
    (line,) = lines(out)
    assert (line["event"], line["logger"], line["level"]) == ("slow https://****@x/\\n", "asyncio", "warning")


def test_a_closed_stream_is_no_error() -> None:
    log, out = json_log()
    out.close()
    log.info("nobody hears")


def test_printable_keeps_what_can_be_read() -> None:
    assert logs.printable("größe 世界") == "größe 世界"
    assert logs.printable("a\tb\x1b") == "a\\tb\\x1b"
