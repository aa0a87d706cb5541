"""A Git host on loopback: smart HTTP through git's own http-backend, go-import pages, and scripted answers.

Every request is noted in `requests`, so that tests can say what was asked and how often.
"""

from __future__ import annotations

import contextlib
import http.server
import ssl
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gitrepo import git_env

Page = tuple[int, dict[str, str], bytes]
Script = Callable[["Handler"], bool]


@dataclass
class GitHost:
    """Serves the bare repositories below `root`; `pages` maps a path with query to a page."""

    root: Path
    context: ssl.SSLContext | None = None
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)  # git configuration of the host
    script: Script | None = None  # may answer a request itself and return True
    protocol: bool = True  # whether the client's wish for protocol version 2 is heard
    port: int = 0
    auth: dict[str, set[str]] = field(default_factory=dict)  # values of Authorization that a path prefix wants
    forbidden: set[str] = field(default_factory=set)  # values that are known and may read nothing
    seen: list[str] = field(default_factory=list)  # what each request said in Authorization, "" for nothing

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://{self.address}"

    def count(self, text: str) -> int:
        """How many requests so far contained `text`."""
        return sum(text in request for request in self.requests)

    @contextlib.contextmanager
    def running(self) -> Iterator[GitHost]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"host": self}))
        server.daemon_threads = True
        if self.context:
            server.socket = self.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request: a script, a page, or git http-backend."""

    host: GitHost
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client went away, or the handshake failed
            super().handle()

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

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

    def _answer(self, body: bytes) -> None:
        self.host.requests.append(f"{self.command} {self.headers.get('Host', '')}{self.path}")
        self.host.seen.append(self.headers.get("Authorization", ""))
        self.body = body
        if self.host.script is not None and self.host.script(self):
            return
        if status := self._refusal():
            self.reply(status, {"WWW-Authenticate": 'Basic realm="git"'} if status == 401 else {}, b"no\n")
            return
        page = self.host.pages.get(self.headers.get("Host", "") + self.path) or self.host.pages.get(self.path)
        if page is None:
            page = self._backend(body)
        self.reply(*page)

    def _refusal(self) -> int:
        """401 or 403 where the longest prefix of the path wants another credential, else 0."""
        said = self.headers.get("Authorization", "")
        prefix = max((p for p in self.host.auth if self.path.startswith(p)), key=len, default=None)
        if prefix is None or said in self.host.auth[prefix]:
            return 0
        return 403 if said in self.host.forbidden else 401

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _backend(self, body: bytes) -> Page:
        path, _, query = self.path.partition("?")
        if not any((self.host.root / path.strip("/")).resolve().parents) or "git-upload-pack" not in self.path:
            return 404, {"Content-Type": "text/plain"}, b"not here\n"
        env = git_env(
            GIT_PROJECT_ROOT=str(self.host.root),
            GIT_HTTP_EXPORT_ALL="1",
            REQUEST_METHOD=self.command,
            PATH_INFO=path,
            QUERY_STRING=query,
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
            GIT_CONFIG_COUNT=str(len(self.host.config) + 1),
            GIT_CONFIG_KEY_0="safe.directory",
            GIT_CONFIG_VALUE_0="*",
        )
        for number, (key, value) in enumerate(self.host.config.items(), 1):
            env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
        if self.host.protocol:
            env["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        return status, headers, content
