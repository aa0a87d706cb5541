"""The manifest of a bundle: which versions it holds, their hashes, and every file with its size and SHA-256.

It is one JSON object, written in exactly one way: a line that opens it, a line a version, a line that closes it. The
reader demands that way, so it holds one version at a time, and two readers cannot understand it differently.

Which files a version has, how they are called and in which order they come follows from the version; the manifest says
it all the same, for those who read it without us.

If the format changes, `_FORMAT` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from vcsproxy import errors
from vcsproxy.mirror.admit import check_names
from vcsproxy.mod import gotext, module, modzip, revinfo
from vcsproxy.store import rules

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MAX_MANIFEST = 128 << 20
"""Bytes; about 150,000 versions."""

_FORMAT = 1
_MAX_BASES = 1000
_SMALL, _WHOLE = (".info", ".mod"), (".info", ".mod", ".ziphash", ".zip")
_LIMITS = {
    ".info": revinfo.MAX_INFO, ".mod": modzip.MAX_GO_MOD, ".ziphash": rules.H1_LENGTH, ".zip": modzip.MAX_ZIP_FILE
}  # fmt: skip
_END = b"]}\n"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version: its GOPROXY name, size in bytes, SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Packed:
    """One version. commit, time: as its `.info` says. zip_h1: "" if the bundle has no zip of it."""

    path: str
    version: str
    commit: str
    time: str
    zip_h1: str
    gomod_h1: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that has been checked from end to end. bases: the SHA-256 of those that this one builds on."""

    data: bytes
    bases: tuple[str, ...]
    count: int
    size: int

    @property
    def sha256(self) -> str:
        """What a later manifest calls this one."""
        return sha256(self.data).hexdigest()

    def versions(self) -> Iterator[Packed]:
        """Every version, in the order of the bundle."""
        return (_packed(line) for line in _lines(self.data, self.data.index(b"\n") + 1))


def names(path: str, version: str, *, whole: bool) -> list[str]:
    """The names of a version's files in their order; `whole` with its zip."""
    base = f"{module.escape_path(path)}/@v/{module.escape_version(version)}"
    return [base + suffix for suffix in (_WHOLE if whole else _SMALL)]


def write(bases: Sequence[str], versions: Iterable[Packed]) -> Manifest:
    """A manifest of these versions, which are in order. Raises Refused when it would be too large."""
    lines = [_encoded(_value(each)) for each in versions]
    return read(_head(bases) + b",\n".join(lines) + (b"\n" if lines else b"") + _END)


def read(data: bytes) -> Manifest:
    """Check a manifest. Raises Refused."""
    if len(data) > MAX_MANIFEST:
        raise errors.Refused(f"the manifest is larger than {MAX_MANIFEST} bytes", "make several bundles")
    head = data[: data.find(b"\n") + 1]
    bases = _bases(head)
    if head != _head(bases) or not data.endswith(b"\n" + _END):
        raise _malformed()
    count, size, before = 0, 0, ("", "")
    for line in _lines(data, len(head)):
        each = _packed(line)
        _check(each)
        if (each.path, each.version) <= before:
            raise errors.Refused("the manifest's versions are not in order, or come twice")
        before = (each.path, each.version)
        count, size = count + 1, size + sum(file.size for file in each.files)
    return Manifest(data, bases, count, size)


def _head(bases: Sequence[str]) -> bytes:
    start = {"format": "vcsproxy-bundle", "version": _FORMAT, "bases": list(bases)}
    return _encoded(start)[:-1] + b',"versions":[\n'


def _bases(head: bytes) -> tuple[str, ...]:
    value = _decoded(head.rstrip() + b"]}")
    if isinstance(value, dict) and value.get("format") == "vcsproxy-bundle" and value.get("version") != _FORMAT:
        raise errors.Refused("the bundle is of a format that this release does not know", "use a newer release")
    found = value.get("bases") if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) > _MAX_BASES or not all(map(_is_sha256, found)):
        raise _malformed()
    return tuple(found)


def _lines(data: bytes, at: int) -> Iterator[bytes]:
    """The line of each version without its comma; every line but the last must have one."""
    end = len(data) - len(_END)
    while at < end:
        stop = data.index(b"\n", at)
        last = stop + 1 == end
        if last == data.endswith(b",", at, stop):
            raise _malformed()
        yield data[at : stop if last else stop - 1]
        at = stop + 1


def _packed(line: bytes) -> Packed:
    value = _decoded(line)
    try:
        files = tuple(File(**each) for each in value.pop("files"))
        packed = Packed(files=files, **value)
        right = _encoded(_value(packed)) == line
    except (TypeError, AttributeError, KeyError, ValueError):
        right = False
    if not right:
        raise _malformed()
    return packed


def _value(each: Packed) -> dict[str, Any]:
    files = [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in each.files]
    return {
        "path": each.path, "version": each.version, "commit": each.commit, "time": each.time,
        "zip_h1": each.zip_h1, "gomod_h1": each.gomod_h1, "files": files,
    }  # fmt: skip


def _check(each: Packed) -> None:
    """Everything that can be known of a version without its files; what is a string or a number is known to be one."""
    texts = (each.path, each.version, each.commit, each.time, each.zip_h1, each.gomod_h1)
    if not all(isinstance(text, str) for text in texts):
        raise _malformed()
    try:
        check_names(each.path, each.version)
        right = names(each.path, each.version, whole=bool(each.zip_h1)) == [file.name for file in each.files]
    except errors.InvalidRequest as err:
        raise errors.Refused(f"the manifest names what is no version: {gotext.scrub(err.message)}") from None
    if not right or not all(map(_is_right, each.files)):
        raise errors.Refused(f"the manifest has other files of {each.path}@{each.version} than there can be")
    if not rules.is_h1(each.gomod_h1) or not (each.zip_h1 == "" or rules.is_h1(each.zip_h1)):
        raise errors.Refused(f"the manifest has no h1 of {each.path}@{each.version}")


def _is_right(file: File) -> bool:
    limit = next(limit for suffix, limit in _LIMITS.items() if file.name.endswith(suffix))
    return type(file.size) is int and 0 <= file.size <= limit and _is_sha256(file.sha256)


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def _encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _decoded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise _malformed() from None


def _malformed() -> errors.Refused:
    return errors.Refused("the manifest is not as one is written")
