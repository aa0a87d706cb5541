"""Questions without a zip: .info and .mod of a version nobody has asked for, and the list of versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench import targets
from bench.cases import Case
from bench.leftout import unless_incomplete
from bench.measure import Row, interleaved
from bench.sides import Same, Sides, get


def rows(sides: Sides, cases: list[Case], runs: int) -> Iterator[Row]:
    for case in cases:
        yield from unless_incomplete(f"questions {case.name}", _version(sides, case, runs))
    for path, case in {case.path: case for case in cases}.items():
        yield from unless_incomplete(f"questions {path} list", _list(sides, case, path, runs))


def _version(sides: Sides, case: Case, runs: int) -> Iterator[Row]:
    query = f"{case.path}@{case.version}"
    same = Same(query)

    def direct(_: int) -> float:
        with sides.directory() as place:
            seconds, [said] = sides.ask(sides.direct(place), "list", "-m", "-json", query)
            same("version", said["Version"])
            if "GoMod" in said:
                same("go.mod", Path(said["GoMod"]).read_bytes())
            return seconds

    def ours(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            seconds, found = get(server.base, case.path, case.version, ["info", "mod"])
            same("version", json.loads(found["info"])["Version"])
            same("go.mod", found["mod"])
            return seconds

    found = interleaved(runs, {"direct": direct, "ours": ours})
    target = targets.questions(case.kind)
    yield Row("questions", case.name, ".info and .mod", found["ours"], found["direct"], target=target)


def _list(sides: Sides, case: Case, path: str, runs: int) -> Iterator[Row]:
    """`go` leaves out what is retracted, which it learns from a go.mod; that all are the same is looked at untimed."""
    same = Same(path)
    with sides.directory() as place:
        words = ("list", "-m", "-json", "-versions", "-retracted", path)
        [said] = sides.ask(sides.direct(place), *words)[1]
        same("versions", sorted(said.get("Versions", ())))

    def direct(_: int) -> float:
        with sides.directory() as place:
            return sides.ask(sides.direct(place), "list", "-m", "-json", "-versions", path)[0]

    def ours(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            seconds, found = get(server.base, path, "", ["list"])
            same("versions", sorted(found["list"].decode().split()))
            return seconds

    found = interleaved(runs, {"direct": direct, "ours": ours})
    yield Row("questions", case.path, "list", found["ours"], found["direct"], target=targets.LIST)
