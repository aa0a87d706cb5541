"""A vcsproxy server as its users start it: `vcsproxy serve` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.conformance import wait_ready


@dataclass(frozen=True)
class ProxyServer:
    base: str
    process: subprocess.Popen[bytes]
    data: Path
    log: Path

    def get(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        """One request on a connection of its own, no redirects."""
        with urllib3.PoolManager() as pool:
            return pool.request(method, self.base + path, headers=headers, redirect=False, retries=False, timeout=120)

    def info(self, path: str, query: str) -> dict[str, Any]:
        response = self.get(f"/{path}/@v/{query}.info")
        assert response.status == 200, response.data
        value: dict[str, Any] = response.json()
        return value

    def events(self) -> list[dict[str, Any]]:
        """Every JSON line logged so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextlib.contextmanager
def serving(work: Path, config: str, **env: str) -> Iterator[ProxyServer]:
    """Start a server with a configuration (TOML) and an empty data directory below `work`; stop it by SIGTERM."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "vcsproxy.toml").write_text(config)
    program = str(Path(sys.executable).with_name("vcsproxy"))
    command = [program, "serve", "--config", str(work / "vcsproxy.toml"), "--data", str(work / "data")]
    log = work / "log"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(work), **env}
    with log.open("ab") as out:
        process = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=out, stderr=out, env=environment)
    try:
        yield ProxyServer(wait_ready(process, log), process, work / "data", log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        process.kill()
        process.wait()
