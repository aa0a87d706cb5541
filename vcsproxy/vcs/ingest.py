"""A pack from the wire to a pack and its index on disk, in one pass: objects are inflated and hashed as they arrive.

Bytes go to the file as they come. An offset delta's base lies before it, so it is resolved at once, from a bounded
cache of recent objects or by reading the file again. Only deltas against objects named by hash may have to wait: for an
object further on, or, in a thin pack, for one that is here already and is then appended: the pack stands alone.

It bounds what a pack can cost: number of objects, size of each, length of delta chains. Names and links of objects are
not checked here; whoever reads a tree or commit does that.

Source: gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta, write_pack_index_v2

from vcsproxy import errors
from vcsproxy.build.job import Limits

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_CACHE = 64 << 20  # bytes of recent contents
_CACHED = 8 << 20  # bytes of the largest that is kept there
_MAX_CHAIN = 4096
_CHUNK = 1 << 16

Base = Callable[[bytes], tuple[int, bytes] | None]
"""(type, content) of an object that is here already, by its binary hash; None if it is not."""


def _broken(why: str) -> errors.HostUnreachable:
    return errors.HostUnreachable(f"the Git host sent a damaged pack: {why}", "try again")


class NoBase(errors.HostUnreachable):
    """A delta's base is neither in the pack nor here; a host may be right to think that it is here."""


class _Stream:
    """The arriving bytes: written to the file, hashed, and handed out piece by piece."""

    def __init__(self, pieces: Iterator[bytes], out: BinaryIO, digest: hashlib._Hash, tail: int) -> None:
        self._pieces, self._out, self._digest, self._tail = pieces, out, digest, tail
        self._held = b""  # the end of what has arrived, which may be the trailer and is not hashed yet
        self.chunk = b""
        self.at = 0
        self._start = 0  # position in the pack of chunk[0]
        self._crc = 0
        self._mark = 0

    @property
    def offset(self) -> int:
        """Position in the pack of the next byte."""
        return self._start + self.at

    def more(self) -> bool:
        """Go on to the next piece; False at the end."""
        self._crc = zlib.crc32(memoryview(self.chunk)[self._mark :], self._crc)
        self._start += len(self.chunk)
        self.chunk = next(self._pieces, b"")
        self.at = self._mark = 0
        self._out.write(self.chunk)
        pending = self._held + self.chunk
        self._digest.update(pending[: -self._tail])
        self._held = pending[-self._tail :]
        return bool(self.chunk)

    def byte(self) -> int:
        while self.at >= len(self.chunk):
            if not self.more():
                raise _broken("it ends too early")
        value = self.chunk[self.at]
        self.at += 1
        return value

    def take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            if self.at >= len(self.chunk) and not self.more():
                raise _broken("it ends too early")
            piece = self.chunk[self.at : self.at + size - len(data)]
            self.at += len(piece)
            data += piece
        return bytes(data)

    def begin_entry(self) -> None:
        self._crc, self._mark = 0, self.at

    def end_entry(self) -> int:
        """CRC-32 of the entry's bytes as they are in the pack."""
        return zlib.crc32(memoryview(self.chunk)[self._mark : self.at], self._crc)

    def inflate(self, size: int) -> Iterator[bytes]:
        """The contents of the next zlib stream, which must be `size` bytes long."""
        inflate, room = zlib.decompressobj(), size
        window = min(max(size + 64, 256), _CHUNK)
        while not inflate.eof:
            if self.at >= len(self.chunk) and not self.more():
                raise _broken("it ends too early")
            piece = self.chunk[self.at : self.at + window]
            try:
                data = inflate.decompress(piece, room + 1)
            except zlib.error as err:
                raise _broken("an object cannot be inflated") from err
            self.at += len(piece) - len(inflate.unused_data) - len(inflate.unconsumed_tail)
            room -= len(data)
            if room < 0:
                raise _broken("an object is longer than it says")
            if data:
                yield data
        if room:
            raise _broken("an object is shorter than it says")


@dataclass(slots=True)
class _Object:
    """One entry of the pack. `data`: where its zlib stream starts. `base`: of a delta, in this pack or by hash."""

    offset: int
    data: int
    size: int
    crc: int
    base: _Object | bytes | None = None
    kind: int = 0
    oid: bytes = b""
    depth: int = 0


class Ingest:
    """Reads one pack. `out` is a new file, open for reading and writing; it stays open and is not synced."""

    def __init__(self, out: BinaryIO, hash_name: str, limits: Limits, base: Base) -> None:
        self._out = out
        self._new: Callable[..., hashlib._Hash] = getattr(hashlib, hash_name)
        self._size = self._new().digest_size
        self._limits = limits
        self._base = base
        self._objects: list[_Object] = []
        self._by_offset: dict[int, _Object] = {}
        self._by_oid: dict[bytes, _Object] = {}
        self._waiting: list[tuple[_Object, bytes]] = []  # deltas whose base is not known yet
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._outside: set[bytes] = set()  # bases of deltas that are not in this pack

    def read(self, pieces: Iterator[bytes]) -> bytes:
        """Take the whole pack; its checksum. Raises HostUnreachable when it is damaged, Refused beyond a limit."""
        digest = self._new()
        stream = _Stream(pieces, self._out, digest, self._size)
        count = self._header(stream)
        for _ in range(count):
            self._entry(stream)
        trailer = stream.take(self._size)
        if stream.at < len(stream.chunk) or stream.more():
            raise _broken("something follows its end")
        if trailer != digest.digest():
            raise _broken("its checksum is wrong")
        return self._complete(trailer)

    def write_index(self, out: BinaryIO, checksum: bytes) -> None:
        """Write the index of what was read, version 2."""
        write_pack_index_v2(out, sorted((o.oid, o.offset, o.crc) for o in self._objects), checksum)

    def __len__(self) -> int:
        return len(self._objects)

    def _header(self, stream: _Stream) -> int:
        head = stream.take(12)
        if head[:4] != b"PACK" or int.from_bytes(head[4:8], "big") not in (2, 3):
            raise _broken("it is no pack")
        count = int.from_bytes(head[8:], "big")
        if count > self._limits.objects:
            raise errors.Refused(f"the pack has more than {self._limits.objects} objects")
        return count

    # ---- one object

    def _entry(self, stream: _Stream) -> None:
        stream.begin_entry()
        offset = stream.offset
        byte = stream.byte()
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80:
            byte = stream.byte()
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise _broken("an object's size makes no sense")
        if size > self._limits.object:
            raise errors.Refused(f"an object is larger than {self._limits.object} bytes")
        if kind in NAMES:
            self._plain(stream, offset, kind, size)
        elif kind == OFS_DELTA:
            self._offset_delta(stream, offset, size)
        elif kind == REF_DELTA:
            self._delta(stream, offset, size, stream.take(self._size))
        else:
            raise _broken("an object has no known type")

    def _plain(self, stream: _Stream, offset: int, kind: int, size: int) -> None:
        digest = self._new(b"%s %d\0" % (NAMES[kind], size))
        kept: list[bytes] | None = [] if size <= _CACHED else None
        start = stream.offset
        for data in stream.inflate(size):
            digest.update(data)
            if kept is not None:
                kept.append(data)
        entry = _Object(offset, start, size, stream.end_entry())
        self._found(entry, kind, digest.digest())
        if kept is not None:
            self._keep(offset, b"".join(kept))

    def _offset_delta(self, stream: _Stream, offset: int, size: int) -> None:
        byte = stream.byte()
        back = byte & 0x7F
        while byte & 0x80:
            byte = stream.byte()
            back = (back + 1) << 7 | byte & 0x7F
            if back > offset:
                break
        base = self._by_offset.get(offset - back)
        if base is None:
            raise _broken("a delta has no base")
        self._delta(stream, offset, size, base)

    def _delta(self, stream: _Stream, offset: int, size: int, base: _Object | bytes) -> None:
        start = stream.offset
        delta = b"".join(stream.inflate(size))
        entry = _Object(offset, start, size, stream.end_entry(), base)
        self._by_offset[offset] = entry
        if not self._resolve(entry, delta):
            self._waiting.append((entry, delta))

    def _resolve(self, entry: _Object, delta: bytes) -> bool:
        """Make the object of a delta, if its base is known."""
        found = self._base_of(entry)
        if found is None:
            return False
        kind, base, depth = found
        if depth >= _MAX_CHAIN:
            raise errors.Refused(f"a delta chain is longer than {_MAX_CHAIN}")
        entry.depth = depth + 1
        content = self._apply(base, delta)
        self._found(entry, kind, self._new(b"%s %d\0" % (NAMES[kind], len(content)) + content).digest())
        self._keep(entry.offset, content)
        return True

    def _base_of(self, entry: _Object) -> tuple[int, bytes, int] | None:
        """(type, content, depth) of what a delta is against; None if that is not known yet."""
        base = entry.base
        if isinstance(base, bytes):
            inside = self._by_oid.get(base)
            if inside is None:
                outside = self._base(base)
                if outside is None:
                    return None
                self._outside.add(base)
                return *outside, 0
            base = inside
        assert base is not None
        return (base.kind, self._content(base), base.depth) if base.oid else None

    def _apply(self, base: bytes, delta: bytes) -> bytes:
        if _target_size(delta) > self._limits.object:
            raise errors.Refused(f"an object is larger than {self._limits.object} bytes")
        try:
            made: list[bytes] = apply_delta(base, delta)  # dulwich types its Rust part loosely
        except (ApplyDeltaError, ValueError, IndexError) as err:
            raise _broken("a delta does not fit its base") from err
        return b"".join(made)

    def _found(self, entry: _Object, kind: int, oid: bytes) -> None:
        entry.kind, entry.oid = kind, oid
        self._objects.append(entry)
        self._by_offset[entry.offset] = entry
        self._by_oid[oid] = entry

    # ---- contents, again

    def _keep(self, offset: int, content: bytes) -> None:
        if len(content) > _CACHED:
            return
        self._cache[offset] = content
        self._cached += len(content)
        while self._cached > _CACHE:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def _content(self, entry: _Object) -> bytes:
        """The content of an object that was resolved before, from the cache or the file."""
        chain = []
        while (content := self._cache.get(entry.offset)) is None:
            raw = self._inflate(entry)
            if entry.base is None:
                content = raw
                break
            chain.append((entry, raw))
            base = self._by_oid.get(entry.base) if isinstance(entry.base, bytes) else entry.base
            if base is None:
                outside = self._base(entry.base) if isinstance(entry.base, bytes) else None
                if outside is None:
                    raise _broken("a delta's base is gone")
                content = outside[1]
                break
            entry = base
        else:
            self._cache.move_to_end(entry.offset)
        for above, delta in reversed(chain):
            content = self._apply(content, delta)
            self._keep(above.offset, content)
        return content

    def _inflate(self, entry: _Object) -> bytes:
        self._out.flush()
        inflate, at, data = zlib.decompressobj(), entry.data, bytearray()
        while not inflate.eof:
            piece = os.pread(self._out.fileno(), _CHUNK, at)
            if not piece:
                raise _broken("its file was cut")
            data += inflate.decompress(piece, entry.size + 1 - len(data))
            at += len(piece) - len(inflate.unconsumed_tail) - len(inflate.unused_data)
        return bytes(data)

    # ---- the end

    def _complete(self, checksum: bytes) -> bytes:
        """Resolve what waited, and append the bases of a thin pack; the checksum of the pack as it is then."""
        while self._waiting:
            left = [(entry, delta) for entry, delta in self._waiting if not self._resolve(entry, delta)]
            if len(left) == len(self._waiting):
                raise NoBase("the Git host sent a damaged pack: a delta has no base", "try again")
            self._waiting = left
        missing = [name for name in sorted(self._outside) if name not in self._by_oid]
        return self._append(missing) if missing else checksum

    def _append(self, names: list[bytes]) -> bytes:
        self._out.seek(-self._size, os.SEEK_END)
        for name in names:
            kind, content = self._base(name) or (0, b"")
            entry = _packed(kind, content)
            self._found(_Object(self._out.tell(), 0, len(content), zlib.crc32(entry)), kind, name)
            self._out.write(entry)
        self._out.truncate()
        self._out.seek(8)
        self._out.write(len(self._objects).to_bytes(4, "big"))
        self._out.seek(0)
        digest: hashlib._Hash = self._new()
        while piece := self._out.read(_CHUNK):
            digest.update(piece)
        self._out.write(digest.digest())
        return digest.digest()


def _target_size(delta: bytes) -> int:
    """How long what a delta makes says that it is."""
    at = 0
    size = 0
    for _ in range(2):  # the base's size stands before
        size = shift = 0
        while True:
            if at >= len(delta) or shift > 63:
                raise _broken("a delta is malformed")
            byte = delta[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
    return size


def _packed(kind: int, content: bytes) -> bytes:
    """An entry of a pack for a whole object."""
    size = len(content)
    head = bytearray([kind << 4 | size & 15])
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head) + zlib.compress(content, 1)
