"""A server under observation while hostile hosts are asked: how fast it serves others, how much it grows, what is left."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.history import Step, build
from tests.support.processes import resident, wait_for_no_worker
from tests.support.proxyserver import ProxyServer, serving
from tests.support.toxgit import ToxGit, toxic

HIT = "/good.test/x/@v/v1.0.0.info"
LIMITS = """
[limits]
wall = "5s"
connect = "2s"
idle = "1s"
cpu = 10
memory = "512MiB"
pack = "32MiB"
object = "16MiB"
objects = 50000
refs = 5000
refs_bytes = "1MiB"
tree_entries = 20000
commits = 2000
"""
_GROWTH = 20 << 20  # bytes that hostile answers may add to the serving process
_SLOWEST, _USUAL = 2.0, 0.25  # seconds of a hit, on a machine that has other things to do as well


@dataclass(frozen=True)
class Answered:
    """One answer and the time that it took."""

    status: int
    body: str
    seconds: float


@dataclass(frozen=True)
class Arena:
    """Asks a server for hostile things, and all the while for something that it has stored."""

    tox: ToxGit
    server: ProxyServer

    def ask(self, path: str) -> Answered:
        return self.ask_all([path])[0]

    def ask_all(self, paths: Sequence[str]) -> list[Answered]:
        """Ask for everything at once. Raises AssertionError if the server is not well meanwhile."""
        assert self.server.get(HIT).status == 200
        before = most = resident(self.server.process.pid)
        found: dict[str, Answered] = {}
        threads = [threading.Thread(target=self._ask, args=(path, found)) for path in paths]
        for thread in threads:
            thread.start()
        hits = []
        while any(thread.is_alive() for thread in threads):
            started = time.monotonic()
            assert self.server.get(HIT).status == 200
            hits.append(time.monotonic() - started)
            most = max(most, resident(self.server.process.pid))
            time.sleep(0.01)
        most = max(most, resident(self.server.process.pid))
        assert not hits or (max(hits) < _SLOWEST, statistics.median(hits) < _USUAL) == (True, True), sorted(hits)[-20:]
        assert most - before < _GROWTH, f"the serving process grew by {(most - before) >> 20} MiB"
        assert len(found) == len(set(paths)), "the server broke a connection"
        return [found[path] for path in paths]

    def _ask(self, path: str, found: dict[str, Answered]) -> None:
        started = time.monotonic()
        answer = self.server.get(path)
        found[path] = Answered(answer.status, answer.data.decode("utf-8", "replace"), time.monotonic() - started)

    def assert_quiet(self, seconds: float = 10.0) -> None:
        """Every worker ends within its time."""
        wait_for_no_worker(self.server.process.pid, seconds)


@contextlib.contextmanager
def arena(
    work: Path, *names: str, config: str = "", limits: str = LIMITS, engine: str = "dulwich", **env: str
) -> Iterator[Arena]:
    """A server for hostile hosts NAME.test, with one good module in its store; `config` is more of its configuration."""
    build(work / "repos" / "x", [Step({"go.mod": "module good.test/x\n"}, tags=["v1.0.0"])])
    good = f'[[source]]\nroot = "good.test/{{repo}}"\nurl = "file://{work}/repos/{{repo}}"\n[log]\nformat = "json"\n'
    with (
        toxic(work / "repos") as tox,
        serving(work / "s", good + limits + tox.config(*names, engine=engine) + config, **env) as server,
    ):
        assert server.get(HIT).status == 200
        yield Arena(tox, server)
