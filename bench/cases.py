"""What is built: real repositories if mirrors of them are at hand, generated ones otherwise."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.leftout import leave_out
from tests.support.gitrepo import GitRepo, git_env
from tests.support.history import Step, build


@dataclass(frozen=True)
class Case:
    """A module version; `repository` is below the host's root, `root` the module path that it stands for.

    `version` is what is asked for, a hash in the case of kind "deep"; `before` an older version ("" for none).
    `siblings` are module versions of the same repository, itself among them.
    """

    kind: str
    repository: str
    root: str
    path: str
    version: str
    before: str = ""
    siblings: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.path.removeprefix('github.com/')}@{self.version}"

    @property
    def is_static(self) -> bool:
        """Whether `go` knows the repository from the path alone."""
        return self.root.startswith("github.com/")


def _at_github(kind: str, name: str, version: str, before: str, inside: str = "") -> Case:
    return Case(kind, name.replace("/", "+"), f"github.com/{name}", f"github.com/{name}{inside}", version, before)


_ETCD = "go.etcd.io/etcd"
_ETCD_MODULES = ("api/v3", "client/pkg/v3", "client/v3", "pkg/v3", "raft/v3", "server/v3", "etcdutl/v3", "etcdctl/v3")
REAL = (
    _at_github("small", "google/uuid", "v1.6.0", "v1.5.0"),
    _at_github("small", "pkg/errors", "v0.9.1", "v0.9.0"),
    _at_github("medium", "spf13/cobra", "v1.8.0", "v1.7.0"),
    _at_github("medium", "gin-gonic/gin", "v1.9.1", "v1.9.0"),
    _at_github("large", "moby/moby", "v24.0.7+incompatible", "v24.0.6+incompatible"),
    Case("large", "kubernetes+client-go", "k8s.io/client-go", "k8s.io/client-go", "v0.29.0", "v0.28.4"),
    Case(
        "part", "etcd-io+etcd", _ETCD, f"{_ETCD}/api/v3", "v3.5.9", "v3.5.8",
        tuple((f"{_ETCD}/{module}", "v3.5.9") for module in _ETCD_MODULES),
    ),
    _at_github("part", "moby/moby", "v1.52.0", "v1.52.0-beta.1", "/api"),
)  # fmt: skip
_DEEP = ("spf13+cobra", "github.com/spf13/cobra", "v1.8.0", 50)


def tag_of(case: Case, version: str) -> str:
    """The tag of a version of a case's module."""
    inside = case.path.removeprefix(case.root).strip("/")
    head, _, last = inside.rpartition("/")
    if last[:1] == "v" and last[1:].isdigit():
        inside = head
    return (inside + "/" if inside else "") + version.removesuffix("+incompatible")


def opened(path: Path) -> GitRepo:
    """A repository that is there already."""
    repo = GitRepo.__new__(GitRepo)
    repo.path = path
    return repo


def real(mirrors: Path, root: Path) -> list[Case]:
    """Those whose mirror (OWNER+NAME/repo) is here with its tags, linked below `root`, and a commit of long ago."""
    found = []
    for case in REAL:
        place = mirrors / case.repository / "repo"
        tags = [f"refs/tags/{tag_of(case, version)}" for version in (case.version, case.before)]
        if not place.is_dir():
            leave_out(case.name, f"no mirror {case.repository}")
        elif missing := [tag for tag in tags if not opened(place).try_rev(tag)]:
            leave_out(case.name, f"the mirror has no {', '.join(missing)}")
        else:
            if not (root / case.repository).exists():
                (root / case.repository).symlink_to(place.resolve())
            found.append(case)
    repository, path, tag, depth = _DEEP
    if (root / repository).exists():
        commit = opened(root / repository).git("rev-list", "--first-parent", f"--skip={depth}", "-n", "1", tag)
        found.append(Case("deep", repository, path, path, commit[:12]))
    return found


def generated(root: Path) -> list[Case]:
    """Small, medium and large repositories with some history, and modules in directories of the large one."""
    cases = []
    for kind, files, commits in (("small", 12, 20), ("medium", 400, 60), ("large", 6000, 200)):
        path = f"github.com/bench/{kind}"
        tree = {f"d{n % 300}/p{n % 7}/f{n}.go": f"package p{n % 7}\n\n// {n}\n" * 60 for n in range(files)}
        tree["go.mod"] = f"module {path}\n\ngo 1.21\n"
        for name in ("part", "other"):
            tree[f"sub/{name}/go.mod"] = f"module {path}/sub/{name}\n\ngo 1.21\n"
            tree |= {f"sub/{name}/s{n}.go": f"package {name}\n" * 50 for n in range(10)}
        repo = build(root / kind, [Step(tree)])
        old, new = ["v1.0.0", "sub/part/v0.1.0"], ["v1.1.0", "sub/part/v0.2.0", "sub/other/v0.2.0"]
        grow(repo, commits, {commits - 3: old, commits - 1: new})
        repo.git("gc", "-q")
        cases.append(Case(kind, kind, path, path, "v1.1.0", "v1.0.0"))
    large = "github.com/bench/large"
    siblings = ((large, "v1.1.0"), (large + "/sub/part", "v0.2.0"), (large + "/sub/other", "v0.2.0"))
    cases.append(Case("part", "large", large, large + "/sub/part", "v0.2.0", "v0.1.0", siblings))
    deep = opened(root / "medium").git("rev-list", "--first-parent", "--skip=50", "-n", "1", "main")
    medium = "github.com/bench/medium"
    cases.append(Case("deep", "medium", medium, medium, deep[:12]))
    return cases


def grow(repo: GitRepo, commits: int, tags: dict[int, list[str]]) -> None:
    """Add commits to main, each changing two files; `tags` by the number of the commit."""
    out = []
    for number in range(commits):
        out.append(f"commit refs/heads/main\ncommitter C <c@example.com> {1709251300 + 60 * number} +0000\ndata 1\nm\n")
        out.append("" if number else "from refs/heads/main^0\n")
        for name in ("d0/new.go", f"sub/part/new{number % 5}.go"):
            text = f"package p0 // {number}\n"
            out.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n")
        out += [f"reset refs/tags/{tag}\nfrom refs/heads/main\n\n" for tag in tags.get(number, [])]
    command = ["git", "fast-import", "--quiet", "--force", "--date-format=raw-permissive"]
    subprocess.run(command, input="".join(out).encode(), env=git_env(GIT_DIR=str(repo.path)), check=True)
