"""An HTTP proxy on loopback: CONNECT for https, forwarding for http; over plain HTTP or TLS, with a login if asked.

Names are not resolved: whatever is asked for is taken from the table `routes`, so that a test sees that the proxy, and
nobody else, knew the way.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PIECE = 1 << 16


@dataclass
class Tunnel:
    """`routes`: HOST:PORT that may be asked for -> port on loopback; `login`: the Proxy-Authorization that it wants."""

    routes: dict[str, int]
    context: ssl.SSLContext | None = None
    login: str = ""
    asked: list[str] = field(default_factory=list)  # first line of every request
    seen: list[str] = field(default_factory=list)  # head of every request, as it came
    port: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Tunnel]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(5)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            sock = stack.enter_context(self.context.wrap_socket(raw, server_side=True) if self.context else raw)
            head, rest = _head(sock)
            self.seen.append(head.decode("latin-1"))
            first, _, _ = head.partition(b"\r\n")
            self.asked.append(first.decode("latin-1"))
            status = self._refusal(head)
            if status:
                sock.sendall(f"HTTP/1.1 {status} no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            out = stack.enter_context(socket.create_connection(("127.0.0.1", self.routes[_target(first)])))
            if first.startswith(b"CONNECT "):
                sock.sendall(b"HTTP/1.1 200 go ahead\r\n\r\n")
            else:
                out.sendall(_forwarded(head) + rest)
            _relay(sock, out)

    def _refusal(self, head: bytes) -> int:
        if self.login and f"\r\nproxy-authorization: {self.login}\r\n".lower() not in head.decode("latin-1").lower():
            return 407
        return 0 if _target(head.partition(b"\r\n")[0]) in self.routes else 403


def _head(sock: socket.socket) -> tuple[bytes, bytes]:
    """The first request's head with its empty line, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(_PIECE)
        if not piece:
            raise ConnectionError("the client went away")
        data += piece
    head, end, rest = data.partition(b"\r\n\r\n")
    return head + end, rest


def _target(first: bytes) -> str:
    method, url, _ = first.decode("latin-1").split(" ")
    return url if method == "CONNECT" else f"{urlsplit(url).hostname}:{urlsplit(url).port or 80}"


def _forwarded(head: bytes) -> bytes:
    """The request as its host is to see it: a path instead of a URL, one request a connection."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, url, version = first.split(" ")
    parts = urlsplit(url)
    kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""]).encode("latin-1")


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side ends; what TLS has read already is not seen by select."""
    to = {one: other, other: one}
    while True:
        pending = [one] if isinstance(one, ssl.SSLSocket) and one.pending() else []
        for sock in pending or select.select([one, other], [], [], 60)[0]:
            data = sock.recv(_PIECE)
            if not data:
                return
            to[sock].sendall(data)
