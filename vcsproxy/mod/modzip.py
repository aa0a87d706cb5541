"""Which files of a tree belong in the module zip.

`check_files` decides by names, sizes and kinds alone; contents, and what Git attributes make of them, are the caller's.
The bytes of the zip are `zipwriter`'s.

Theory of operation: names are checked for collisions along a tree of directories, each of which is judged once and
remembered, so that the work is linear in the length of all names, however deep they are.

Source: golang.org/x/mod/zip (CheckFiles, checkFiles, isVendoredPackage, collisionChecker, strToFold).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from vcsproxy.errors import NotFound
from vcsproxy.mod import gotext, gover, letters, module

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
    return _is_vendored(name, modern=is_modern(go_version))


def is_modern(go_version: str) -> bool:
    """Whether a module with this go line in its go.mod has the rule for vendored packages that is right."""
    return gover.compare(go_version, "1.24") >= 0


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
        self._modern_vendor = is_modern(go_version)
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


class Names:
    """The names of the files in one zip, judged one after the other: well formed, and none in another's place.

    Unlike check_files it leaves nothing out: what is in a zip already counts. Source: CheckZip.
    """

    def __init__(self) -> None:
        self._tree = _Tree()

    def fault(self, path: str) -> str:
        """Why a file below the module's root cannot be called so, "" if it can."""
        if not _is_clean(path):
            return _NOT_CLEAN
        if path.startswith("/"):
            return _NOT_RELATIVE
        parent, _, base = path.rpartition("/")
        if _GO_MOD.fullmatch(base) and parent:
            return "go.mod file not in module root directory"
        directory = self._tree.directory(parent)
        return _name_fault(path, directory, base) or directory.claim_file(base)


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
