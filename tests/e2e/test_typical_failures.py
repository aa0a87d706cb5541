"""Ten failures that people meet: `explain` ends with the cause and the cure, and `go` prints the same cause.

None is a 404 unless absence is proven: those that are have been answered by the repository, or by the page itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.githost import GitHost, Handler
from tests.support.gitrepo import git_env
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving

CANARY = "canary-secret-token"


@dataclass(frozen=True)
class Failure:
    """What is asked, and what must be said of it; status 200: only `go` itself refuses what it gets."""

    query: str
    status: int
    cause: str
    cure: str


FAILURES = {
    "wrong token": Failure("corp.test/wrong/x@v1.0.0", 502, "refuses the credential team", "wrong or has expired"),
    "missing scope": Failure(
        "corp.test/scope/x@v1.0.0", 502, "does not let the credential team read", "read access to the repository"
    ),
    "unknown host key": Failure("ssh.test/team/x@v1.0.0", 502, "host key of ssh.test is not known", "ssh-keyscan -p"),
    "tag without v": Failure("corp.test/plain/x@v1.2.3", 404, "1.2.3", "v1.2.3"),
    "missing /v2": Failure("corp.test/plain/major@v2.0.0", 404, "v2", "corp.test/plain/major/v2"),
    "sub-directory without its tag": Failure("corp.test/plain/x/sub@v1.0.0", 404, "sub/v1.0.0", "sub/v1.0.0"),
    "another module line": Failure("corp.test/plain/named@v1.0.0", 200, "example.com/other", "example.com/other"),
    "vanity page missing": Failure("meta.test/nothing@v1.0.0", 404, "unrecognized import path", "[[source]]"),
    "host down": Failure("down.test/x@v1.0.0", 502, "cannot connect to", "is the host up"),
    "unknown authority": Failure("tls.test/x@v1.0.0", 502, "certificate of tls.test is not trusted", 'ca = "FILE"'),
}


def module(path: str) -> dict[str, str]:
    return {"go.mod": f"module {path}\n", "x.go": "package x\n"}


def deny(handler: Handler) -> bool:
    """Whoever comes to wrong/ is a stranger, whoever comes to scope/ may not read."""
    status = {"wrong": 401, "scope": 403}.get(handler.path.strip("/").partition("/")[0])
    if status is not None:
        handler.reply(status, {"WWW-Authenticate": 'Basic realm="git"'} if status == 401 else {}, b"no\n")
    return status is not None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    work = tmp_path_factory.mktemp("failures")
    repos = work / "repos"
    plain = "corp.test/plain/"
    sub = {"sub/go.mod": f"module {plain}x/sub\n", "sub/s.go": "package sub\n"}
    build(repos / "plain/x", [Step({**module(plain + "x"), **sub}, tags=["v1.0.0", "1.2.3"])])
    build(repos / "plain/major", [Step(module(plain + "major"), tags=["v2.0.0"])])
    build(repos / "plain/named", [Step(module("example.com/other"), tags=["v1.0.0"])])
    ours, theirs = Authority.create(work / "ca"), Authority.create(work / "theirs")
    (work / "token").write_text(CANARY)
    (work / "token").chmod(0o600)
    ssh = subprocess.Popen(
        [sys.executable, "-m", "tests.support.standin", "ssh", "--name", "ssh.test", "--repos", repos, "--files", work / "ssh",],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=git_env(PATH="/usr/bin:/bin"),
    )  # fmt: skip
    assert ssh.stdout is not None
    port = ssh.stdout.readline().split()[1]
    host = GitHost(repos, ours.server_context("corp.test", "meta.test"), script=deny)
    other = GitHost(repos, theirs.server_context("tls.test"))
    with host.running(), other.running():
        config = f"""
            [[source]]
            root = "corp.test/{{team}}/{{repo}}"
            url = "https://corp.test/{{team}}/{{repo}}"
            [[source]]
            root = "ssh.test/{{team}}/{{repo}}"
            url = "ssh://git@ssh.test:{port}/{{team}}/{{repo}}"
            [[source]]
            root = "down.test/{{repo}}"
            url = "https://down.test/{{repo}}"
            [[source]]
            root = "tls.test/{{repo}}"
            url = "https://tls.test/{{repo}}"
            [[host]]
            name = "corp.test"
            connect = "{host.address}"
            ca = "{ours.pem}"
            [[host]]
            name = "meta.test"
            connect = "{host.address}"
            ca = "{ours.pem}"
            [[host]]
            name = "ssh.test"
            connect = "127.0.0.1:{port}"
            [[host]]
            name = "down.test"
            connect = "127.0.0.1:1"
            [[host]]
            name = "tls.test"
            connect = "{other.address}"
            [[credential]]
            name = "team"
            url = "https://corp.test"
            kind = "basic"
            password = "file:{work}/token"
            [log]
            format = "json"
        """
        with serving(work / "server", config) as running:
            yield running
    ssh.kill()
    ssh.wait()
    ssh.stdout.close()


def explained(server: ProxyServer, query: str) -> tuple[int, list[str]]:
    """(exit code, lines) of `vcsproxy explain`, with a data directory of its own."""
    work = server.log.parent
    program = str(Path(sys.executable).with_name("vcsproxy"))
    command = [program, "explain", "--config", work / "vcsproxy.toml", "--data", work / "other", query]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, timeout=60, check=False
    )
    assert CANARY not in done.stdout + done.stderr
    return done.returncode, done.stdout.rstrip("\n").split("\n")


@pytest.mark.parametrize("name", FAILURES)
def test_explain_ends_with_the_cause_and_the_cure(server: ProxyServer, name: str) -> None:
    failure = FAILURES[name]
    code, lines = explained(server, failure.query)
    end = next(n for n, line in enumerate(lines) if line.startswith("cause "))
    cause, _, cure = " ".join(" ".join(lines[end:]).split()).partition(" cure ")
    assert failure.cause in cause, lines
    assert failure.cure in cure, lines
    assert code == (0 if failure.status == 200 else 3 if failure.status == 404 else 1)


@pytest.mark.parametrize("name", FAILURES)
def test_go_prints_the_same_cause(server: ProxyServer, go: GoTool, tmp_path: Path, name: str) -> None:
    failure = FAILURES[name]
    path, _, version = failure.query.partition("@")
    for suffix in (".info", ".zip"):
        assert server.get(f"/{path}/@v/{version}{suffix}").status == failure.status
    (tmp_path / "go.mod").write_text("module example.com/main\n")
    env = {"GOPROXY": server.base, "GOMODCACHE": str(tmp_path / "cache"), "GOVCS": "*:off"}
    # What it gets, only `go get` looks at; what it does not get, `go mod download` says without trying shorter paths.
    words = ["get"] if failure.status == 200 else ["mod", "download"]
    done = go.run(*words, failure.query, cwd=tmp_path, **env)
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert failure.cause in said, done.stderr
    if failure.status != 200:
        assert failure.cure in said, done.stderr
    assert CANARY not in done.stderr


def test_no_log_line_has_the_secret_and_each_failure_its_steps(server: ProxyServer) -> None:
    path = "/corp.test/wrong/x/@v/v1.0.0.info"
    assert server.get(path).status == 502
    until = time.monotonic() + 5
    while not (logged := [event for event in server.events() if event.get("path") == path]):
        assert time.monotonic() < until, "the line that follows an answer did not come"
        time.sleep(0.02)
    assert CANARY not in server.log.read_text()
    event = logged[-1]
    assert any("credential: team" in line for line in event["explain"]), event
