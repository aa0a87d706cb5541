"""Questions without a zip: .info and .mod of a version nobody has asked for, and the list of versions."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench import targets
from bench.cases import Case
from bench.measure import Row, interleaved, timed
from bench.sides import Sides, get


def rows(sides: Sides, cases: list[Case], runs: int) -> Iterator[Row]:
    for case in cases:
        yield from _compare(sides, case, runs)


def _compare(sides: Sides, case: Case, runs: int) -> Iterator[Row]:
    def go(*words: str) -> float:
        with sides.directory() as place:
            return timed(lambda: sides.go.run("list", "-m", "-json", *words, check=True, **sides.direct(place)))

    def info(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            first, found = get(server.base, case.path, case.version, ["info"])
            return first + get(server.base, case.path, json.loads(found["info"])["Version"], ["mod"])[0]

    def listed(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            return get(server.base, case.path, "", ["list"])[0]

    query = f"{case.path}@{case.version}"
    one = interleaved(runs, {"go": lambda _: go(query), "ours": info})
    yield Row("questions", case.name, ".info and .mod", one["ours"], one["go"], target=targets.questions(case.kind))
    all_ = interleaved(runs, {"go": lambda _: go("-versions", case.path), "ours": listed})
    yield Row("questions", case.name, "list", all_["ours"], all_["go"], target=targets.LIST)
