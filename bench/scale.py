"""How time and a worker's memory grow: with files, with history, with refs, with versions in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench import host
from bench.cases import Case
from bench.measure import Row
from bench.sides import Sides, get, peak_of_children
from tests.support.gitrepo import GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build

_SMALL, _TIMES = 500, (1, 4, 16)


def rows(work: Path, go: GoTool) -> Iterator[Row]:
    root = work / "repos"
    root.mkdir(parents=True)
    for name, make in (("files", _files), ("commits", _commits), ("tags", _tags)):
        made = {times: make(root, _SMALL * times) for times in _TIMES}
        with host.serving(root) as url:
            found = {
                times: _measure(Sides(work / f"{name}{times}", go, url, [case]), case) for times, case in made.items()
            }
        for times in _TIMES[1:]:
            for what, unit, at in (("seconds", "s", 0), ("worker's memory", "MiB", 1)):
                yield Row(
                    "scale", f"{_SMALL * times} {name}", f"{what}, of {_SMALL}", found[times][at], found[1][at], unit
                )


def _measure(sides: Sides, case: Case) -> tuple[float, float]:
    """(seconds, MiB that a worker had at most) of a cold version."""
    with sides.directory() as place, sides.server(place) as server:
        started = time.perf_counter()
        get(server.base, case.path, case.version, ["list", "info", "mod", "zip"])
        seconds = time.perf_counter() - started
        return seconds, peak_of_children(server.process.pid) / 2**20


def _case(root: Path, name: str, steps: list[Step]) -> tuple[Case, GitRepo]:
    path = f"github.com/bench/{name}"
    repo = build(
        root / name,
        [Step({**step.files, "go.mod": f"module {path}\n"}, step.parents, step.date, tags=step.tags) for step in steps],
    )
    return Case("scale", name, path, path, "v1.0.0"), repo


def _files(root: Path, number: int) -> Case:
    tree = {f"d{n % 97}/f{n}.go": f"package d\n\n// {n}\n" * 30 for n in range(number)}
    return _case(root, f"files{number}", [Step(tree, tags=["v1.0.0"])])[0]


def _commits(root: Path, number: int) -> Case:
    steps = [
        Step({"x.go": f"package x // {n}\n"}, [n - 1] if n else [], f"{1709251200 + n} +0000") for n in range(number)
    ]
    case, repo = _case(root, f"commits{number}", steps)
    return Case(case.kind, case.repository, case.root, case.path, repo.git("rev-parse", "HEAD")[:12])


def _tags(root: Path, number: int) -> Case:
    return _case(
        root, f"tags{number}", [Step({"x.go": "package x\n"}, tags=["v1.0.0", *(f"v0.{n}.0" for n in range(number))])]
    )[0]
