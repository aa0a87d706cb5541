"""Conversations with upload-pack over SSH: the system's client, with nothing of anybody's configuration.

Every option that could let a file or a variable of this machine in is set on the command line. The host's address is
resolved, judged and pinned by the guard; its key must be in the known_hosts file of the configuration. Keys are offered
by an agent whose socket the credential names: no private key is in this process or on the disk. What ssh says when it
fails is read in `sshwords.py`.

Source: ssh(1), ssh_config(5), gitprotocol-pack(5).
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vcsproxy import errors
from vcsproxy.build.job import Access, Host
from vcsproxy.trace import note
from vcsproxy.vcs.giturl import GitUrl
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.sshwords import Jump, Party, meaning

_MAX_SAID = 16 << 10  # bytes of standard error that are kept
_USER = "git"  # DIFFERS: ssh would send the name of the account that it runs as, which is this machine's own
_PIECE = 4096  # bytes that a pipe takes at once when it takes any

_CLOSED = (
    "BatchMode=yes", "PreferredAuthentications=publickey", "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no", "GlobalKnownHostsFile=/dev/null", "HashKnownHosts=no", "UpdateHostKeys=no",
    "CheckHostIP=no", "VerifyHostKeyDNS=no", "CanonicalizeHostname=no", "ServerAliveInterval=10",
    "ServerAliveCountMax=3", "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no",
    "ControlMaster=no", "ControlPath=none", "EscapeChar=none", "LogLevel=ERROR", "SendEnv=GIT_PROTOCOL",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SshCommand:
    """How to run ssh for one URL. Close it.

    argv: the program, all its options with user and port, `--` and the host; a remote command may follow. goal, jump:
    who is spoken to, in the terms of the configuration.
    """

    argv: tuple[str, ...]
    goal: Party
    jump: Jump | None
    directory: str  # ours alone; for the public keys to offer, and what is said on the way

    @property
    def host(self) -> str:
        return self.goal.name

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def ssh_command(url: GitUrl, guard: Guard) -> SshCommand:
    """How to reach a repository by SSH. Raises Unavailable without an ssh program, and what the guard raises."""
    program = shutil.which("ssh")
    if program is None:
        raise errors.Unavailable(f"cannot reach {url.host}: there is no ssh program here", "install OpenSSH")
    directory = tempfile.mkdtemp(prefix="vcsproxy-ssh-")
    try:
        return _command(_Builder(program, directory, guard), url, guard)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def environment() -> dict[str, str]:
    """All that ssh is told of this machine's environment; without HOME and SSH_AUTH_SOCK, with English words."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "GIT_PROTOCOL": "version=2"}


def diagnosis(said: str, command: SshCommand) -> errors.VCSProxyError:
    """What ssh's last words mean, with the cure."""
    return meaning(said, command.goal, command.jump)


def _command(builder: _Builder, url: GitUrl, guard: Guard) -> SshCommand:
    rule = guard.host(url.host) or Host(url.host)
    port = url.port or 22
    access = _access(guard, f"ssh://{url.host}:{port}/{url.path.lstrip('/')}")
    note("credential", f"{access.name} signs in at {url.host}" if access else f"{url.host} is shown no credential")
    goal = Party(url.host, port, access, rule.known_hosts)
    if not rule.jump:
        way = [*builder.pinned(goal), "ProxyCommand=none"]
        return SshCommand(builder.argv(goal, url.user, way), goal, None, builder.directory)
    user, jump = _jump(rule.jump, guard, os.path.join(builder.directory, "jump"))
    target = rule.connect or f"[{goal.name}]:{goal.port}"  # the jump host resolves it
    through = builder.argv(jump, user, [*builder.pinned(jump), "ProxyCommand=none"], "-E", jump.log, "-W", target)
    note("host", f"{goal.name} is reached through {jump.name}")
    patience = builder.patience(2)  # the way to the jump host is part of it, and is to give up first
    way = [f"Port={goal.port}", patience, "ProxyCommand=" + shlex.join(through).replace("%", "%%")]
    return SshCommand(builder.argv(goal, url.user, way), goal, jump, builder.directory)


def _jump(text: str, guard: Guard, log: str) -> tuple[str, Jump]:
    """(user, host) of [user@]host[:port]; it is a host like any other, with a credential of its own."""
    user, _, place = text.rpartition("@")
    name, _, port = place.partition(":")
    rule = guard.host(name) or Host(name)
    access = _access(guard, f"ssh://{name}:{port or 22}/")
    if access:
        note("credential", f"{access.name} signs in at {name}")
    return user, Jump(name, int(port or 22), access, rule.known_hosts, log)


def _access(guard: Guard, url: str) -> Access | None:
    access = guard.access(url)
    return access if access is not None and access.kind == "agent" else None


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds command lines for one program; files go to `directory`."""

    program: str
    directory: str
    guard: Guard

    def argv(self, party: Party, user: str, way: Sequence[str], *more: str) -> tuple[str, ...]:
        options = [f"-o{option}" for option in (*_CLOSED, *self._host_key(party), *self._identity(party), *way)]
        login = user or (party.access.user if party.access else "") or _USER
        return (self.program, "-F", "none", "-T", *options, "-l", login, *more, "--", party.name)

    def pinned(self, party: Party) -> list[str]:
        """Options that lead to the one address that the guard has checked."""
        address, port = self.guard.pin(party.name, party.port)
        note("host", f"{party.name} is at {address} port {port}")
        return [f"HostName={address}", f"Port={port}", self.patience()]

    def patience(self, times: int = 1) -> str:
        return f"ConnectTimeout={times * max(1, int(self.guard.limits.connect))}"

    def _host_key(self, party: Party) -> list[str]:
        rule = self.guard.host(party.name)
        # Without a file to write it to, every key would be the first one.
        accept = rule is not None and rule.accept_new_host_key and bool(party.known_hosts)
        return [
            f"StrictHostKeyChecking={'accept-new' if accept else 'yes'}",
            f"UserKnownHostsFile={_quoted(party.known_hosts or '/dev/null')}",
            f"HostKeyAlias={party.alias}",  # is looked up as it stands, so it has the port that ssh-keyscan writes
        ]

    def _identity(self, party: Party) -> list[str]:
        """Which keys to offer: those of the credential's agent, by their public halves where they are known."""
        access = party.access
        if access is None:
            return ["IdentityAgent=none", "IdentityFile=none", "IdentitiesOnly=yes"]
        agent = f"IdentityAgent={_quoted(access.agent)}"
        if not access.public_keys:
            return [agent, "IdentityFile=none", "IdentitiesOnly=no"]
        files = [self._write(f"{party.name}-{number}.pub", line) for number, line in enumerate(access.public_keys)]
        return [agent, *(f"IdentityFile={_quoted(file)}" for file in files), "IdentitiesOnly=yes"]

    def _write(self, name: str, line: str) -> str:
        file = os.path.join(self.directory, name)  # one key a file: ssh reads no second line
        with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(line + "\n")
        return file


def _quoted(name: str) -> str:
    """A file name as one word of ssh's options."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


class SshConnection:
    """One run of ssh for one conversation."""

    def __init__(self, url: GitUrl, guard: Guard) -> None:
        self._command = ssh_command(url, guard)
        self._host, self._idle = url.host, guard.limits.idle
        path = url.path[1:] if url.path.startswith("/~") else url.path
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell, every word checked by parse_url
                [*self._command.argv, "git-upload-pack " + shlex.quote(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment(),
            )
        except OSError as err:
            self._command.close()
            raise errors.Unavailable(f"cannot run ssh: {err.strerror}") from err
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._said = bytearray()
        self._answered = False
        self._listener = threading.Thread(target=self._listen, name="ssh", daemon=True)
        self._listener.start()

    def advertisement(self) -> Callable[[int], bytes]:
        return self._read

    def command(self, body: bytes) -> Callable[[int], bytes]:
        for start in range(0, len(body), _PIECE):
            if not select.select([], [self._stdin], [], self._idle)[1]:
                raise self._silent()
            try:
                self._stdin.write(body[start : start + _PIECE])
            except OSError as err:
                raise self._failure() from err
        return self._read

    def _listen(self) -> None:
        """Keep the end of what ssh says; a host may say more than anybody wants to hear."""
        assert self._process.stderr is not None
        with self._process.stderr as stream, contextlib.suppress(OSError):
            while piece := stream.read(_PIECE):
                self._said += piece
                del self._said[:-_MAX_SAID]

    def _read(self, size: int) -> bytes:
        if not select.select([self._stdout], [], [], self._idle)[0]:
            raise self._silent()
        data = os.read(self._stdout.fileno(), size)
        if not data:
            raise self._failure()
        if not self._answered:
            self._answered = True
            note("host", f"the host key of {self._host} is the one in {self._command.goal.known_hosts}")
        return data

    def _silent(self) -> errors.HostSilent:
        return errors.HostSilent(f"{self._host} stopped answering", "try again; limits.idle bounds the wait")

    def _failure(self) -> errors.VCSProxyError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._end()
        return diagnosis(self._said.decode("utf-8", "replace"), self._command)

    def _end(self) -> None:
        """Asked to end, ssh ends the ssh that leads to the jump host as well."""
        self._process.terminate()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(1)

    def close(self) -> None:
        self._end()
        self._stdin.close()
        self._stdout.close()
        self._command.close()
