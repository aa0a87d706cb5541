"""Packs and answers that no honest host sends, in protocol version 2."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence

from tests.support.githost import Handler, Script
from vcsproxy.vcs.pktline import Special, encode

COMMIT, TREE, BLOB, REF_DELTA = 1, 2, 3, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}


def oid(kind: int, data: bytes) -> bytes:
    return hashlib.sha1(NAMES[kind] + b" %d\0" % len(data) + data).digest()


def entry(kind: int, data: bytes, base: bytes = b"") -> bytes:
    """One pack entry; `base` goes with REF_DELTA."""
    size = len(data)
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head) + base + zlib.compress(data, 9)


def pack(entries: Sequence[bytes], count: int | None = None) -> bytes:
    body = b"PACK" + struct.pack(">II", 2, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def tree(*items: tuple[bytes, bytes, bytes]) -> bytes:
    """Tree content from (mode, name, binary hash)."""
    return b"".join(mode + b" " + name + b"\0" + target for mode, name, target in items)


def commit(tree_id: bytes) -> bytes:
    who = b" A <a@example.com> 1709251200 +0000\n"
    return b"tree " + tree_id.hex().encode() + b"\nauthor" + who + b"committer" + who + b"\nm\n"


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
