"""pkt-line framing: how Git's wire protocol cuts its stream into packets.

Source: gitprotocol-common(5), gitprotocol-v2(5).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator

from vcsproxy import errors

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}\Z")


class Special(enum.Enum):
    """Packets without content."""

    FLUSH = 0
    DELIM = 1
    RESPONSE_END = 2


Packet = bytes | Special


def encode(*lines: bytes | Special) -> bytes:
    """Lines and special packets as one byte string."""
    return b"".join(
        b"%04x" % line.value if isinstance(line, Special) else b"%04x" % (len(line) + 4) + line for line in lines
    )


class HostSays(errors.UpstreamFailed):
    """The host reports an error in the middle of the conversation; the message ends with its words."""


class Reader:
    """Reads packets from `read(n)`, which returns at most n bytes and b"" at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def exactly(self, size: int) -> bytes:
        """`size` bytes. Raises UpstreamFailed when the stream ends early."""
        data = bytearray()
        while len(data) < size:
            piece = self._read(size - len(data))
            if not piece:
                raise errors.HostUnreachable("the Git host ended its answer in the middle", "try again")
            data += piece
        return bytes(data)

    def packet(self) -> Packet:
        """The next packet. Raises UpstreamFailed for bad framing and for an error that the host reports."""
        head = self.exactly(4)
        if not _LENGTH.match(head):
            raise errors.UpstreamFailed("the Git host does not speak Git's protocol")
        size = int(head, 16)
        if size < 4:
            if size == 3:
                raise errors.UpstreamFailed("the Git host does not speak Git's protocol")
            return Special(size)
        line = self.exactly(size - 4)
        if line.startswith(b"ERR "):
            raise HostSays("the Git host says: " + readable(line[4:]))
        return line

    def section(self) -> Iterator[bytes]:
        """Lines up to the next flush or delimiter packet, without their final newline."""
        while not isinstance(line := self.packet(), Special):
            yield line.rstrip(b"\n")


def readable(text: bytes) -> str:
    """A host's message, shortened and without anything that a terminal would obey."""
    clean = "".join(c if c.isprintable() else " " for c in text[:400].decode("utf-8", "replace"))
    return " ".join(clean.split())[:200]
