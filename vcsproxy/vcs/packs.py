"""Reading the packs of a mirror: an object by its hash, and a blob's own deflate stream where the pack has it whole.

Index and pack are mapped, nothing is read ahead. Contents of delta bases are kept in a bounded cache, because
neighbours in a tree share them. It reads only what `ingest` has written and hashed, yet believes no size and no offset:
the disk may have failed since.

Source: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

OFS_DELTA, REF_DELTA = 6, 7
_TYPES = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_NAMES = 8 + 1024  # where the hashes begin in an index
_CACHE = 32 << 20
_CACHED = 4 << 20
_MAX_CHAIN = 4096
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


_Place = tuple[int, int]
"""Number of a pack, and an entry's offset in it."""


class Damaged(Exception):
    """A pack or its index is not what was written."""


class _Pack:
    """One pack with its index."""

    def __init__(self, stem: str, hash_size: int) -> None:
        self.stem = stem
        self._size = hash_size
        self._index = _mapped(stem + ".idx")
        self.data = _mapped(stem + ".pack")  # now: it may be joined with others, and removed, while we read
        if self._index[:8] != _MAGIC or len(self._index) < _NAMES + 2 * hash_size:
            raise Damaged(f"{os.path.basename(stem)}.idx is no index of version 2")
        self.count = _U32.unpack_from(self._index, _NAMES - 4)[0]
        if len(self._index) < _NAMES + self.count * (hash_size + 8) + 2 * hash_size:
            raise Damaged(f"{os.path.basename(stem)}.idx is cut")

    def close(self) -> None:
        self._index.close()
        self.data.close()

    def name(self, at: int) -> bytes:
        start = _NAMES + at * self._size
        return self._index[start : start + self._size]

    def first(self, start: bytes) -> int:
        """Position of the first hash that is not less than `start`."""
        low = _U32.unpack_from(self._index, 4 + 4 * start[0])[0] if start[0] else 0
        high = min(_U32.unpack_from(self._index, 8 + 4 * start[0])[0], self.count)
        while low < high:
            middle = (low + high) // 2
            if self.name(middle) < start:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, name: bytes) -> int:
        """Offset of an object in the pack, -1 if it is not here."""
        at = self.first(name)
        if at >= self.count or self.name(at) != name:
            return -1
        table = _NAMES + self.count * (self._size + 4)
        offset: int = _U32.unpack_from(self._index, table + 4 * at)[0]
        return self._large(table + 4 * self.count + 8 * (offset & 0x7FFFFFFF)) if offset >> 31 else offset

    def _large(self, at: int) -> int:
        if at + 8 > len(self._index):
            raise Damaged("an offset is not in its index")
        offset: int = _U64.unpack_from(self._index, at)[0]
        return offset


def _mapped(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as err:
            raise Damaged(f"{os.path.basename(path)} is empty") from err


class Packs:
    """All packs in a directory, the newest first; none if it is not there. `close` it."""

    def __init__(self, directory: str, hash_size: int) -> None:
        self.hash_size = hash_size
        self._new = hashlib.sha1 if hash_size == 20 else hashlib.sha256  # Git's own hash
        self._packs = _opened(directory, hash_size)
        self._cache: OrderedDict[_Place, tuple[int, bytes]] = OrderedDict()
        self._cached = 0

    def close(self) -> None:
        for pack in self._packs:
            pack.close()
        self._cache.clear()

    def __contains__(self, oid: str) -> bool:
        return self._find(bytes.fromhex(oid)) is not None

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Hashes that start with the hex digits of `prefix`, two at least."""
        start = bytes.fromhex(prefix[: len(prefix) & ~1])
        for pack in self._packs:
            at = pack.first(start.ljust(self.hash_size, b"\0"))
            while at < pack.count and (name := pack.name(at).hex()).startswith(start.hex()):
                if name.startswith(prefix):
                    yield name
                at += 1

    def read(self, oid: str) -> tuple[int, bytes] | None:
        """(type number, content), None if it is not here. Raises Damaged."""
        found = self._find(bytes.fromhex(oid))
        return None if found is None else self._checked(oid, *self._content(*found))

    def whole(self, oid: str) -> tuple[int, bytes, bytes] | None:
        """As `read`, with the raw deflate stream that gives the content, empty where the pack has a delta."""
        found = self._find(bytes.fromhex(oid))
        if found is None:
            return None
        number, offset = found
        kind, size, at = self._header(number, offset)
        if kind in (OFS_DELTA, REF_DELTA):
            return *self._checked(oid, *self._content(number, offset)), b""
        content, stream = _inflate(self._packs[number].data, at, size)
        # Two bytes of header and four of checksum make a zlib stream of a raw one, unless it needs a dictionary.
        raw = b"" if stream[1] & 0x20 else stream[2:-4]
        return *self._checked(oid, kind, content), raw

    def _checked(self, oid: str, kind: int, content: bytes) -> tuple[int, bytes]:
        """An object, if it has this hash: an index that is damaged leads to another one."""
        digest = self._new(b"%s %d\0" % (_TYPES.get(kind, b""), len(content)))
        digest.update(content)
        if digest.hexdigest() != oid:
            raise Damaged(f"object {oid} is not what its hash says")
        return kind, content

    def _find(self, name: bytes) -> tuple[int, int] | None:
        if len(name) != self.hash_size:
            return None
        for number, pack in enumerate(self._packs):
            offset = pack.find(name)
            if offset >= 0:
                return number, offset
        return None

    def _header(self, number: int, offset: int) -> tuple[int, int, int]:
        """(type, size, position of what follows) of an entry."""
        data = self._packs[number].data
        try:
            byte = data[offset]
            kind, size, shift, at = byte >> 4 & 7, byte & 15, 4, offset + 1
            while byte & 0x80:
                byte = data[at]
                size |= (byte & 0x7F) << shift
                shift += 7
                at += 1
        except IndexError as err:
            raise Damaged("an offset lies outside its pack") from err
        if shift > 67:
            raise Damaged("an object's size makes no sense")
        return kind, size, at

    def _content(self, number: int, offset: int) -> tuple[int, bytes]:
        """(type, content) of an object: down the chain of deltas to a whole one, and up again."""
        chain: list[tuple[_Place, bytes]] = []
        place = (number, offset)
        while (known := self._cache.get(place)) is None:
            kind, size, at = self._header(*place)
            base, at = self._base(place, kind, at)
            data, _ = _inflate(self._packs[place[0]].data, at, size)
            if base is None:
                known = kind, data
                self._keep(place, known)
                break
            chain.append((place, data))
            if len(chain) > _MAX_CHAIN:
                raise Damaged("a chain of deltas has no end")
            place = base
        kind, content = known
        for above, delta in reversed(chain):
            content = _applied(content, delta)
            self._keep(above, (kind, content))
        return kind, content

    def _base(self, place: _Place, kind: int, at: int) -> tuple[_Place | None, int]:
        """(where the base of an entry is, where its own data begins); None for an entry that is whole."""
        if kind == OFS_DELTA:
            back, at = self._back(place[0], at)
            if not 12 <= place[1] - back < place[1]:
                raise Damaged("a delta has no base")
            return (place[0], place[1] - back), at
        if kind == REF_DELTA:
            base = self._find(self._packs[place[0]].data[at : at + self.hash_size])
            if base is None:
                raise Damaged("a delta has no base")
            return base, at + self.hash_size
        return None, at

    def _back(self, number: int, at: int) -> tuple[int, int]:
        """(distance to the base, position of the delta) of an offset delta."""
        data = self._packs[number].data[at : at + 10]
        back = -1
        for used, byte in enumerate(data, 1):
            back = (back + 1) << 7 | byte & 0x7F
            if not byte & 0x80:
                return back, at + used
        raise Damaged("the distance to a delta's base makes no sense")

    def _keep(self, place: _Place, found: tuple[int, bytes]) -> None:
        if len(found[1]) > _CACHED:
            return
        self._cache[place] = found
        self._cached += len(found[1])
        while self._cached > _CACHE:
            self._cached -= len(self._cache.popitem(last=False)[1][1])


def _opened(directory: str, hash_size: int) -> list[_Pack]:
    """All packs; looked for once more if some were joined, and removed, at this very moment."""
    try:
        return [_Pack(stem, hash_size) for stem in stems_of(directory)]
    except FileNotFoundError:
        return [_Pack(stem, hash_size) for stem in stems_of(directory)]


def _applied(base: bytes, delta: bytes) -> bytes:
    try:
        made: list[bytes] = apply_delta(base, delta)
    except (ApplyDeltaError, ValueError, IndexError) as err:
        raise Damaged("a delta does not fit its base") from err
    return b"".join(made)


def stems_of(directory: str) -> list[str]:
    """Packs with an index, the newest first."""
    try:
        with os.scandir(directory) as entries:
            found = [
                (e.stat().st_mtime_ns, e.path[:-4])
                for e in entries
                if e.name.startswith("pack-") and e.name.endswith(".idx")
            ]
    except FileNotFoundError:
        return []
    return [stem for _, stem in sorted(found, reverse=True)]


def _inflate(data: mmap.mmap, at: int, size: int) -> tuple[bytes, bytes]:
    """(content, zlib stream) of `size` bytes at a position."""
    inflate = zlib.decompressobj()
    window = size + (size >> 10) + 64
    pieces: list[bytes] = []
    stream, room = b"", size + 1
    try:
        while not inflate.eof:
            piece = data[at + len(stream) : at + len(stream) + window]
            got = inflate.decompress(piece, room)
            used = len(piece) - len(inflate.unused_data) - len(inflate.unconsumed_tail)
            stream += piece[:used]
            room -= len(got)
            pieces.append(got)
            if room <= 0 or not (used or got):
                break
    except zlib.error as err:
        raise Damaged("an object cannot be inflated") from err
    if not inflate.eof or room != 1:
        raise Damaged("an object has another size than it says")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), stream
