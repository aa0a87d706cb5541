"""A Git host on loopback that speaks SSH: a real server (asyncssh), git's own upload-pack, and a real ssh-agent for clients.

Everything that clients do is noted in `log`, so that tests can say who signed in and what was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import socket as socketlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from tests.support.gitrepo import git_env

Script = Callable[[asyncssh.SSHServerProcess], Awaitable[bool]]


def new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def public_line(key: asyncssh.SSHKey) -> str:
    """The public half as a line of authorized_keys."""
    return key.export_public_key().decode().strip()


@contextlib.contextmanager
def agent(*keys: asyncssh.SSHKey) -> Iterator[str]:
    """A real ssh-agent with these keys; the name of its socket."""
    directory = tempfile.mkdtemp(prefix="agent-")  # short: the name of a unix socket has at most 107 bytes
    socket = os.path.join(directory, "s")
    environment = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": socket}
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL, env=environment)
    try:
        while not _answers(socket):
            assert process.poll() is None, "ssh-agent did not start"
            time.sleep(0.01)
        for key in keys:
            private = key.export_private_key("openssh")
            subprocess.run(["ssh-add", "-q", "-"], input=private, env=environment, check=True, capture_output=True)
        yield socket
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


def _answers(name: str) -> bool:
    """Whether somebody listens on a unix socket; its name is there a moment earlier."""
    with socketlib.socket(socketlib.AF_UNIX) as client:
        return client.connect_ex(name) == 0


@dataclass
class SshHost:
    """Serves the bare repositories below `root` to the users of `allowed` keys; `forwards` makes it a jump host.

    names: where a forwarded connection to a (host, port) really goes. script: may serve a command itself, and return
    True. log: "login USER", "key USER FINGERPRINT", "command TEXT", "protocol VERSION", "forward HOST PORT".
    """

    root: Path
    allowed: list[asyncssh.SSHKey] = field(default_factory=list)
    forwards: bool = False
    names: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    script: Script | None = None
    protocol: bool = True  # whether the client's wish for protocol version 2 is heard
    key: asyncssh.SSHKey = field(default_factory=new_key)
    log: list[str] = field(default_factory=list)
    port: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _acceptor: Any = None
    _connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    def count(self, text: str) -> int:
        """How many notes so far begin with `text`."""
        return sum(note.startswith(text) for note in self.log)

    def known_hosts(self, name: str = "127.0.0.1", port: int = 0) -> str:
        """The line for a known_hosts file, as ssh-keyscan writes it; port: the one in the URL, if it is another."""
        shown = port or self.port
        return f"{name if shown == 22 else f'[{name}]:{shown}'} {public_line(self.key)}\n"

    def change_key(self) -> None:
        """Show another host key from now on."""
        self.key = new_key()
        self._loop.call_soon_threadsafe(lambda: self._acceptor.update(server_host_keys=[self.key]))

    @contextlib.contextmanager
    def running(self) -> Iterator[SshHost]:
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _start(self) -> None:
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Server(self),
            server_host_keys=[self.key],
            process_factory=self._serve,
            encoding=None,
        )
        self.port = self._acceptor.get_port()

    async def _stop(self) -> None:
        self._acceptor.close()
        for connection in self._connections:
            connection.abort()
            await connection.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, process: asyncssh.SSHServerProcess) -> None:
        self.log.append(f"command {process.command}")
        with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
            if self.script is None or not await self.script(process):
                await self._upload_pack(process)

    async def _upload_pack(self, process: asyncssh.SSHServerProcess) -> None:
        words = shlex.split(process.command or "")
        path = self.root / words[-1].lstrip("/") if words else self.root
        if words[:1] != ["git-upload-pack"] or not path.is_dir():
            process.stderr.write(b"ERROR: Repository not found.\n")
            process.exit(1)
            return
        wish = process.env.get("GIT_PROTOCOL", "")
        self.log.append(f"protocol {wish}")
        config = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        env = git_env(GIT_PROTOCOL=wish if self.protocol else "", **config)
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            "git", "upload-pack", str(path), stdin=pipe, stdout=pipe, stderr=pipe, env=env
        )
        feeding = asyncio.ensure_future(_copy(process.stdin, child.stdin))
        try:
            await asyncio.gather(_copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr))
            process.exit(await child.wait())
        finally:
            feeding.cancel()
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _copy(source: Any, target: Any) -> None:
    """Everything from one stream to another; an asyncio pipe is closed at the end."""
    try:
        while piece := await source.read(1 << 16):
            target.write(piece)
            await target.drain()
    finally:
        if isinstance(target, asyncio.StreamWriter):
            target.close()


class _Server(asyncssh.SSHServer):
    """Who may come in, and what else they may do."""

    def __init__(self, host: SshHost) -> None:
        self._host = host
        self._connection: Any = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host._connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        self._host.log.append(f"login {username}")
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._host.log.append(f"key {username} {key.get_fingerprint()}")
        return any(key.public_data == other.public_data for other in self._host.allowed)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        self._host.log.append(f"forward {dest_host} {dest_port}")
        if not self._host.forwards:
            return False
        place = self._host.names.get((dest_host, dest_port), (dest_host, dest_port))
        return self._connection.forward_connection(*place)
