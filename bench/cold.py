"""A version that nobody has asked for: `go mod download` through an empty vcsproxy, against `go` in direct mode.

The client's floor is `go mod download` from a file:// proxy that has it already; what `go` takes above that in direct
mode is what a server can save. The server's part is .info, .mod and .zip by plain HTTP from an empty store.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from bench import targets
from bench.cases import Case
from bench.leftout import unless_incomplete
from bench.measure import Row, interleaved
from bench.sides import Same, Sides, get, h1_of


def rows(sides: Sides, cases: list[Case], runs: int, rtt: float) -> Iterator[Row]:
    for case in cases:
        yield from unless_incomplete(f"cold {case.name}", _compare(sides, case, runs, rtt))


def _compare(sides: Sides, case: Case, runs: int, rtt: float) -> Iterator[Row]:
    query = f"{case.path}@{case.version}"
    same = Same(query)
    has_it = sides.work / "floor"

    def direct(_: int) -> float:
        with sides.directory() as place:
            seconds, said = sides.download(query, sides.direct(place))
            same("h1", said["Sum"])
            same("version", said["Version"])
            if not has_it.exists():
                shutil.copytree(place / "modcache/cache/download", has_it)
            return seconds

    def floor(_: int) -> float:
        with sides.directory() as place:
            exact = f"{case.path}@{same.said['version']}"
            seconds, said = sides.download(exact, sides.through(f"file://{has_it}", place))
            same("h1", said["Sum"])
            return seconds

    def through(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            seconds, said = sides.download(query, sides.through(server.base, place))
            same("h1", said["Sum"])
            same("version", said["Version"])
            return seconds

    def alone(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            seconds, found = get(server.base, case.path, case.version, ["info", "mod", "zip"])
            same("h1", h1_of(found["zip"]))
            return seconds

    try:
        found = interleaved(runs, {"direct": direct, "through": through, "floor": floor, "alone": alone})
    finally:
        shutil.rmtree(has_it, ignore_errors=True)
    name = f"{case.name}, {rtt:g} ms"
    notes: dict[str, float | str] = {
        **{key: round(value, 4) for key, value in found.items()},
        "h1": str(same.said["h1"]),
        "version": str(same.said["version"]),
    }
    target = targets.cold(case.kind, slow=rtt > 0)
    yield Row("cold", name, "go mod download", found["through"], found["direct"], target=target, notes=notes)
    rest = max(found["direct"] - found["floor"], 1e-9)
    target = targets.server_part(case.kind)
    yield Row("cold", name, "server's part", found["alone"], rest, target=target, notes=notes)
