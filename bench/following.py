"""The second version of a module whose first has been built, against `go` in direct mode with nothing (so runs Athens).

And a commit that was pushed a moment ago, asked for by its branch.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from bench import targets
from bench.cases import Case
from bench.measure import Row, interleaved
from bench.sides import Sides, get, h1_of
from tests.support.gitrepo import GitRepo


def rows(sides: Sides, cases: list[Case], runs: int, root: Path) -> Iterator[Row]:
    for case in cases:
        if case.before:
            yield _second(sides, case, runs)
    yield _pushed(sides, cases[0], runs, root)


def _second(sides: Sides, case: Case, runs: int) -> Row:
    want: dict[str, str] = {}

    def direct(_: int) -> float:
        with sides.directory() as place:
            seconds, said = sides.download(f"{case.path}@{case.version}", sides.direct(place))
            want["sum"] = said["Sum"]
            return seconds

    def ours(_: int) -> float:
        with sides.directory() as place, sides.server(place) as server:
            get(server.base, case.path, case.before, ["info", "mod", "zip"])
            seconds, found = get(server.base, case.path, case.version, ["info", "mod", "zip"])
            if h1_of(found["zip"]) != want["sum"]:
                raise SystemExit(f"{case.name}: another hash")
            return seconds

    found = interleaved(runs, {"direct": direct, "ours": ours})
    return Row(
        "next", case.name, f"after {case.before}", found["ours"], found["direct"], target=targets.following(case.kind)
    )


def _pushed(sides: Sides, case: Case, runs: int, root: Path) -> Row:
    """The commit is made in a copy of the repository, which takes the original's place for this comparison."""
    place, kept = root / case.repository, root / "kept"
    place.rename(kept)
    try:
        shutil.copytree(kept.resolve(), place)
        repo = GitRepo.__new__(GitRepo)
        repo.path = place
        head = repo.git("rev-parse", "HEAD")
        repo.git("update-ref", "refs/heads/pushed", head)

        def push() -> None:
            tip = repo.git("rev-parse", "refs/heads/pushed")
            new = repo.git("commit-tree", "-p", tip, "-m", "pushed", tip + "^{tree}")
            repo.git("update-ref", "refs/heads/pushed", new)

        def direct(_: int) -> float:
            push()
            with sides.directory() as work:
                return sides.download(f"{case.path}@pushed", sides.direct(work))[0]

        def ours(_: int) -> float:
            with sides.directory() as work, sides.server(work) as server:
                get(server.base, case.path, case.version, ["info", "mod", "zip"])
                push()
                tip = repo.git("rev-parse", "refs/heads/pushed")
                return get(server.base, case.path, tip[:12], ["info"])[0]

        found = interleaved(runs, {"direct": direct, "ours": ours})
    finally:
        shutil.rmtree(place, ignore_errors=True)
        kept.rename(place)
    return Row(
        "next", case.path, ".info of a commit just pushed", found["ours"], found["direct"], target=targets.FOLLOWING
    )
