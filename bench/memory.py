"""The most memory that building a version takes: our workers, against `go` in direct mode and its git together.

Every few milliseconds the resident memory (VmRSS) of all processes of a side that live at that moment is added up; the
peak of these sums counts. On our side these are the workers, whose pages shared with the fork server count in full, on
the other `go` and all that it starts. The Git host belongs to neither.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from bench import targets
from bench.cases import Case
from bench.leftout import unless_incomplete
from bench.measure import Row, memory
from bench.sides import Same, Sides, get, h1_of
from tests.support.processes import descendants, workers
from tests.support.proxyserver import ProxyServer

_PAUSE = 0.005


def rows(sides: Sides, cases: list[Case]) -> Iterator[Row]:
    for case in cases:
        if case.kind == "large":
            yield from unless_incomplete(f"memory {case.name}", _compare(sides, case))


def _compare(sides: Sides, case: Case) -> Iterator[Row]:
    same = Same(case.name)
    with sides.directory() as place, watched(lambda: _started_here(sides)) as theirs:
        same("h1", sides.download(f"{case.path}@{case.version}", sides.direct(place))[1]["Sum"])
    with sides.directory() as place, sides.server(place) as server, watched_workers(server) as ours:
        same("h1", h1_of(get(server.base, case.path, case.version, ["info", "mod", "zip"])[1]["zip"]))
    what, notes = "peak memory, of go and git", {"h1": str(same.said["h1"])}
    yield Row("memory", case.name, what, ours[0], theirs[0], "MiB", targets.peak(case.root), notes={**notes})


def watched_workers(server: ProxyServer) -> contextlib.AbstractContextManager[list[float]]:
    """The workers of a server, see `watched`."""
    return watched(lambda: workers(server.process.pid))


def _started_here(sides: Sides) -> list[int]:
    """All that this process has started, but the Git host."""
    host = {sides.host.pid, *descendants(sides.host.pid)}
    return [pid for pid in descendants(os.getpid()) if pid not in host]


@contextlib.contextmanager
def watched(processes: Callable[[], list[int]]) -> Iterator[list[float]]:
    """Yields a list whose only element becomes the peak in MiB."""
    peak, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(_PAUSE):
            peak[0] = max(peak[0], sum(memory(pid) for pid in processes()) / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
