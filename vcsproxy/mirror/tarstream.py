"""A tar archive in one zstd frame, of which the reader knows beforehand every byte but the contents.

What a tar may hold, and how many ways there are to say it, is a reader's misfortune: links, absolute names, sparse
files, headers that other headers correct. Here a header is a function of a name and a size. The writer writes it, and
the reader, who has been told names and sizes by the manifest, compares it byte for byte. Nothing is ever parsed but the
size of the first member. Common tools list and extract the file all the same.

The same members give the same bytes, with the same release of libzstd: fixed level, one thread, no times, no owners.

Source: POSIX pax interchange format (ustar headers, `path` records); RFC 8878.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import zstandard

from vcsproxy import errors

_BLOCK = 512
_LEVEL = 1  # zips do not get smaller, and nearly all of a bundle is zips
_WINDOW = 8 << 20
"""Bytes of memory that a frame may ask its reader for; ours ask for 512 KiB."""
_READ = 1 << 20
_PIECE = 1 << 9
"""Compressed bytes that are decompressed at a time: a block of 128 KiB may come from 4 bytes, so 16 MiB from these."""
_MAX_SIZE = 8**11 - 1
_EARLY = "the bundle ends too early: it was not copied as a whole"
_AGAIN = "fetch the bundle again and run this once more; what is there already is not imported twice"


def header(name: str, size: int) -> bytes:
    """What stands before the contents of a regular file with an ASCII name: one block, or three if the name is long."""
    if not name.isascii() or not 0 <= size <= _MAX_SIZE:
        raise ValueError("no name or size for a member of a bundle")
    prefix, short = _split(name)
    if short:
        return _block(prefix, short, size, b"0")
    record = _path_record(name)
    return _block("", "pax", len(record), b"x") + _padded(record) + _block("", name[:100], size, b"0")


def padding(size: int) -> bytes:
    """What stands behind the contents."""
    return bytes(-size % _BLOCK)


def _split(name: str) -> tuple[str, str]:
    """(prefix, name) of a ustar header, ("", "") when the name is too long for one."""
    if len(name) <= 100:
        return "", name
    at = name.find("/", len(name) - 101)
    return (name[:at], name[at + 1 :]) if 0 < at <= 155 and at + 1 < len(name) else ("", "")


def _path_record(name: str) -> bytes:
    """A pax record begins with its own length."""
    length = len(name) + len(" path=\n")
    digits = len(str(length + len(str(length))))
    return f"{length + digits} path={name}\n".encode()


def _block(prefix: str, name: str, size: int, kind: bytes) -> bytes:
    fields = [
        name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % 0,
        b" " * 8, kind, bytes(100), b"ustar\x0000", bytes(32), bytes(32), b"0000000\0", b"0000000\0",
        prefix.encode().ljust(155, b"\0"), bytes(12),
    ]  # fmt: skip
    checksum = b"%06o\0 " % sum(b"".join(fields))
    return b"".join([*fields[:6], checksum, *fields[7:]])


def _padded(data: bytes) -> bytes:
    return data + padding(len(data))


class Writer:
    """Writes members one after the other into a binary file, which stays open after `close`."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._zstd = zstandard.ZstdCompressor(
            level=_LEVEL, threads=0, write_checksum=True, write_content_size=False
        ).compressobj()

    def member(self, name: str, size: int, content: Iterable[bytes]) -> None:
        """Write a file. Raises Corrupt when its content has another size."""
        self._write(header(name, size))
        written = 0
        for chunk in content:
            self._write(chunk)
            written += len(chunk)
        if written != size:
            raise errors.Corrupt(f"{name} has {written} bytes, not {size}: it was changed while it was read")
        self._write(padding(size))

    def close(self) -> None:
        """Write the end of the archive."""
        self._write(bytes(2 * _BLOCK))
        self._out.write(self._zstd.flush())

    def _write(self, data: bytes) -> None:
        self._out.write(self._zstd.compress(data))


class Reader:
    """Reads what Writer wrote, front to back, from a binary file that only has to have read().

    Memory: one piece's expansion, at most 16 MiB, and as much again while it is made. Every method raises Refused for
    anything that is not as expected.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        self._compressed = memoryview(b"")
        self._plain = memoryview(b"")

    def first(self, name: str, most: int) -> bytes:
        """The contents of the first member, whose name is known and whose size is at most `most`."""
        begin = self._exactly(_BLOCK)
        try:
            size = int(begin[124:135], 8)
            right = size <= most and header(name, size) == begin
        except ValueError:
            right = False
        if not right:
            raise errors.Refused(f"not a bundle: it does not begin with {name}")
        data = self._exactly(size)
        self._expect(padding(size))
        return data

    def has(self, name: str, size: int) -> bool:
        """Whether this member comes next; nothing is taken."""
        wanted = header(name, size)
        begin = self._exactly(len(wanted))
        self._plain = memoryview(begin + self._plain)
        return begin == wanted

    def member(self, name: str, size: int) -> Iterator[bytes]:
        """The contents of the next member, in chunks; the caller must take all of them."""
        self._expect(header(name, size), f"the bundle does not have {name} where its manifest says")
        rest = size
        while rest:
            chunk = self._some(rest)
            rest -= len(chunk)
            yield chunk
        self._expect(padding(size))

    def close(self) -> None:
        """Make sure that the archive, the frame and the file end here."""
        self._expect(bytes(2 * _BLOCK))
        while not self._zstd.eof:
            self._fill()
            if self._plain:
                break
        if self._plain or self._compressed or self._zstd.unused_data or self._file.read(1):
            raise errors.Refused("the bundle has something behind its end")

    def _expect(self, data: bytes, otherwise: str = "the bundle is no archive of ours") -> None:
        if data and self._exactly(len(data)) != data:
            raise errors.Refused(otherwise)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        """At least one byte, at most so many."""
        while not self._plain:
            self._fill()
        chunk = bytes(self._plain[: min(most, _READ)])
        self._plain = self._plain[len(chunk) :]
        return chunk

    def _fill(self) -> None:
        """Decompress one more piece, which may give nothing yet."""
        if self._zstd.eof:
            raise errors.Refused("the bundle ends where its manifest says that there is more")
        if not self._compressed:
            self._compressed = memoryview(self._file.read(_READ))
            if not self._compressed:
                raise errors.Refused(_EARLY, _AGAIN)
        piece, self._compressed = self._compressed[:_PIECE], self._compressed[_PIECE:]
        try:
            self._plain = memoryview(self._zstd.decompress(piece))
        except zstandard.ZstdError as err:
            raise errors.Refused(f"the bundle is damaged, or none: {err}", _AGAIN) from None
