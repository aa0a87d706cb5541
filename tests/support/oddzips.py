"""Module zips made byte by byte: good ones in every dialect that writers have, and about sixty that mean harm.

All are of PATH@VERSION. `GOOD` and `BAD` map what is special about a zip to its bytes; `tree` makes files of a GOPROXY.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PATH, VERSION = "example.com/m", "v1.0.0"
PREFIX = f"{PATH}@{VERSION}/"
GOMOD = b"module example.com/m\n\ngo 1.20\n"

LOCAL, CENTRAL, END = struct.Struct("<I5H3I2H"), struct.Struct("<I6H3I5H2I"), struct.Struct("<I4H2IH")
END64, LOCATOR64 = struct.Struct("<IQ2H2I4Q"), struct.Struct("<IIQI")
DESCRIPTOR = 0x8


@dataclass
class Part:
    """One file. local, central: fields that are to lie: name, flags, method, crc, compressed, size, offset, ..."""

    name: str | bytes
    data: bytes = b""
    method: int = 8
    flags: int = 0
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)
    descriptor: Callable[[int, int, int], bytes] | None = None
    raw: bytes | None = None
    before: bytes = b""

    def facts(self) -> dict[str, Any]:
        name = self.name if isinstance(self.name, bytes) else (PREFIX + self.name).encode()
        raw = self.body()
        return {
            "name": name, "flags": self.flags, "method": self.method, "crc": zlib.crc32(self.data),
            "compressed": len(raw), "size": len(self.data), "extra": b"", "comment": b"", "disk": 0, "made_by": 20,
            "attributes": 0,
        }  # fmt: skip

    def body(self) -> bytes:
        return self.raw if self.raw is not None else deflated(self.data) if self.method == 8 else self.data


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def build(
    *parts: Part,
    start: bytes = b"",
    middle: bytes = b"",
    directory: bytes = b"",
    comment: bytes = b"",
    behind: bytes = b"",
    **end: Any,
) -> bytes:
    """The zip of these files. start, middle, directory, behind: bytes at the front, before, in and behind the directory.

    end: fields of the end record that are to lie.
    """
    out, central = bytearray(start), bytearray()
    for part in parts:
        out += part.before
        f = {**part.facts(), **part.local}
        offset = len(out)
        out += LOCAL.pack(
            0x04034B50, 20, f["flags"], f["method"], 0, 0, f["crc"], f["compressed"], f["size"],
            len(f["name"]), len(f["extra"]),
        )  # fmt: skip
        out += f["name"] + f["extra"] + part.body()
        true = part.facts()
        if part.descriptor is not None:
            out += part.descriptor(true["crc"], true["compressed"], true["size"])
        c = {**true, "offset": offset, **part.central}
        central += CENTRAL.pack(
            0x02014B50, c["made_by"], 20, c["flags"], c["method"], 0, 0, c["crc"], c["compressed"], c["size"],
            len(c["name"]), len(c["extra"]), len(c["comment"]), c["disk"], 0, c["attributes"], c["offset"],
        )  # fmt: skip
        central += c["name"] + c["extra"] + c["comment"]
    out += middle
    central += directory
    e = {
        "disk": 0,
        "first": 0,
        "here": len(parts),
        "count": len(parts),
        "length": len(central),
        "begin": len(out),
        **end,
    }
    record = END.pack(
        0x06054B50, e["disk"], e["first"], e["here"], e["count"], e["length"], e["begin"], e.get("said", len(comment))
    )
    return bytes(out + central + e.get("wide", b"") + record + comment + behind)


def plain_descriptor(crc: int, compressed: int, size: int) -> bytes:
    return struct.pack("<3I", crc, compressed, size)


def marked_descriptor(crc: int, compressed: int, size: int) -> bytes:
    return struct.pack("<4I", 0x08074B50, crc, compressed, size)


NO_SUMS = {"crc": 0, "compressed": 0, "size": 0}
MOD = Part("go.mod", GOMOD)
GO = Part("m.go", b"package m\n")


def streamed(
    name: str, data: bytes, descriptor: Callable[[int, int, int], bytes] = marked_descriptor, **more: Any
) -> Part:
    return Part(name, data, flags=DESCRIPTOR, local=NO_SUMS, descriptor=descriptor, **more)


def wide(files: int, length: int, start: int, **lies: int) -> bytes:
    """The 64-bit end records."""
    f = {
        "record": 44,
        "here": files,
        "count": files,
        "length": length,
        "start": start,
        "at": start + length,
        "disks": 1,
    }
    f |= lies
    record = END64.pack(0x06064B50, f["record"], 45, 45, 0, 0, f["here"], f["count"], f["length"], f["start"])
    return record + LOCATOR64.pack(0x07064B50, 0, f["at"], f["disks"])


def with_wide(**lies: int) -> bytes:
    """Two files and 64-bit end records, where the short one says that they are needed."""
    plain = build(MOD, GO)
    length, start = struct.unpack("<2I", plain[-10:-2])
    return build(MOD, GO, wide=wide(2, length, start, **lies), count=0xFFFF, here=0xFFFF)


@functools.cache
def many(count: int) -> bytes:
    """So many empty files; from 65535 on the 64-bit end records are needed."""
    parts = [MOD, *(Part(f"d/{number:x}", method=0) for number in range(count - 1))]
    plain = build(*parts, here=0, count=0)
    if count < 0xFFFF:
        return build(*parts)
    length, start = struct.unpack("<2I", plain[-10:-2])
    return build(*parts, here=0xFFFF, count=0xFFFF, wide=wide(count, length, start))


def crc_like_the_mark() -> bytes:
    """Four bytes, then four that make the CRC of all eight the mark of a descriptor."""
    return forced(b"abcd", 0x08074B50)


def forced(data: bytes, crc: int) -> bytes:
    """The data with four bytes behind it that give it this CRC-32."""
    raw = [functools.reduce(lambda c, _: (c >> 1) ^ (0xEDB88320 if c & 1 else 0), range(8), n) for n in range(256)]
    back = {value >> 24: n for n, value in enumerate(raw)}
    state = crc ^ 0xFFFFFFFF
    for _ in range(4):
        n = back[state >> 24]
        state = ((state ^ raw[n]) << 8 | n) & 0xFFFFFFFF
    tail = struct.pack("<I", state ^ zlib.crc32(data) ^ 0xFFFFFFFF)
    assert zlib.crc32(data + tail) == crc
    return data + tail


def extra(tag: int, data: bytes) -> bytes:
    return struct.pack("<HH", tag, len(data)) + data


def both(**fields: Any) -> dict[str, Any]:
    return {"local": fields, "central": fields}


def swapped() -> bytes:
    """The directory in another order than the files."""
    plain = build(MOD, GO)
    length, start = struct.unpack("<2I", plain[-10:-2])
    first = CENTRAL.size + len(PREFIX + "go.mod")
    directory = plain[start : start + length]
    return plain[:start] + directory[first:] + directory[:first] + plain[start + length :]


def overlapping() -> bytes:
    """Two entries of the directory for one and the same file's bytes."""
    return build(MOD, Part("a.go", b"x"), Part("b.go", b"x", local={}, central={"offset": 0}))


GOOD: dict[str, bytes] = {
    "plain": build(MOD, GO),
    "stored": build(Part("go.mod", GOMOD, method=0), Part("empty.go", method=0)),
    "no go.mod": build(GO),
    "no file at all": build(),
    "descriptors with the mark": build(streamed("go.mod", GOMOD), streamed("m.go", b"package m\n")),
    "descriptors without the mark": build(streamed("go.mod", GOMOD, plain_descriptor), GO),
    "sums in front and behind": build(Part("go.mod", GOMOD, flags=8, descriptor=marked_descriptor)),
    "letters of other scripts": build(MOD, Part("größe/λ.go", b"x", flags=0x800)),
    "times and owners": build(Part("go.mod", GOMOD, **both(extra=extra(0x5455, b"\x01abcd") + extra(0x7875, b"xyz")))),
    "times in front only": build(Part("go.mod", GOMOD, local={"extra": extra(0x5455, b"\x01abcd")})),
    "modes of regular files": build(Part("go.mod", GOMOD, central={"made_by": 0x314, "attributes": 0o100644 << 16})),
    "a vendor directory": build(MOD, Part("vendor/a/b.go", b"package b\n"), Part("vendor/modules.txt")),
    "a zip in the zip": build(MOD, Part("testdata/x.zip", build(MOD, GO), method=0)),
    "large and well packed": build(MOD, Part("zeros", bytes(3 << 20))),
}
"""Zips that Go takes and we do."""

BAD: dict[str, bytes] = {
    # two ways to read it
    "a name that differs in front": build(MOD, Part("m.go", b"x", local={"name": (PREFIX + "n.go").encode()})),
    "a method that differs in front": build(MOD, Part("m.go", b"x", local={"method": 0})),
    "flags that differ in front": build(MOD, Part("m.go", b"x", local={"flags": 0x800})),
    "a size that differs in front": build(MOD, Part("m.go", b"x", local={"size": 2})),
    "a CRC that differs in front": build(MOD, Part("m.go", b"x", local={"crc": 7})),
    "no sums in front and no descriptor": build(MOD, Part("m.go", b"x", local=NO_SUMS)),
    "a missing descriptor": build(MOD, Part("m.go", b"x", flags=8, local=NO_SUMS), GO),
    "a descriptor that lies": build(MOD, streamed("m.go", b"x", lambda crc, c, s: marked_descriptor(crc, c, s + 1))),
    "a descriptor with another CRC": build(MOD, streamed("m.go", b"x", lambda crc, c, s: plain_descriptor(crc ^ 1, c, s))),
    "a CRC that looks like a descriptor's mark": build(MOD, streamed("m.go", crc_like_the_mark(), plain_descriptor)),
    "one file twice": build(MOD, GO, GO),
    "go.mod twice with other contents": build(MOD, Part("go.mod", b"module example.com/other\n")),
    "two entries over the same bytes": overlapping(),
    "the directory in another order": swapped(),
    "a file that the directory leaves out": build(MOD, Part("m.go", b"x", before=build(GO)[:90])),
    "bytes in front": build(MOD, GO, start=b"#!/bin/sh\n"),
    "bytes in front that offsets do not count": b"#!/bin/sh\n" + build(MOD, GO),
    "bytes between files": build(MOD, Part("m.go", b"x", before=b"gap")),
    "bytes before the directory": build(MOD, GO, middle=b"gap"),
    "bytes in the directory": build(MOD, GO, directory=b"gap"),
    "bytes behind the end": build(MOD, GO, behind=b"\0"),
    "another zip behind the end": build(MOD, GO) + build(MOD, Part("m.go", b"package evil\n")),
    "an end record in the comment": build(MOD, GO, comment=build()),
    "a comment": build(MOD, GO, comment=b"hello"),
    "a comment that is cut off": build(MOD, GO, said=5),
    "a comment of a file": build(MOD, Part("m.go", b"x", central={"comment": b"hello"})),
    "a second name in an extra field": build(MOD, Part("m.go", b"x", **both(extra=extra(0x7075, b"\x01abcdevil.go")))),
    "a malformed extra field": build(MOD, Part("m.go", b"x", **both(extra=b"\x55\x54\xff\xff"))),
    "an extra field of one byte": build(MOD, Part("m.go", b"x", **both(extra=b"\x55"))),
    "too few entries in the end record": build(MOD, GO, here=1, count=1),
    "too many entries in the end record": build(MOD, GO, here=3, count=3),
    "65536 files and a count of none": build(MOD, GO, here=0, count=0),
    "counts that differ": build(MOD, GO, here=1),
    "a directory that starts elsewhere": build(MOD, GO, begin=0),
    "another disk": build(MOD, GO, disk=1),
    "a file on another disk": build(MOD, Part("m.go", b"x", central={"disk": 1})),
    # 64 bits
    "64-bit end records that nothing needs": with_wide(),
    "64-bit end records with another count": with_wide(count=3, here=3),
    "64-bit end records elsewhere": with_wide(at=1),
    "64-bit end records of another length": with_wide(record=45),
    "64-bit end records on two disks": with_wide(disks=2),
    "a 64-bit count without its record": build(MOD, GO, here=0xFFFF, count=0xFFFF),
    "64-bit sizes of a file": build(MOD, Part("m.go", b"x", **both(size=0xFFFFFFFF, extra=extra(1, struct.pack("<Q", 1))))),
    "64-bit sizes that say the same": build(MOD, Part("m.go", b"x", **both(extra=extra(1, struct.pack("<QQ", 1, 3))))),
    # what is in it
    "an encrypted file": build(MOD, Part("m.go", b"x", flags=1)),
    "an encrypted directory": build(MOD, Part("m.go", b"x", flags=0x2000)),
    "an unknown flag": build(MOD, Part("m.go", b"x", flags=0x20)),
    "an unknown method": build(MOD, Part("m.go", b"x", method=12, raw=b"BZh9")),
    "a stored file of two sizes": build(MOD, Part("m.go", b"xy", method=0, **both(compressed=2, size=1))),
    "a CRC that lies": build(MOD, Part("m.go", b"x", **both(crc=7))),
    "a CRC of zero that lies": build(MOD, Part("m.go", b"x", **both(crc=0))),
    "more than declared": build(MOD, Part("m.go", bytes(1 << 20), **both(size=10))),
    "less than declared": build(MOD, Part("m.go", b"x", **both(size=1 << 20))),
    "a stream that is cut off": build(MOD, Part("m.go", b"hello" * 9, raw=deflated(b"hello" * 9)[:-3])),
    "bytes behind the stream": build(MOD, Part("m.go", b"x", raw=deflated(b"x") + b"evil")),
    "a broken stream": build(MOD, Part("m.go", b"x", raw=b"\xff\xff\xff")),
    "a declared bomb": build(MOD, Part("a", **both(size=400 << 20)), Part("b", **both(size=200 << 20))),
    "a large go.mod": build(Part("go.mod", GOMOD.ljust((16 << 20) + 1))),
    "a large LICENSE": build(MOD, Part("LICENSE", bytes((16 << 20) + 1))),
    "a directory": build(MOD, Part("d/", method=0)),
    "the prefix as a directory": build(Part("", method=0), MOD),
    "a directory by its attributes": build(MOD, Part("d", method=0, central={"attributes": 0x10})),
    "a symbolic link": build(MOD, Part("m.go", b"/etc/passwd", central={"made_by": 0x314, "attributes": 0o120777 << 16})),
    "a device": build(MOD, Part("m.go", b"", central={"made_by": 0x314, "attributes": 0o020666 << 16})),
    # names
    "a name without the prefix": build(MOD, Part(b"m.go", b"x")),
    "the prefix of another version": build(MOD, Part(b"example.com/m@v1.0.1/m.go", b"x")),
    "a way out": build(MOD, Part("../../m.go", b"x")),
    "a way out further in": build(MOD, Part("a/../../m.go", b"x")),
    "an absolute name": build(MOD, Part("/etc/passwd", b"x")),
    "a backslash": build(MOD, Part("a\\..\\m.go", b"x")),
    "a drive": build(MOD, Part("C:m.go", b"x")),
    "a NUL": build(MOD, Part("m.go\0.txt", b"x")),
    "a newline": build(MOD, Part("m.go\nh1", b"x")),
    "a device of Windows": build(MOD, Part("con.go", b"x")),
    "a dot at the end": build(MOD, Part("a./m.go", b"x")),
    "names that differ in case": build(MOD, Part("M.go", b"x"), GO),
    "directories that differ in case": build(MOD, Part("A/m.go", b"x"), Part("a/n.go", b"x")),
    "a file that is a directory too": build(MOD, Part("a", b"x"), Part("a/b", b"x")),
    "bytes that are no UTF-8": build(MOD, Part(PREFIX.encode() + b"\xff.go", b"x", flags=0x800)),
    "a name that does not say it is UTF-8": build(MOD, Part("größe.go", b"x")),
    "a go.mod further in": build(MOD, Part("sub/go.mod", b"module example.com/m/sub\n")),
    "go.mod in capitals": build(Part("GO.MOD", GOMOD)),
    # no zip at all
    "nothing": b"",
    "no zip": b"PK\x03\x04" + bytes(100),
    "a zip that is cut off": build(MOD, GO)[:-1],
}  # fmt: skip
"""Zips that must not come in; Go takes some of them, because it reads them in its own one way."""
