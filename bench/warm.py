"""Answers that are there already: small ones and a zip of 1 MB, against static file servers over the same files.

Each server gets one process and one core of work at a time (Go: GOMAXPROCS=1). The load is `bench/go/load`; CPU and
memory are the serving process's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from bench import host, targets
from bench.measure import AT_LEAST, Row, cpu_seconds, memory
from bench.sides import Same
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.processes import descendants
from tests.support.proxyserver import serving

PATH = "git.test/x"
CONNECTIONS = 32
SOURCE = Path(__file__).parent / "go"
_ASKED = ("v1.0.0.info", "v1.0.0.mod", "list", "v1.0.0.zip")
_MODULES, _HITS_A_MODULE = 10_000, 10


@dataclass(frozen=True)
class Server:
    """A server under load: HOST:PORT, process, and what stands before a module path."""

    name: str
    address: str
    pid: int


def rows(work: Path, go: GoTool, seconds: float, runs: int) -> Iterator[Row]:
    work.mkdir()
    load, files = (_built(go, name, work) for name in ("load", "files"))
    noise = os.urandom(1 << 20)
    tree = {"go.mod": f"module {PATH}\n", "x.go": "package x\n", "noise.bin": noise}
    steps = [Step(tree, tags=["v1.0.0", *(f"v0.{n}.0" for n in range(20))])]  # type: ignore[arg-type]
    build(work / "repos" / "x", steps)
    with host.serving(work / "repos") as near:
        config = f'[[source]]\nroot = "{PATH}"\nurl = "{near.url}/x"\n'
        yield from _speed(work, config, load, files, seconds, runs)
        yield _memory(work, config, load)


def _speed(work: Path, config: str, load: Path, files: Path, seconds: float, runs: int) -> Iterator[Row]:
    with serving(work / "s", config) as ours, contextlib.ExitStack() as stack:
        for name in (*_ASKED, *(f"v0.{n}.0.info" for n in range(20))):
            assert ours.get(f"/{PATH}/@v/{name}").status == 200, name
        store = ours.data / "store"
        servers = [Server("vcsproxy", ours.base.removeprefix("http://"), ours.process.pid)]
        servers.append(stack.enter_context(_go_files(files, store)))
        if shutil.which("nginx"):
            servers.append(stack.enter_context(_nginx(work, store)))
        for what in _ASKED:
            same = Same(what)
            for server in servers:
                same("the answer", _answer(server, what))
            yield from _compare(load, servers, what, seconds, runs)


def _compare(load: Path, servers: Sequence[Server], what: str, seconds: float, runs: int) -> Iterator[Row]:
    found: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for _ in range(runs):
        for server in servers:
            before = cpu_seconds(server.pid)
            said = press(load, server.address, [f"/{PATH}/@v/{what}"], seconds)
            said["cpu_us"] = (cpu_seconds(server.pid) - before) / said["requests"] * 1e6
            found[server.name].append(said)
    ours = _median(found.pop("vcsproxy"))
    notes: dict[str, float | str] = {key: round(ours[key], 3) for key in ("p50", "p99", "cpu_us")}
    notes["rss_mib"] = memory(servers[0].pid) >> 20
    for name, values in found.items():
        theirs = _median(values)
        target = _target(name, what)
        more = {**notes, **{f"their_{key}": round(theirs[key], 3) for key in ("p50", "p99", "cpu_us")}}
        yield Row(
            "warm", what, f"requests a second, of {name}", ours["rps"], theirs["rps"], "rps", target, AT_LEAST, more
        )


def _answer(server: Server, what: str) -> list[bytes]:
    """The lines of an answer, in any order: a list has none."""
    answer = urllib3.request("GET", f"http://{server.address}/{PATH}/@v/{what}", retries=False, timeout=60)
    return sorted(answer.data.split(b"\n"))


def _target(name: str, what: str) -> float | None:
    if what.endswith(".zip"):
        return targets.ZIP_NGINX if name == "nginx" else None
    return targets.FILES_NGINX if name == "nginx" else targets.FILES_GO


def _median(values: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(value[key] for value in values) for key in values[0]}


def press(
    load: Path, address: str, paths: Sequence[str], seconds: float, connections: int = CONNECTIONS
) -> dict[str, float]:
    """One load; requests, rps, p50, p99, p999 (milliseconds). Raises SystemExit when an answer was bad."""
    command = [str(load), address, str(connections), str(seconds), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    if said["bad"]:
        raise SystemExit(f"{address}: {said['bad']} bad answers")
    return {key: float(value) for key, value in said.items()}


def _built(go: GoTool, name: str, work: Path) -> Path:
    """One of the Go programs beside this file, compiled."""
    target = work / name
    go.run("build", "-o", str(target), str(SOURCE / name / "main.go"), cwd=work, check=True, CGO_ENABLED="0")
    return target


@contextlib.contextmanager
def _go_files(program: Path, store: Path) -> Iterator[Server]:
    env = {**os.environ, "GOMAXPROCS": "1"}
    with subprocess.Popen([str(program), str(store)], stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            yield Server("Go net/http", process.stdout.readline().strip().removeprefix("http://"), process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def _nginx(work: Path, store: Path) -> Iterator[Server]:
    port = _free_port()
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; sendfile on; keepalive_requests 1000000000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {store}; }} }}\n"
    )
    with subprocess.Popen(["nginx", "-c", str(config), "-p", str(work)]) as process:
        try:
            _wait_for(port)
            worker = next(iter(descendants(process.pid)))
            yield Server("nginx", f"127.0.0.1:{port}", worker)
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit("nginx does not answer")


def _memory(work: Path, config: str, load: Path) -> Row:
    """Memory of the serving process after 100,000 hits over 10,000 modules, all of them links to one version."""
    with serving(work / "m", config) as server:
        assert server.get(f"/{PATH}/@v/v1.0.0.zip").status == 200
        first = server.data / "store" / PATH / "@v"
        names = [name for name in os.listdir(first) if name.startswith("v1.0.0.")]
        for number in range(_MODULES):
            place = server.data / "store/git.test" / f"m{number}" / "@v"
            place.mkdir(parents=True)
            for name in names:
                os.link(first / name, place / name)
        idle = memory(server.process.pid)
        paths = [f"/git.test/m{number}/@v/v1.0.0.{kind}" for number in range(_MODULES) for kind in ("info", "mod")]
        address = server.base.removeprefix("http://")
        hits = 0
        while hits < _MODULES * _HITS_A_MODULE:
            part = [paths[(hits + n) % len(paths)] for n in range(2000)]
            hits += int(press(load, address, part, 1.0)["requests"])
        return Row(
            "warm", f"{hits} hits over {_MODULES} modules", "memory of the server, of the limit",
            memory(server.process.pid) / 2**20, targets.SERVING_MIB, "MiB", 1.0, notes={"idle_mib": idle >> 20},
        )  # fmt: skip
