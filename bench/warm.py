"""Answers that are there already: small ones and a zip of 1 MB, against static file servers over the same files.

Each server gets one process and then four (Go: GOMAXPROCS). The load is wrk where it is installed, else
`bench/go/load`; CPU and memory are the serving processes' own. Athens and goproxy take part where their programs are on
PATH.
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

from bench import host, others, targets
from bench.measure import AT_LEAST, Row, cpu_seconds, memory
from bench.sides import Same
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.processes import descendants
from tests.support.proxyserver import serving

PATH = "git.test/x"
CONNECTIONS = 32
PROCESSES = (1, 4)
NGINX, GO = "nginx", "Go net/http"
SOURCE = Path(__file__).parent / "go"
_ASKED = ("v1.0.0.info", "v1.0.0.mod", "list", "v1.0.0.zip")
_MODULES, _HITS_A_MODULE = 10_000, 10


@dataclass(frozen=True)
class Server:
    """A server under load: HOST:PORT and its serving processes."""

    name: str
    address: str
    pids: tuple[int, ...]

    @property
    def cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in self.pids)

    @property
    def memory(self) -> int:
        return sum(memory(pid) for pid in self.pids)


def rows(work: Path, go: GoTool, seconds: float, runs: int) -> Iterator[Row]:
    work.mkdir()
    load, files = (_built(go, name, work) for name in ("load", "files"))
    noise = os.urandom(1 << 20)
    tree = {"go.mod": f"module {PATH}\n", "x.go": "package x\n", "noise.bin": noise}
    steps = [Step(tree, tags=["v1.0.0", *(f"v0.{n}.0" for n in range(20))])]  # type: ignore[arg-type]
    build(work / "repos" / "x", steps)
    with host.serving(work / "repos") as near:
        config = f'[[source]]\nroot = "{PATH}"\nurl = "{near.url}/x"\n'
        for processes in PROCESSES:
            yield from _speed(work, config, (load, files), processes, seconds, runs)
        yield _memory(work, config, load)


def _speed(
    work: Path, config: str, programs: tuple[Path, Path], processes: int, seconds: float, runs: int
) -> Iterator[Row]:
    load, files = programs
    place = work / f"s{processes}"
    config = f"[server]\nworkers = {processes}\n{config}"
    with serving(place, config) as ours, contextlib.ExitStack() as stack:
        for name in (*_ASKED, *(f"v0.{n}.0.info" for n in range(20))):
            assert ours.get(f"/{PATH}/@v/{name}").status == 200, name
        store = ours.data / "store"
        pids = _serving(ours.process.pid, processes)
        servers = [Server("vcsproxy", ours.base.removeprefix("http://"), pids)]
        servers.append(stack.enter_context(_go_files(files, store, processes)))
        if shutil.which("nginx"):
            servers.append(stack.enter_context(_nginx(place, store, processes)))
        servers += [stack.enter_context(begin(place, store)) for begin in others.installed()]
        for what in _ASKED:
            same = Same(what)
            for server in servers:
                same("the answer", _answer(server, what))
            yield from _compare(load, servers, what, processes, seconds, runs)


def _serving(pid: int, processes: int) -> tuple[int, ...]:
    """The processes that answer: the one that was started, or its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (pid,) if processes == 1 else tuple(map(int, children))


def _compare(
    load: Path, servers: Sequence[Server], what: str, processes: int, seconds: float, runs: int
) -> Iterator[Row]:
    found: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for _ in range(runs):
        for server in servers:
            before = server.cpu
            said = press(load, server.address, [f"/{PATH}/@v/{what}"], seconds)
            said["cpu_us"] = (server.cpu - before) / said["requests"] * 1e6
            found[server.name].append(said)
    ours = _median(found.pop("vcsproxy"))
    notes: dict[str, float | str] = {key: round(ours[key], 3) for key in ("p50", "p99", "cpu_us")}
    notes["rss_mib"] = servers[0].memory >> 20
    for name, values in found.items():
        theirs = _median(values)
        more = {**notes, **{f"their_{key}": round(theirs[key], 3) for key in ("p50", "p99", "cpu_us")}}
        yield Row(
            "warm", f"{what} x{processes}", f"requests a second, of {name}", ours["rps"], theirs["rps"], "rps",
            _target(name, what), AT_LEAST, more,
        )  # fmt: skip


def _answer(server: Server, what: str) -> list[bytes]:
    """The lines of an answer, in any order: a list has none."""
    answer = urllib3.request("GET", f"http://{server.address}/{PATH}/@v/{what}", retries=False, timeout=60)
    return sorted(answer.data.split(b"\n"))


def _target(name: str, what: str) -> float | None:
    if what.endswith(".zip"):
        return targets.ZIP_NGINX if name == NGINX else None
    return {NGINX: targets.FILES_NGINX, GO: targets.FILES_GO}.get(name)


def _median(values: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(value[key] for value in values) for key in values[0]}


def press(
    load: Path, address: str, paths: Sequence[str], seconds: float, connections: int = CONNECTIONS
) -> dict[str, float]:
    """One load; requests, rps, p50, p99, p999 (milliseconds). Raises SystemExit when an answer was bad.

    wrk asks for one path only, and costs less than our own program.
    """
    command = [str(load), address, str(connections), str(seconds), *paths]
    if len(paths) == 1 and shutil.which("wrk"):
        script = str(Path(__file__).with_name("wrk.lua"))
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script]
        command = ["wrk", *options, f"http://{address}{paths[0]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if said["bad"]:
        raise SystemExit(f"{address}: {said['bad']} bad answers")
    return {key: float(value) for key, value in said.items()}


def _built(go: GoTool, name: str, work: Path) -> Path:
    """One of the Go programs beside this file, compiled."""
    target = work / name
    go.run("build", "-o", str(target), str(SOURCE / name / "main.go"), cwd=work, check=True, CGO_ENABLED="0")
    return target


@contextlib.contextmanager
def _go_files(program: Path, store: Path, processes: int) -> Iterator[Server]:
    env = {**os.environ, "GOMAXPROCS": str(processes)}
    with subprocess.Popen([str(program), str(store)], stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            yield Server(GO, process.stdout.readline().strip().removeprefix("http://"), (process.pid,))
        finally:
            process.terminate()


@contextlib.contextmanager
def _nginx(work: Path, store: Path, processes: int) -> Iterator[Server]:
    port = free_port()
    config = work / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} daemon off; worker_processes {processes};\n"
        f"pid {work}/nginx.pid; error_log {work}/nginx.log;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; sendfile on; keepalive_requests 1000000000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {store}; }} }}\n"
    )
    with subprocess.Popen(["nginx", "-c", str(config), "-p", str(work)]) as process:
        try:
            wait_for(port)
            yield Server(NGINX, f"127.0.0.1:{port}", tuple(descendants(process.pid)))
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit(f"nobody answers on port {port}")


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
