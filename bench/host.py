"""A lean smart-HTTP Git host on loopback, in a process of its own, so that neither side of a comparison pays for it.

`python -m bench.host ROOT RTT` prints its URL and serves the bare repositories below ROOT by `git upload-pack`, with
filters and any object allowed, as the large forges do. Every new connection costs RTT milliseconds, and so does every
request: a relay in front holds all bytes back for half of it, each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from aiohttp import web

_PIECE = 1 << 16
_ALLOW = ["-c", "uploadpack.allowFilter=true", "-c", "uploadpack.allowAnySHA1InWant=true", "-c", "safe.directory=*"]
_ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
_TYPE = "application/x-git-upload-pack-"


class Host:
    """Answers the two requests of the smart protocol."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, last = request.path.strip("/").rpartition("/")
        if last == "git-upload-pack":
            return await self._run(request, path, "result", ["--stateless-rpc"], await _body(request))
        if last == "refs" and path.endswith("/info"):
            return await self._run(request, path[:-5], "advertisement", ["--stateless-rpc", "--advertise-refs"], b"")
        return web.Response(status=404)

    async def _run(
        self, request: web.BaseRequest, path: str, kind: str, options: list[str], data: bytes
    ) -> web.StreamResponse:
        repository = self._root / path
        if not (repository / "HEAD").is_file():
            return web.Response(status=404)
        env = {**_ENV, "GIT_PROTOCOL": request.headers.get("Git-Protocol", "")}
        process = await asyncio.create_subprocess_exec(
            "git", *_ALLOW, "upload-pack", *options, str(repository),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, limit=1 << 20,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        response = web.StreamResponse(headers={"Content-Type": _TYPE + kind, "Cache-Control": "no-cache"})
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(data)
                process.stdin.close()
            await response.prepare(request)
            if kind == "advertisement" and "version=2" not in env["GIT_PROTOCOL"]:
                await response.write(b"001e# service=git-upload-pack\n0000")
            while piece := await process.stdout.read(_PIECE):
                await response.write(piece)
            await response.write_eof()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
        return response


async def _body(request: web.BaseRequest) -> bytes:
    data = await request.read()
    return zlib.decompress(data, 31) if request.headers.get("Content-Encoding") == "gzip" else data


class Relay:
    """Passes connections on, every byte half a round trip late."""

    def __init__(self, port: int, rtt: float) -> None:
        self._port, self._rtt = port, rtt

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._rtt)  # what setting up the connection costs
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer), return_exceptions=True)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Pieces arrive late, not slowly: they wait side by side."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

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
            while True:
                piece = await source.read(_PIECE)
                await queue.put((loop.time() + self._rtt / 2, piece))
                if not piece:
                    break
            await sending
        finally:
            sending.cancel()
            target.close()


async def _main(root: Path, rtt: float) -> None:
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = Host(root).answer
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = int(runner.addresses[0][1])
    if rtt:
        relay = await asyncio.start_server(Relay(port, rtt).connected, "127.0.0.1", 0)
        port = int(relay.sockets[0].getsockname()[1])
    print(f"http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def serving(root: Path, rtt: float = 0.0) -> Iterator[str]:
    """A running host; yields its URL. rtt: milliseconds."""
    command = [sys.executable, "-m", "bench.host", str(root), str(rtt)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2]) / 1000))
