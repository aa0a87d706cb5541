"""The two sides of a comparison: `go` in direct mode, and a vcsproxy with an empty store, from the same Git host."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import urllib3

from bench.cases import Case
from bench.host import Host
from bench.leftout import Incomplete
from tests.support.gotool import GoTool
from tests.support.proxyserver import ProxyServer, serving
from vcsproxy.mod import dirhash, module

Environment = dict[str, str]
_NO_OBJECT = "remote: fatal: unable to read "  # of git upload-pack, in a repository with a hole


@dataclass
class Sides:
    """Everything that comparisons over one host need. Directories are made below `work` and removed after each use."""

    work: Path
    go: GoTool
    host: Host
    roots: Sequence[Case]
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self.gitconfig = self.work / "gitconfig"
        rules = {
            case.root: f'[url "{self.host.url}/{case.repository}"]\n\tinsteadOf = https://{case.root}\n'
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

    def direct(self, cache: Path) -> Environment:
        """The environment of a `go` that asks the host itself."""
        asks = {case.root.partition("/")[0] for case in self.roots if not case.is_static}
        lookups = {"GOINSECURE": ",".join(sorted(asks)), "HTTP_PROXY": self.host.pages, "HTTPS_PROXY": self.host.pages}
        env = {"GOPROXY": "direct", "GIT_CONFIG_GLOBAL": str(self.gitconfig), **_caches(cache)}
        return {**env, **lookups} if asks else env

    def through(self, proxy: str, cache: Path) -> Environment:
        """The environment of a `go` that asks a proxy."""
        return {"GOPROXY": proxy, **_caches(cache)}

    def ask(self, env: Environment, *words: str) -> tuple[float, list[dict[str, Any]]]:
        """(seconds, the JSON values that it printed) of one `go` command, which must succeed."""
        started = time.perf_counter()
        done = self.go.run(*words, cwd=None, check=False, **env)
        seconds = time.perf_counter() - started
        if _NO_OBJECT in done.stdout + done.stderr:
            raise Incomplete(f"go {' '.join(words)} needs objects that the mirror lacks")
        if done.returncode:
            raise SystemExit(f"go {' '.join(words)}: {done.stdout} {done.stderr}")
        return seconds, _values(done.stdout)

    def download(self, query: str, env: Environment) -> tuple[float, dict[str, Any]]:
        """(seconds, what go says) of one `go mod download`."""
        seconds, values = self.ask(env, "mod", "download", "-json", query)
        return seconds, values[0]

    @contextlib.contextmanager
    def server(self, place: Path, more: str = "") -> Iterator[ProxyServer]:
        """A vcsproxy with nothing in its store, ready to answer; all roots are mapped to the host."""
        tables = {
            case.root: f'[[source]]\nroot = "{case.root}"\nurl = "{self.host.url}/{case.repository}"\n'
            f'origin = "https://{case.root}"\n'
            for case in self.roots
        }
        with serving(place / "server", "".join(tables.values()) + more) as server:
            yield server


def _values(text: str) -> list[dict[str, Any]]:
    """JSON objects, one after the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def _caches(cache: Path) -> Environment:
    return {"GOPATH": str(cache / "gopath"), "GOMODCACHE": str(cache / "modcache")}


def get(base: str, path: str, version: str, kinds: Sequence[str]) -> tuple[float, dict[str, bytes]]:
    """(seconds, answers) of plain GETs, one after the other on one connection.

    What follows `info` is asked for by the version that it names, as `go` does.
    """
    found: dict[str, bytes] = {}
    with urllib3.PoolManager(retries=False, timeout=600) as pool:
        prefix = f"{base}/{module.escape_path(path)}/"
        started = time.perf_counter()
        for kind in kinds:
            name = "@v/list" if kind == "list" else f"@v/{module.escape_version(version)}.{kind}"
            answer = pool.request("GET", prefix + name)
            if answer.status != 200:
                raise SystemExit(f"{path}@{version}: {kind}: {answer.status} {answer.data[:300].decode()}")
            found[kind] = answer.data
            if kind == "info":
                version = json.loads(answer.data)["Version"]
        return time.perf_counter() - started, found


def h1_of(data: bytes) -> str:
    """The h1: hash of a zip."""
    return dirhash.hash_zip(io.BytesIO(data))


@dataclass
class Same:
    """Holds what the first side said, and ends the run when another says something else."""

    about: str
    said: dict[str, object] = field(default_factory=dict)

    def __call__(self, what: str, value: object) -> None:
        if self.said.setdefault(what, value) != value:
            raise SystemExit(f"{self.about}: {what}: {value} is not {self.said[what]}")
