"""A version that nobody has asked for: `go mod download` through an empty vcsproxy, against `go` in direct mode.

The client's floor is `go mod download` from a file:// proxy that has it already; what `go` takes above that in direct
mode is what a server can save. The server's part is .info, .mod and .zip by plain HTTP from an empty store.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

from bench import targets
from bench.cases import Case
from bench.measure import Row, interleaved
from bench.sides import Sides, get, h1_of


def rows(sides: Sides, cases: list[Case], runs: int, rtt: float) -> Iterator[Row]:
    for case in cases:
        yield from _compare(sides, case, runs, f"{case.name}, {rtt:g} ms")


def _compare(sides: Sides, case: Case, runs: int, name: str) -> Iterator[Row]:
    want: dict[str, str] = {}
    query = f"{case.path}@{case.version}"

    def same(value: str) -> None:
        if want.setdefault("sum", value) != value:
            raise SystemExit(f"{query}: {value} is not {want['sum']}")

    def direct(_: int) -> float:
        with sides.directory() as place:
            seconds, said = sides.download(query, sides.direct(place))
            same(said["Sum"])
            want["version"] = said["Version"]
            if not (sides.work / "floor").exists():
                shutil.copytree(place / "modcache/cache/download", sides.work / "floor")
            return seconds

    def floor(_: int) -> float:
        with sides.directory() as place:
            proxy = f"file://{sides.work / 'floor'}"
            seconds, said = sides.download(f"{case.path}@{want['version']}", sides.through(proxy, place))
            same(said["Sum"])
            return seconds

    def through(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            seconds, said = sides.download(query, sides.through(server.base, place))
            same(said["Sum"])
            return seconds

    def alone(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            first, found = get(server.base, case.path, case.version, ["info"])
            version = json.loads(found["info"])["Version"]
            seconds, found = get(server.base, case.path, version, ["mod", "zip"])
            same(h1_of(found["zip"]))
            return first + seconds

    try:
        found = interleaved(runs, {"direct": direct, "through": through, "floor": floor, "alone": alone})
    finally:
        shutil.rmtree(sides.work / "floor", ignore_errors=True)
    notes: dict[str, float | str] = {"floor": round(found["floor"], 4), "h1": want["sum"]}
    slow = not name.endswith(", 0 ms")
    yield Row(
        "cold",
        name,
        "go mod download",
        found["through"],
        found["direct"],
        target=targets.cold(case.kind, slow),
        notes=notes,
    )
    rest = max(found["direct"] - found["floor"], 1e-9)
    yield Row("cold", name, "server's part", found["alone"], rest, target=targets.server_part(case.kind), notes=notes)
