"""Conversations with upload-pack over SSH: the system's client, with nothing of anybody's configuration.

Every option that could let a file or a variable of this machine in is set on the command line. The host's address is
resolved, judged and pinned by the guard; its key must be in the known_hosts file of the configuration. Keys are offered
by an agent whose socket the credential names: no private key is in this process or on the disk.

Source: ssh(1), ssh_config(5), gitprotocol-pack(5).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from vcsproxy import errors
from vcsproxy.build.job import Access, Host
from vcsproxy.trace import note
from vcsproxy.vcs.giturl import GitUrl
from vcsproxy.vcs.guard import Guard

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_MAX_SAID = 16 << 10  # bytes of standard error that are kept


@dataclass
class SshCommand:
    """`argv`: the program, all its options, and behind `--` the host, ready for a remote command. Close it."""

    argv: list[str]
    host: str
    port: int
    access: Access | None
    known_hosts: str
    _directories: list[str] = field(default_factory=list)

    def close(self) -> None:
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)


def ssh_command(url: GitUrl, guard: Guard) -> SshCommand:
    """How to reach a host by SSH. Raises Unavailable without an ssh program, and what the guard raises."""
    program = shutil.which("ssh", path=ENVIRONMENT["PATH"]) or shutil.which("ssh")
    if program is None:
        raise errors.Unavailable(f"cannot reach {url.host}: this machine has no ssh client", "install OpenSSH")
    rule = guard.host(url.host) or Host(url.host)
    port = url.port or 22
    access = guard.access(f"ssh://{url.host}:{port}{url.path if url.path.startswith('/') else '/' + url.path}")
    directories: list[str] = []
    options = _closed(rule, port, access, guard, directories)
    if rule.jump:
        options |= {
            "ProxyCommand": _through(program, rule.jump, f"[{url.host}]:{port}", guard, directories),
            "Port": str(port),
        }
    else:
        address, pinned = guard.pin(url.host, port)
        options |= {"HostName": address, "Port": str(pinned), "ProxyCommand": "none"}
        note("host", f"{url.host} is at {address} port {pinned}")
    note("credential", f"the keys of {access.name}" if access else "no key: no credential covers this URL")
    user = url.user or (access.user if access else "")
    argv = [*_words(program, options), *(["-l", user] if user else []), "--", url.host]
    return SshCommand(argv, url.host, port, access, rule.known_hosts, directories)


def _words(program: str, options: dict[str, str]) -> list[str]:
    return [program, "-F", "none", "-T", *(f"-o{name}={value}" for name, value in options.items())]


def _closed(rule: Host, port: int, access: Access | None, guard: Guard, directories: list[str]) -> dict[str, str]:
    """Options that leave nothing to anybody's configuration."""
    return {
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "StrictHostKeyChecking": "accept-new" if rule.accept_new_host_key else "yes",
        "UserKnownHostsFile": _file(rule.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        # What ssh-keyscan writes for a port of its own; an alias is looked up as it stands.
        "HostKeyAlias": rule.name if port == 22 else f"[{rule.name}]:{port}",
        "HashKnownHosts": "no",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "VerifyHostKeyDNS": "no",
        "CanonicalizeHostname": "no",
        "ConnectTimeout": str(max(1, int(guard.limits.connect))),
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ControlMaster": "no",
        "ControlPath": "none",
        "EscapeChar": "none",
        "LogLevel": "ERROR",
        "SendEnv": "GIT_PROTOCOL",
        **_identity(access, directories),
    }


def _identity(access: Access | None, directories: list[str]) -> dict[str, str]:
    """Which keys to offer: those of the credential's agent, by their public halves where they are known."""
    if access is None:
        return {"IdentityAgent": "none", "IdentityFile": "none", "IdentitiesOnly": "yes"}
    if not access.public_keys:
        return {"IdentityAgent": _file(access.agent), "IdentityFile": "none", "IdentitiesOnly": "no"}
    directory = tempfile.mkdtemp(prefix="vcsproxy-ssh-")
    directories.append(directory)
    file = os.path.join(directory, "key.pub")
    with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        out.write("\n".join(access.public_keys) + "\n")
    return {"IdentityAgent": _file(access.agent), "IdentityFile": _file(file), "IdentitiesOnly": "yes"}


def _file(name: str) -> str:
    """A file name as ssh's options want it: quoted, and % doubled; /dev/null for none."""
    return '"' + name.replace("%", "%%") + '"' if name else "/dev/null"


def _through(program: str, jump: str, target: str, guard: Guard, directories: list[str]) -> str:
    """The command that leads through a jump host to [HOST]:PORT, as closed as the one that it is for."""
    user, _, place = jump.rpartition("@")
    name, _, given = place.partition(":")
    jump_port = int(given or 22)
    rule = guard.host(name) or Host(name)
    access = guard.access(f"ssh://{name}:{jump_port}/")
    options = _closed(rule, jump_port, access, guard, directories)
    address, pinned = guard.pin(name, jump_port)
    # Forwarding is what a jump is for.
    options |= {"HostName": address, "Port": str(pinned), "ProxyCommand": "none", "ClearAllForwardings": "no"}
    note("host", f"through {name} at {address} port {pinned}")
    login = user or (access.user if access else "")
    words = [*_words(program, options), *(["-l", login] if login else []), "-W", target, "--", name]
    return shlex.join(words).replace("%", "%%")


class SshConnection:
    """One run of ssh for one conversation."""

    def __init__(self, url: GitUrl, guard: Guard) -> None:
        self._command = ssh_command(url, guard)
        self._host, self._idle = url.host, guard.limits.idle
        path = url.path[1:] if url.path.startswith("/~") else url.path
        self._said = bytearray()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell, every word checked by parse_url
                [*self._command.argv, "git-upload-pack " + shlex.quote(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**ENVIRONMENT, "GIT_PROTOCOL": "version=2"},
            )
        except OSError as err:
            self._command.close()
            raise errors.Unavailable(f"cannot run ssh: {err.strerror}") from err
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def advertisement(self) -> Callable[[int], bytes]:
        return self._read

    def command(self, body: bytes) -> Callable[[int], bytes]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(body)
        except OSError as err:
            raise self._failure() from err
        return self._read

    def _listen(self) -> None:
        """Keep the end of what ssh says; a host may say more than anybody wants to hear."""
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while piece := os.read(self._process.stderr.fileno(), 4096):
                self._said += piece
                del self._said[:-_MAX_SAID]

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        if not select.select([stream], [], [], self._idle)[0]:
            raise errors.HostSilent(f"{self._host} stopped answering", "try again; limits.idle bounds the wait")
        data = os.read(stream, size)
        if not data:
            raise self._failure()
        return data

    def _failure(self) -> errors.VCSProxyError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._process.kill()
        self._listener.join(2)
        return diagnosis(self._said.decode("utf-8", "replace"), self._command)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join(2)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._command.close()


_ABSENT = re.compile(
    r"does not appear to be a git repository|repository not found|repository .{0,200}not found"
    r"|project you were looking for could not be found|could not find repository|no such repository",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"connection (?:refused|reset|timed out|closed)|timed out|no route to host|network is unreachable"
    r"|kex_exchange_identification|broken pipe|lost connection",
    re.IGNORECASE,
)


def diagnosis(said: str, command: SshCommand) -> errors.VCSProxyError:
    """What ssh's last words mean, with the cure."""
    host, port = command.host, command.port
    scan = f"ssh-keyscan -p {port} {host} >> {command.known_hosts or 'FILE'}"
    if "IDENTIFICATION HAS CHANGED" in said or "Offending" in said:
        return errors.UpstreamFailed(
            f"the host key of {host} has changed: somebody may be in between",
            f"if its operator has changed it: ssh-keygen -R {_known_as(command)} -f {command.known_hosts}; then {scan}",
        )
    if "Host key verification failed" in said or "host key is known for" in said:
        return errors.UpstreamFailed(
            f"the host key of {host} is not known", f"compare it with what its operator says, and add it: {scan}"
        )
    if "Permission denied" in said or "Too many authentication failures" in said:
        return _refused(command)
    if _ABSENT.search(said):
        return errors.RepositoryNotFound(f"{host} says that there is no such repository", "is the source's url right?")
    lines = [line for line in said.strip().splitlines() if line.strip()]
    reason = "".join(c if c.isprintable() else " " for c in (lines[-1] if lines else ""))[:160].strip()
    if not reason or _LOST.search(said):
        why = reason or "it ended without a word"
        return errors.HostUnreachable(f"ssh to {host} port {port} failed: {why}", "is the host up, and the port right?")
    return errors.UpstreamFailed(f"ssh to {host} failed: {reason}", "what the host says may tell more in its own log")


def _known_as(command: SshCommand) -> str:
    return command.host if command.port == 22 else f"'[{command.host}]:{command.port}'"


def _refused(command: SshCommand) -> errors.AccessDenied:
    host = command.host
    if command.access is None:
        hint = f'add a [[credential]] with kind = "ssh-key" and url = "ssh://{host}"'
        return errors.AccessDenied(f"{host} wants a key, and no credential covers this URL", hint)
    hint = "let its key read the repository, and check the user name in the source's url"
    return errors.AccessDenied(f"{host} refuses the keys of the credential {command.access.name}", hint)
