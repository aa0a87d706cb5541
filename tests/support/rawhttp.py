"""Requests written byte by byte: no client library that would mend or refuse them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Raw:
    """A response: status 0 if the server closed without one."""

    status: int
    head: bytes
    body: bytes


class RawClient:
    """One connection, opened again whenever the server closes it. Use it as a context."""

    def __init__(self, base: str) -> None:
        url = urlsplit(base)
        self._address = (url.hostname or "", url.port or 80)
        self._socket: socket.socket | None = None
        self._left = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._left = None, b""

    def get(self, target: bytes) -> Raw:
        """GET exactly this request target."""
        return self.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    def send(self, request: bytes) -> Raw:
        """Send bytes and read one response."""
        fresh = self._socket is None
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
        try:
            self._socket.sendall(request)
            answer = self._read()
        except ConnectionError:
            answer = Raw(0, b"", b"")
        if answer.status == 0 or b"connection: close" in answer.head.lower():
            self.close()
            return answer if answer.status or fresh else self.send(request)
        return answer

    def _read(self) -> Raw:
        data = self._left
        while b"\r\n\r\n" not in data:
            piece = self._receive()
            if not piece:
                return Raw(0, b"", b"")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields[b"content-length"])
        while len(body) < size:
            piece = self._receive()
            if not piece:
                raise ConnectionResetError
            body += piece
        self._left = body[size:]
        return Raw(int(head.split()[1]), head, body[:size])

    def _receive(self) -> bytes:
        assert self._socket is not None
        return self._socket.recv(1 << 16)
