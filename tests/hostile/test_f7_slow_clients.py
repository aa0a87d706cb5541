"""F7: clients that send half a request, drip it, or do not read their answer are let go; the others do not notice."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.gitrepo import GitRepo
from tests.support.processes import resident
from tests.support.proxyserver import ProxyServer, serving

BIG = "/git.test/big/@v/v1.0.0.zip"
HIT = "/git.test/big/@v/v1.0.0.info"
SIZE = 10 << 20
_EACH = 20
_PATIENCE = 25.0  # seconds within which all of them are gone: keepalive is 15, grace 10, and somebody looks every 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    work = tmp_path_factory.mktemp("slow")
    GitRepo(work / "repos" / "big").commit(
        {"go.mod": "module git.test/big\n", "big": os.urandom(SIZE)}, tags=["v1.0.0"]
    )
    config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "file://{work}/repos/{{repo}}"\n'
    with serving(work / "s", config) as running:
        assert running.get(BIG).status == 200
        yield running


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


Part = Callable[[socket.socket, float], None]  # what a client does now and then, at so many seconds


def silent(_sock: socket.socket, _at: float) -> None:
    """Neither send nor read."""


def dripping(sock: socket.socket, _at: float) -> None:
    sock.send(b"x")


def sipping(sock: socket.socket, _at: float) -> None:
    """Some hundred bytes a second: progress, and no end of it."""
    with contextlib.suppress(BlockingIOError):
        sock.recv(200)


CLIENTS: dict[str, tuple[bytes, Part]] = {
    "nothing": (b"", silent),
    "half a head": (b"GET / HTTP/1.1\r\nHost: ", silent),
    "dripping head": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Drip: ", dripping),
    "dripping line": (b"GET /", dripping),
    "no reader": (request(BIG), silent),
    "slow reader": (request(BIG), sipping),
    "many answers, no reader": (request(BIG) * 50, silent),
    "idle": (request("/healthz"), silent),
    "body without end": (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", dripping),
}


@contextlib.contextmanager
def clients(base: str) -> Iterator[list[tuple[str, socket.socket, Part]]]:
    """Some of each kind; what they receive fills small buffers only."""
    address = (urlsplit(base).hostname or "", urlsplit(base).port or 0)
    with contextlib.ExitStack() as stack:
        found = []
        for name, (start, part) in CLIENTS.items():
            for _ in range(_EACH):
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect(address)
                sock.setblocking(False)
                sock.send(start)
                found.append((name, sock, part))
        yield found


def is_gone(sock: socket.socket) -> bool:
    """Whether the server has ended the connection, by what the kernel knows and not by reading."""
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    return bool(poller.poll(0))


def test_F7_slow_clients_are_let_go_and_nobody_else_waits(server: ProxyServer) -> None:
    """A half-sent head, a dripped one, an idle connection, an answer that is not read or hardly."""
    assert server.get(HIT).status == 200
    before = most = resident(server.process.pid)
    slowest, started = 0.0, time.monotonic()
    with clients(server.base) as there:
        left = list(there)
        while left and time.monotonic() - started < _PATIENCE:
            at = time.monotonic()
            assert server.get(HIT).status == 200
            slowest = max(slowest, time.monotonic() - at)
            most = max(most, resident(server.process.pid))
            left = [each for each in left if not is_gone(each[1])]
            for _, sock, part in left:
                with contextlib.suppress(OSError):
                    part(sock, time.monotonic() - started)
            time.sleep(0.5)
        assert sorted({name for name, _, _ in left}) == []
    assert slowest < 2.0
    assert most - before < 60 << 20, f"{(most - before) >> 20} MiB for {_EACH * len(CLIENTS)} connections"
    assert server.get(BIG).status == 200


def test_F7_a_crowd_is_told_to_come_back(server: ProxyServer) -> None:
    """More connections than are taken at once: 503 at the door, and room again when they have gone."""
    address = (urlsplit(server.base).hostname or "", urlsplit(server.base).port or 0)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(1030)]
        answers = []
        for sock in crowd[-3:]:
            sock.settimeout(5)
            answers.append(sock.recv(1000))
        assert all(b" 503 " in answer and b"Retry-After" in answer for answer in answers), answers
    deadline = time.monotonic() + 5
    while server.get(HIT).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
