"""`vcsproxy seed` and `sync`: what is seeded builds a project with no network, by file tree and by an offline server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gitrepo import git_env
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.proxyserver import serving
from vcsproxy.mod import dirhash


def mod(name: str, go: str, *requires: str) -> str:
    lines = [f"module git.test/{name}", "", f"go {go}", "", *(f"require git.test/{each}" for each in requires)]
    return "\n".join(lines) + "\n"


def package(name: str, *imports: str) -> str:
    return f"package {name}\n" + "".join(f'import _ "git.test/{each}"\n' for each in imports)


MAIN = (
    mod("main", "1.21", "a v1.1.0", "old v1.0.0", "forked v1.0.0", "local v0.0.0", "x v1.0.0", "c v1.0.0 // indirect")
    + "replace git.test/forked => git.test/fork v1.2.0\nreplace git.test/local => ./local\nexclude git.test/x v1.0.0\n"
    + "require git.test/x v1.1.0\n"
)
CODE = "package main\n" + "".join(
    f'import _ "git.test/{each}"\n' for each in ("a", "old", "forked", "local", "x")
) + "func main() {}\n"  # fmt: skip


def config(repos: Path) -> str:
    return f"""
[freshness]
refs = "0s"
[[source]]
root = "git.test/{{repo}}"
url = "file://{repos}/{{repo}}"
"""


@dataclass(frozen=True)
class Site:
    work: Path
    go: GoTool

    @property
    def project(self) -> Path:
        return self.work / "project"

    def run(self, *args: str, cwd: Path | None = None) -> tuple[int, str, str]:
        program = str(Path(sys.executable).with_name("vcsproxy"))
        command = [program, *args, "--config", str(self.work / "seed.toml"), "--data", str(self.work / "data")]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.work)}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=env, cwd=cwd or self.project, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def json(self, *args: str) -> tuple[int, dict[str, Any]]:
        code, out, said = self.run(*args, "--json")
        assert out, said
        value: dict[str, Any] = json.loads(out)
        return code, value

    def build(self, goproxy: str) -> subprocess.CompletedProcess[str]:
        """`go build` with nothing but a proxy; the module cache is empty."""
        self.go.fresh_cache()
        return self.go.run("build", "./...", cwd=self.project, GOPROXY=goproxy, GOFLAGS="-mod=mod -modcacherw")

    def downloads(self, goproxy: str) -> set[str]:
        self.go.fresh_cache()
        self.go.run("mod", "download", "-json", "all", cwd=self.project, GOPROXY=goproxy, check=True)
        cache = self.work / "home" / "modcache" / "cache" / "download"
        return {str(file.relative_to(cache)) for file in cache.rglob("*") if file.suffix in (".zip", ".mod")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    work = tmp_path_factory.mktemp("seed")
    repos = work / "repos"

    def repo(name: str, *steps: tuple[str, str, list[str]]) -> None:
        build(repos / name, [
            Step({"go.mod": gomod, f"{name}.go": code}, [n - 1] if n else [], f"{1709251200 + n} +0000", tags=tags)
            for n, (gomod, code, tags) in enumerate(steps)
        ])  # fmt: skip

    one = ["v1.0.0"]
    repo(
        "a",
        (mod("a", "1.21", "b v1.0.0"), package("a", "b"), one),
        (mod("a", "1.21", "b v1.0.0"), package("a", "b"), ["v1.1.0"]),
    )
    repo("b", (mod("b", "1.17", "c v1.0.0"), package("b", "c"), one), (mod("b", "1.17"), package("b"), ["v1.1.0"]))
    repo("c", (mod("c", "1.16"), package("c"), one))
    repo("old", (mod("old", "1.16", "b v1.1.0", "deep v1.0.0"), package("old"), one))
    repo("deep", (mod("deep", "1.16"), package("deep"), one))
    repo("forked", (mod("forked", "1.21"), package("forked"), one))
    repo("fork", (mod("fork", "1.21"), package("forked"), ["v1.2.0"]))
    repo("x", (mod("x", "1.21"), package("x"), one), (mod("x", "1.21"), package("x"), ["v1.1.0"]))
    mono = {
        "go.mod": mod("mono", "1.21"),
        "m.go": "package mono\n",
        "sub/go.mod": mod("mono/sub", "1.21"),
        "sub/s.go": "package sub\n",
    }
    build(repos / "mono", [Step(mono, tags=["v1.0.0", "sub/v0.1.0", "sub/v0.2.0"])])
    project = work / "project"
    (project / "local").mkdir(parents=True)
    (project / "go.mod").write_text(MAIN)
    (project / "main.go").write_text(CODE)
    (project / "local" / "go.mod").write_text(mod("local", "1.21", "deep v1.0.0"))
    (project / "local" / "l.go").write_text(package("local", "deep"))
    (work / "seed.toml").write_text(config(repos))
    (work / "home").mkdir()
    return Site(work, GoTool(work / "home"))


def test_what_go_mod_names_builds_with_no_network(site: Site) -> None:
    """The module graph with pruning, replace and exclude; twice, and the second time nothing is new."""
    code, report = site.json("seed", "go.mod", "--out", str(site.work / "mirror"))
    assert (code, report["problems"]) == (0, [])
    assert not (site.work / "mirror" / ".vcsproxy").exists()
    file_tree = f"file://{site.work / 'mirror'}"
    done = site.build(file_tree)
    assert done.returncode == 0, done.stderr
    with serving(site.work / "online", config(site.work / "repos")) as proxy:
        wanted = site.downloads(proxy.base)
    assert site.downloads(file_tree) == wanted
    seeded = {
        str(file.relative_to(site.work / "mirror"))
        for file in (site.work / "mirror").rglob("*")
        if file.suffix in (".zip", ".mod")
    }
    assert {name for name in seeded if name.endswith(".zip")} == {name for name in wanted if name.endswith(".zip")}
    assert seeded >= wanted
    code, again = site.json("seed", "go.mod", "--out", str(site.work / "mirror"))
    assert code == 0
    assert {each["outcome"] for each in again["versions"]} == {"there"}
    assert len(again["versions"]) == len(report["versions"])


def test_an_offline_server_answers_from_the_store_alone(site: Site) -> None:
    """The repositories are away: builds go on, branches are what they were, and all else says why it is not there."""
    work = site.work / "offline"
    work.mkdir()
    gomod_only = f"git.test/b v1.0.0/go.mod {dirhash.hash_gomod(mod('b', '1.17', 'c v1.0.0').encode())}\n"
    (work / "go.sum").write_text(gomod_only)
    code, out, said = site.run("seed", "go.mod", str(work / "go.sum"), "git.test/a@latest", "git.test/a@main")
    assert code == 0, out + said
    shutil.copytree(site.work / "data" / "store", work / "data" / "store")
    offline = '[server]\noffline = true\n[[source]]\nroot = "git.test/{repo}"\nurl = "https://127.0.0.1:1/{repo}"\n'
    with serving(work, offline) as proxy:
        done = site.build(proxy.base)
        assert done.returncode == 0, done.stderr
        assert proxy.get("/git.test/a/@v/list").data == b"v1.1.0\n"
        assert proxy.get("/git.test/a/@latest").json()["Version"] == "v1.1.0"
        assert proxy.get("/git.test/a/@v/main.info").json()["Version"] == "v1.1.0"
        for path in ("a/@v/v1.0.0.info", "a/@v/other.info", "none/@v/list", "none/@latest", "none/@v/v1.0.0.zip"):
            response = proxy.get(f"/git.test/{path}")
            assert response.status == 404, path
            assert b"this server is offline" in response.data
        assert proxy.get("/git.test/b/@v/v1.0.0.mod").status == 200
        response = proxy.get("/git.test/b/@v/v1.0.0.zip")
        assert response.status == 404
        assert b"its zip is not in the store, and this server is offline" in response.data
    assert not list((work / "data" / "mirrors").iterdir())


def test_one_source_can_be_offline(site: Site) -> None:
    text = (
        config(site.work / "repos")
        + '[[source]]\nroot = "git.example/{repo}"\nurl = "https://127.0.0.1:1/{repo}"\noffline = true\n'
    )
    with serving(site.work / "mixed", text) as proxy:
        assert proxy.get("/git.test/a/@v/list").status == 200
        response = proxy.get("/git.example/a/@v/list")
        assert response.status == 404
        assert b"this server is offline" in response.data


def test_queries_sources_and_lists_of_targets(site: Site, tmp_path: Path) -> None:
    (tmp_path / "targets").write_text("git.test/b@all  # both\n\ngit.test/x@v1\n")
    out = str(tmp_path / "out")
    code, report = site.json("seed", "--list", str(tmp_path / "targets"), "--source", "git.test/mono", "--out", out)
    assert (code, report["problems"]) == (0, [])
    found = [f"{each['path']}@{each['version']}" for each in report["versions"]]
    assert found == [
        "git.test/b@v1.0.0", "git.test/b@v1.1.0", "git.test/mono@v1.0.0", "git.test/mono/sub@v0.1.0",
        "git.test/mono/sub@v0.2.0", "git.test/x@v1.1.0",
    ]  # fmt: skip


def test_what_cannot_be_had_is_told_and_the_rest_is_there(site: Site, tmp_path: Path) -> None:
    text = "git.test/c v1.0.0 h1:" + "A" * 43 + "=\n"
    (tmp_path / "go.sum").write_text(text)
    targets = [
        str(tmp_path / "go.sum"),
        "git.test/none@v1.0.0",
        "git.test/a@v9.9.9",
        "git.test/a@v7",
        "git.test/x@v1.0.0",
    ]
    out = tmp_path / "out"
    code, report = site.json("seed", *targets, "--source", "git.test/{repo}", "--out", str(out))
    assert code == 1
    problems = {each["subject"]: each["reason"] for each in report["problems"]}
    assert set(problems) == {
        "git.test/none@v1.0.0",
        "git.test/a@v9.9.9",
        "git.test/a@v7",
        "git.test/{repo}",
        "git.test/c@v1.0.0",
    }
    assert "expected h1:AAA" in problems["git.test/c@v1.0.0"]
    assert not (out / "git.test/c/@v/v1.0.0.zip").exists()
    assert (out / "git.test/x/@v/v1.0.0.zip").exists()


def test_a_dry_run_brings_nothing(site: Site, tmp_path: Path) -> None:
    code, report = site.json("seed", "git.test/c@v1.0.0", "--out", str(tmp_path / "out"), "--dry-run")
    assert code == 0
    assert report["missing"] == [{"path": "git.test/c", "version": "v1.0.0", "zip": True}]
    assert not list((tmp_path / "out").rglob("*.zip"))


def test_sync_says_what_is_new(site: Site, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    code, out, said = site.run("seed", "git.test/deep@all", "--out", str(tmp_path / "out"), "--save", str(plan))
    assert code == 0, out + said
    code, out, _ = site.run("sync", str(plan))
    assert (code, out) == (0, "1 versions: 0 new (0.0 MB), 1 there\n")
    repo = site.work / "repos" / "deep"
    subprocess.run(["git", "tag", "v1.0.1", "main"], cwd=repo, env=git_env(), check=True, capture_output=True)
    code, out, _ = site.run("sync", str(plan))
    assert code == 0
    assert out.startswith("new: git.test/deep@v1.0.1\n2 versions: 1 new")
    plan.write_text('targets = "x"\nnonsense = 1\n')
    code, _, said = site.run("sync", str(plan))
    assert code == 1
    assert "targets: " in said
    assert "nonsense: " in said


def test_a_workspace(site: Site, tmp_path: Path) -> None:
    for name, requires in (("p", "c v1.0.0"), ("q", "b v1.1.0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "go.mod").write_text(mod(name, "1.21", requires))
        (tmp_path / name / f"{name}.go").write_text(package(name, requires[0]))
    (tmp_path / "go.work").write_text("go 1.21\nuse ./p\nuse ./q\n")
    code, report = site.json("seed", str(tmp_path), "--out", str(tmp_path / "out"))
    assert (code, report["problems"]) == (0, [])
    site.go.fresh_cache()
    done = site.go.run(
        "build", "./p", "./q", cwd=tmp_path, GOWORK="", GOPROXY=f"file://{tmp_path / 'out'}", GOFLAGS="-modcacherw"
    )
    assert done.returncode == 0, done.stderr
