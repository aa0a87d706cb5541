"""Cold and warm downloads: `go mod download` through an empty vcsproxy against `go` in direct mode.

Both fetch from the same smart HTTP Git server on loopback. Runs are interleaved; medians and their ratio are printed,
and the hashes of both must be equal. Without --mirrors, generated repositories are used; with it, chosen public ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.githost import GitHost
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.proxyserver import serving

PUBLIC = {
    "google+uuid": ("github.com/google/uuid", "v1.6.0"),
    "pkg+errors": ("github.com/pkg/errors", "v0.9.1"),
    "spf13+cobra": ("github.com/spf13/cobra", "v1.8.0"),
    "moby+moby": ("github.com/moby/moby", "v24.0.7+incompatible"),
}


@dataclass(frozen=True)
class Case:
    """A module version whose repository is `name` below the host's root."""

    name: str
    path: str
    version: str


def generated(root: Path) -> list[Case]:
    """A small and a medium repository with some history."""
    cases = []
    for name, files, commits in (("small", 12, 20), ("medium", 400, 60)):
        base = {f"p{n % 20}/f{n}.go": f"package p{n % 20}\n\n// {n}\n" * 40 for n in range(files)}
        gomod = {"go.mod": f"module github.com/bench/{name}\n\ngo 1.21\n"}
        steps = []
        for number in range(commits):
            tree = {**base, **gomod, f"p0/new{number}.go": "package p0\n"}
            tags = ["v1.0.0"] if number == commits - 1 else []
            steps.append(Step(tree, [number - 1] if number else [], f"{1709251200 + number} +0000", tags=tags))
        build(root / name, steps)
        cases.append(Case(name, f"github.com/bench/{name}", "v1.0.0"))
    return cases


def mirrored(mirrors: Path, root: Path) -> list[Case]:
    cases = []
    for directory, (path, version) in PUBLIC.items():
        if (mirrors / directory / "repo").is_dir():
            (root / directory).symlink_to(mirrors / directory / "repo")
            cases.append(Case(directory, path, version))
    return cases


def download(go: GoTool, case: Case, cache: Path, **env: str) -> tuple[float, str]:
    started = time.perf_counter()
    value = go.json("mod", "download", "-json", f"{case.path}@{case.version}", GOMODCACHE=str(cache), **env)
    seconds = time.perf_counter() - started
    if "Sum" not in value:
        raise SystemExit(f"{case.path}: {value}")
    return seconds, str(value["Sum"])


def compare(case: Case, host: GitHost, go: GoTool, work: Path, runs: int) -> dict[str, float | str]:
    config = work / "gitconfig"
    config.write_text(f'[url "{host.url}/{case.name}"]\n\tinsteadOf = https://{case.path}\n')
    source = f'[[source]]\nroot = "{case.path}"\nurl = "{host.url}/{case.name}"\norigin = "https://{case.path}"\n'
    times: dict[str, list[float]] = {"direct": [], "cold": [], "warm": []}
    for number in range(runs):
        place = work / f"{case.name}{number}"
        seconds, want = download(go, case, place / "direct", GOPROXY="direct", GIT_CONFIG_GLOBAL=str(config))
        times["direct"].append(seconds)
        with serving(place / "server", source) as server:
            for kind in ("cold", "warm"):
                seconds, have = download(go, case, place / kind, GOPROXY=server.base)
                times[kind].append(seconds)
                if have != want:
                    raise SystemExit(f"{case.path}: {have} is not {want}")
        shutil.rmtree(place, ignore_errors=True)
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    ratios = {f"{kind}/direct": medians[kind] / medians["direct"] for kind in ("cold", "warm")}
    return {"module": f"{case.path}@{case.version}", **medians, **ratios}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--mirrors", type=Path, help="directory of bare public repositories, OWNER+NAME/repo")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        (work / "repos").mkdir()
        cases = mirrored(options.mirrors, work / "repos") if options.mirrors else generated(work / "repos")
        (work / "home").mkdir()
        go = GoTool(work / "home")
        with GitHost(work / "repos").running() as host:
            rows = [compare(case, host, go, work, options.runs) for case in cases]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if options.json:
        print(json.dumps({"machine": platform.platform(), "python": platform.python_version(), "rows": rows}, indent=1))
        return 0
    print(f"{'module':48} {'direct s':>9} {'cold s':>9} {'warm s':>9} {'cold/direct':>12} {'warm/direct':>12}")
    for row in rows:
        print("{module:48} {direct:9.3f} {cold:9.3f} {warm:9.3f} {cold/direct:12.2f} {warm/direct:12.2f}".format(**row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
