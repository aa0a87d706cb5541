"""`vcsproxy serve` and `vcsproxy mod` as processes: starting, failing, and ending by signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HANGING = "hang.test/m"


@dataclass
class Process:
    """A running vcsproxy and the file that it logs to."""

    popen: subprocess.Popen[bytes]
    log: Path

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for(self, event: str, number: int = 1) -> dict[str, Any]:
        """The line of the n-th event of a name."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            found = [line for line in self.events() if line["event"] == event]
            if len(found) >= number:
                return found[number - 1]
            assert self.popen.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    @property
    def url(self) -> str:
        return str(self.wait_for("serving")["url"])

    def ended(self, seconds: float = 20) -> int:
        return self.popen.wait(seconds)


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `vcsproxy ARGS`; everything that still runs at the end is killed."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*args: str | Path) -> Process:
        log = tmp_path / f"log{len(running)}"
        env = {"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONWARNINGS": "error"}
        with log.open("wb") as out:
            command = [sys.executable, "-m", "vcsproxy", *map(str, args)]
            popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        running.append(popen)
        return Process(popen, log)

    yield begin
    for popen in running:
        popen.kill()
        popen.wait()


@pytest.fixture
def hanging_host() -> Iterator[int]:
    """The port of a host that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def config(tmp_path: Path, hanging_host: int) -> Path:
    file = tmp_path / "vcsproxy.toml"
    file.write_text(
        f"""
        [server]
        listen = "127.0.0.1:0"
        data = "data"
        shutdown_seconds = 1
        [[source]]
        root = "hang.test/m"
        url = "http://hang.test/m"
        [[host]]
        name = "hang.test"
        connect = "127.0.0.1:{hanging_host}"
        insecure = true
        """
    )
    return file


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_leaves_nothing_half_written(
    start: Start, config: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("serve", "--config", config)
    line = process.wait_for("serving")
    assert line["use"] == f"GOPROXY={line['url']}"
    assert get(line["url"] + "/readyz") == (200, b"ok\n")
    assert get(line["url"] + "/golang.org/toolchain/@v/list")[0] == 404
    process.popen.send_signal(number)
    assert process.ended() == 0
    assert [event["event"] for event in process.events()] == ["serving", "request", "request", "stopping", "stopped"]
    assert not list((tmp_path / "data" / "tmp").iterdir())
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_options_are_stronger_than_the_file(start: Start, config: Path, tmp_path: Path) -> None:
    process = start("serve", "--config", config, "--listen", "[::1]:0", "--data", tmp_path / "other")
    assert process.url.startswith("http://[::1]:")
    assert get(process.url + "/healthz")[0] == 200
    assert (tmp_path / "other" / "store").is_dir()
    assert not (tmp_path / "data").exists()


def _ask_in_the_background(process: Process) -> tuple[threading.Thread, list[Any]]:
    """Ask for a module whose host hangs; returns when the server works on it."""
    got: list[Any] = []

    def ask() -> None:
        try:
            got.append(get(f"{url}/{HANGING}/@v/list"))
        except OSError as err:
            got.append(err)

    url = process.url
    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(1)
    assert thread.is_alive()
    return thread, got


def test_the_end_waits_for_requests_but_not_for_ever(start: Start, config: Path) -> None:
    process = start("serve", "--config", config)
    thread, got = _ask_in_the_background(process)
    began = time.monotonic()
    process.popen.send_signal(signal.SIGTERM)
    process.wait_for("stopping")
    with pytest.raises(OSError, match="refused"):
        get(process.url + "/healthz")
    assert process.ended() == 0
    assert 0.9 < time.monotonic() - began < 8
    thread.join(5)
    assert len(got) == 1
    assert not _workers_of(process)


def test_a_second_signal_ends_at_once(start: Start, config: Path) -> None:
    config.write_text(config.read_text().replace("shutdown_seconds = 1", "shutdown_seconds = 60"))
    process = start("serve", "--config", config)
    thread, _ = _ask_in_the_background(process)
    process.popen.send_signal(signal.SIGTERM)
    process.wait_for("stopping")
    began = time.monotonic()
    process.popen.send_signal(signal.SIGINT)
    assert process.ended() == 1
    assert time.monotonic() - began < 5
    thread.join(5)
    assert [event["event"] for event in process.events() if event["event"] != "worker_says"] == [
        "serving", "stopping", "stopped at once", "request"
    ]  # fmt: skip
    assert not _workers_of(process)


def _workers_of(process: Process) -> list[str]:
    """Processes that still have the server's number as their parent or session; none may outlive it for long."""
    time.sleep(0.2)
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if str(process.popen.pid) in (fields[1], fields[3]) and fields[0] != "Z":
                found.append(stat.parent.name)
    return found


def _fails_in_one_line(process: Process) -> dict[str, Any]:
    assert process.ended() == 1
    (line,) = process.events()
    assert (line["event"], line["level"]) == ("cannot start", "error")
    return line


def test_a_port_in_use(start: Start, config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = _fails_in_one_line(start("serve", "--config", config, "--listen", f"127.0.0.1:{port}"))
    assert line["reason"] == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert "--listen" in line["hint"]


def test_a_data_directory_that_is_none(start: Start, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = _fails_in_one_line(start("serve", "--config", config, "--data", tmp_path / "file" / "x"))
    assert str(tmp_path / "file") in line["reason"]
    assert "--data" in line["hint"]


def test_ctrl_c_ends_a_verb_with_130_and_without_a_traceback(start: Start, config: Path) -> None:
    process = start("mod", "versions", HANGING, "--config", config)
    time.sleep(2)
    assert process.popen.poll() is None
    process.popen.send_signal(signal.SIGINT)
    assert process.ended() == 130
    assert process.log.read_text().strip() == ""
    assert not _workers_of(process)


def test_a_server_and_a_verb_share_the_data(start: Start, config: Path, make_repo: Callable[..., Any]) -> None:
    repo = make_repo("m")
    repo.commit({"go.mod": "module files.test/m\n", "a.go": "package m\n"}, tags=["v1.0.0"])
    config.write_text(config.read_text() + f'\n[[source]]\nroot = "files.test/m"\nurl = "{repo.url}"\n')
    server = start("serve", "--config", config)
    assert get(f"{server.url}/files.test/m/@v/list") == (200, b"v1.0.0\n")
    verb = start("mod", "zip", "files.test/m@v1.0.0", "--config", config)
    assert verb.ended() == 0
    status, body = get(f"{server.url}/files.test/m/@v/v1.0.0.zip")
    assert (status, body) == (200, Path(verb.log.read_text().strip()).read_bytes())
    assert server.wait_for("request", 2)["hit"] is True


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_several_processes_share_the_address(start: Start, tmp_path: Path) -> None:
    """One that dies is replaced while the others answer; SIGHUP reaches all; SIGTERM ends all, and nobody is left."""
    server = start("serve", "--workers", "3", "--listen", "127.0.0.1:0", "--data", tmp_path / "data")
    server.wait_for("serving", 3)
    urls = {event["url"] for event in server.events() if event["event"] == "serving"}
    assert len(urls) == 1
    first = children(server.popen.pid)
    assert len(first) == 3
    os.kill(first[0], signal.SIGKILL)
    assert server.wait_for("serving_process_died")["alarm"] is True  # connections that it had not taken yet are reset
    for _ in range(20):
        with urllib.request.urlopen(f"{server.url}/healthz", timeout=5) as answer:
            assert answer.read() == b"ok\n"
    server.wait_for("serving", 4)
    later = children(server.popen.pid)
    assert len(later) == 3
    assert first[0] not in later
    server.popen.send_signal(signal.SIGHUP)
    server.wait_for("reloaded", 3)
    server.popen.send_signal(signal.SIGTERM)
    assert server.ended() == 0
    assert [event["event"] for event in server.events()].count("stopped") == 3
    assert not [pid for pid in later if Path(f"/proc/{pid}").exists()]


def test_several_processes_that_cannot_start_end_together(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start("serve", "--workers", "2", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--data", tmp_path)
        assert server.ended() == 1
        assert server.wait_for("cannot start")["reason"].startswith("cannot listen on 127.0.0.1:")
    (tmp_path / "file").write_text("")
    server = start("serve", "--workers", "2", "--listen", "127.0.0.1:0", "--data", tmp_path / "file")
    assert server.ended() == 1
    assert "cannot start" in {event["event"] for event in server.events()}
