"""A lean smart-HTTP Git host on loopback, in a process of its own, so that neither side of a comparison pays for it.

`python -m bench.host ROOT [--rtt MS] [MODULE-ROOT...]` prints its URL and that of its pages. It serves the bare
repositories below ROOT by `git upload-pack`, with filters and any object allowed, as the large forges do. As an HTTP
proxy it answers the go-import lookups of the module roots, never through the relay: `go` alone needs them, and is not
to be the slower for it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PIECE = 1 << 16
_ALLOW = ["-c", "uploadpack.allowFilter=true", "-c", "uploadpack.allowAnySHA1InWant=true", "-c", "safe.directory=*"]
_ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
_TYPE = "application/x-git-upload-pack-"
_BANNER = b"001e# service=git-upload-pack\n0000"


@dataclass(frozen=True)
class Host:
    """A running host: the URL of its repositories, the HTTP proxy that knows the module roots, its process."""

    url: str
    pages: str
    pid: int


class Handler(http.server.BaseHTTPRequestHandler):
    """The two requests of the smart protocol, and go-import pages."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path
    modules: Sequence[str]

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client may have enough
            super().handle()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith("http://"):
            self._page(path.removeprefix("http://"))
        elif path.endswith("/info/refs") and query == "service=git-upload-pack":
            self._git(path.removesuffix("/info/refs"), "advertisement", ["--stateless-rpc", "--advertise-refs"], b"")
        else:
            self._say(404, b"")

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/git-upload-pack"):
            self._git(self.path.removesuffix("/git-upload-pack"), "result", ["--stateless-rpc"], body)
        else:
            self._say(404, b"")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        return zlib.decompress(data, 31) if self.headers.get("Content-Encoding") == "gzip" else data

    def _say(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _page(self, path: str) -> None:
        root = next((each for each in self.modules if (path + "/").startswith(each + "/")), "")
        self._say(200 if root else 404, f'<meta name="go-import" content="{root} git https://{root}">'.encode())

    def _git(self, path: str, kind: str, options: list[str], data: bytes) -> None:
        repository = self.root / path.strip("/")
        if not (repository / "HEAD").is_file():
            self._say(404, b"")
            return
        env = {**_ENV, "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        command = ["git", *_ALLOW, "upload-pack", *options, str(repository)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=env, bufsize=0, **pipes) as process:  # type: ignore[call-overload]
            feeding = threading.Thread(target=_feed, args=(process, data), daemon=True)
            feeding.start()
            plain = kind == "advertisement" and "version=2" not in env["GIT_PROTOCOL"]
            try:
                self._stream(process, kind, _BANNER if plain else b"")
            finally:
                process.kill()
                feeding.join()

    def _stream(self, process: subprocess.Popen[bytes], kind: str, first: bytes) -> None:
        """Chunks as git writes them, the head in one piece with the first."""
        assert process.stdout is not None
        self.send_response_only(200)
        self.send_header("Content-Type", _TYPE + kind)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        head = b"".join(self._headers_buffer) + b"\r\n"
        self._headers_buffer: list[bytes] = []
        while piece := first + os.read(process.stdout.fileno(), _PIECE):
            self.wfile.write(b"%s%x\r\n%s\r\n" % (head, len(piece), piece))
            head = first = b""
        self.wfile.write(head + b"0\r\n\r\n")


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(data)
    with contextlib.suppress(OSError):
        process.stdin.close()


@contextlib.contextmanager
def _relay(port: int, rtt: float) -> Iterator[int]:
    """The port to use instead: of a relay if it is to take time to get there."""
    if not rtt:
        yield port
        return
    command = [sys.executable, "-m", "bench.relay", str(port), str(rtt)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="bench.host", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--rtt", type=float, default=0.0, help="milliseconds")
    options = parser.parse_args()
    handler = type("Bound", (Handler,), {"root": options.root.resolve(), "modules": options.modules})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    with _relay(server.server_address[1], options.rtt) as port:
        print(f"http://127.0.0.1:{port} http://127.0.0.1:{server.server_address[1]}", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()  # until the starter closes it


@contextlib.contextmanager
def serving(root: Path, rtt: float = 0.0, modules: Sequence[str] = ()) -> Iterator[Host]:
    """A running host. rtt: milliseconds."""
    command = [sys.executable, "-m", "bench.host", f"--rtt={rtt}", str(root), *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, pages = process.stdout.readline().split()
        yield Host(url, pages, process.pid)  # leaving the block closes its standard input, which ends it


if __name__ == "__main__":
    _main()
