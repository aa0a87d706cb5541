"""T32, T4: no secret of any kind leaves a server but to the host that it is for; not in logs, answers, files or processes."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.authority import Authority
from tests.support.canary import Canaries
from tests.support.fakegithub import FakeGitHub
from tests.support.githost import Handler
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.sshhost import SshHost, new_key
from tests.support.toxgit import Tox, head_of, raw, redirect, side_band
from tests.support.untouched import Tripwire
from tests.support.vanity import Vanity, vanity
from vcsproxy.vcs.pktline import Special, encode

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh", "ssh-agent", "ssh-add"))), reason="needs OpenSSH: ssh, ssh-agent, ssh-add"
)
HTTPS = ("file", "env", "bearer", "netrc", "helper", "engine", "calm")  # each with a credential of its own
PACK, TOP = hostile.repository(hostile.PLAIN)
HONEST = Tox.of(TOP, PACK)


@dataclass
class Site:
    """A server with a secret of every kind, and hosts that know when they have been told theirs."""

    work: Path
    canaries: Canaries
    pages: Vanity
    told: dict[str, set[str]] = field(default_factory=dict)  # host -> values of Authorization
    secret_files: list[Path] = field(default_factory=list)
    server: ProxyServer | None = None
    read: int = 0  # bytes of the log

    def secret(self, name: str, text: str = "") -> Path:
        """A file with a planted secret."""
        file = self.work / "secrets" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text or self.canaries.plant(name))
        file.chmod(0o600)
        self.secret_files.append(file)
        return file

    def hear(self, handler: Handler) -> bool:
        name = handler.headers.get("Host", "").removesuffix(".test")
        said = handler.headers.get("Authorization", "")
        self.told.setdefault(name, set()).add(said)
        if name == "meta":
            return False
        if name.startswith("wrong-") or not said:
            handler.reply(401, {"WWW-Authenticate": f'Basic realm="{said}"'}, said.encode())
            return True
        echo = name.partition("-")[0]
        return echo in ECHOES and ECHOES[echo](said)(handler)

    def get(self, path: str) -> int:
        assert self.server is not None
        answer = self.server.get(path)
        self.canaries.answer(path, answer)
        return answer.status


def clear(said: str) -> str:
    """What a host reads in an Authorization header."""
    scheme, _, value = said.partition(" ")
    return base64.b64decode(value).decode() if scheme == "Basic" else value


def of_gomod(said: str) -> Tox:
    data, head = hostile.repository({b"go.mod": f"module echo.test/{clear(said)}/v7\n".encode()})
    return Tox.of(head, data)


# Hosts that repeat what they were told, each in another place of their answer.
ECHOES = {
    "err": lambda said: Tox(greet=encode(f"ERR you are {said} or {clear(said)}".encode())),
    "refs": lambda said: Tox(refs=encode(f"{clear(said)} refs/heads/main\n".encode(), Special.FLUSH)),
    "band": lambda said: Tox(HONEST.refs, encode(b"packfile\n", f"\3you are {clear(said)}, {said}\n".encode(), Special.FLUSH)),
    "section": lambda said: Tox(HONEST.refs, encode(clear(said).encode() + b"\n", Special.FLUSH)),
    "reason": lambda said: Tox(greet=raw(f"HTTP/1.1 500 {clear(said)}\r\nContent-Length: 0\r\n\r\n".encode())),
    "status": lambda said: Tox(greet=raw(f"HTTP/1.1 {said}\r\n\r\n".encode())),
    "type": lambda said: Tox(greet=raw(f"HTTP/1.1 200 OK\r\nContent-Type: {clear(said)}\r\nContent-Length: 0\r\n\r\n".encode())),
    "elsewhere": lambda said: Tox(greet=redirect(f"https://b.test/{clear(said)}?{said}")),
    "userinfo": lambda said: Tox(greet=redirect(f"https://{clear(said)}@b.test/")),
    "gomod": of_gomod,
    "shallow": lambda said: Tox(HONEST.refs, encode(b"shallow-info\n", clear(said).encode() + b"\n", Special.DELIM) + side_band(PACK)),
    "chunk": lambda said: Tox(refs=raw(lambda handler: head_of(handler, None, "Transfer-Encoding: chunked") + clear(said).encode())),
    "caps": lambda said: Tox(greet=encode(b"version 2\n", f"object-format={clear(said)}\n".encode(), Special.FLUSH)),
    "denied": lambda said: lambda handler: handler.reply(403, {"X": said}, clear(said).encode()) is None,
    "patience": lambda said: lambda handler: handler.reply(429, {"Retry-After": clear(said)}, said.encode()) is None,
}  # fmt: skip


USERS = ("robot", "git", "abcd", "bearer", "engine")  # with names of several lengths base64 begins elsewhere
ECHOING = [f"{echo}-{user}" for echo in (*ECHOES, "wrong") for user in USERS]


def echoing(site: Site) -> str:
    """A host for every echo and user, so that none is left alone because another was in trouble."""
    made = ""
    for user in USERS:
        kind = 'kind = "bearer"\ntoken' if user == "bearer" else f'kind = "basic"\nuser = "{user}"\npassword'
        made += f'[[credential]]\nname = "echo-{user}"\n{kind} = "file:{site.secret(f"echo-{user}")}"\n'
    for name in ECHOING:
        user = name.partition("-")[2]
        engine = "git" if user == "engine" else "dulwich"
        made += f'[[source]]\nroot = "{name}.test/x"\nurl = "https://{name}.test/x"\ncredential = "echo-{user}"\nengine = "{engine}"\n'
    return made


def credentials(site: Site, ssh: SshHost, github: FakeGitHub) -> str:
    """A table for each kind, and the sources that use them."""
    netrc = site.secret(
        "netrc",
        f"machine netrc.test login robot password {site.canaries.plant('netrc')}\ndefault login x password {site.canaries.plant('default')}\n",
    )
    helper = site.secret(
        "helper", f"#!/bin/sh\ncat >/dev/null\necho username=robot\necho password={site.canaries.plant('helper')}\n"
    )
    helper.chmod(0o700)
    ssh.allowed.append(new_key())
    phrase = site.canaries.plant("passphrase")
    locked = ssh.allowed[0].export_private_key("pkcs8-pem", passphrase=phrase).decode()
    site.canaries.plant("ssh key", ssh.allowed[0].export_private_key("pkcs8-pem").decode())
    site.canaries.plant("ssh key in OpenSSH's form", ssh.allowed[0].export_private_key("openssh").decode())
    site.canaries.plant("app key", github.pem)
    client = Authority.create(site.work / "clients").client_pem("robot", site.canaries.plant("client key password"))
    site.secret_files.append(client)
    tables = {
        "file": f'kind = "basic"\nuser = "robot"\npassword = "file:{site.secret("file")}"',
        "env": 'kind = "basic"\npassword = "env:GIT_PASSWORD"',
        "bearer": f'kind = "bearer"\ntoken = "cmd:cat {site.secret("bearer")}"',
        "netrc": f'kind = "netrc"\nfile = "{netrc}"',
        "helper": f'kind = "helper"\ncommand = ["{helper}"]',
        "calm": f'kind = "basic"\nuser = "robot"\npassword = "file:{site.secret("calm")}"',
        "engine": f'kind = "basic"\nuser = "robot"\npassword = "file:{site.secret("engine")}"',
    }
    made = "".join(
        f'[[credential]]\nname = "{name}"\nurl = "https://{name}.test"\n{table}\n'
        f'[[source]]\nroot = "{name}.test/{{repo}}"\nurl = "https://{name}.test/{{repo}}"\nengine = "{"git" if name in ("calm", "engine") else "dulwich"}"\n'
        for name, table in tables.items()
    )
    known = site.work / "known_hosts"
    known.write_text(ssh.known_hosts())
    return (
        made
        + f"""
        [[credential]]
        name = "ssh"
        kind = "ssh-key"
        url = "ssh://127.0.0.1:{ssh.port}"
        key = "file:{site.secret("locked", locked)}"
        passphrase = "file:{site.secret("phrase", phrase)}"
        [[source]]
        root = "ssh.test/{{repo}}"
        url = "ssh://git@127.0.0.1:{ssh.port}/{{repo}}"
        [[host]]
        name = "127.0.0.1"
        known_hosts = "{known}"
        [[host]]
        name = "github.test"
        connect = "127.0.0.1:{github.host.port}"
        ca = "{github.authority.pem}"
        client_cert = "{client}"
        client_key_password = "file:{site.secret("client", site.canaries.planted["client key password"])}"
        [[credential]]
        name = "app"
        kind = "github-app"
        url = "{github.url}"
        app_id = "{github.app_id}"
        installation_id = "{github.installation_id}"
        api = "{github.api}"
        key = "file:{site.secret("app.pem", github.pem)}"
        [[source]]
        root = "app.test/{{repo}}"
        url = "{github.url}/{{repo}}"
        [limits]
        idle = "2s"
        [freshness]
        refs = "0s"
        negative = "0s"
        [log]
        level = "debug"
        format = "json"
    """
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("canaries")
    build(work / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    canaries = Canaries()
    environ = {
        "GIT_PASSWORD": canaries.plant("env"),
        "GITHUB_TOKEN": canaries.plant("ambient"),
        "SSH_AUTH_SOCK": str(work / "none"),
    }
    with (
        vanity(work, work / "repos", *(f"{name}.test" for name in (*HTTPS, *ECHOING)), "b.test") as pages,
        SshHost(work / "repos").running() as ssh,
        FakeGitHub(work / "repos", Authority.create(work / "github")).running() as github,
    ):
        site = Site(work, canaries, pages)
        pages.host.script = site.hear
        config = pages.config + echoing(site) + credentials(site, ssh, github)
        with serving(work / "s", config, **environ) as site.server, canaries.sampling(site.server.process.pid):
            assert site.get("/app.test/x/@v/v1.0.0.zip") == 200
            canaries.plant("installation token", github.tokens[-1])
            yield site


@pytest.fixture
def clean(site: Site) -> Iterator[Site]:
    """After the test: everything that the server has let out since the one before is searched."""
    yield site
    assert site.server is not None
    log = site.server.log.read_bytes()
    site.canaries.see("the log", log[site.read :])
    site.read = len(log)
    site.canaries.files(site.server.data, but=site.secret_files)
    try:
        site.canaries.assert_clean()
    finally:
        site.canaries.seen.clear()


def test_T32_every_kind_of_secret_reaches_its_host_and_nothing_else(clean: Site) -> None:
    """Repositories that ask for one, of every kind, by HTTPS, SSH and system git."""
    for name in (*HTTPS, "ssh", "app"):
        for file in ("@v/v1.0.0.zip", "@v/list", "@latest", "@v/v1.9.0.info"):
            assert clean.get(f"/{name}.test/x/{file}") == (404 if "1.9" in file else 200), (name, file)
    planted = clean.canaries.planted
    for name in HTTPS:
        said = " ".join(clear(each) for each in clean.told[name] if each)
        assert planted[name] in said, name
        assert [other for other in planted if other != name and planted[other] in said] == []
    assert not clean.told.get("b")


@pytest.mark.parametrize("echo", [*ECHOES, "wrong"])
def test_T32_a_host_that_repeats_what_it_was_told(echo: str, clean: Site) -> None:
    """In errors, names, types, redirects and contents; neither the log nor the client hears it."""
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda user: clean.get(f"/{echo}-{user}.test/x/@v/v1.0.0.zip"), USERS))
    assert set(statuses) <= {404, 422, 502, 503}, statuses
    for user in USERS:
        said = " ".join(clear(each) for each in clean.told[f"{echo}-{user}"] if each)
        assert clean.canaries.planted[f"echo-{user}"] in said, user


def test_T32_requests_that_bring_secrets_along(clean: Site) -> None:
    """User information in the URL, Authorization, cookies and query strings of clients are in no log."""
    assert clean.server is not None
    mine = Canaries()
    headers = {
        "Authorization": f"Bearer {mine.plant('header')}",
        "Cookie": f"session={mine.plant('cookie')}",
        "X-Api-Key": mine.plant("key"),
    }
    basic = base64.b64encode(f"me:{mine.plant('basic')}".encode()).decode()
    for path in (
        "/file.test/x/@v/v1.0.0.info",
        "/file.test/x/@v/v9.9.9.info",
        "/healthz",
        f"/file.test/x/@v/list?token={mine.plant('query')}",
    ):
        for more in (headers, {"Authorization": f"Basic {basic}"}):
            clean.server.get(path, headers=more)
    mine.see("the log", clean.server.log.read_bytes())
    mine.assert_clean()


def test_T32_reloading_and_complaining(clean: Site) -> None:
    """A secret that cannot be used any more, a key that does not open: said without it."""
    assert clean.server is not None
    file = clean.work / "secrets" / "file"
    kept = file.read_text()
    file.write_text(f"{clean.canaries.plant('two lines')}\n{clean.canaries.plant('second line')}\n")
    clean.server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while not any(event["event"] == "not_reloaded" for event in clean.server.events()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    file.write_text(kept)
    assert clean.get("/file.test/x/@v/v1.0.0.info") == 200


def test_T32_the_command_line_tells_no_secret(clean: Site) -> None:
    """`explain` of a host that repeats what it was told, and `config check`."""
    program = str(Path(sys.executable).with_name("vcsproxy"))
    config = str(clean.work / "s" / "vcsproxy.toml")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(clean.work), "GIT_PASSWORD": clean.canaries.planted["env"]}
    place = ["--config", config, "--data", str(clean.work / "cli")]
    commands = [
        ["explain", "err-git.test/x", *place],
        ["explain", "app.test/x@v1.0.0", *place],
        ["config", "check", "--json", config],
    ]
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(
            lambda args: subprocess.run([program, *args], env=env, capture_output=True, check=False, timeout=60),
            commands,
        ):
            assert done.stdout
            clean.canaries.see("the output of a command", done.stdout + done.stderr)
    clean.canaries.files(clean.work / "cli")


def test_T32_processes_are_looked_at(clean: Site) -> None:
    """Or nothing would have been proven of them: ssh, git and helpers are seen at work, and are seen through."""

    def was_seen(*words: bytes) -> bool:
        lines = [data for data, where in list(clean.canaries.seen.items()) if "command line" in where]
        return any(all(word in line for word in words) for line in lines)

    deadline = time.monotonic() + 20  # they live for some milliseconds
    while not (was_seen(b"ssh\0", b"git-upload-pack") and was_seen(b"git\0", b"ls-remote")):
        assert time.monotonic() < deadline, list(clean.canaries.seen.values())
        for name in ("ssh", "calm"):
            assert clean.get(f"/{name}.test/x/@v/list") == 200
    mine = Canaries()
    command = [sys.executable, "-c", "input()", mine.plant("argument")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"X": mine.plant("variable")}) as child:
        time.sleep(0.2)
        mine.processes(os.getpid())
        child.communicate(b"\n")
    assert {line.partition(" in ")[0] for line in mine.found()} == {"argument", "variable"}


def test_T4_system_git_is_run_with_a_closed_environment(tmp_path: Path) -> None:
    """engine = "git": a fixed list of variables, no secret, and nothing of the caller's behind an option."""
    real = shutil.which("git")
    trip = Tripwire.stretch(tmp_path / "bin")
    (trip.directory / "git").write_text(
        f'#!/bin/sh\n{{ printf "%s\\n" "$@"; printf -- "--- environment\\n"; /usr/bin/env; }} >{tmp_path}/run.$$\nexec {real} "$@"\n'
    )
    canaries = Canaries()
    (tmp_path / "password").write_text(canaries.plant("password"))
    build(tmp_path / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    ambient = {
        name: canaries.plant(name)
        for name in ("GITHUB_TOKEN", "GIT_ASKPASS", "GIT_CONFIG_PARAMETERS", "GIT_SSH_COMMAND", "LD_AUDIT_X")
    }
    with vanity(tmp_path, tmp_path / "repos") as pages:
        config = (
            pages.config
            + f"""
            [[source]]
            root = "git.test/{{repo}}"
            url = "https://git.test/{{repo}}"
            engine = "git"
            [[credential]]
            name = "c"
            kind = "basic"
            url = "https://git.test"
            password = "file:{tmp_path}/password"
        """
        )
        with serving(tmp_path / "s", config, PATH=trip.path, **ambient) as server:
            assert server.get("/git.test/x/@v/v1.0.0.zip").status == 200
            assert server.get("/git.test/$GITHUB_TOKEN/@v/v1.0.0.zip".replace("$", "%24")).status in (404, 502)
            for path in ("/git.test/x/@v/--upload-pack=x.info", "/git.test/--upload-pack=x/@v/list"):
                assert server.get(path).status == 404
    runs = [file.read_text() for file in tmp_path.glob("run.*")]
    assert any("fetch" in run for run in runs)
    for run in runs:
        canaries.see("a run of git", run)
        arguments, _, environment = run.partition("--- environment\n")
        names = {line.partition("=")[0] for line in environment.splitlines()}
        assert names <= ALLOWED, names
        words = arguments.splitlines()
        assert words[0] not in ("ls-remote", "fetch", "clone") or "--end-of-options" in words, words
        assert "--upload-pack=x" not in words
    canaries.assert_clean()
    assert trip.runs == []


ALLOWED = {
    "PATH", "HOME", "PWD", "LC_ALL", "LANG", "LANGUAGE", "GIT_DIR", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_ATTR_NOSYSTEM", "_", "SHLVL",
    "GIT_TERMINAL_PROMPT", "GIT_PROTOCOL_FROM_USER", "GIT_NO_LAZY_FETCH", "GIT_NO_REPLACE_OBJECTS", "GIT_ALLOW_PROTOCOL", "GIT_EXEC_PATH", "GIT_PREFIX", "OLDPWD",
}  # fmt: skip
