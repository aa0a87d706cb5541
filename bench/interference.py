"""Hits while large modules are built, and while a host hangs: what do those who ask for what is there feel of it?

Hits are asked for one after the other and take the ordinary road, so each waits for at least one turn of the event
loop: their time is an upper bound of its lag. Idle and busy are measured with the same server, one after the other.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

import urllib3

from bench import targets
from bench.cases import Case
from bench.measure import Row, percentile
from bench.sides import Sides, get
from tests.support.proxyserver import ProxyServer
from vcsproxy.mod import module

_BUILDS = 4
_ASKED = 8
_ALL = ("info", "mod", "zip")


def rows(sides: Sides, cases: list[Case], seconds: float) -> Iterator[Row]:
    large = [case for case in cases if case.kind == "large"] or cases[-1:]
    small = next(case for case in cases if case.kind != "deep")
    yield from _busy(sides, small, large, seconds)
    yield from _hanging(sides, small, seconds)


def _busy(sides: Sides, small: Case, large: list[Case], seconds: float) -> Iterator[Row]:
    """Rounds of builds, each on a server with an empty store, until hits were counted for long enough."""
    idle: list[float] = []
    busy: list[float] = []
    versions = [(case.path, version) for case in large for version in (case.version, case.before) if version]
    before = time.monotonic()
    while not busy or time.monotonic() - before < 3 * seconds:
        with sides.directory() as place, sides.server(place) as server:
            get(server.base, small.path, small.version, _ALL)
            idle += _hits(server, small, seconds)
            asked = [versions[n % len(versions)] for n in range(_BUILDS)]
            builds = [threading.Thread(target=get, args=(server.base, *each, _ALL)) for each in asked]
            for build in builds:
                build.start()
            while any(build.is_alive() for build in builds):
                busy += _hits(server, small, 0.1)
    yield from _rows(f"while {_BUILDS} cold builds of {len(set(asked))} large modules run", idle, busy)


def _hanging(sides: Sides, small: Case, seconds: float) -> Iterator[Row]:
    """The host takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        more = f'[[source]]\nroot = "hung.test/{{repo}}"\nurl = "{url}/{{repo}}"\n'
        with sides.directory() as place, sides.server(place, more) as server:
            get(server.base, small.path, small.version, _ALL)
            idle = _hits(server, small, seconds)
            for number in range(_ASKED):
                threading.Thread(target=_ask, args=(server, f"/hung.test/r{number}/@v/list"), daemon=True).start()
            time.sleep(0.2)
            busy = _hits(server, small, seconds)
            server.process.send_signal(signal.SIGKILL)  # rather than wait for those that hang
    yield from _rows(f"while {_ASKED} jobs wait for a host that hangs", idle, busy)


def _rows(what: str, idle: list[float], busy: list[float]) -> Iterator[Row]:
    before, during = percentile(idle, 0.99) * 1e3, percentile(busy, 0.99) * 1e3
    notes: dict[str, float | str] = {"idle_p99_ms": round(before, 3), "hits": len(busy), "idle_hits": len(idle)}
    yield Row("interference", what, "p99 of a hit, of 2 x idle + 5 ms", during, 2 * before + 5, "ms", 1.0, notes=notes)
    lag, limit = percentile(busy, 0.999) * 1e3, targets.LOOP_LAG_MS
    yield Row("interference", what, "p99.9 of the loop's lag, of the limit", lag, limit, "ms", 1.0, notes=notes)


def _hits(server: ProxyServer, case: Case, seconds: float) -> list[float]:
    """Seconds of each of many hits."""
    path = f"{server.base}/{module.escape_path(case.path)}/@v/{module.escape_version(case.version)}.mod"
    until, taken = time.monotonic() + seconds, []
    with urllib3.PoolManager(retries=False) as pool:
        while (started := time.monotonic()) < until:
            assert pool.request("GET", path, headers={"Range": "bytes=0-"}).status == 206  # not a ready-made answer
            taken.append(time.monotonic() - started)
    return taken


def _ask(server: ProxyServer, path: str) -> None:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        urllib3.request("GET", server.base + path, retries=False, timeout=600)
