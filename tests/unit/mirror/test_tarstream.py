"""The archive of a bundle: common tools read it, and nothing but what was written is read back (T6, T7)."""

from __future__ import annotations

import io
import tarfile
import tracemalloc

import pytest
import zstandard

from vcsproxy import errors
from vcsproxy.mirror import tarstream

NAMES = ["a", "example.com/!m/@v/v1.0.0.info", "d/" * 60 + "long", "x" * 100, "e" * 150 + "/" + "x" * 100, "y" * 1500]
MEMBERS = [(name, name.encode() * (number * 40)) for number, name in enumerate(NAMES)]
FIRST = b'{"the": "manifest"}'


def written(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = tarstream.Writer(out)
    for name, data in members:
        writer.member(name, len(data), [data[:7], data[7:]])
    writer.close()
    return out.getvalue()


GOOD = written([("first", FIRST), *MEMBERS])


def plain(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def packed(tar: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(tar)


def read(data: bytes) -> list[bytes]:
    reader = tarstream.Reader(io.BytesIO(data))
    found = [reader.first("first", 1000)]
    assert not reader.has("second", 5)
    if not reader.has("a", 0):
        raise errors.Refused("another second member")
    for name, content in MEMBERS:
        found.append(b"".join(reader.member(name, len(content))))
    reader.close()
    return found


def test_what_was_written_is_read() -> None:
    assert read(GOOD) == [FIRST, *(data for _, data in MEMBERS)]


def test_the_same_members_are_the_same_bytes() -> None:
    assert written([("first", FIRST), *MEMBERS]) == GOOD


def test_common_tools_see_the_same() -> None:
    with tarfile.open(fileobj=io.BytesIO(plain(GOOD))) as archive:
        for member, (name, data) in zip(archive, [("first", FIRST), *MEMBERS], strict=True):
            file = archive.extractfile(member)
            assert file is not None
            assert (member.name, file.read()) == (name, data)
            assert (member.mtime, member.uid, member.gid, member.mode, member.uname) == (0, 0, 0, 0o644, "")


def test_every_cut_is_noticed() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(errors.Refused):
            read(GOOD[:end])


def test_every_changed_byte_is_noticed_or_harmless() -> None:
    """A bit of the frame header may be nobody's concern; what is read is never another thing."""
    for at in range(len(GOOD)):
        data = GOOD[:at] + bytes([GOOD[at] ^ 0x10]) + GOOD[at + 1 :]
        try:
            assert read(data) == read(GOOD)
        except errors.Refused:
            continue


TAR = plain(GOOD)
LINK = bytearray(TAR)
LINK[156] = ord("2")
WRONG = {
    "something behind the frame": GOOD + b"\0",
    "another frame": GOOD + GOOD,
    "an empty frame behind": GOOD + packed(b""),
    "a skippable frame in front": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + GOOD,
    "something behind the end": packed(TAR + bytes(512)),
    "another archive behind the end": packed(TAR + TAR),
    "no end": packed(TAR[:-1024]),
    "half an end": packed(TAR[:-512]),
    "a member more": packed(TAR[:-1024] + tarstream.header("evil", 0) + bytes(1024)),
    "a link": packed(bytes(LINK)),
    "an absolute name": packed(tarstream.header("/first", 0) + TAR[512:]),
    "a size in another base": packed(TAR[:124] + b"\x80" + bytes(10) + b"\x13" + TAR[136:]),
    "a size that is negative": packed(TAR[:124] + b"-0000000023" + TAR[135:]),
    "a large first member": packed(tarstream.header("first", 1001) + bytes(4096)),
    "bytes in the padding": packed(TAR[: 512 + len(FIRST)] + b"x" + TAR[512 + len(FIRST) + 1 :]),
    "a time": packed(TAR[:136] + b"00000000001\0" + TAR[148:]),
    "nothing": b"",
    "no frame": b"PK\x03\x04" + bytes(1000),
    "a plain archive": TAR,
}


@pytest.mark.parametrize("what", WRONG)
def test_t6_anything_else_is_refused(what: str) -> None:
    assert read(packed(TAR)) == read(GOOD)
    with pytest.raises(errors.Refused):
        read(WRONG[what])


def test_t7_a_bomb_costs_little_memory() -> None:
    """A quarter of a gigabyte from some thousand bytes, read as it was announced, and where the end should be."""
    begin = tarstream.header("first", 0)
    bombs = [packed(begin + header + bytes(1 << 28)) for header in (tarstream.header("zeros", 1 << 28), b"")]
    assert max(map(len, bombs)) < 30_000
    readers = [tarstream.Reader(io.BytesIO(bomb)) for bomb in bombs]
    tracemalloc.start()
    try:
        for reader in readers:
            reader.first("first", 0)
        assert sum(map(len, readers[0].member("zeros", 1 << 28))) == 1 << 28
        with pytest.raises(errors.Refused, match="behind its end"):
            readers[1].close()
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


def test_t7_a_frame_that_asks_for_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    out = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(errors.Refused, match="damaged, or none"):
        read(out.compress(TAR) + out.flush())


def test_a_member_of_another_size_is_not_written() -> None:
    writer = tarstream.Writer(io.BytesIO())
    with pytest.raises(errors.Corrupt, match="changed while it was read"):
        writer.member("a", 3, [b"four"])
    for name, size in (("ä", 1), ("a", -1), ("a", 8**11)):
        with pytest.raises(ValueError, match="no name or size"):
            tarstream.header(name, size)
