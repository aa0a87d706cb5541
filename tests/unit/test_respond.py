"""Replies as values: the table of errors, error texts, conditional requests and ranges."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcsproxy import errors
from vcsproxy.mod.proxypath import Kind
from vcsproxy.store import Kind as Artifact
from vcsproxy.store import Stored
from vcsproxy.web import respond
from vcsproxy.web.respond import UNSATISFIABLE, Asked, byte_range, error_body, error_reply, precondition, stored_reply

MTIME = 1_700_000_000.7
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"
LATER = "Tue, 14 Nov 2023 22:13:21 GMT"
ETAG = '"abc"'


# --- errors ---


def tree(cls: type[errors.VCSProxyError] = errors.VCSProxyError) -> Iterator[type[errors.VCSProxyError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


EXPECTED = {
    "VCSProxyError": (500, "no-store", None),
    "InvalidRequest": (400, "no-store", None),
    "NotFound": (404, "public, max-age=10", None),
    "Gone": (410, "no-store", None),
    "Denied": (403, "no-store", None),
    "Unauthenticated": (401, "no-store", None),
    "Forbidden": (403, "no-store", None),
    "Refused": (422, "no-store", None),
    "ModuleChanged": (422, "no-store", None),
    "SumMismatch": (422, "no-store", None),
    "Unavailable": (503, "no-store", "5"),
    "UpstreamFailed": (502, "no-store", None),
    "AccessDenied": (502, "no-store", None),
    "HostUnreachable": (502, "no-store", "5"),
    "HostBusy": (503, "no-store", "30"),
    "HostPaused": (502, "no-store", "30"),
    "HostSilent": (504, "no-store", "30"),
    "RepositoryNotFound": (404, "public, max-age=10", None),
    "HostUnknown": (404, "public, max-age=10", None),
    "NotSeeded": (404, "public, max-age=10", None),
    "Overloaded": (503, "no-store", "5"),
    "DeadlineExceeded": (504, "no-store", "30"),
    "Corrupt": (500, "no-store", None),
    "ConfigError": (500, "no-store", None),
}


def make(cls: type[errors.VCSProxyError]) -> errors.VCSProxyError:
    return cls(["fault"]) if cls is errors.ConfigError else cls("what failed", "what to do")


@pytest.mark.parametrize("cls", list(tree()), ids=lambda cls: cls.__name__)
def test_every_class_of_the_tree_has_its_own_row(cls: type[errors.VCSProxyError]) -> None:
    assert cls in respond.TABLE
    reply = error_reply(make(cls), "id-1")
    found = (reply.status, reply.headers["Cache-Control"], reply.headers.get("Retry-After"))
    assert found == EXPECTED[cls.__name__]
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_wait_that_the_host_asked_for_is_passed_on() -> None:
    assert error_reply(errors.HostBusy("429", retry_after=99.2), "id").headers["Retry-After"] == "100"


def test_a_stale_answer_says_so_and_is_not_kept() -> None:
    reply = stored_reply(stored(), Kind.LIST, immutable=False, stale=7.5)
    assert (reply.headers["Vcsproxy-Stale"], reply.headers["Cache-Control"]) == ("8", "no-store")
    assert (reply.stale, reply.fresh) == (7.5, 0.0)


def test_a_class_that_nobody_knows_is_told_like_its_parent() -> None:
    class Moved(errors.ModuleChanged):
        pass

    assert error_reply(Moved("x"), "id").status == 422


def test_only_proven_absence_is_404() -> None:
    not_found = {cls for cls, rule in respond.TABLE.items() if rule.status in (404, 410)}
    assert not_found == {errors.NotFound, errors.RepositoryNotFound, errors.HostUnknown, errors.NotSeeded, errors.Gone}


def test_module_routes_tell_a_bad_request_as_404_that_is_not_kept() -> None:
    reply = error_reply(errors.InvalidRequest("bad escape"), "id", bad_request=404)
    assert (reply.status, reply.headers["Cache-Control"]) == (404, "no-store")
    assert reply.data == b"not found: bad escape\n"


def test_error_texts() -> None:
    assert error_body(404, "m@v1: unknown revision v1", "", "id") == b"not found: m@v1: unknown revision v1\n"
    assert error_body(404, "not found: x", "", "id") == b"not found: x\n"
    assert error_body(422, "too large", "raise limits.pack", "id") == b"too large\nraise limits.pack\n(request id)\n"
    assert error_body(502, "host is down", "ask again", "id-7") == b"host is down\nask again\n(request id-7)\n"


@pytest.mark.parametrize("status", [404, 422, 503])
@pytest.mark.parametrize(
    "message",
    [
        "x" * 5000,
        "é" * 5000,
        "世界\n" * 300,
        "\n\n a\n\n\nb \n",
        "a\r\nb\x85c\u2028d",
        "\x1b[2J\x00\u202e\ud800",
        "",
        "\t",
    ],
)
def test_an_error_text_is_one_short_paragraph_that_go_prints(status: int, message: str) -> None:
    body = error_body(status, message, message, "id-1")
    text = body.decode()
    assert len(body) <= 640
    assert text.endswith("\n")
    assert 1 <= text.count("\n") <= 8
    assert all(c.isprintable() or c == "\n" for c in text)
    assert all(line.strip() for line in text[:-1].split("\n"))
    assert ("(request id-1)" in text) == (status != 404)


# --- success ---


def stored(data: bytes | None = b"0123456789", file: Path | None = None) -> Stored:
    return Stored(Artifact.ZIP, 10, MTIME, ETAG, "", data, file)


def test_headers_of_what_never_changes() -> None:
    assert dict(stored_reply(stored(), Kind.ZIP, immutable=True).headers) == {
        "Content-Type": "application/zip",
        "Cache-Control": "public, max-age=31536000, immutable",
        "ETag": ETAG,
        "Last-Modified": DATE,
        "Accept-Ranges": "bytes",
    }


def test_what_may_change_is_kept_for_a_minute() -> None:
    assert stored_reply(stored(), Kind.LIST, immutable=False).headers["Cache-Control"] == "public, max-age=60"


def test_content_types() -> None:
    types = {kind: stored_reply(stored(), kind, immutable=True).headers["Content-Type"] for kind in Kind}
    text, json = "text/plain; charset=utf-8", "application/json"
    assert types == {
        Kind.LIST: text, Kind.MOD: text, Kind.INFO: json, Kind.LATEST: json, Kind.ZIP: "application/zip"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (Asked(), 200),
        (Asked(if_none_match=ETAG), 304),
        (Asked(if_none_match='W/"abc"'), 304),
        (Asked(if_none_match='"x", "abc"'), 304),
        (Asked(if_none_match='"x",W/"abc" , "y"'), 304),
        (Asked(if_none_match=' ,, "a,bc",\t"abc"'), 304),
        (Asked(if_none_match="*"), 304),
        (Asked(if_none_match='"x"'), 200),
        (Asked(if_none_match='"ab'), 200),
        (Asked(if_none_match="abc"), 200),
        (Asked(if_none_match='w/"abc"'), 200),
        (Asked(if_modified_since=DATE), 304),
        (Asked(if_modified_since=LATER), 304),
        (Asked(if_modified_since="Tuesday, 14-Nov-23 22:13:20 GMT"), 304),
        (Asked(if_modified_since="Tue Nov 14 22:13:20 2023"), 304),
        (Asked(if_modified_since=EARLIER), 200),
        (Asked(if_modified_since="yesterday"), 200),
        (Asked(if_modified_since="Tue, 99 Nov 2023 99:13:20 GMT"), 200),
        (Asked(if_modified_since="9" * 8000), 200),
        (Asked(if_none_match='"x"', if_modified_since=DATE), 200),
        (Asked(if_none_match=ETAG, if_modified_since=EARLIER), 304),
        (Asked(if_match=ETAG), 200),
        (Asked(if_match="*"), 200),
        (Asked(if_match='"x"'), 412),
        (Asked(if_match='W/"abc"'), 412),
        (Asked(if_match='"x"', if_none_match=ETAG), 412),
        (Asked(if_match=ETAG, if_unmodified_since=EARLIER), 200),
        (Asked(if_unmodified_since=DATE), 200),
        (Asked(if_unmodified_since=EARLIER), 412),
        (Asked(if_unmodified_since="never"), 200),
    ],
    ids=repr,
)
def test_conditions(asked: Asked, status: int) -> None:
    assert precondition(ETAG, int(MTIME), asked) == status
    assert stored_reply(stored(), Kind.MOD, immutable=True, asked=asked).status == status


def test_304_tells_what_is_still_true_and_no_more() -> None:
    reply = stored_reply(stored(), Kind.MOD, immutable=True, asked=Asked(if_none_match="*"), hit=True)
    assert set(reply.headers) == {"ETag", "Cache-Control", "Last-Modified"}
    assert (reply.data, reply.hit) == (b"", True)


@pytest.mark.parametrize("header", ['"' * 8000, "," * 8000, " " * 8000, '"a",' * 2000, 'W/ "' * 2000, " ,\t" * 2700])
def test_conditions_take_linear_time(header: str) -> None:
    start = time.perf_counter()
    precondition(ETAG, 0, Asked(if_none_match=header))
    byte_range(f"bytes={header}", 10)
    assert time.perf_counter() - start < 0.1


# --- ranges ---


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=9-99", (9, 10)),
        ("BYTES=0-9", (0, 10)),
        ("bytes= 1-2 ", (1, 3)),
        ("bytes=10-", UNSATISFIABLE),
        ("bytes=10-12", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1, 0-1", None),
        ("bytes=4-2", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=٣-4", None),
        ("items=0-1", None),
        ("bytes", None),
        ("", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


def test_a_range_of_nothing_cannot_be_satisfied() -> None:
    assert byte_range("bytes=0-", 0) == byte_range("bytes=-1", 0) == UNSATISFIABLE


def test_a_part_of_bytes_and_of_a_file() -> None:
    asked = Asked(range="bytes=2-4")
    part = stored_reply(stored(), Kind.ZIP, immutable=True, asked=asked)
    assert (part.status, part.data, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    part = stored_reply(stored(None, Path("x")), Kind.ZIP, immutable=True, asked=asked)
    assert (part.status, part.file, part.start, part.count, part.size) == (206, Path("x"), 2, 3, 10)
    assert part.headers["ETag"] == ETAG


def test_416_says_how_much_there_is() -> None:
    reply = stored_reply(stored(), Kind.ZIP, immutable=True, asked=Asked(range="bytes=10-"))
    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */10")
    assert reply.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(rb"[ -~]+\n", reply.data)


@pytest.mark.parametrize(
    ("if_range", "status"),
    [(ETAG, 206), (DATE, 206), ('"x"', 200), ('W/"abc"', 200), (EARLIER, 200), (LATER, 200), ("nonsense", 200)],
)
def test_if_range(if_range: str, status: int) -> None:
    asked = Asked(range="bytes=0-0", if_range=if_range)
    assert stored_reply(stored(), Kind.ZIP, immutable=True, asked=asked).status == status


def test_conditions_come_before_ranges() -> None:
    asked = Asked(range="bytes=0-0", if_none_match=ETAG)
    assert stored_reply(stored(), Kind.ZIP, immutable=True, asked=asked).status == 304


def test_head_knows_no_ranges() -> None:
    asked = Asked(get=False, range="bytes=0-0")
    assert stored_reply(stored(), Kind.ZIP, immutable=True, asked=asked).status == 200
