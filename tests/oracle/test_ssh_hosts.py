"""Repositories behind a real SSH server, fetched through the real ssh: what works, and what every failure says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import socket
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncssh
import pytest

from tests.oracle.test_transports import PATH, STEPS, plain, questions
from tests.support.gitrepo import GitRepo
from tests.support.history import build
from tests.support.sshhost import SshHost, agent, new_key, public_line
from vcsproxy.build.job import Access, Built, Failed, Host, Job, Limits, Listed, Op, Result
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.vcs.giturl import parse_url
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.ssh import ssh_command

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh", "ssh-agent", "ssh-add"))), reason="needs OpenSSH: ssh, ssh-agent, ssh-add"
)
CANARY = "canary-5f3a-ssh"
NAME = "git.test"
Process = asyncssh.SSHServerProcess


@dataclass
class Place:
    """A server that lets one key in, an agent that has it, and how a worker is to get there."""

    work: Path
    repo: GitRepo
    server: SshHost
    socket: str
    key: asyncssh.SSHKey
    hosts: dict[str, Host] = field(default_factory=dict)
    access: tuple[Access, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(idle=10.0))
    count: int = 0

    def __post_init__(self) -> None:
        self.file = self.work / "known_hosts"
        self.file.write_text(self.server.known_hosts())
        self.hosts = {"127.0.0.1": Host("127.0.0.1", known_hosts=str(self.file))}
        self.access = (self.credential("ssh://127.0.0.1:" + str(self.server.port)),)

    def credential(self, url: str, name: str = "deploy") -> Access:
        return Access(name, url, "agent", agent=self.socket, public_keys=(public_line(self.key),))

    @property
    def url(self) -> str:
        return f"ssh://git@127.0.0.1:{self.server.port}/x"

    def host(self, name: str = "127.0.0.1", **changes: object) -> None:
        """Change what the configuration says about a host."""
        self.hosts[name] = replace(self.hosts.get(name, Host(name)), **changes)  # type: ignore[arg-type]

    def ask(self, op: Op = Op.LIST, query: str = "", path: str = PATH, *, url: str = "") -> Result:
        """Ask from nothing: with a mirror directory of its own."""
        self.count += 1
        work = self.work / f"w{self.count}"
        work.mkdir()
        root = RepoRoot(PATH, url or self.url, "", f"https://{PATH}", trust_not_found=True)
        hosts = tuple(self.hosts.values())
        job = Job(
            op, path, query, root, str(work / "m"), str(work), hosts=hosts, access=self.access, limits=self.limits
        )
        return run(job)

    def failed(self, error: str, *words: str, url: str = "") -> Failed:
        result = self.ask(url=url)
        assert isinstance(result, Failed), result
        assert result.error == error, result
        for word in words:
            assert word in f"{result.message}\n{result.hint}", result
        return result


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    return build(tmp_path_factory.mktemp("repos") / "x", STEPS, "sha1")


@pytest.fixture
def place(repo: GitRepo, tmp_path: Path) -> Iterator[Place]:
    key = new_key()
    with SshHost(repo.path.parent, [key]).running() as server, agent(key) as socket:
        yield Place(tmp_path, repo, server, socket, key)


def steps_of(result: Result) -> str:
    return "\n".join(f"{step.topic}: {step.text}" for step in result.steps)


@pytest.mark.parametrize("protocol", [True, False])
def test_the_same_answers_as_in_place(place: Place, protocol: bool) -> None:
    place.server.protocol = protocol
    for question in questions(place.repo):
        assert plain(place.ask(*question)) == plain(place.ask(*question, url=place.repo.url)), question
    assert {"login git", "protocol version=2", "command git-upload-pack /x"} <= set(place.server.log)


def test_the_steps_tell_credential_address_and_host_key(place: Place) -> None:
    told = steps_of(place.ask())
    assert "credential: deploy signs in at 127.0.0.1" in told
    assert f"host: 127.0.0.1 is at 127.0.0.1 port {place.server.port}" in told
    assert f"host: the host key of 127.0.0.1 is the one in {place.file}" in told


def test_the_form_of_scp_a_name_and_an_address_given(place: Place) -> None:
    """user@host:path is port 22 of the name, dialled at the address that the configuration gives."""
    place.file.write_text(place.server.known_hosts(NAME, 22))
    place.host(NAME, connect=f"127.0.0.1:{place.server.port}", known_hosts=str(place.file))
    place.access = (place.credential(f"ssh://{NAME}"),)
    assert isinstance(place.ask(url=f"git@{NAME}:x"), Listed)
    assert "command git-upload-pack x" in place.server.log


def test_a_port_of_its_own_is_looked_up_with_the_name(place: Place) -> None:
    """known_hosts lines are those that ssh-keyscan writes; a line for another port is for another host."""
    place.host(NAME, connect=f"127.0.0.1:{place.server.port}", known_hosts=str(place.file))
    place.access = (place.credential(f"ssh://{NAME}:2222"),)
    url = f"ssh://git@{NAME}:2222/x"
    for port in (22, 2223):
        place.file.write_text(place.server.known_hosts(NAME, port))
        place.failed("UpstreamFailed", "is not known", f"ssh-keyscan -p 2222 {NAME}", url=url)
    place.file.write_text(place.server.known_hosts(NAME, 2222))
    assert isinstance(place.ask(url=url), Listed)


def test_a_known_hosts_file_with_a_strange_name(place: Place) -> None:
    strange = place.work / 'it\'s 100%h "quoted" \\ file'
    strange.write_text(place.server.known_hosts())
    place.host(known_hosts=str(strange))
    assert isinstance(place.ask(), Listed)


# ---- who is there


def test_T13_an_unknown_host_key_stops_it_before_anybody_signs_in(place: Place) -> None:
    place.file.write_text("")
    place.failed(
        "UpstreamFailed",
        "the host key of 127.0.0.1 is not known",
        f"check its fingerprint, then: ssh-keyscan -p {place.server.port} 127.0.0.1 >> {place.file}",
        "accept_new_host_key = true",
    )
    place.host(known_hosts="")
    place.failed("UpstreamFailed", "the host key of 127.0.0.1 is not known", ">> FILE")
    assert place.server.log == []


def test_the_cure_for_an_unknown_host_key_cures(place: Place) -> None:
    """The very command of the hint, given to a shell."""
    place.file.write_text("")
    hint = place.failed("UpstreamFailed").hint
    command = hint.partition("then: ")[2].partition(" (or")[0]
    assert os.system(f"{command} 2>/dev/null") == 0
    assert isinstance(place.ask(), Listed)


def test_T13_a_changed_host_key_stops_it_before_anybody_signs_in(place: Place) -> None:
    assert isinstance(place.ask(), Listed)
    place.server.log.clear()
    for accept in (False, True):
        place.host(accept_new_host_key=accept)
        place.server.change_key()
        failed = place.failed("UpstreamFailed", "the host key of 127.0.0.1 has changed; somebody may be in between")
        assert place.server.log == []
    commands = failed.hint.partition(": ")[2].split("; then ")
    assert len(commands) == 2
    for command in commands:
        assert os.system(f"{command} >/dev/null 2>&1" if "keygen" in command else f"{command} 2>/dev/null") == 0
    assert isinstance(place.ask(), Listed)


def test_the_first_host_key_is_believed_when_that_is_asked_for(place: Place) -> None:
    place.file.unlink()
    place.host(accept_new_host_key=True)
    assert isinstance(place.ask(), Listed)
    assert place.file.read_text() == place.server.known_hosts()
    assert isinstance(place.ask(), Listed)
    assert place.file.read_text() == place.server.known_hosts()
    place.server.change_key()
    place.failed("UpstreamFailed", "has changed")


def test_a_host_key_that_cannot_be_kept_is_not_believed(place: Place) -> None:
    place.host(accept_new_host_key=True, known_hosts="")
    place.failed("UpstreamFailed", "is not known")


# ---- who we are


def test_a_key_that_the_host_does_not_know(place: Place) -> None:
    place.server.allowed.clear()
    place.failed("AccessDenied", "127.0.0.1 refuses the credential deploy", "let its key read the repository")
    place.access = ()
    place.failed(
        "AccessDenied", "127.0.0.1 needs a credential", 'kind = "ssh-key"', f"ssh://127.0.0.1:{place.server.port}"
    )


def test_a_credential_is_used_for_its_own_host_and_path_only(place: Place) -> None:
    port = place.server.port
    for url in (
        f"ssh://127.0.0.1:{port + 1}",
        f"ssh://127.0.0.1:{port}/other",
        "ssh://127.0.0.1",
        f"ssh://localhost:{port}",
    ):
        place.access = (place.credential(url),)
        place.failed("AccessDenied", "needs a credential")
    assert place.server.count("key ") == 0


def test_only_the_named_keys_of_an_agent_are_offered(place: Place) -> None:
    """Hosts end a conversation after a few keys; and a key says who somebody is."""
    others = [new_key() for _ in range(3)]
    with agent(*others, place.key) as socket:
        place.access = (replace(place.access[0], agent=socket),)
        assert isinstance(place.ask(), Listed)
        offered = {line.split()[2] for line in place.server.log if line.startswith("key ")}
        assert offered == {place.key.get_fingerprint()}
        place.access = (replace(place.access[0], public_keys=(public_line(others[1]), public_line(place.key))),)
        assert isinstance(place.ask(), Listed)
        place.access = (replace(place.access[0], public_keys=()),)
        assert isinstance(place.ask(), Listed)
        offered = {line.split()[2] for line in place.server.log if line.startswith("key ")}
        assert offered == {key.get_fingerprint() for key in (*others, place.key)}


def test_the_user_is_that_of_the_url_or_else_of_the_credential(place: Place) -> None:
    place.access = (replace(place.access[0], user="deployer"),)
    assert isinstance(place.ask(url=place.url.replace("git@", "")), Listed)
    assert isinstance(place.ask(), Listed)
    assert [line for line in place.server.log if line.startswith("login ")] == ["login deployer", "login git"]


def test_T12_the_key_is_in_no_argument_variable_file_or_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary is the part of its armour that holds the secret; and nothing at all is left behind."""
    secret = place.key.export_private_key("openssh").decode().splitlines()[3]
    temporary = place.work / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    seen: list[str] = []

    async def look(process: Process) -> bool:
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                seen.append((entry / "cmdline").read_text() + (entry / "environ").read_text())
        for file in temporary.rglob("*.pub"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            seen.append(file.read_text())
        return False

    place.server.script = look
    answers = [place.ask(Op.ZIP, "v1.0.0"), place.ask()]
    place.server.allowed.clear()
    answers.append(place.ask())
    assert any("IdentityAgent=" in text for text in seen)
    assert public_line(place.key) + "\n" in seen
    assert not any(secret in text for text in (*seen, *map(repr, answers)))
    assert not any(secret.encode() in path.read_bytes() for path in place.work.rglob("*") if path.is_file())
    place.hosts.clear()
    place.failed("UpstreamFailed", "not at a public address")
    assert list(temporary.iterdir()) == []


# ---- nothing of this machine


def test_T12_T13_ambient_configuration_and_agent_have_no_effect(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with everything that would make it work, or run a program, changes nothing."""
    port, ran, home = place.server.port, place.work / "ran", place.work / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_text(place.server.known_hosts())
    key = home / ".ssh" / "id_ed25519"
    key.write_bytes(place.key.export_private_key("openssh"))
    key.chmod(stat.S_IRUSR)
    config = f"Host *\n User {CANARY}\n IdentityFile {key}\n ProxyCommand touch {ran}\n StrictHostKeyChecking no\n"
    (home / ".ssh" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", place.socket)
    monkeypatch.setenv("SSH_ASKPASS", f"touch {ran}")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {ran}")
    place.access = ()
    place.failed("AccessDenied", "needs a credential")
    assert place.server.count("key ") == 0
    place.host(known_hosts="")
    place.failed("UpstreamFailed", "is not known", url=f"ssh://127.0.0.1:{port}/x")
    assert not ran.exists()
    assert not any(CANARY in line for line in place.server.log)


def test_T9_a_name_that_leads_to_a_private_address_is_not_dialled(place: Place) -> None:
    """Unless the configuration names it; by name or by number, as every other connection."""
    place.hosts.clear()
    for name in ("localhost", "127.0.0.1"):
        place.failed(
            "UpstreamFailed", f"{name} is not at a public address", url=f"ssh://git@{name}:{place.server.port}/x"
        )
    assert place.server.log == []


# ---- through another host


@pytest.fixture
def bastion(place: Place) -> Iterator[SshHost]:
    """The way to git.test, port 22, which only this host knows."""
    key = new_key()
    names = {(NAME, 22): ("127.0.0.1", place.server.port)}
    host = SshHost(place.work / "none", [key], forwards=True, names=names)
    with host.running(), agent(key) as socket:
        place.file.write_text(place.server.known_hosts(NAME, 22))
        place.host(NAME, known_hosts=str(place.file), jump=f"jumper@127.0.0.1:{host.port}")
        keys = place.work / "keys of jump hosts"
        keys.write_text(host.known_hosts())
        place.host(known_hosts=str(keys))
        jump = Access("jump", f"ssh://127.0.0.1:{host.port}", "agent", agent=socket, public_keys=(public_line(key),))
        place.access = (place.credential(f"ssh://{NAME}"), jump)
        yield host


THERE = f"git@{NAME}:x"


def test_a_host_behind_another(place: Place, bastion: SshHost) -> None:
    result = place.ask(Op.ZIP, "v1.0.0", url=THERE)
    assert isinstance(result, Built), result
    assert plain(result) == plain(place.ask(Op.ZIP, "v1.0.0", url=place.repo.url))
    assert {"login jumper", f"forward {NAME} 22"} <= set(bastion.log)
    assert bastion.count("command") == 0
    told = steps_of(result)
    assert f"host: {NAME} is reached through 127.0.0.1" in told
    assert "credential: jump signs in at 127.0.0.1" in told


def test_each_host_gets_its_own_key(place: Place, bastion: SshHost) -> None:
    """I5: neither sees that the other's exists."""
    assert isinstance(place.ask(url=THERE), Listed)
    ours, theirs = place.key.get_fingerprint(), bastion.allowed[0].get_fingerprint()
    assert {line.split()[2] for line in place.server.log if line.startswith("key ")} == {ours}
    assert {line.split()[2] for line in bastion.log if line.startswith("key ")} == {theirs}


def test_T13_both_host_keys_are_checked(place: Place, bastion: SshHost) -> None:
    keys = place.hosts["127.0.0.1"].known_hosts
    place.host(known_hosts="/dev/null")
    place.failed("UpstreamFailed", "the host key of 127.0.0.1 is not known", f"-p {bastion.port} 127.0.0.1", url=THERE)
    assert bastion.log == []
    place.host(known_hosts=keys)
    place.file.write_text("")
    place.failed("UpstreamFailed", f"the host key of {NAME} is not known", f"-p 22 {NAME} >> {place.file}", url=THERE)
    bastion.change_key()
    place.failed("UpstreamFailed", "the host key of 127.0.0.1 has changed", url=THERE)
    assert place.server.log == []


def test_what_fails_on_the_way_is_named(place: Place, bastion: SshHost) -> None:
    place.server.allowed.clear()
    place.failed("AccessDenied", f"{NAME} refuses the credential deploy", url=THERE)
    bastion.names[(NAME, 22)] = ("127.0.0.1", 1)
    place.failed("HostUnreachable", f"127.0.0.1 cannot connect to {NAME} port 22", url=THERE)
    bastion.forwards = False
    place.failed("HostUnreachable", f"127.0.0.1 cannot connect to {NAME} port 22", url=THERE)
    bastion.allowed.clear()
    place.failed("AccessDenied", "127.0.0.1 refuses the credential jump", url=THERE)
    place.access = place.access[:1]
    place.failed("AccessDenied", "127.0.0.1 needs a credential", f"ssh://127.0.0.1:{bastion.port}", url=THERE)


def test_T9_a_jump_host_at_a_private_address_must_be_named_too(place: Place, bastion: SshHost) -> None:
    del place.hosts["127.0.0.1"]
    place.failed("UpstreamFailed", "127.0.0.1 is not at a public address", url=THERE)
    assert bastion.log == []


# ---- sick hosts


def test_nobody_listens_there(place: Place) -> None:
    place.host(connect="127.0.0.1:1")
    place.failed("HostUnreachable", f"ssh to 127.0.0.1 port {place.server.port} failed", "Connection refused")


@contextlib.contextmanager
def listening(said: bytes) -> Iterator[int]:
    """A port where somebody says a few words, and then nothing; closed after them if there are any."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    clients.append(client)
                    client.sendall(said)
                    if said:
                        client.shutdown(socket.SHUT_WR)

        clients: list[socket.socket] = []
        thread = threading.Thread(target=greet)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in clients:
                client.close()


def test_somebody_listens_and_says_nothing(place: Place) -> None:
    place.limits = Limits(connect=1.0, idle=10.0)
    with listening(b"") as port:
        place.host(connect=f"127.0.0.1:{port}")
        place.failed("HostUnreachable", f"ssh to 127.0.0.1 port {place.server.port} failed", "timed out")


def test_a_jump_host_that_says_nothing_is_named(place: Place, bastion: SshHost) -> None:
    place.limits = Limits(connect=1.0, idle=10.0)
    with listening(b"") as port:
        place.host(connect=f"127.0.0.1:{port}")
        place.failed("HostUnreachable", f"ssh to 127.0.0.1 port {bastion.port} failed", "timed out", url=THERE)


def test_a_host_that_hangs_is_left(place: Place) -> None:
    async def hang(process: Process) -> bool:
        process.stdout.write(b"001")
        await asyncio.sleep(60)
        return True

    place.server.script = hang
    place.limits = Limits(idle=1.0)
    place.failed("HostSilent", "127.0.0.1 stopped answering")


def test_no_ssh_is_left_behind(place: Place, bastion: SshHost) -> None:
    """Neither the one that talks to the host, nor the one that leads there."""

    async def hang(process: Process) -> bool:
        seen.append(running(bastion.port))
        await asyncio.sleep(60)
        return True

    seen: list[int] = []
    place.server.script = hang
    place.limits = Limits(idle=1.0)
    place.failed("HostSilent", url=THERE)
    assert seen == [2]
    deadline = time.monotonic() + 5
    while running(bastion.port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(bastion.port) == 0


def running(port: int) -> int:
    """How many processes have the port of a server in their arguments."""
    found = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += f"Port={port}".encode() in (entry / "cmdline").read_bytes()
    return found


def test_a_host_that_talks_without_end_is_left(place: Place) -> None:
    """What it says on standard error neither blocks nor is kept."""

    async def talk(process: Process) -> bool:
        while True:
            process.stderr.write(b"Repository not found\n" + b"x" * 65536)
            await process.stderr.drain()

    place.server.script = talk
    place.limits = Limits(idle=1.0)
    place.failed("HostSilent", "127.0.0.1 stopped answering")


def test_a_host_that_talks_much_and_then_answers(place: Place) -> None:
    async def talk(process: Process) -> bool:
        for _ in range(64):
            process.stderr.write(b"welcome " * 8192)
            await process.stderr.drain()
        return False

    place.server.script = talk
    assert isinstance(place.ask(), Listed)


@pytest.mark.parametrize(("said", "error", "words"), [
    (b"ERROR: Repository not found.\n", "RepositoryNotFound", "127.0.0.1 says that there is no such repository"),
    (b"ERROR: Permission to t/x.git denied to deploy key\n", "AccessDenied", "refuses the credential deploy"),
    (b"first\n\x1b[31mout of \xe2\x80\xae order\n\n", "UpstreamFailed", "failed: [31mout of   order"),
    (b"", "HostUnreachable", "it ended without a word"),
])  # fmt: skip
def test_what_the_host_says_is_understood(place: Place, said: bytes, error: str, words: str) -> None:
    async def say(process: Process) -> bool:
        process.stderr.write(said)
        process.exit(1)
        return True

    place.server.script = say
    failed = place.failed(error, words)
    assert (failed.message + failed.hint).isprintable()


def test_a_repository_that_is_not_there(place: Place) -> None:
    place.failed("RepositoryNotFound", "no such repository", url=place.url + "y")


def test_a_stranger_cannot_say_that_there_is_no_repository(place: Place) -> None:
    """I3: before the host key is checked, anybody may have said it; in a message or in a greeting."""
    farewell = struct.pack(">BI", 1, 2) + struct.pack(">I", 21) + b"Repository not found." + struct.pack(">I", 0)
    padding = 8 + -(5 + len(farewell)) % 8
    packet = struct.pack(">IB", 1 + len(farewell) + padding, padding) + farewell + bytes(padding)
    for said in (b"SSH-2.0-x\r\n" + packet, b"SSH-Repository not found\r\n", b"Repository not found\r\n"):
        with listening(said) as port:
            place.host(connect=f"127.0.0.1:{port}")
            result = place.ask()
        assert isinstance(result, Failed)
        assert result.error in ("UpstreamFailed", "HostUnreachable"), result


def test_a_path_is_one_word_of_the_remote_command(place: Place) -> None:
    """T3: whatever is in it."""
    place.failed("RepositoryNotFound", url=place.url + "';touch${IFS}y;'")
    assert place.server.log[-1].count("'\"'\"'") == 2


def test_without_an_ssh_program(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.work / "empty"))
    place.failed("Unavailable", "there is no ssh program here", "install OpenSSH")


def test_the_command_serves_git_itself(place: Place, bastion: SshHost) -> None:
    """As GIT_SSH_COMMAND, without the host, which git adds; through two hosts, so that all quoting is gone through."""
    command = ssh_command(parse_url(THERE), Guard(tuple(place.hosts.values()), place.limits, place.access))
    try:
        assert command.argv[-2:] == ("--", NAME)
        variables = {"GIT_SSH_COMMAND": shlex.join(command.argv[:-2]), "GIT_SSH_VARIANT": "ssh"}
        shown = place.repo.git("ls-remote", f"{NAME}:x", "refs/heads/main", env=variables)
    finally:
        command.close()
    assert shown.split() == [place.repo.git("rev-parse", "main"), "refs/heads/main"]
    assert "login git" in place.server.log
