"""The bytes of a module zip, in the layout of Go's archive/zip, with its hash from the same pass.

It writes what it is given and knows no rules about files: those are `modzip`'s.

Source: Go's archive/zip (Writer); golang.org/x/mod/zip (Create); APPNOTE 6.3.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from vcsproxy.errors import NotFound
from vcsproxy.mod import dirhash, module

_LOCAL = struct.Struct("<I5H3I2H")
_DESCRIPTOR = struct.Struct("<4I")
_CENTRAL = struct.Struct("<I6H3I5H2I")
_END64 = struct.Struct("<IQ2H2I4Q")
_LOCATOR64 = struct.Struct("<IIQI")
_END = struct.Struct("<I4H2IH")
_MAX_16 = (1 << 16) - 1
_MAX_32 = (1 << 32) - 1
_VERSION_20 = 20
_VERSION_45 = 45
_DEFLATE = 8
_HAS_DESCRIPTOR = 0x8
_IS_UTF8 = 0x800
# Code pages of East Asia have other characters for backslash and tilde.
_NOT_IN_EVERY_CODE_PAGE = re.compile(r"[^\x20-\x5b\x5d-\x7d]")
_LEVEL = 6
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Written:
    name: bytes
    flags: int
    crc: int
    compressed: int
    size: int
    offset: int
    sha256: str


class ZipWriter:
    """Writes one module zip front to back into a binary file that only has to have write().

    The same calls give the same bytes with the same zlib; hashes depend on names and contents alone. Entries are
    deflated, bear no time, and are followed by a data descriptor. The file stays open after close().
    """

    def __init__(self, out: BinaryIO, module_path: str, version: str) -> None:
        self._out = out
        self._prefix = f"{module_path}@{version}/"
        self._offset = 0
        self._entries: list[_Written] = []
        self._closed = False

    def add(self, path: str, content: bytes | Iterable[bytes]) -> None:
        """Write a file, whole or in chunks. Raises NotFound for a name that no zip can hold."""
        digest, crc, size, compressed = sha256(), 0, 0, 0
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        name, flags, offset = self._begin(path)
        for chunk in _pieces(content) if isinstance(content, bytes) else content:
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
            compressed += self._write(deflate.compress(chunk))
        compressed += self._write(deflate.flush())
        self._end(_Written(name, flags, crc, compressed, size, offset, digest.hexdigest()))

    def add_whole(self, path: str, content: bytes, deflated: bytes) -> None:
        """Write a file with the raw deflate stream that gave `content`, which the caller has seen."""
        name, flags, offset = self._begin(path)
        self._write(deflated)
        digest = sha256(content).hexdigest()
        self._end(_Written(name, flags, zlib.crc32(content), len(deflated), len(content), offset, digest))

    def close(self) -> str:
        """Write the directory of the zip; the h1 of what was added."""
        self._closed = True
        start = self._offset
        for entry in self._entries:
            self._write(_central_header(entry))
        self._write(_end_records(len(self._entries), self._offset - start, start))
        return dirhash.hash1((entry.name.decode("utf-8", "surrogateescape"), entry.sha256) for entry in self._entries)

    def _begin(self, path: str) -> tuple[bytes, int, int]:
        """Write a local header; (name, flags, offset)."""
        if self._closed:
            raise ValueError("the zip is closed")
        text = self._prefix + path
        name = text.encode("utf-8", "surrogateescape")
        if len(name) > _MAX_16:
            raise NotFound("create zip: zip: FileHeader.Name too long")
        unusual = _NOT_IN_EVERY_CODE_PAGE.search(text) is not None and module.is_utf8(text)
        flags = _HAS_DESCRIPTOR | (_IS_UTF8 if unusual else 0)
        offset = self._offset
        header = _LOCAL.pack(0x04034B50, _VERSION_20, flags, _DEFLATE, 0, 0, 0, 0, 0, len(name), 0)
        self._write(header + name)
        return name, flags, offset

    def _end(self, entry: _Written) -> None:
        if max(entry.size, self._offset) >= _MAX_32:
            raise ValueError("the zip is larger than any module may be")
        self._write(_DESCRIPTOR.pack(0x08074B50, entry.crc, entry.compressed, entry.size))
        self._entries.append(entry)

    def _write(self, data: bytes) -> int:
        self._out.write(data)
        self._offset += len(data)
        return len(data)


def _pieces(content: bytes) -> Iterator[memoryview]:
    view = memoryview(content)
    return (view[at : at + _CHUNK] for at in range(0, len(view), _CHUNK))


def _central_header(entry: _Written) -> bytes:
    sizes = (entry.crc, entry.compressed, entry.size)
    versions = (_VERSION_20, _VERSION_20)
    lengths = (len(entry.name), 0, 0)
    attributes = (0, 0, 0)  # disk, internal, external
    fixed = (entry.flags, _DEFLATE, 0, 0)  # no time, no date
    return _CENTRAL.pack(0x02014B50, *versions, *fixed, *sizes, *lengths, *attributes, entry.offset) + entry.name


def _end_records(count: int, size: int, start: int) -> bytes:
    """The end of the zip; with more than 65534 entries the 64-bit records stand before it."""
    wide = b""
    if count >= _MAX_16 or size >= _MAX_32 or start >= _MAX_32:
        versions = (_VERSION_45, _VERSION_45)
        wide = _END64.pack(0x06064B50, _END64.size - 12, *versions, 0, 0, count, count, size, start)
        wide += _LOCATOR64.pack(0x07064B50, 0, start + size, 1)
    short = min(count, _MAX_16)
    return wide + _END.pack(0x06054B50, 0, 0, short, short, min(size, _MAX_32), min(start, _MAX_32), 0)
