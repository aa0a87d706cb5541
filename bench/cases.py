"""What is built: real repositories if mirrors of them are at hand, generated ones otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.gitrepo import GitRepo
from tests.support.history import Step, build


@dataclass(frozen=True)
class Case:
    """A module version; `repository` is below the host's root, `root` the module path that it stands for.

    `query` is what is asked for; `version` what that is, `before` an older version ("" for none).
    """

    kind: str
    repository: str
    root: str
    path: str
    version: str
    before: str = ""

    @property
    def name(self) -> str:
        return f"{self.path.removeprefix('github.com/')}@{self.version}"


def _at_github(kind: str, name: str, version: str, before: str, inside: str = "") -> Case:
    return Case(kind, name.replace("/", "+"), f"github.com/{name}", f"github.com/{name}{inside}", version, before)


REAL = (
    _at_github("small", "google/uuid", "v1.6.0", "v1.5.0"),
    _at_github("small", "pkg/errors", "v0.9.1", "v0.9.0"),
    _at_github("medium", "spf13/cobra", "v1.8.0", "v1.7.0"),
    _at_github("medium", "gin-gonic/gin", "v1.9.1", "v1.9.0"),
    _at_github("large", "ethereum/go-ethereum", "v1.9.9", "v1.9.8"),
    _at_github("large", "moby/moby", "v24.0.7+incompatible", "v24.0.6+incompatible"),
    _at_github("part", "moby/moby", "v1.52.0", "v1.52.0-beta.1", "/api"),
)
_DEEP = ("spf13+cobra", "github.com/spf13/cobra", 50)


def real(mirrors: Path, root: Path) -> list[Case]:
    """Those whose mirror (OWNER+NAME/repo) is here, linked below `root`, and a commit deep in a history."""
    found = []
    for case in REAL:
        place = mirrors / case.repository / "repo"
        if not place.is_dir():
            print(f"left out: {case.name} ({place} is missing)")
            continue
        link = root / case.repository
        if not link.exists():
            link.symlink_to(place.resolve())
        found.append(case)
    repository, path, depth = _DEEP
    if (root / repository).exists():
        repo = GitRepo.__new__(GitRepo)
        repo.path = root / repository
        commit = repo.git("rev-list", "--first-parent", "--skip", str(depth), "-n", "1", "HEAD")
        found.append(Case("deep", repository, path, path, commit[:12]))
    return found


def generated(root: Path) -> list[Case]:
    """Small, medium and large repositories with some history, and a module in a directory of the large one."""
    cases = []
    for kind, files, commits in (("small", 12, 20), ("medium", 400, 60), ("large", 6000, 30)):
        path = f"github.com/bench/{kind}"
        tree = {f"d{n % 300}/p{n % 7}/f{n}.go": f"package p{n % 7}\n\n// {n}\n" * 60 for n in range(files)}
        tree |= {"go.mod": f"module {path}\n\ngo 1.21\n", "sub/part/go.mod": f"module {path}/sub/part\n\ngo 1.21\n"}
        tree |= {f"sub/part/s{n}.go": "package part\n" * 50 for n in range(10)}
        steps = []
        for number in range(commits):
            changed = {**tree, "d0/new.go": f"package p0 // {number}\n"}
            tags = {commits - 1: ["v1.1.0", "sub/part/v0.2.0"], commits - 3: ["v1.0.0", "sub/part/v0.1.0"]}.get(
                number, []
            )
            branch = f"{1709251200 + 60 * number} +0000"
            steps.append(Step(changed, [number - 1] if number else [], branch, tags=tags))
        repo = build(root / kind, steps)
        repo.git("gc", "-q")
        cases.append(Case(kind, kind, path, path, "v1.1.0", "v1.0.0"))
    large = "github.com/bench/large"
    cases.append(Case("part", "large", large, large + "/sub/part", "v0.2.0", "v0.1.0"))
    return cases
