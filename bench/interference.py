"""Hits while large modules are built, and while a host hangs: what do those who ask for what is there feel of it?"""

from __future__ import annotations

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


def rows(sides: Sides, cases: list[Case], seconds: float) -> Iterator[Row]:
    small, large = cases[0], [case for case in cases if case.kind == "large"] or cases[-1:]
    yield _busy(sides, small, large, seconds)
    yield _hanging(sides, small, seconds)


def _busy(sides: Sides, small: Case, large: list[Case], seconds: float) -> Row:
    with sides.directory() as place, sides.server(place) as server:
        get(server.base, small.path, small.version, ["info", "mod", "zip"])
        idle = _hits(server, small, until=time.monotonic() + seconds)
        asked = [(case.path, version) for case in large for version in (case.version, case.before) if version]
        builds = [threading.Thread(target=_build, args=(server, *asked[n % len(asked)])) for n in range(_BUILDS)]
        for build in builds:
            build.start()
        busy: list[float] = []
        while any(build.is_alive() for build in builds):
            busy += _hits(server, small, until=time.monotonic() + 0.1)
    return _row(f"while {_BUILDS} large modules are built", idle, busy)


def _hanging(sides: Sides, small: Case, seconds: float) -> Row:
    """The host takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hung = Sides(sides.work / "hung", sides.go, sides.url, sides.roots)
        with hung.directory() as place, hung.server(place) as server:
            get(server.base, small.path, small.version, ["info", "mod", "zip"])
            idle = _hits(server, small, until=time.monotonic() + seconds)
            config = server.data.parent / "vcsproxy.toml"
            config.write_text(config.read_text() + f'[[source]]\nroot = "hung.test/{{repo}}"\nurl = "{url}/{{repo}}"\n')
            server.process.send_signal(1)
            time.sleep(0.5)
            waiting = [
                threading.Thread(target=_ask, args=(server, f"/hung.test/r{n}/@v/list"), daemon=True) for n in range(8)
            ]
            for thread in waiting:
                thread.start()
            busy = _hits(server, small, until=time.monotonic() + seconds)
    return _row("while a host hangs", idle, busy)


def _row(what: str, idle: list[float], busy: list[float]) -> Row:
    before, during = percentile(idle, 0.99) * 1e3, percentile(busy, 0.99) * 1e3
    notes: dict[str, float | str] = {
        "idle_p99_ms": round(before, 3), "p999_ms": round(percentile(busy, 0.999) * 1e3, 3), "hits": len(busy),
        "lag_limit_ms": targets.LOOP_LAG_MS,
    }  # fmt: skip
    return Row("interference", what, "p99 of a hit, of 2 x idle + 5 ms", during, 2 * before + 5, "ms", 1.0, notes=notes)


def _hits(server: ProxyServer, case: Case, until: float) -> list[float]:
    """Seconds of each of many hits, one after the other; no hit is slower than the event loop's lag."""
    path = f"{server.base}/{module.escape_path(case.path)}/@v/{case.version}.mod"
    taken = []
    with urllib3.PoolManager(retries=False) as pool:
        while (started := time.monotonic()) < until:
            assert pool.request("GET", path, headers={"Range": "bytes=0-"}).status == 206  # not a ready-made answer
            taken.append(time.monotonic() - started)
    return taken


def _build(server: ProxyServer, path: str, version: str) -> None:
    get(server.base, path, version, ["info", "mod", "zip"])


def _ask(server: ProxyServer, path: str) -> None:
    urllib3.request("GET", server.base + path, retries=False)
