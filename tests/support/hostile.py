"""Packs and answers that no honest host sends, in protocol version 2."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

from tests.support.githost import Handler, Script
from vcsproxy.vcs.pktline import Special, encode

COMMIT, TREE, BLOB, TAG, REF_DELTA = 1, 2, 3, 4, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
MIB = 1 << 20
PLAIN = {b"x.go": b"package x\n"}  # without a go.mod it is whatever module it is asked for as


def oid(kind: int, data: bytes) -> bytes:
    return hashlib.sha1(NAMES[kind] + b" %d\0" % len(data) + data).digest()


def entry(kind: int, data: bytes, base: bytes = b"") -> bytes:
    """One pack entry; `base` goes with REF_DELTA."""
    return entry_head(kind, len(data)) + base + zlib.compress(data, 9)


def entry_head(kind: int, size: int) -> bytes:
    """The beginning of a pack entry, which says how long its content will be."""
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head)


def zeros(mebibytes: int) -> bytes:
    """A zlib stream of so many MiB of zero bytes, made without writing them all."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = b"\x03\x00" + struct.pack(">I", (mebibytes * MIB % 65521) << 16 | 1)
    return first + again * (mebibytes - 1) + end


def pack(entries: Sequence[bytes], count: int | None = None) -> bytes:
    body = b"PACK" + struct.pack(">II", 2, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def tree(*items: tuple[bytes, bytes, bytes]) -> bytes:
    """Tree content from (mode, name, binary hash)."""
    return b"".join(mode + b" " + name + b"\0" + target for mode, name, target in items)


def commit(tree_id: bytes, *parents: bytes, message: bytes = b"m") -> bytes:
    who = b" A <a@example.com> 1709251200 +0000\n"
    above = b"".join(b"parent " + parent.hex().encode() + b"\n" for parent in parents)
    return (
        b"tree "
        + tree_id.hex().encode()
        + b"\n"
        + above
        + b"author"
        + who
        + b"committer"
        + who
        + b"\n"
        + message
        + b"\n"
    )


def repository(files: Mapping[bytes, bytes], *more: bytes, message: bytes = b"m") -> tuple[bytes, str]:
    """(pack, commit hash) of one commit with these files at its root and `more` pack entries."""
    items = ((b"100644", name, oid(BLOB, data)) for name, data in sorted(files.items()))
    root = tree(*items)
    top = commit(oid(TREE, root), message=message)
    entries = [entry(BLOB, data) for data in dict.fromkeys(files.values())]
    return pack([*entries, entry(TREE, root), entry(COMMIT, top), *more]), oid(COMMIT, top).hex()


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def delta_bomb(size: int) -> tuple[bytes, str]:
    """(pack, commit hash): some hundred bytes in which a delta makes a blob of `size` bytes from 64 KiB of zeros."""
    base = bytes(65536)
    delta = varint(65536) + varint(size) + b"\x80" * (size // 65536)
    root = tree((b"100644", b"go.mod", oid(BLOB, b"module x\n")))
    top = commit(oid(TREE, root))
    entries = [entry(COMMIT, top), entry(TREE, root), entry(BLOB, b"module x\n"), entry(BLOB, base)]
    entries.append(entry(REF_DELTA, delta, oid(BLOB, base)))
    return pack(entries), oid(COMMIT, top).hex()


def tree_bomb(levels: int) -> tuple[bytes, str]:
    """(pack, commit hash): 10 ** levels files in a dozen objects."""
    gomod = b"module github.com/t/x\n"
    below, mode = oid(BLOB, b"x"), b"100644"
    entries = [entry(BLOB, b"x"), entry(BLOB, gomod)]
    for level in range(levels):
        items = [(mode, b"%c" % (97 + n), below) for n in range(10)]
        if level == levels - 1:
            items.append((b"100644", b"go.mod", oid(BLOB, gomod)))
        content = tree(*items)
        below, mode = oid(TREE, content), b"40000"
        entries.append(entry(TREE, content))
    top = commit(below)
    return pack([*entries, entry(COMMIT, top)]), oid(COMMIT, top).hex()


def zlib_bomb(mebibytes: int, claimed: int | None = None) -> tuple[bytes, str]:
    """(pack, commit hash): an object of zeros, a thousandth of its size here; `claimed` is the length it gives."""
    size = mebibytes * MIB if claimed is None else claimed
    return repository(PLAIN, entry_head(BLOB, size) + zeros(mebibytes))


def deep_tree(levels: int) -> tuple[bytes, str]:
    """(pack, commit hash): a file below so many directories."""
    below, mode = oid(BLOB, b"x"), b"100644"
    entries = [entry(BLOB, b"x"), entry(BLOB, PLAIN[b"x.go"])]
    for level in range(levels):
        items = [(mode, b"d", below)]
        if level == levels - 1:
            items.append((b"100644", b"x.go", oid(BLOB, PLAIN[b"x.go"])))
        content = tree(*items)
        below, mode = oid(TREE, content), b"40000"
        entries.append(entry(TREE, content))
    top = commit(below)
    return pack([*entries, entry(COMMIT, top)]), oid(COMMIT, top).hex()


def wide_tree(files: int) -> tuple[bytes, str]:
    """(pack, commit hash): so many empty files in one directory."""
    return repository({**{b"f%07d.go" % number: b"" for number in range(files)}, **PLAIN})


def long_history(commits: int) -> tuple[bytes, str]:
    """(pack, hash of the newest): so many commits of the same tree, one after the other."""
    root = tree((b"100644", b"x.go", oid(BLOB, PLAIN[b"x.go"])))
    entries, parents = [entry(BLOB, PLAIN[b"x.go"]), entry(TREE, root)], []
    for number in range(commits):
        content = commit(oid(TREE, root), *parents, message=b"%d" % number)
        parents = [oid(COMMIT, content)]
        entries.append(entry(COMMIT, content))
    return pack(entries), parents[0].hex()


def delta_chain(length: int) -> tuple[bytes, str]:
    """(pack, commit hash): a blob that is a delta of a delta of a delta; each adds one byte."""
    base, entries = b"x" * 32, []
    for number in range(length):
        longer = base + b"%c" % (97 + number % 26)
        copy = b"\xb0" + struct.pack("<H", len(base))
        entries.append(
            entry(REF_DELTA, varint(len(base)) + varint(len(longer)) + copy + b"\x01" + longer[-1:], oid(BLOB, base))
        )
        base = longer
    files = {**PLAIN, b"first": b"x" * 32}
    root = tree(*((b"100644", name, oid(BLOB, data)) for name, data in sorted({**files, b"last": base}.items())))
    top = commit(oid(TREE, root))
    plain = [entry(BLOB, data) for data in files.values()]
    return pack([*plain, entry(TREE, root), entry(COMMIT, top), *entries]), oid(COMMIT, top).hex()


def nested_tags(depth: int, kind: int = COMMIT) -> tuple[bytes, str]:
    """(pack, hash of the outermost tag): a tag of a tag of a tag, of a commit or of a blob."""
    root = tree((b"100644", b"x.go", oid(BLOB, PLAIN[b"x.go"])))
    top = commit(oid(TREE, root))
    entries = [entry(BLOB, PLAIN[b"x.go"]), entry(TREE, root), entry(COMMIT, top)]
    target, name = (oid(COMMIT, top), b"commit") if kind == COMMIT else (oid(BLOB, PLAIN[b"x.go"]), b"blob")
    for number in range(depth):
        content = b"object %s\ntype %s\ntag t%d\ntagger A <a@example.com> 1709251200 +0000\n\nm\n"
        content %= (target.hex().encode(), name, number)
        target, name = oid(TAG, content), b"tag"
        entries.append(entry(TAG, content))
    return pack(entries), target.hex()


def side_band(data: bytes) -> bytes:
    pieces = [b"\1" + data[at : at + 60000] for at in range(0, len(data), 60000)]
    return encode(b"packfile\n", *pieces, Special.FLUSH)


def host_of(head: str, answer: bytes | Callable[[Handler], bool], tag: str = "v1.0.0") -> Script:
    """A script for GitHost: one commit as HEAD, main and a tag; `answer` is what a fetch gets."""
    hello = encode(b"version 2\n", b"ls-refs\n", b"fetch=shallow filter\n", Special.FLUSH)
    names = ("HEAD", "refs/heads/main", f"refs/tags/{tag}")
    refs = encode(*(f"{head} {name}\n".encode() for name in names), Special.FLUSH)

    def script(handler: Handler) -> bool:
        if "git-upload-pack" not in handler.path:
            return False
        if handler.command == "GET":
            handler.reply(200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, hello)
        elif b"command=ls-refs" in handler.body:
            handler.reply(200, {"Content-Type": "application/x-git-upload-pack-result"}, refs)
        elif callable(answer):
            return answer(handler)
        else:
            handler.reply(200, {"Content-Type": "application/x-git-upload-pack-result"}, answer)
        return True

    return script
