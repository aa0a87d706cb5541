"""An ssh-agent for one key: a socket that only this user can reach, and signatures with that key, nothing else.

The key stays in this process; ssh and the workers know the socket's name and the public key. What the messages mean is
`access/agentwire.py`'s business.

If we crash here: a directory with a dead socket is left behind; there is no secret in it.

Source: draft-miller-ssh-agent, section 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import struct
import tempfile

from vcsproxy.access.agentwire import MAX_MESSAGE, Key, answer

_LENGTH = struct.Struct(">I")
_IDLE = 60.0  # seconds that a client may be silent, or not listen
_LONGEST_NAME = 100  # bytes: a unix socket's name has 107 at most, on some systems 103


class SshAgent:
    """Serves one key on a unix socket; `start` first, `close` last. Lives on one event loop."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._directory = ""
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def socket(self) -> str:
        """Name of the socket."""
        return os.path.join(self._directory, "a")

    async def start(self) -> None:
        """Raises OSError when no socket can be made."""
        self._directory = _private_directory()
        self._server = await asyncio.start_unix_server(self._client, self.socket, limit=MAX_MESSAGE)
        os.chmod(self.socket, 0o600)

    async def close(self) -> None:
        """End all conversations, and take the socket away."""
        if self._server is not None:
            self._server.close()
        for writer in self._clients.values():
            writer.close()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._directory:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                while await self._answered(reader, writer):
                    pass
        finally:
            del self._clients[task]
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one message; False for one that is too long to be meant."""
        async with asyncio.timeout(_IDLE):
            (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            if not 0 < size <= MAX_MESSAGE:
                return False
            message = await reader.readexactly(size)
        said = await asyncio.to_thread(answer, message, self.key)
        writer.write(_LENGTH.pack(len(said)) + said)
        async with asyncio.timeout(_IDLE):
            await writer.drain()
        return True


def _private_directory() -> str:
    """A new directory for this user alone, with a name that leaves room for a socket's."""
    home = tempfile.gettempdir()
    if len(os.fsencode(home)) > _LONGEST_NAME - len("/vcsproxy-12345678/a"):
        home = "/tmp"  # noqa: S108 - mkdtemp makes it safe
    return tempfile.mkdtemp(prefix="vcsproxy-", dir=home)  # mode 0700
