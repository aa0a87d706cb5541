"""An ssh-agent for one key: a socket that only this user can reach, and signatures with that key, nothing else.

The key stays in this process; ssh and the workers know the socket's name and the public key.
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
_IDLE = 60.0  # seconds that a client may be silent


class SshAgent:
    """Serves one key on a unix socket; `start` first, `close` last."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._directory = ""
        self._server: asyncio.Server | None = None

    @property
    def socket(self) -> str:
        """Name of the socket."""
        return os.path.join(self._directory, "a")

    async def start(self) -> None:
        """Raises OSError when no socket can be made."""
        # Below /run or /tmp and short: the name of a unix socket has at most 107 bytes.
        self._directory = tempfile.mkdtemp(prefix="vcsproxy-")
        self._server = await asyncio.start_unix_server(self._client, self.socket, limit=MAX_MESSAGE)
        os.chmod(self.socket, 0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._directory:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE):
                    (size,) = _LENGTH.unpack(await reader.readexactly(4))
                    if not 0 < size <= MAX_MESSAGE:
                        break
                    message = await reader.readexactly(size)
                said = await asyncio.to_thread(answer, message, self.key)
                writer.write(_LENGTH.pack(len(said)) + said)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
