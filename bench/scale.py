"""How time and a worker's memory grow: with files, with history, with refs, with versions in the store.

Each repository is measured against the smallest of its kind, so a ratio near 1 means that the size does not matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import host
from bench.cases import Case, grow
from bench.measure import Row
from bench.memory import watched_workers
from bench.sides import Sides, get
from tests.support.gitrepo import GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build

_ALL = ("list", "info", "mod", "zip")


def rows(work: Path, go: GoTool, times: int) -> Iterator[Row]:
    """times: how much larger the largest is than the smallest."""
    root = work / "repos"
    root.mkdir(parents=True)
    kinds: dict[str, tuple[int, Callable[[Path, int], Case]]] = {
        "files": (1000, _files), "commits": (1000, _commits), "tags": (625, _tags)
    }  # fmt: skip
    steps = [step for step in (1, 4, 16) if step <= times]
    with host.serving(root) as near:
        for name, (smallest, make) in kinds.items():
            sizes = [smallest * step for step in steps]
            yield from _grown(name, sizes, [_cold(Sides(work / "s", go, near, [c := make(root, n)]), c) for n in sizes])
        case = _files(root, 10)
        sides = Sides(work / "s", go, near, [case])
        sizes = [1000 * step for step in steps]
        yield from _grown("versions in the store", sizes, [_stored(sides, case, size) for size in sizes])


def _grown(name: str, sizes: list[int], found: list[tuple[float, float]]) -> Iterator[Row]:
    for size, (seconds, peak) in list(zip(sizes, found, strict=True))[1:]:
        yield Row("scale", f"{size} {name}", f"seconds, of {sizes[0]}", seconds, found[0][0])
        yield Row("scale", f"{size} {name}", f"workers' peak memory, of {sizes[0]}", peak, found[0][1], "MiB")


def _cold(sides: Sides, case: Case) -> tuple[float, float]:
    """(seconds of a version nobody asked for, the most MiB that workers had); each in a run of its own."""
    with sides.directory() as place, sides.server(place) as server:
        seconds = get(server.base, case.path, case.version, _ALL)[0]
    with sides.directory() as place, sides.server(place) as server, watched_workers(server) as peak:
        get(server.base, case.path, case.version, _ALL)
    return seconds, peak[0]


def _stored(sides: Sides, case: Case, number: int) -> tuple[float, float]:
    """The same for one more version of a module that has many in the store, by a server that has just started."""
    with sides.directory() as place:
        with sides.server(place) as server:
            get(server.base, case.path, case.before, _ALL)
        data = place / "again/server/data"  # a server with a log of its own
        data.parent.mkdir(parents=True)
        server.data.rename(data)
        versions = data / "store" / case.path / "@v"
        for n in range(number):
            _copy(versions, case.before, f"v0.0.{n}")
        with sides.server(place / "again") as server, watched_workers(server) as peak:
            return get(server.base, case.path, case.version, _ALL)[0], peak[0]


def _copy(versions: Path, old: str, new: str) -> None:
    """Another version with the same files; only its .info has a word of its own."""
    for kind in ("zip", "ziphash", "mod"):
        os.link(versions / f"{old}.{kind}", versions / f"{new}.{kind}")
    (versions / f"{new}.info").write_text((versions / f"{old}.info").read_text().replace(old, new))


def _case(root: Path, name: str, files: dict[str, str], tags: list[str]) -> tuple[Case, GitRepo]:
    path = f"github.com/bench/{name}"
    first = Step({"go.mod": f"module {path}\n"}, tags=["v1.0.0", *tags])
    last = Step({**files, **first.files}, [0], "1709251260 +0000", tags=["v1.1.0"])
    return Case("scale", name, path, path, "v1.1.0", "v1.0.0"), build(root / name, [first, last])


def _files(root: Path, number: int) -> Case:
    files = {f"d{n % 97}/f{n}.go": f"package d\n\n// {n}\n" * 30 for n in range(number)}
    return _case(root, f"files{number}", files, [])[0]


def _commits(root: Path, number: int) -> Case:
    """Asked for the newest commit, whose version depends on the tags before it."""
    case, repo = _case(root, f"commits{number}", {"x.go": "package x\n"}, [])
    grow(repo, number, {})
    repo.git("gc", "-q")
    return Case(case.kind, case.repository, case.root, case.path, repo.git("rev-parse", "refs/heads/main")[:12])


def _tags(root: Path, number: int) -> Case:
    return _case(root, f"tags{number}", {"x.go": "package x\n"}, [f"v0.{n}.0" for n in range(number)])[0]
