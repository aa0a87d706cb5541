"""The two sides of a comparison: `go` in direct mode, and a vcsproxy with an empty store, from the same Git host."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import urllib3

from bench.cases import Case
from bench.measure import memory
from tests.support.gotool import GoTool
from tests.support.processes import descendants
from tests.support.proxyserver import ProxyServer, serving
from vcsproxy.mod import dirhash, module


@dataclass
class Sides:
    """Everything that comparisons over one host need. Directories are made below `work` and removed after each use."""

    work: Path
    go: GoTool
    url: str
    roots: Sequence[Case]
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.gitconfig = self.work / "gitconfig"
        rules = {
            case.root: f'[url "{self.url}/{case.repository}"]\n\tinsteadOf = https://{case.root}\n'
            for case in self.roots
        }
        self.gitconfig.write_text("".join(rules.values()))

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """A new directory, removed afterwards."""
        place = self.work / str(next(self.numbers))
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def direct(self, cache: Path) -> dict[str, str]:
        """The environment of a `go` that asks the host itself."""
        return {"GOPROXY": "direct", "GIT_CONFIG_GLOBAL": str(self.gitconfig), **_caches(cache)}

    def through(self, proxy: str, cache: Path) -> dict[str, str]:
        """The environment of a `go` that asks a proxy."""
        return {"GOPROXY": proxy, **_caches(cache)}

    def download(self, query: str, env: dict[str, str]) -> tuple[float, dict[str, Any]]:
        """(seconds, what go says) of one `go mod download`."""
        started = time.perf_counter()
        value: dict[str, Any] = self.go.json("mod", "download", "-json", query, **env)
        seconds = time.perf_counter() - started
        if not value.get("Sum"):
            raise SystemExit(f"{query}: {value.get('Error') or value}")
        return seconds, value

    @contextlib.contextmanager
    def server(self, place: Path) -> Iterator[ProxyServer]:
        """A vcsproxy with nothing in its store, ready to answer; all roots are mapped to the host."""
        tables = {
            case.root: f'[[source]]\nroot = "{case.root}"\nurl = "{self.url}/{case.repository}"\norigin = "https://{case.root}"\n'
            for case in self.roots
        }
        with serving(place / "server", "".join(tables.values()) + '[log]\nlevel = "warning"\n') as server:
            yield server


def _caches(cache: Path) -> dict[str, str]:
    return {"GOPATH": str(cache / "gopath"), "GOMODCACHE": str(cache / "modcache")}


def get(base: str, path: str, version: str, kinds: Sequence[str]) -> tuple[float, dict[str, bytes]]:
    """(seconds, answers) of plain GETs, one after the other on one connection."""
    found: dict[str, bytes] = {}
    with urllib3.PoolManager(retries=False) as pool:
        prefix = f"{base}/{module.escape_path(path)}/"
        started = time.perf_counter()
        for kind in kinds:
            name = "@v/list" if kind == "list" else f"@v/{module.escape_version(version)}.{kind}"
            answer = pool.request("GET", prefix + name)
            if answer.status != 200:
                raise SystemExit(f"{path}@{version}: {kind}: {answer.status} {answer.data[:300].decode()}")
            found[kind] = answer.data
        return time.perf_counter() - started, found


def h1_of(data: bytes) -> str:
    """The h1: hash of a zip."""
    return dirhash.hash_zip(io.BytesIO(data))


def peak_of_children(pid: int) -> int:
    """The most memory that any process below this one has had so far, in bytes."""
    return max((memory(child, "VmHWM") for child in descendants(pid)), default=0)
