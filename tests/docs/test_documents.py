"""What the documents say is so: commands exist, configurations load, defaults are the real ones, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.gitrepo import git_env
from tests.support.gotool import GOCACHE, find_go
from tests.support.history import Step, build
from vcsproxy import config
from vcsproxy.build.job import Limits

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_readme_is_short_and_its_make_targets_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 80
    for target in sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


WITH_TOML = ["README.md", "docs/configuration.md", "docs/private-repositories.md"]


@pytest.mark.parametrize("document", WITH_TOML)
def test_configurations_in_documents_load(document: str, tmp_path: Path) -> None:
    """Files that they name are made, so that only what is written there can be wrong."""
    authority = Authority.create(tmp_path / "ca").pem
    for number, text in enumerate(blocks(ROOT / document, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(re.sub(r'"(?:/etc|/run)/[^"]+"', f'"{authority}"', text))
        config.load(file)


def test_documented_limits_are_the_real_defaults(tmp_path: Path) -> None:
    text = next(text for text in blocks(ROOT / "docs/configuration.md", "toml") if "[limits]" in text)
    table = tomllib.loads(text)["limits"]
    file = tmp_path / "limits.toml"
    lines = [f"{key} = {value!r}" for key, value in table.items() if key not in ("workers", "per_host", "queue")]
    file.write_text("[limits]\n" + "\n".join(lines).replace("'", '"') + "\n")
    for key, value in config.load(file).limits.of_job().items():
        assert value == getattr(Limits(), key), key


EXAMPLES = {
    "first_steps": ["corp.example/hello v1.0.0 h1:"],
    "private_https": [
        "corp.example/core/hello v1.0.0 h1:", "corp.example/apps/hello v1.0.0 h1:",
        "refuses the credential apps", "wrong or has expired",
    ],
    "ssh_only_host": ["git.corp.example/team/hello v1.0.0 h1:"],
    "monorepo_subdir": [
        "corp.example/platform v1.0.0 h1:", "corp.example/platform/auth v0.1.0 h1:", "corp.example/tools v0.3.0 h1:",
    ],
    "github_app": ["github.corp.example/platform/hello v1.0.0 h1:", "1 token was enough"],
}  # fmt: skip


def test_every_example_is_tested() -> None:
    assert set(EXAMPLES) == {file.parent.name for file in ROOT.glob("examples/*/run.sh")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path) -> None:
    env = {
        "PATH": f"{Path(sys.executable).parent}:{find_go().parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "TMPDIR": str(tmp_path),
        "GOCACHE": str(GOCACHE),
    }
    script = ROOT / "examples" / name / "run.sh"
    done = subprocess.run([str(script)], env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello " in done.stderr
    for text in EXAMPLES[name]:
        assert text in done.stdout, done.stdout
    assert not [left for left in tmp_path.iterdir() if left.name.startswith("tmp.")]


SECTIONS = {
    "Verify a go.sum": "4 lines: ok 4",
    "Build without a network": "2 versions: 2 new",
}


def section(title: str) -> str:
    """The commands of a section of the README."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    assert found, title
    commands: str = re.findall(r"```sh\n(.*?)```", found[1], re.DOTALL)[0]
    return commands


@pytest.mark.parametrize("title", SECTIONS)
def test_sections_of_the_readme_can_be_copied_and_run(title: str, tmp_path: Path) -> None:
    """In a project whose modules are on this machine, with an empty module cache and no other proxy."""
    script = section(title)
    assert len(script.splitlines()) < 15
    for name, files in {
        "a": {
            "go.mod": "module corp.example/a\n\ngo 1.21\n\nrequire corp.example/b v1.0.0\n",
            "a.go": 'package a\n\nimport _ "corp.example/b"\n',
        },
        "b": {"go.mod": "module corp.example/b\n\ngo 1.21\n", "b.go": "package b\n"},
    }.items():
        build(tmp_path / "repos" / name, [Step(files, tags=["v1.0.0"])])
    (tmp_path / "vcsproxy.toml").write_text(
        f'[[source]]\nroot = "corp.example/{{repo}}"\nurl = "file://{tmp_path}/repos/{{repo}}"\n'
    )
    project = tmp_path / "myproject"
    project.mkdir()
    requires = "require (\n\tcorp.example/a v1.0.0\n\tcorp.example/b v1.0.0 // indirect\n)\n"
    (project / "go.mod").write_text("module corp.example/main\n\ngo 1.21\n\n" + requires)
    (project / "main.go").write_text('package main\n\nimport _ "corp.example/a"\n\nfunc main() {}\n')
    env = {
        "PATH": f"{Path(sys.executable).parent}:{find_go().parent}:/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "VCSPROXY_CONFIG": str(tmp_path / "vcsproxy.toml"),
        "GOTOOLCHAIN": "local", "GOTELEMETRY": "off", "GOVCS": "*:off", "GOSUMDB": "off",
        "GOMODCACHE": str(tmp_path / "cache"), "GOCACHE": str(GOCACHE), "GOFLAGS": "-modcacherw",
        **{key: value for key, value in git_env().items() if key.startswith("GIT_")},
    }  # fmt: skip

    def run(text: str) -> str:
        done = subprocess.run(
            ["sh", "-eu", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("cd myproject && git init -q && vcsproxy hash corp.example/a@v1.0.0 corp.example/b@v1.0.0 > go.sum")
    run("cd myproject && git add . && git commit -qm m")
    assert SECTIONS[title] in run(script)
