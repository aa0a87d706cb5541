"""A foreign zip, read so strictly that no two readers can see different files in it.

A zip says everything twice: in front of each file and in the directory at its end. Readers that believe one or the
other, or that search for what is not where it should be, see different files. Here the records must fill the file from
its first byte to its last, in one order, without a gap, and both places must say the same.

What is refused although some reader would take it: comments, encryption, methods but store and deflate, entries with
64-bit sizes (nothing in a module is that large), extra fields that give a second name or size, records on other disks.
Names and contents are looked at by `zipaudit`. Memory holds the directory, which MAX_ENTRIES and MAX_NAMES bound.

Source: APPNOTE 6.3; Go's archive/zip (Reader), which must never refuse what passes here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from vcsproxy.errors import Refused
from vcsproxy.mod import gotext

MAX_ENTRIES = 250_000
"""Files in one zip. The largest public modules have some ten thousands."""
MAX_NAMES = 64 << 20
"""Bytes of all names together."""

_LOCAL = struct.Struct("<I5H3I2H")
_CENTRAL = struct.Struct("<I6H3I5H2I")
_END = struct.Struct("<I4H2IH")
_END64 = struct.Struct("<IQ2H2I4Q")
_LOCATOR64 = struct.Struct("<IIQI")
_LOCAL_MARK, _CENTRAL_MARK, _DESCRIPTOR_MARK = 0x04034B50, 0x02014B50, 0x08074B50
_END_MARK, _END64_MARK, _LOCATOR64_MARK = 0x06054B50, 0x06064B50, 0x07064B50
_MAX_16: Final = (1 << 16) - 1
_MAX_32: Final = (1 << 32) - 1

_HAS_DESCRIPTOR, _IS_UTF8 = 0x8, 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_KNOWN_FLAGS = _HAS_DESCRIPTOR | _IS_UTF8 | 0x6  # and how hard the writer tried
_STORE, _DEFLATE = 0, 8
_DIRECTORY_BITS = 0x10 | 0x8  # of MS-DOS: a directory, a volume's label
_FILE_TYPE, _REGULAR = 0o170000, 0o100000
_TWICE_SAID = {
    0x0001: "64-bit sizes",
    0x0017: "encryption",
    0x6375: "a second comment",
    0x7075: "a second name",
    0x9901: "encryption",
}

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Record:
    """One file of the zip. name: as in both places. crc, compressed, size: as declared. data: where its bytes begin."""

    name: bytes
    method: int
    crc: int
    compressed: int
    size: int
    data: int


@dataclass(frozen=True, slots=True)
class _Central:
    """What the directory says of a file; `offset` is that of its local header."""

    name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


def read_records(file: BinaryIO, size: int) -> list[Record]:
    """The files of an open zip of `size` bytes, in their order; `file` can seek. Raises Refused for any oddity."""
    count, start, end = _read_end(file, size)
    central = _read_directory(file, count, start, end)
    records, at = [], 0
    for number, entry in enumerate(central):
        if entry.offset != at:
            raise Refused(f"zip: a gap or an overlap before {_shown(entry.name)}")
        following = central[number + 1].offset if number + 1 < count else start
        data = _check_local(file, entry)
        at = _check_descriptor(file, entry, data + entry.compressed, following)
        records.append(Record(entry.name, entry.method, entry.crc, entry.compressed, entry.size, data))
    if at != start:
        raise Refused("zip: a gap before the directory")
    return records


def read_contents(file: BinaryIO, record: Record) -> Iterator[bytes]:
    """A file's bytes in chunks, never more than declared. Raises Refused when size, CRC or compression is a lie."""
    crc, size = 0, 0
    for chunk in _stored(file, record) if record.method == _STORE else _inflated(file, record):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        if size > record.size:
            raise Refused(f"zip: {_shown(record.name)} is larger than declared ({record.size} bytes)")
        yield chunk
    if size != record.size:
        raise Refused(f"zip: {_shown(record.name)} has {size} bytes, not {record.size} as declared")
    if crc != record.crc:
        raise Refused(f"zip: {_shown(record.name)}: checksum error")


# --- the end ---


def _read_end(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """(number of files, where the directory starts, where it ends)."""
    at = size - _END.size
    if at < 0:
        raise Refused("zip: not a valid zip file")
    mark, disk, first_disk, here, count, length, start, comment = _END.unpack(_read_at(file, at, _END.size))
    if mark != _END_MARK or comment:
        raise Refused("zip: not a valid zip file, or something behind its end")
    if disk or first_disk or here != count:
        raise Refused("zip: spread over several disks")
    if count == _MAX_16 or _MAX_32 in (length, start):
        at, count, start = _read_end64(file, at, (count, length, start))
    elif start + length != at:
        raise Refused("zip: the directory does not end where the end record begins")
    if count > MAX_ENTRIES:
        raise Refused(f"zip: {count} files, more than {MAX_ENTRIES}")
    return count, start, at


def _read_end64(file: BinaryIO, end: int, short: tuple[int, int, int]) -> tuple[int, int, int]:
    """(where the directory ends, number of files, where it starts) of the 64-bit records before `end`."""
    at = end - _LOCATOR64.size - _END64.size
    if at < 0:
        raise Refused("zip: no 64-bit end record")
    data = _read_at(file, at, _END64.size + _LOCATOR64.size)
    mark, length, *_, disk, first_disk, here, count, size, start = _END64.unpack_from(data)
    locator = _LOCATOR64.unpack_from(data, _END64.size)
    if (mark, length) != (_END64_MARK, _END64.size - 12) or locator != (_LOCATOR64_MARK, 0, at, 1):
        raise Refused("zip: malformed 64-bit end records")
    if disk or first_disk or here != count or start + size != at:
        raise Refused("zip: the 64-bit end record does not fit the file")
    wide = (count, size, start)
    if any(low not in (value, most) for low, value, most in zip(short, wide, (_MAX_16, _MAX_32, _MAX_32), strict=True)):
        raise Refused("zip: its two end records differ")
    if count < _MAX_16 and size < _MAX_32 and start < _MAX_32:
        raise Refused("zip: 64-bit end records that nothing needs")
    return at, count, start


# --- the directory ---


def _read_directory(file: BinaryIO, count: int, start: int, end: int) -> list[_Central]:
    entries, names = [], 0
    at = start
    for _ in range(count):
        if at + _CENTRAL.size > end:
            raise Refused("zip: the directory ends too early")
        fields = _CENTRAL.unpack(_read_at(file, at, _CENTRAL.size))
        at += _CENTRAL.size + sum(fields[10:13])
        if at > end:
            raise Refused("zip: the directory ends too early")
        entries.append(_central(fields, file.read(fields[10]), file.read(fields[11])))
        names += fields[10]
        if names > MAX_NAMES:
            raise Refused(f"zip: its names have more than {MAX_NAMES} bytes")
    if at != end:
        raise Refused("zip: the directory holds more than its entries")
    return entries


def _central(fields: tuple[int, ...], name: bytes, extra: bytes) -> _Central:
    mark, _, _, flags, method, _, _, crc, compressed, size, _, _, comment, disk, _, attributes, offset = fields
    if mark != _CENTRAL_MARK:
        raise Refused("zip: no entry where the directory should have one")
    if comment or disk:
        raise Refused(f"zip: {_shown(name)} has a comment, or is on another disk")
    if _MAX_32 in (compressed, size, offset):
        raise Refused(f"zip: {_shown(name)} has 64-bit sizes")
    _check_kind(name, flags, method, attributes)
    _check_extra(name, extra)
    if method == _STORE and compressed != size:
        raise Refused(f"zip: {_shown(name)} is stored with two different sizes")
    return _Central(name, flags, method, crc, compressed, size, offset)


def _check_kind(name: bytes, flags: int, method: int, attributes: int) -> None:
    if flags & _ENCRYPTED:
        raise Refused(f"zip: {_shown(name)} is encrypted")
    if flags & ~_KNOWN_FLAGS:
        raise Refused(f"zip: {_shown(name)} has unknown flags {flags:#06x}")
    if method not in (_STORE, _DEFLATE):
        raise Refused(f"zip: {_shown(name)} has compression method {method}, neither store nor deflate")
    if not name.isascii() and not flags & _IS_UTF8:
        raise Refused(f"zip: {_shown(name)} does not say that its name is UTF-8")
    if name.endswith(b"/") or attributes & _DIRECTORY_BITS or (attributes >> 16) & _FILE_TYPE not in (0, _REGULAR):
        raise Refused(f"zip: {_shown(name)} is a directory, a link or another thing that is no file")


def _check_extra(name: bytes, extra: bytes) -> None:
    """Times and owners may be there and are nobody's concern; a second name or size is."""
    at = 0
    while at < len(extra):
        if at + 4 > len(extra):
            raise Refused(f"zip: {_shown(name)} has a malformed extra field")
        tag, length = struct.unpack_from("<HH", extra, at)
        at += 4 + length
        if at > len(extra):
            raise Refused(f"zip: {_shown(name)} has a malformed extra field")
        if tag in _TWICE_SAID:
            raise Refused(f"zip: {_shown(name)} has {_TWICE_SAID[tag]} in an extra field")


# --- the files ---


def _check_local(file: BinaryIO, entry: _Central) -> int:
    """Compare the header in front of a file with the directory; where its bytes begin."""
    length: int
    extra: int
    mark, _, flags, method, _, _, *sums, length, extra = _LOCAL.unpack(_read_at(file, entry.offset, _LOCAL.size))
    if mark != _LOCAL_MARK:
        raise Refused(f"zip: no header in front of {_shown(entry.name)}")
    name = file.read(length)
    if (name, flags, method) != (entry.name, entry.flags, entry.method):
        raise Refused(f"zip: the header in front of {_shown(entry.name)} differs from the directory")
    declared = [entry.crc, entry.compressed, entry.size]
    if sums != declared and not (flags & _HAS_DESCRIPTOR and sums == [0, 0, 0]):
        raise Refused(f"zip: the sizes in front of {_shown(entry.name)} differ from the directory")
    _check_extra(name, file.read(extra))
    return entry.offset + _LOCAL.size + length + extra


def _check_descriptor(file: BinaryIO, entry: _Central, at: int, following: int) -> int:
    """Compare what stands behind a file's bytes, if it should; where the next file begins.

    The mark of a descriptor is optional. Without it a CRC that looks like the mark would make two readings.
    """
    if not entry.flags & _HAS_DESCRIPTOR:
        return at
    sums = struct.pack("<3I", entry.crc, entry.compressed, entry.size)
    marked = struct.pack("<I", _DESCRIPTOR_MARK) + sums
    found = _read_at(file, at, following - at) if len(sums) <= following - at <= len(marked) else b""
    if found != marked and (found != sums or entry.crc == _DESCRIPTOR_MARK):
        raise Refused(f"zip: what stands behind {_shown(entry.name)} is no descriptor of it")
    return following


def _stored(file: BinaryIO, record: Record) -> Iterator[bytes]:
    file.seek(record.data)
    rest = record.compressed
    while rest:
        chunk = _read(file, min(rest, _CHUNK))
        rest -= len(chunk)
        yield chunk


def _inflated(file: BinaryIO, record: Record) -> Iterator[bytes]:
    """The deflate stream must end with its last compressed byte, and every chunk is bounded whatever it expands to."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in _stored(file, record):
            ended = inflate.eof
            if not ended:
                yield from _inflated_piece(inflate, piece)
            if ended or inflate.unused_data:
                raise Refused(f"zip: something behind the compressed bytes of {_shown(record.name)}")
    except zlib.error as err:
        raise Refused(f"zip: {_shown(record.name)} cannot be decompressed: {err}") from None
    if not inflate.eof:
        raise Refused(f"zip: the compressed bytes of {_shown(record.name)} end too early")


def _inflated_piece(inflate: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """A full chunk means that there may be more, even when all of the piece has gone in."""
    chunk = inflate.decompress(piece, _CHUNK)
    while chunk:
        yield chunk
        if inflate.eof:
            return
        chunk = inflate.decompress(inflate.unconsumed_tail, _CHUNK)


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return _read(file, length)


def _read(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise Refused("zip: unexpected end of file")
    return data


def _shown(name: bytes) -> str:
    return gotext.quote(gotext.decode(name[:200]))
