"""A Git host that plays tricks: smart HTTP in protocol version 2, of which every byte and every pause is scripted.

`Tox` is one repository's part in the play: what is said at each step of a fetch. `ToxGit` gives every part a host name
of its own, so that what a server learns of one host does not colour how it treats the next. `Bystander` listens and
counts who comes: nobody should.

Source: gitprotocol-v2(5), gitprotocol-http(5).
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import hostile
from tests.support.githost import GitHost, Handler, Script
from vcsproxy.vcs.pktline import Special, encode

Step = bytes | Callable[[Handler], None]

GREETING = encode(b"version 2\n", b"ls-refs\n", b"fetch=shallow filter\n", Special.FLUSH)
ADVERTISEMENT = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"
_LONGEST = 40.0  # seconds after which even a trick comes to an end


@dataclass(frozen=True)
class Tox:
    """What a host says: its greeting, its refs, its answer to a fetch."""

    refs: Step = b""
    fetch: Step = b""
    greet: Step = GREETING

    @classmethod
    def of(cls, head: str, pack: bytes, tag: str = "v1.0.0") -> Tox:
        """An honest host of one commit; parts of it are then replaced."""
        return cls(refs_of(dict.fromkeys(("HEAD", "refs/heads/main", f"refs/tags/{tag}"), head)), side_band(pack))

    def __call__(self, handler: Handler) -> bool:
        if "git-upload-pack" not in handler.path:
            return False
        step = self.greet if handler.command == "GET" else self.refs
        if b"command=fetch" in handler.body:
            step = self.fetch
        if callable(step):
            step(handler)
        else:
            handler.reply(200, {"Content-Type": kind(handler)}, step)
        return True


def kind(handler: Handler) -> str:
    return ADVERTISEMENT if handler.command == "GET" else RESULT


def refs_of(refs: Mapping[str, str] | Mapping[bytes, str]) -> bytes:
    """The answer to ls-refs; names may be any bytes."""
    lines = [f"{oid} ".encode() + (n.encode() if isinstance(n, str) else n) + b"\n" for n, oid in refs.items()]
    return encode(*lines, Special.FLUSH)


side_band = hostile.side_band


# --- tricks: each gives a step


def head_of(handler: Handler, length: int | str | None, *more: str) -> bytes:
    """The head of a 200; no length means that the end of the connection ends the body."""
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind(handler)}", *more]
    lines += ["Connection: close"] if length is None else [f"Content-Length: {length}"]
    return "".join(line + "\r\n" for line in [*lines, ""]).encode("latin-1")


def wire(handler: Handler, data: bytes) -> None:
    """Send bytes as they are; nothing else is said on this connection."""
    handler.close_connection = True
    handler.wfile.write(data)
    handler.wfile.flush()


def wait_until_gone(handler: Handler, seconds: float = _LONGEST) -> bool:
    """Say nothing until the client goes away or the time is over; whether it has gone."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([handler.connection], [], [], left)[0] and not handler.connection.recv(65536):
            return True
    return False


def hang(data: bytes, at: int) -> Step:
    """Stop after `at` bytes of the body and stay."""

    def step(handler: Handler) -> None:
        wire(handler, head_of(handler, len(data)) + data[:at])
        wait_until_gone(handler)

    return step


def never(handler: Handler) -> None:
    """Not even a status line."""
    handler.close_connection = True
    wait_until_gone(handler)


def drip(data: bytes, at: int, pause: float = 0.5) -> Step:
    """From byte `at` on one byte after each pause."""

    def step(handler: Handler) -> None:
        wire(handler, head_of(handler, len(data)) + data[:at])
        for byte in data[at:]:
            if wait_until_gone(handler, pause):
                return
            wire(handler, bytes([byte]))

    return step


def cut(data: bytes, at: int) -> Step:
    """Promise everything and hang up after `at` bytes."""
    return lambda handler: wire(handler, head_of(handler, len(data)) + data[:at])


def lie(data: bytes, length: int | str, *more: str) -> Step:
    """Another length than the body has."""
    return lambda handler: wire(handler, head_of(handler, length, *more) + data)


def endless(start: bytes, piece: bytes | Callable[[int], bytes]) -> Step:
    """Never come to an end."""

    def step(handler: Handler) -> None:
        wire(handler, head_of(handler, None) + start)
        for number in range(1 << 40):
            wire(handler, piece if isinstance(piece, bytes) else piece(number))

    return step


def raw(data: bytes | Callable[[Handler], bytes]) -> Step:
    """Anything but HTTP."""
    return lambda handler: wire(handler, data if isinstance(data, bytes) else data(handler))


def redirect(location: str, status: int = 302) -> Step:
    """Somewhere else; {path} is the path asked for."""
    return lambda handler: handler.reply(status, {"Location": location.format(path=handler.path)}, b"")


# --- many hosts in one process


@dataclass
class ToxGit:
    """Hosts NAME.test that all live at one port of this machine; a part is given to each by `plays`."""

    host: GitHost
    plays: dict[str, Script] = field(default_factory=dict)

    def asked(self, name: str) -> list[str]:
        """The requests that came for NAME.test."""
        return [request for request in self.host.requests if f" {name}.test" in request]

    def config(self, *names: str, engine: str = "dulwich") -> str:
        """Tables that lead module paths NAME.test/REPO here, in plain HTTP."""
        return "".join(
            f'[[host]]\nname = "{name}.test"\nconnect = "{self.host.address}"\ninsecure = true\n'
            f'[[source]]\nroot = "{name}.test/{{repo}}"\nurl = "http://{name}.test/{{repo}}"\nengine = "{engine}"\n'
            for name in names
        )

    def _script(self, handler: Handler) -> bool:
        name = handler.headers.get("Host", "").partition(".test")[0]
        play = self.plays.get(name)
        return play is not None and play(handler)


@contextlib.contextmanager
def toxic(repos: Path = Path("/nonexistent")) -> Iterator[ToxGit]:
    """Start it; names without a part are served honestly from the bare repositories below `repos`."""
    with GitHost(repos).running() as host:
        tox = ToxGit(host)
        host.script = tox._script
        yield tox


@dataclass
class Bystander:
    """A service of this machine that has nothing to do with any of this: it notes who connects."""

    port: int
    came: list[bytes] = field(default_factory=list)

    def assert_untouched(self) -> None:
        assert self.came == []


@contextlib.contextmanager
def bystander(*addresses: str) -> Iterator[Bystander]:
    """Listen on one port of several loopback addresses (127.0.0.1 and, where there is IPv6, ::1)."""
    sockets: list[socket.socket] = []
    for address in addresses or ("127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            sockets.append(_listening(family, address, sockets[0].getsockname()[1] if sockets else 0))
        except OSError:
            if family == socket.AF_INET:
                raise
    there = Bystander(sockets[0].getsockname()[1])
    ended = threading.Event()
    thread = threading.Thread(target=_take, args=(sockets, there, ended))
    thread.start()
    try:
        yield there
    finally:
        ended.set()
        thread.join()
        for each in sockets:
            each.close()


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(16)
    except OSError:
        sock.close()
        raise
    return sock


def _take(sockets: Sequence[socket.socket], there: Bystander, ended: threading.Event) -> None:
    while not ended.is_set():
        for ready in select.select(sockets, [], [], 0.05)[0]:
            with contextlib.suppress(OSError), ready.accept()[0] as connection:
                connection.settimeout(0.2)
                said = b"connected"
                with contextlib.suppress(OSError):
                    said += b": " + connection.recv(4096)
                there.came.append(said)
