"""Many packs made one: what is in them is copied as it is, and their indexes are merged.

Nothing is inflated. Offset deltas point back by a distance, which stays what it was; an object that several packs have
is there as often, and any of its copies may be read. Every pack is checked against its checksum on the way.

Source: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dulwich.pack import write_pack_index_v2

from vcsproxy.vcs.packs import Damaged

_HEAD = 12
_TABLES = 8 + 1024  # where the hashes begin in an index
_CHUNK = 1 << 20
_MAX_SIZE = 256 << 20
_MAX_OBJECTS = 500_000

Entry = tuple[bytes, int, int]
"""Hash, offset and CRC-32 of an object in a pack."""


def small(stems: Sequence[str], hash_size: int) -> list[str]:
    """Those of the packs that are worth joining: the smallest, as many as make a pack of bearable size."""
    chosen, size, objects = [], 0, 0
    for stem in sorted(stems, key=lambda each: os.stat(each + ".pack").st_size):
        size += os.stat(stem + ".pack").st_size
        objects += os.stat(stem + ".idx").st_size // (hash_size + 8)
        if size > _MAX_SIZE or objects > _MAX_OBJECTS:
            break
        chosen.append(stem)
    return chosen


def join(stems: Sequence[str], hash_name: str, pack: BinaryIO, index: BinaryIO) -> tuple[str, int]:
    """Write one pack of several, and its index; its checksum and number of objects. Raises Damaged."""
    tables = [_entries(stem, hashlib.new(hash_name).digest_size) for stem in stems]
    count = sum(map(len, tables))
    digest = hashlib.new(hash_name)

    def write(data: bytes) -> None:
        digest.update(data)
        pack.write(data)

    write(b"PACK" + struct.pack(">II", 2, count))
    merged: list[Entry] = []
    for stem, entries in zip(stems, tables, strict=True):
        shift = pack.tell() - _HEAD
        merged += [(name, offset + shift, crc) for name, offset, crc in entries]
        for piece in _body(stem, hash_name):
            write(piece)
    pack.write(digest.digest())
    write_pack_index_v2(index, sorted(merged), digest.digest())
    return digest.hexdigest(), count


def _body(stem: str, hash_name: str) -> Iterator[bytes]:
    """A pack without head and trailer."""
    digest = hashlib.new(hash_name)
    with open(stem + ".pack", "rb") as file:
        digest.update(file.read(_HEAD))
        left = os.fstat(file.fileno()).st_size - _HEAD - digest.digest_size
        while left > 0 and (piece := file.read(min(_CHUNK, left))):
            digest.update(piece)
            left -= len(piece)
            yield piece
        if file.read() != digest.digest():
            raise Damaged(f"{os.path.basename(stem)}.pack is not what its checksum says")


def _entries(stem: str, hash_size: int) -> list[Entry]:
    """What an index says, after a look at its checksum."""
    with open(stem + ".idx", "rb") as file:
        data = file.read()
    digest = hashlib.new("sha1" if hash_size == 20 else "sha256", data[:-hash_size]).digest()
    if len(data) < _TABLES + 2 * hash_size or data[-hash_size:] != digest:
        raise Damaged(f"{os.path.basename(stem)}.idx is not what its checksum says")
    (count,) = struct.unpack_from(">I", data, _TABLES - 4)
    crcs = _TABLES + count * hash_size
    names = (data[at : at + hash_size] for at in range(_TABLES, crcs, hash_size))
    numbers = struct.unpack_from(f">{2 * count}I", data, crcs)
    large = crcs + 8 * count
    offsets = (_offset(data, large, offset) for offset in numbers[count:])
    return list(zip(names, offsets, numbers[:count], strict=True))


def _offset(data: bytes, large: int, offset: int) -> int:
    if not offset >> 31:
        return offset
    found: int = struct.unpack_from(">Q", data, large + 8 * (offset & 0x7FFFFFFF))[0]
    return found
