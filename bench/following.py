"""What comes after a first build: another version, the other modules of the repository, a commit just pushed.

The other side is always `go` in direct mode with nothing, which is how proxies that call `go` run it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import targets
from bench.cases import Case, opened
from bench.leftout import unless_incomplete
from bench.measure import Row, interleaved
from bench.sides import Same, Sides, get, h1_of

_ALL = ("info", "mod", "zip")


def rows(sides: Sides, cases: list[Case], runs: int, root: Path) -> Iterator[Row]:
    for case in cases:
        if case.before:
            yield from unless_incomplete(f"next {case.name}", _second(sides, case, runs))
        if case.siblings:
            yield from unless_incomplete(f"next {case.root}", _siblings(sides, case, runs))
    yield from _pushed(sides, cases[0], runs, root)


def _second(sides: Sides, case: Case, runs: int) -> Iterator[Row]:
    same = Same(case.name)

    def direct(_: int) -> float:
        with sides.directory() as place:
            seconds, said = sides.download(f"{case.path}@{case.version}", sides.direct(place))
            same("h1", said["Sum"])
            return seconds

    def ours(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            get(server.base, case.path, case.before, _ALL)
            seconds, found = get(server.base, case.path, case.version, _ALL)
            same("h1", h1_of(found["zip"]))
            return seconds

    found = interleaved(runs, {"direct": direct, "ours": ours})
    target = targets.following(case.kind)
    yield Row("next", case.name, f"after {case.before}", found["ours"], found["direct"], target=target)


def _siblings(sides: Sides, case: Case, runs: int) -> Iterator[Row]:
    """All of them one after the other, on our side; in one `go mod download`, which clones once, on the other."""
    same = Same(case.root)

    def direct(_: int) -> float:
        queries = [f"{path}@{version}" for path, version in case.siblings]
        with sides.directory() as place:
            seconds, values = sides.ask(sides.direct(place), "mod", "download", "-json", *queries)
            for value in values:
                same(value["Path"], value["Sum"])
            return seconds

    def ours(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            found = {path: get(server.base, path, version, _ALL) for path, version in case.siblings}
            for path, (_seconds, answers) in found.items():
                same(path, h1_of(answers["zip"]))
            return sum(seconds for seconds, _answers in found.values())

    found = interleaved(runs, {"direct": direct, "ours": ours})
    name = f"{case.root.removeprefix('github.com/')}, {len(case.siblings)} modules"
    yield Row("next", name, "all of a repository", found["ours"], found["direct"])


def _pushed(sides: Sides, case: Case, runs: int, root: Path) -> Iterator[Row]:
    """The commit is made in a copy of the repository, which takes the original's place for this comparison.

    By its hash it is found at once; by its branch as soon as refs are not believed any more, here after a millisecond.
    """
    place, kept = root / case.repository, root / "kept"
    place.rename(kept)
    try:
        shutil.copytree(kept.resolve(), place)
        repo = opened(place)
        repo.git("update-ref", "refs/heads/pushed", repo.git("rev-parse", f"{case.version}^{{commit}}"))

        def push() -> str:
            tip = repo.git("rev-parse", "refs/heads/pushed")
            new = repo.git("commit-tree", "-p", tip, "-m", "pushed", tip + "^{tree}")
            repo.git("update-ref", "refs/heads/pushed", new)
            return new[:12]

        for what in ("its branch", "its hash"):
            yield _just_pushed(sides, case, runs, what, push)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        kept.rename(place)


def _just_pushed(sides: Sides, case: Case, runs: int, what: str, push: Callable[[], str]) -> Row:
    commits: list[str] = []

    def direct(number: int) -> float:
        commits.append(push())
        with sides.directory() as work:
            query = "pushed" if what == "its branch" else commits[number]
            seconds, [said] = sides.ask(sides.direct(work), "list", "-m", "-json", f"{case.path}@{query}")
            _check(said["Version"], commits[number])
            return seconds

    def ours(_: int) -> float:
        with sides.directory() as work, sides.server(work, '[freshness]\nrefs = "1ms"\n') as server:
            get(server.base, case.path, case.version, _ALL)
            get(server.base, case.path, "pushed", ["info"])
            commit = push()
            query = "pushed" if what == "its branch" else commit
            seconds, found = get(server.base, case.path, query, ["info"])
            _check(json.loads(found["info"])["Version"], commit)
            return seconds

    found = interleaved(runs, {"direct": direct, "ours": ours})
    target = targets.FOLLOWING
    return Row("next", case.path, f".info just pushed, by {what}", found["ours"], found["direct"], target=target)


def _check(version: str, commit: str) -> None:
    if not version.endswith("-" + commit):
        raise SystemExit(f"{version} is not of the commit {commit} that was pushed")
