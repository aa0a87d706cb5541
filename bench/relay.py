"""A TCP relay that makes a near host far: every new connection and every round trip costs a given time.

`python -m bench.relay PORT RTT` prints the port it listens on; RTT in milliseconds. Bytes arrive late, not slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

_PIECE = 1 << 16


class Relay:
    """Passes connections on, every byte half a round trip late. rtt: seconds."""

    def __init__(self, port: int, rtt: float) -> None:
        self._port, self._rtt = port, rtt

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._rtt)  # what setting up the connection costs
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for each in (writer, back):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer), return_exceptions=True)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Pieces wait side by side, each for its own time."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(4096)

        async def late() -> None:
            while True:
                due, piece = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not piece:
                    return
                target.write(piece)
                await target.drain()

        sending = asyncio.create_task(late())
        try:
            piece = b"-"
            while piece:
                piece = await source.read(_PIECE)
                await queue.put((loop.time() + self._rtt / 2, piece))
            await sending
        finally:
            sending.cancel()
            target.close()


async def _main(port: int, rtt: float) -> None:
    server = await asyncio.start_server(Relay(port, rtt).connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
