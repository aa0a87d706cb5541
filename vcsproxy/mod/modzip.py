"""The module zip: which files of a tree belong in it, and its bytes.

`check_files` decides by names, sizes and kinds alone; contents, and what Git attributes make of them, are the caller's.
`ZipWriter` writes what it is given in the layout of Go's archive/zip and knows no rules.

Theory of operation: names are checked for collisions along a tree of directories, each of which is judged once and
remembered, so that the work is linear in the length of all names, however deep they are.

Source: golang.org/x/mod/zip (CheckFiles, checkFiles, isVendoredPackage, collisionChecker, strToFold); Go's archive/zip
(Writer).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import BinaryIO

from vcsproxy.errors import Corrupt, NotFound
from vcsproxy.mod import dirhash, gotext, gover, letters, module

MAX_ZIP_FILE = 500 << 20
"""Bytes that all files of a module may have together."""
MAX_GO_MOD = 16 << 20
"""Bytes that the module's go.mod may have."""
MAX_LICENSE = 16 << 20
"""Bytes that the LICENSE file at the module's root may have."""

_NOT_CLEAN = "file path is not clean"
_NOT_RELATIVE = "file path is not relative"
_GO_MOD_CASE = "go.mod files must have lowercase names"
_GO_MOD_SIZE = f"go.mod file too large (max size is {MAX_GO_MOD} bytes)"
_LICENSE_SIZE = f"LICENSE file too large (max size is {MAX_LICENSE} bytes)"
_VENDORED = "file is in vendor directory"
_OTHER_MODULE = "file is in another module"
_HG_ARCHIVAL = "file is inserted by 'hg archive' and is always omitted"
_SYMLINK = "file is a symbolic link"
_NOT_REGULAR = "not a regular file"
_TOO_LARGE = f"module source tree too large (max size is {MAX_ZIP_FILE} bytes)"

_GO_MOD = re.compile(r"go\.mod", re.ASCII | re.IGNORECASE)


class Kind(Enum):
    """What a tree entry is; executable files are regular."""

    REGULAR = "regular"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file: its path below the module's root (bytes that are no UTF-8 as surrogate escapes), size in bytes, kind."""

    path: str
    size: int
    kind: Kind = Kind.REGULAR


@dataclass(frozen=True, slots=True)
class Checked:
    """Each file is in one of three groups, in the order of the input; `omitted` and `invalid` are (path, reason)."""

    valid: tuple[FileFact, ...]
    omitted: tuple[tuple[str, str], ...]
    invalid: tuple[tuple[str, str], ...]
    size_error: str = ""

    def raise_for_problems(self) -> None:
        """Raise NotFound, with Go's words for all of it, if no module zip can be made of the files."""
        fault = self.size_error or "\n".join(f"{path}: {reason}" for path, reason in self.invalid)
        if fault:
            raise NotFound(gotext.scrub(f"create zip: {fault}"))


def is_vendored_package(name: str, go_version: str) -> bool:
    """Whether a file is in a vendored package; `go_version` is that of the module's own go.mod, "" if it has none.

    Up to Go 1.23 the rule was wrong below the root, and old hashes depend on that.
    """
    return _is_vendored(name, modern=gover.compare(go_version, "1.24") >= 0)


def _is_vendored(name: str, *, modern: bool) -> bool:
    if modern and name == "vendor/modules.txt":
        return True
    if name.startswith("vendor/"):
        start = len("vendor/")
    else:
        at = name.find("/vendor/")
        if at < 0:
            return False
        start = len("/vendor/") + (at if modern else 0)
    return "/" in name[start:]


def check_files(files: Iterable[FileFact], go_version: str) -> Checked:
    """Sort files into those of the zip, those left out and those that forbid a zip.

    `go_version` is the go line of the root go.mod (`1.24`, `1.24rc1`), "" without one or if it cannot be read. Sizes
    are those of the contents that will be written.
    """
    return _Check(tuple(files), go_version).run()


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Why a file is not in the zip; without `omit` it forbids the zip."""

    reason: str
    omit: bool = False


class _Check:
    """One run over the files of a module."""

    def __init__(self, files: tuple[FileFact, ...], go_version: str) -> None:
        self._files = files
        self._modern_vendor = gover.compare(go_version, "1.24") >= 0
        self._tree = _Tree()
        self._room = MAX_ZIP_FILE
        self._size_error = ""

    def run(self) -> Checked:
        self._mark_nested_modules()
        valid: list[FileFact] = []
        verdicts: dict[str, _Verdict] = {}
        for file in self._files:
            verdict = self._judge(file)
            if verdict is None:
                valid.append(file)
            else:
                verdicts.setdefault(file.path, verdict)
        omitted = tuple((path, verdict.reason) for path, verdict in verdicts.items() if verdict.omit)
        invalid = tuple((path, verdict.reason) for path, verdict in verdicts.items() if not verdict.omit)
        return Checked(tuple(valid), omitted, invalid, self._size_error)

    def _mark_nested_modules(self) -> None:
        """A regular go.mod, in any case, makes its directory another module; the root's own does not count."""
        found = set()
        for file in self._files:
            directory, _, base = file.path.rpartition("/")
            if directory and file.kind is Kind.REGULAR and _GO_MOD.fullmatch(base) and _is_clean(directory):
                found.add(directory)
        # A directory takes `nested` from its parent when it is made, hence parents first.
        for directory in sorted(found, key=len):
            self._tree.directory(directory).nested = True

    def _judge(self, file: FileFact) -> _Verdict | None:
        path = file.path
        if not _is_clean(path):
            return _Verdict(_NOT_CLEAN)
        if path.startswith("/"):
            return _Verdict(_NOT_RELATIVE)
        if _is_vendored(path, modern=self._modern_vendor):
            return _Verdict(_VENDORED, omit=True)
        parent, _, base = path.rpartition("/")
        directory = self._tree.directory(parent)
        if directory.nested:
            return _Verdict(_OTHER_MODULE, omit=True)
        if path == ".hg_archival.txt":
            return _Verdict(_HG_ARCHIVAL, omit=True)
        fault = _name_fault(path, directory, base) or directory.claim_file(base)
        if fault:
            return _Verdict(fault)
        if file.kind is not Kind.REGULAR:
            return _Verdict(_SYMLINK if file.kind is Kind.SYMLINK else _NOT_REGULAR, omit=True)
        return self._judge_size(path, file.size)

    def _judge_size(self, path: str, size: int) -> _Verdict | None:
        if 0 <= size <= self._room:
            self._room -= size
        else:
            self._size_error = _TOO_LARGE
        if path == "go.mod" and size > MAX_GO_MOD:
            return _Verdict(_GO_MOD_SIZE)
        if path == "LICENSE" and size > MAX_LICENSE:
            return _Verdict(_LICENSE_SIZE)
        return None


def _name_fault(path: str, directory: _Directory, base: str) -> str:
    fault = directory.name_fault or module.file_element_fault(base)
    if fault:
        return f"malformed file path {gotext.quote(path)}: {fault if module.is_utf8(path) else 'invalid UTF-8'}"
    return _GO_MOD_CASE if path != "go.mod" and _GO_MOD.fullmatch(path) else ""


def _is_clean(path: str) -> bool:
    """Whether path.Clean of Go would leave it as it is."""
    if path in (".", "/"):
        return True
    elements = path.removeprefix("/").split("/")
    if "" in elements or "." in elements:
        return False
    if ".." not in elements:
        return True
    named = [element != ".." for element in elements]
    return not path.startswith("/") and named == sorted(named)


class _Folded:
    """A path up to case: who claimed it first, (directory, name, whether as a directory)."""

    __slots__ = ("children", "owner")

    def __init__(self) -> None:
        self.children: dict[str, _Folded] = {}
        self.owner: tuple[_Directory, str, bool] | None = None

    def child(self, name: str) -> _Folded:
        folded = letters.fold(name)
        found = self.children.get(folded)
        if found is None:
            found = self.children[folded] = _Folded()
        return found


class _Directory:
    """A directory as it is spelled; the root has no parent."""

    __slots__ = ("children", "collision", "folded", "name", "name_fault", "nested", "parent")

    def __init__(self, parent: _Directory | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.children: dict[str, _Directory] = {}
        self.nested: bool = parent is not None and parent.nested
        self.name_fault: str = "" if parent is None else parent.name_fault or module.file_element_fault(name)
        self.folded: _Folded = _Folded() if parent is None else parent.folded.child(name)
        self.collision: str | None = "" if parent is None else None

    def path_of(self, name: str) -> str:
        elements = [name]
        at: _Directory | None = self
        while at is not None and at.parent is not None:
            elements.append(at.name)
            at = at.parent
        return "/".join(reversed(elements))

    def claim_file(self, name: str) -> str:
        """Take a file's name and with it those of all its directories; why that cannot be, "" if it can."""
        return self._claim(name, is_dir=False) or self._claim_directories()

    def _claim_directories(self) -> str:
        """The collision of this directory or of the nearest above it; it never changes, hence is worked out once."""
        unknown: list[_Directory] = []
        at, collision = self, self.collision
        while collision is None and at.parent is not None:
            unknown.append(at)
            collision = at.parent._claim(at.name, is_dir=True) or at.parent.collision
            at = at.parent
        for directory in unknown:
            directory.collision = collision
        return collision or ""

    def _claim(self, name: str, *, is_dir: bool) -> str:
        folded = self.folded.child(name)
        if folded.owner is None:
            folded.owner = (self, name, is_dir)
            return ""
        owner, owner_name, owner_is_dir = folded.owner
        path = self.path_of(name)
        if owner is not self or owner_name != name:
            other = gotext.quote(owner.path_of(owner_name))
            return f"case-insensitive file name collision: {other} and {gotext.quote(path)}"
        if is_dir != owner_is_dir:
            return f"entry {gotext.quote(path)} is both a file and a directory"
        return "" if is_dir else f"multiple entries for file {gotext.quote(path)}"


class _Tree:
    """All directories seen so far."""

    def __init__(self) -> None:
        self._root = _Directory(None, "")
        self._by_path = {"": self._root}

    def directory(self, path: str) -> _Directory:
        """The directory at a clean path, made if need be."""
        found = self._by_path.get(path)
        if found is None:
            found = self._root
            for name in path.split("/"):
                below = found.children.get(name)
                if below is None:
                    below = found.children[name] = _Directory(found, name)
                found = below
            self._by_path[path] = found
        return found


# ---- writing

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

    def add_raw(self, path: str, deflated: bytes, crc32: int, size: int) -> None:
        """Write a file that is already a raw deflate stream. Raises Corrupt when it is not what crc32 and size say."""
        digest = _inflated_sha256(deflated, crc32, size)
        name, flags, offset = self._begin(path)
        self._write(deflated)
        self._end(_Written(name, flags, crc32, len(deflated), size, offset, digest))

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


def _inflated_sha256(deflated: bytes, crc32: int, size: int) -> str:
    """The SHA-256 of the contents; reads no more than size says, whatever the stream would give."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    digest, crc, room, rest = sha256(), 0, size, deflated
    try:
        while not inflate.eof and room >= 0:
            chunk = inflate.decompress(rest, min(_CHUNK, room + 1))
            digest.update(chunk)
            crc, room, rest = zlib.crc32(chunk, crc), room - len(chunk), inflate.unconsumed_tail
            if not chunk and not rest:
                break
    except zlib.error as err:
        raise Corrupt(f"deflate stream cannot be read: {err}") from err
    if not inflate.eof or inflate.unused_data or room != 0 or crc != crc32:
        raise Corrupt("deflate stream is not what its size and CRC say")
    return digest.hexdigest()


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
