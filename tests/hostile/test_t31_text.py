"""T31: text of hosts, repositories and clients reaches logs, answers and terminals only in a harmless form."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import hostile
from tests.support.arena import Arena, arena
from tests.support.gotool import GoTool
from tests.support.rawhttp import RawClient
from tests.support.toxgit import GREETING, Tox, head_of, raw, redirect, refs_of, side_band
from tests.support.vanity import Vanity, vanity
from vcsproxy.vcs.pktline import Special, encode

ESC = b"\x1b[31m\x1b]0;pwned\x07"
TRICKS = ESC + "\u202egpj\u2028\u0085\x9b2J\u200f\ufeff\u2066".encode() + b"\xff\xfe\r\x00\x08"
LINES = TRICKS + b"\nsecond: forged\n" + b"\n".join(b"line %d" % n for n in range(50)) + b"\n" + b"x" * 2000

PACK, TOP = hostile.repository(hostile.PLAIN)
HONEST = Tox.of(TOP, PACK)


def of_files(files: dict[bytes, bytes], message: bytes = b"m") -> Tox:
    data, head = hostile.repository(files, message=message)
    return Tox.of(head, data)


def no_newline(text: bytes) -> bytes:
    """For places where a line, or a name in a tree, would end."""
    return text.translate(bytes.maketrans(b"\n\r\0", b"   "))


# Each host tells its tricks in another place.
HOSTS: dict[str, Tox] = {
    "tags": Tox(refs_of({b"HEAD": TOP, b"refs/heads/main": TOP, b"refs/tags/v1.0.0" + ESC: TOP, b"refs/tags/" + no_newline(TRICKS): TOP,
                         b"refs/tags/v1.1.0": TOP, b"refs/tags/../../v1.2.0": TOP, "refs/tags/v1.3.0\u202e".encode(): TOP}), HONEST.fetch),
    "heads": Tox(refs_of({b"HEAD": TOP, b"refs/heads/" + no_newline(TRICKS): TOP, b"refs/heads/" + b"x" * 5000: TOP}), HONEST.fetch),
    "gomod": of_files({b"go.mod": b"module " + no_newline(TRICKS) + b"/x\n"}),
    "quoted": of_files({b"go.mod": b'module "evil.test/' + ESC + "\u202e".encode() + b'"\n'}),
    "syntax": of_files({b"go.mod": b"module syntax.test/x\n" + LINES}),
    "files": of_files({b"a\n" + ESC: b"x", no_newline(TRICKS): b"x", **{b"bad:%d" % n + ESC: b"x" for n in range(50)}, **hostile.PLAIN}),
    "message": of_files(hostile.PLAIN, message=LINES),
    "err": Tox(greet=encode(b"ERR " + LINES[:4000])),
    "errrefs": Tox(refs=encode(b"ERR " + LINES[:4000])),
    "band": Tox(HONEST.refs, encode(b"packfile\n", b"\3" + LINES[:4000], Special.FLUSH)),
    "progress": Tox(HONEST.refs, encode(b"packfile\n", b"\2" + LINES[:4000]) + side_band(PACK)[13:]),
    "section": Tox(HONEST.refs, encode(no_newline(TRICKS) + b"\n", Special.FLUSH)),
    "shallow": Tox(HONEST.refs, encode(b"shallow-info\n", no_newline(TRICKS) + b"\n", Special.DELIM)),
    "hash": Tox(refs=encode(no_newline(TRICKS) + b" refs/heads/main\n", Special.FLUSH)),
    "format": Tox(greet=encode(b"version 2\n", b"object-format=" + no_newline(TRICKS) + b"\n", Special.FLUSH)),
    "kind": Tox(greet=raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/" + ESC + b"\r\nContent-Length: 0\r\n\r\n")),
    "reason": Tox(greet=raw(b"HTTP/1.1 500 " + ESC + b"\r\nContent-Length: 0\r\n\r\n")),
    "status": Tox(greet=raw(b"HTTP/1.1 " + ESC + b"\r\n\r\n")),
    "header": Tox(refs=raw(lambda handler: head_of(handler, 4, "X: " + ESC.decode("latin-1")) + b"0000")),
    "location": Tox(greet=redirect("http://evil.test/\x1b[31m\u0085")),
    "garbage": Tox(refs=TRICKS * 10),
    "greeting": Tox(greet=GREETING[:9] + TRICKS),
}  # fmt: skip
PAGES = {
    "prefix": b"<meta name=go-import content='meta.test/" + ESC + b" git https://git.test/x'>",
    "root": b'<meta name="go-import" content="meta.test/root git https://git.test/' + ESC + "\u202e".encode() + b'">',
    "vcs": b'<meta name="go-import" content="meta.test/vcs \xe2\x80\xaegit https://git.test/x">',
    "subdir": b'<meta name="go-import" content="meta.test/subdir git https://git.test/x -\xe2\x80\xae">',
    "xml": b'<meta name="go-import" content="a&' + ESC + b';"><' + TRICKS,
    "host": '<meta name="go-import" content="meta.test/host git https://\u202eev\u200fil.test/x">'.encode(),
    "many": b"".join(
        b'<meta name="go-import" content="meta.test/other%d/\xe2\x80\xae git https://git.test/x">' % n
        for n in range(60)
    ),
}


@dataclass(frozen=True)
class Site:
    arena: Arena
    pages: Vanity


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("text")
    with vanity(work) as pages, arena(work, *HOSTS, config=pages.config) as there:
        there.tox.plays.update(HOSTS)
        for name, tag in PAGES.items():
            pages.put(name, (200, {"Content-Type": "text/html"}, b"<html><head>" + tag + b"</head></html>"))
        yield Site(there, pages)


def assert_graphic(body: bytes, *, short: bool = True) -> None:
    text = body.decode()
    assert all(c.isprintable() or c == "\n" for c in text), body
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") for c in text if c != "\n"), body
    if short:
        assert len(body) <= 640
        assert body.count(b"\n") <= 8
        assert b"\n\n" not in body.rstrip(b"\n"), "go stops reading at a blank line"


def assert_log(data: bytes) -> None:
    """Every line one JSON object, with nothing in it that a terminal obeys."""
    for line in data.splitlines():
        assert_graphic(line, short=False)
        event = json.loads(line)
        assert event["event"] in line.decode()
    assert data.count(b"\n") == len(data.splitlines()), "no line that is one for some readers and two for others"


@pytest.mark.parametrize("module", [*(f"{name}.test/x" for name in HOSTS), *(f"meta.test/{name}" for name in PAGES)])
def test_T31_answers_are_graphic_and_short(module: str, site: Site) -> None:
    """Whatever a host says is repeated without what a terminal would obey, in a few lines."""
    for file in ("v1.0.0.zip", "v1.1.0.info", "list", "main.info"):
        got = site.arena.server.get(f"/{module}/@v/{file}")
        assert got.status in (200, 404, 422, 502, 503), (file, got.data)
        if not (file.endswith("zip") and got.status == 200):
            assert_graphic(got.data, short=got.status != 200)
        for name, value in got.headers.items():
            assert (name + value).isprintable()
    assert_log(site.arena.server.log.read_bytes())


PATHS = [
    quote(trick) for trick in (
        "\x1b[31m", "\u202e", "a\nb", "a\r\nX-Evil: 1", "\u2028", "\x9b31m", "\x07", "\x00", "\u200b", "\ufeff", "'\"<script>", "a b", "%0a", "\t",
        "\U000e0041", "\x85", "{}${jndi:ldap://x}", "%s%n", "{\"event\":\"forged\"}",
    )
]  # fmt: skip


def test_T31_requests_are_logged_as_one_line_each(site: Site) -> None:
    """Paths, versions and headers of clients; as escapes and as raw bytes."""
    before = len(site.arena.server.events())
    sent = 0
    with RawClient(site.arena.server.base) as client:
        for trick in PATHS:
            for target in (
                f"/{trick}",
                f"/good.test/{trick}/@v/list",
                f"/good.test/x/@v/{trick}.info",
                f"/good.test/x/@v/v1.0.0.info?{trick}",
            ):
                got = client.get(target.encode())
                sent += 1
                assert got.status in (400, 404), (target, got)
                assert_graphic(got.body)
        for line in (
            b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\xe2\x80\xae HTTP/1.1\r\nHost: \x1b\r\n\r\n",
            b"\x1b[2J\r\n\r\n",
        ):
            answer = client.send(line)
            assert answer.status in (400, 404), answer
            assert_graphic(answer.body)
            sent += 1
    data = site.arena.server.log.read_bytes()
    assert_log(data)
    requests = [event for event in site.arena.server.events()[before:] if event["event"] == "request"]
    assert len(requests) == sent
    assert not [event for event in requests if event.get("event") == "forged"]


def run_cli(site: Site, *args: str, terminal: bool = False) -> bytes:
    """What the command prints, on both streams; on a terminal that knows no colours, or into a pipe."""
    work = site.arena.server.data.parent
    command = [
        str(Path(sys.executable).with_name("vcsproxy")),
        *args,
        "--config",
        str(work / "vcsproxy.toml"),
        "--data",
        str(work / "cli"),
    ]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(work), "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "100"}
    if not terminal:
        done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
        return done.stdout + done.stderr
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        found = b""
        try:
            while piece := os.read(ours, 65536):
                found += piece
        except OSError:  # the other end of a terminal is closed
            process.wait(60)
    os.close(ours)
    return found.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_T31_the_command_line_shows_no_escapes(terminal: bool, site: Site) -> None:
    """`vcsproxy explain` and `vcsproxy mod` on the worst of the hosts."""
    asked = [
        ("explain", "tags.test/x@v1.1.0"),
        ("explain", "files.test/x@v1.0.0"),
        ("explain", "err.test/x"),
        ("mod", "info", "gomod.test/x@v1.0.0"),
    ]
    with ThreadPoolExecutor(2) as pool:
        for shown in pool.map(lambda args: run_cli(site, *args, terminal=terminal), asked):
            assert shown.strip()
            assert_graphic(shown.replace(b"\t", b" "), short=False)
            assert b"Traceback" not in shown


def test_T31_the_go_command_repeats_the_reason(site: Site, go: GoTool, tmp_path: Path) -> None:
    """It drops a text with anything that is not graphic altogether."""
    for module, reason in {
        "err.test/x": "the Git host says",
        "band.test/x": "the Git host says",
        "files.test/x": "bad:",
    }.items():
        done = go.run(
            "mod", "download", f"{module}@v1.0.0", GOPROXY=site.arena.server.base, GOMODCACHE=str(tmp_path / "cache")
        )
        assert done.returncode != 0
        assert reason in done.stderr, done.stderr
