"""Reading Git objects that are already on this disk: commits, trees, blobs, tags.

Trees are read as they are written (dulwich's own Tree hides an entry whose name comes twice). Nothing here fetches;
what is not there raises MissingObject, and the caller decides whether to ask the host.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree

from vcsproxy import errors
from vcsproxy.build.job import Limits

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
_MALFORMED = (ObjectFormatException, binascii.Error, AssertionError, ValueError)


class MissingObject(Exception):
    """The object is not on this disk."""


@dataclass(frozen=True, slots=True)
class Commit:
    """`time` is the committer's, in seconds since 1970 UTC; None when the commit does not state it."""

    tree: str
    parents: tuple[str, ...]
    time: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One tree entry; `mode` as Git writes it (0o100644, 0o120000, 0o160000, 0o40000)."""

    name: bytes
    mode: int
    oid: str

    @property
    def is_tree(self) -> bool:
        return self.mode & 0o170000 == 0o040000

    @property
    def is_symlink(self) -> bool:
        return self.mode & 0o170000 == 0o120000

    @property
    def is_submodule(self) -> bool:
        return self.mode & 0o170000 == 0o160000


class Shelf(Protocol):
    """A place where objects of one hash function lie: packs of a mirror, or a repository of this machine."""

    @property
    def hash_size(self) -> int:
        """Bytes of a hash."""

    def read(self, oid: str) -> tuple[int, bytes] | None:
        """(type number, content), None if it is not here. Raises Refused or `packs.Damaged`."""

    def whole(self, oid: str) -> tuple[int, bytes, bytes] | None:
        """As `read`, with the raw deflate stream that gives the content, empty if there is none."""

    def __contains__(self, oid: str) -> bool: ...

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Hashes that start with hex digits, four at least."""

    def close(self) -> None: ...


class Objects:
    """Objects of one repository, from one or more shelves."""

    def __init__(self, shelves: Sequence[Shelf], limits: Limits) -> None:
        self._shelves = shelves
        self._limits = limits
        self.hash_size = shelves[0].hash_size
        self._commits: dict[str, Commit] = {}
        self._tree = lru_cache(maxsize=4096)(self._parse_tree)

    @property
    def hex_size(self) -> int:
        return self.hash_size * 2

    def close(self) -> None:
        for shelf in self._shelves:
            shelf.close()

    def read(self, oid: str) -> tuple[int, bytes]:
        """(type number, content). Raises MissingObject, or Refused for an object that is broken or too large."""
        for shelf in self._right(oid):
            found = shelf.read(oid)
            if found is not None:
                self._check_size(oid, found[1])
                return found
        raise MissingObject(oid)

    def _right(self, oid: str) -> Sequence[Shelf]:
        """The shelves to look on: none for a hash of the other kind, when the repository's format is not known yet."""
        return self._shelves if len(oid) == self.hex_size else ()

    def _check_size(self, oid: str, content: bytes) -> None:
        if len(content) > self._limits.object:
            raise errors.Refused(f"object {oid} is larger than {self._limits.object} bytes")

    def __contains__(self, oid: str) -> bool:
        return any(oid in shelf for shelf in self._right(oid))

    def commit(self, oid: str) -> Commit:
        """Raises MissingObject, or Refused when the object is no commit."""
        found = self._commits.get(oid)
        if found is None:
            kind, data = self.read(oid)
            if kind != COMMIT:
                raise errors.Refused(f"object {oid} is not a commit")
            found = self._commits[oid] = _parse_commit(oid, data)
        return found

    def tree(self, oid: str) -> tuple[Entry, ...]:
        """Entries in Git's order, every one of them, even of equal names."""
        return self._tree(oid)

    def _parse_tree(self, oid: str) -> tuple[Entry, ...]:
        kind, data = self.read(oid)
        if kind != TREE:
            raise errors.Refused(f"object {oid} is not a tree")
        try:
            entries = tuple(
                Entry(name, mode, sha.decode("ascii")) for name, mode, sha in parse_tree(data, self.hash_size)
            )
        except _MALFORMED as err:
            raise errors.Refused(f"tree {oid} is malformed") from err
        if any(not e.name or b"/" in e.name for e in entries):
            raise errors.Refused(f"tree {oid} has an entry with an impossible name")
        return entries

    def blob(self, oid: str) -> bytes:
        return self.blob_with_stream(oid)[0]

    def blob_with_stream(self, oid: str) -> tuple[bytes, bytes]:
        """(content, the raw deflate stream that gives it; empty if there is none)."""
        for shelf in self._right(oid):
            found = shelf.whole(oid)
            if found is not None:
                kind, content, stream = found
                self._check_size(oid, content)
                if kind != BLOB:
                    raise errors.Refused(f"object {oid} is not a blob")
                return content, stream
        raise MissingObject(oid)

    def peel(self, oid: str) -> tuple[int, str]:
        """Follow tags to the end: (type number, hash)."""
        for _ in range(64):
            kind, data = self.read(oid)
            if kind != TAG:
                return kind, oid
            oid = _tag_target(oid, data, self.hex_size)
        raise errors.Refused(f"tag {oid} is nested too deeply")

    def tag_chain(self, oid: str) -> Iterator[str]:
        """The hashes of the tag objects from `oid` down to what they tag, none for a lightweight tag."""
        for _ in range(64):
            kind, data = self.read(oid)
            if kind != TAG:
                return
            yield oid
            oid = _tag_target(oid, data, self.hex_size)

    def with_prefix(self, prefix: str) -> list[str]:
        """Hashes of all objects here that start with the hex `prefix` (4 digits or more)."""
        return sorted({oid for shelf in self._shelves for oid in shelf.with_prefix(prefix)})

    def find(self, tree: str, path: bytes) -> Entry | None:
        """The entry at `path` below a tree, or None, found as git finds it: a tree is taken to be sorted, so an entry
        behind one that should have come after it is not there, and of equal names the first counts.
        """
        while True:
            entry = self._step(tree, path)
            if entry is None or len(entry.name) == len(path):
                return entry
            tree, path = entry.oid, path[len(entry.name) + 1 :]

    def _step(self, tree: str, path: bytes) -> Entry | None:
        """The entry that is `path` or the directory that leads there."""
        for entry in self.tree(tree):
            name = entry.name
            start = path[: len(name)]
            if len(name) > len(path) or start > name:
                continue
            if start < name:
                return None
            if len(name) == len(path):
                return entry
            if path[len(name)] == ord("/"):
                return entry if entry.is_tree else None
        return None


def _parse_commit(oid: str, data: bytes) -> Commit:
    """Only the header lines that matter, so that odd encodings and signatures further down cannot hurt."""
    head = data.partition(b"\n\n")[0].split(b"\n")
    if not head[0].startswith(b"tree "):
        raise errors.Refused(f"commit {oid} is malformed")
    parents = []
    when: int | None = None
    for line in head[1:]:
        if line.startswith(b"parent "):
            parents.append(line[7:].decode("ascii", "replace"))
        elif line.startswith(b"committer "):
            when = _committer_time(line)
            break
    return Commit(head[0][5:].decode("ascii", "replace"), tuple(parents), when)


def _committer_time(line: bytes) -> int | None:
    words = line.rpartition(b">")[2].split(b" ")
    digits = next((word for word in words if word), b"")
    return int(digits) if digits.isdigit() and len(digits) < 20 else None


def _tag_target(oid: str, data: bytes, hex_size: int) -> str:
    line = data.partition(b"\n")[0]
    target = line[7:].decode("ascii", "replace")
    if not line.startswith(b"object ") or len(target) != hex_size:
        raise errors.Refused(f"tag {oid} is malformed")
    return target
