"""Public projects are seeded, and build with nothing but what was seeded; the set is what go itself takes.

The repositories are not fetched: VCSPROXY_MIRRORS names a directory that holds clones as OWNER+NAME/repo. A project of
which something is not there is skipped, and says what.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.gotool import GoTool
from tests.support.proxyserver import serving

MIRRORS = os.environ.get("VCSPROXY_MIRRORS", "")
VANITY = {
    "golang.org/x": "golang+{repo}", "go.uber.org": "uber-go+{repo}", "k8s.io": "kubernetes+{repo}",
    "sigs.k8s.io": "kubernetes-sigs+{repo}", "mvdan.cc": "mvdan+{repo}", "rsc.io": "rsc+{repo}",
    "go.etcd.io": "etcd-io+{repo}",
}  # fmt: skip
ODD = {
    "google.golang.org/protobuf": "protocolbuffers+protobuf-go", "google.golang.org/appengine": "golang+appengine",
    "google.golang.org/grpc": "grpc+grpc-go", "gopkg.in/yaml.v2": "go-yaml+yaml", "gopkg.in/yaml.v3": "go-yaml+yaml",
    "gopkg.in/check.v1": "go-check+check", "gopkg.in/inf.v0": "go-inf+inf", "cloud.google.com/go": "googleapis+google-cloud-go",
    "go.yaml.in/yaml/v3": "yaml+go-yaml",
}  # fmt: skip
PROJECTS = [
    ("spf13+cobra", "v1.8.0"), ("sirupsen+logrus", "v1.9.3"), ("uber-go+zap", "v1.26.0"), ("stretchr+testify", "v1.8.4"),
    ("go-chi+chi", "v5.0.10"), ("google+uuid", "v1.6.0"), ("pkg+errors", "v0.9.1"), ("urfave+cli", "v2.25.7"),
    ("go-logr+logr", "v1.4.1"), ("golang+mod", "v0.14.0"), ("onsi+ginkgo", "v2.13.0"), ("gin-gonic+gin", "v1.9.1"),
    ("kubernetes+client-go", "v0.29.0"), ("mvdan+sh", "v3.7.0"), ("etcd-io+etcd", "v3.5.9"), ("prometheus+client_golang", "v1.17.0"),
]  # fmt: skip
_NOT_HERE = re.compile(r"cannot be read|no such host|is missing from the repository|not found|unknown revision")

pytestmark = pytest.mark.skipif(
    not MIRRORS, reason="VCSPROXY_MIRRORS names no directory with clones of public repositories (OWNER+NAME/repo)"
)


def config() -> str:
    """Every public path leads to a clone on this machine."""
    sources = list(ODD.items())
    sources += [(f"{root}/{{repo}}", place) for root, place in VANITY.items()]
    sources.append(("github.com/{owner}/{repo}", "{owner}+{repo}"))
    text = "".join(f'[[source]]\nroot = "{root}"\nurl = "file://{MIRRORS}/{place}/repo"\n' for root, place in sources)
    return '[freshness]\nrefs = "1h"\n' + text


@dataclass(frozen=True)
class Project:
    work: Path
    go: GoTool
    inside: str = ""  # the directory of the module that is meant, in the repository

    @classmethod
    def checked_out(cls, work: Path, *chosen: tuple[str, str]) -> Project:
        """Its files at a version; of several a directory each, and a go.work."""
        for name, version in chosen:
            place = work / "project" / (name if len(chosen) > 1 else "")
            place.mkdir(parents=True, exist_ok=True)
            repository = Path(MIRRORS, name, "repo")
            if not repository.is_dir():
                pytest.skip(f"there is no clone {name}")
            archive = subprocess.run(["git", "archive", version], cwd=repository, capture_output=True, check=False)
            if archive.returncode:
                pytest.skip(f"{name} lacks files of {version}")
            subprocess.run(["tar", "x"], cwd=place, input=archive.stdout, check=True)
            if not (place / "go.mod").exists():
                (place / "go.mod").write_text(f"module github.com/{name.replace('+', '/')}\n\ngo 1.21\n")
        if len(chosen) > 1:
            uses = "".join(f"use ./{name}\n" for name, _ in chosen)
            (work / "project" / "go.work").write_text(f"go 1.21\n{uses}")
        (work / "vcsproxy.toml").write_text(config())
        (work / "home").mkdir()
        return cls(work, GoTool(work / "home"))

    @property
    def directory(self) -> Path:
        return self.work / "project" / self.inside

    @property
    def mirror(self) -> Path:
        return self.work / "mirror"

    def seed(self) -> list[dict[str, str]]:
        """Seed into `mirror`; what could not be had because no clone has it skips the test."""
        program = str(Path(sys.executable).with_name("vcsproxy"))
        command = [program, "seed", str(self.directory), "--out", str(self.mirror), "--json"]
        options = ["--config", str(self.work / "vcsproxy.toml"), "--data", str(self.work / "data")]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=280, check=False)
        report = json.loads(done.stdout)
        problems = [f"{each['subject']}: {each['reason']}" for each in report["problems"]]
        if problems:
            assert all(_NOT_HERE.search(problem) for problem in problems), problems
            pytest.skip(f"{len(problems)} are not in the clones: {problems[0]}")
        versions: list[dict[str, str]] = report["versions"]
        return versions

    def run(self, proxy: str, *args: str) -> subprocess.CompletedProcess[str]:
        work = "" if (self.directory / "go.work").exists() else "off"
        flags = "-modcacherw" if not work else "-mod=mod -modcacherw"
        return self.go.run(*args, cwd=self.directory, GOPROXY=proxy, GOFLAGS=flags, GOWORK=work, GOSUMDB="off")

    def taken(self, proxy: str) -> set[str]:
        """The zips that `go mod download all` takes, and the go.mod files that it reads."""
        self.go.fresh_cache()
        done = self.run(proxy, "mod", "download", "-json", "all")
        assert done.returncode == 0, done.stderr + done.stdout[-2000:]
        cache = self.work / "home" / "modcache" / "cache" / "download"
        return {str(file.relative_to(cache)) for file in cache.rglob("*") if file.suffix in (".zip", ".mod")}


@pytest.mark.parametrize("chosen", [[each] for each in PROJECTS], ids=lambda chosen: "@".join(chosen[0]))
def test_a_project_is_built_from_what_was_seeded(chosen: list[tuple[str, str]], tmp_path: Path) -> None:
    prove(Project.checked_out(tmp_path, *chosen))


def test_a_workspace_is_built_from_what_was_seeded(tmp_path: Path) -> None:
    prove(
        Project.checked_out(
            tmp_path, ("spf13+cobra", "v1.8.0"), ("sirupsen+logrus", "v1.9.3"), ("pkg+errors", "v0.9.1")
        )
    )


def test_a_module_with_a_replacement_beside_it_is_built_from_what_was_seeded(tmp_path: Path) -> None:
    """Its go.mod has `replace go.uber.org/zap => ../`."""
    prove(replace(Project.checked_out(tmp_path, ("uber-go+zap", "v1.26.0")), inside="exp"))


def prove(project: Project) -> None:
    """Build, compile the tests and list all packages; compare with what go takes through a server of the same clones."""
    project.seed()
    tree = f"file://{project.mirror}"
    project.go.fresh_cache()
    packages = "./..." if not (project.directory / "go.work").exists() else "all"
    for command in (["list", "-deps", packages], ["list", "-test", "-deps", packages]):
        done = project.run(tree, *command)
        assert done.returncode == 0, (command, done.stderr)
    seeded = {str(f.relative_to(project.mirror)) for f in project.mirror.rglob("*") if f.suffix in (".zip", ".mod")}
    with serving(project.work / "online", config()) as proxy:
        wanted = project.taken(proxy.base)
    assert project.taken(tree) == wanted
    assert seeded >= wanted
    assert {name for name in seeded if name.endswith(".zip")} == {name for name in wanted if name.endswith(".zip")}
