"""A module zip from elsewhere, checked before anything of it is believed.

`zipstructure` sees to it that there is only one way to read the file; here Go's rules for module zips are applied to
what it says, and every byte that is handed out has been counted. Whatever golang.org/x/mod/zip refuses is refused here.

DIFFERS: entries for directories are refused, which Go passes over although they change the h1: no zip that Go makes
has one. Zips with more than MAX_ENTRIES files, or with more than MAX_PARENTS directories above them, are refused.

Source: golang.org/x/mod/zip (CheckZip, Unzip); threats T6 and T7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from vcsproxy.errors import Refused
from vcsproxy.mod import dirhash, gotext, modzip, zipstructure
from vcsproxy.mod.zipstructure import Record
from vcsproxy.mod.zipwriter import ZipWriter

MAX_PARENTS = 1_000_000
"""Directories above all files of a zip, each counted for every file: they are what judging names needs memory for."""

_GO_MOD = "go.mod"
_LIMITS = {_GO_MOD: modzip.MAX_GO_MOD, "LICENSE": modzip.MAX_LICENSE}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path below the module's root, and where it is in the zip."""

    path: str
    record: Record


class Audit:
    """An open zip of one module version whose names, sizes and structure are right. `file` stays open, and can seek.

    Contents are checked while they are read: Refused may come from every method. One task at a time.
    """

    def __init__(self, file: BinaryIO, entries: tuple[Entry, ...], prefix: str) -> None:
        self.entries = entries
        self._file = file
        self._prefix = prefix

    def contents(self, entry: Entry) -> Iterator[bytes]:
        """A file's bytes, in chunks of at most 256 KiB and never more than it declares."""
        return zipstructure.read_contents(self._file, entry.record)

    def gomod(self) -> bytes | None:
        """The go.mod file at the module's root, None if there is none."""
        found = next((entry for entry in self.entries if entry.path == _GO_MOD), None)
        return None if found is None else b"".join(self.contents(found))

    def h1(self) -> str:
        """The dirhash of what is in the zip; reads all of it."""
        return dirhash.hash1((self._prefix + entry.path, self._digest(entry)) for entry in self.entries)

    def repack(self, writer: ZipWriter) -> str:
        """Write every file into a zip of our own, and close that; the dirhash of what was written."""
        for entry in self.entries:
            writer.add(entry.path, self.contents(entry))
        return writer.close()

    def _digest(self, entry: Entry) -> str:
        digest = sha256()
        for chunk in self.contents(entry):
            digest.update(chunk)
        return digest.hexdigest()


def audit(file: BinaryIO, size: int, path: str, version: str) -> Audit:
    """Check an open zip of `size` bytes, all but its contents, for a module path and version that are valid.

    Memory holds the names. Raises Refused with what is wrong.
    """
    if size > modzip.MAX_ZIP_FILE:
        raise Refused(f"zip: too large ({size} bytes; limit is {modzip.MAX_ZIP_FILE} bytes)")
    records = zipstructure.read_records(file, size)
    prefix = f"{path}@{version}/"
    entries = tuple(Entry(_below(prefix, record.name), record) for record in records)
    _check_names(entries)
    _check_sizes(entries)
    return Audit(file, entries, prefix)


def _below(prefix: str, name: bytes) -> str:
    text = gotext.decode(name)
    if not text.startswith(prefix):
        raise Refused(f"zip: {gotext.quote(text)}: path does not have prefix {gotext.quote(prefix)}")
    return text.removeprefix(prefix)


def _check_names(entries: tuple[Entry, ...]) -> None:
    if sum(entry.path.count("/") for entry in entries) > MAX_PARENTS:
        raise Refused(f"zip: more than {MAX_PARENTS} directories above its files")
    names = modzip.Names()
    for entry in entries:
        fault = names.fault(entry.path)
        if fault:
            raise Refused(gotext.scrub(f"zip: {gotext.quote(entry.path)}: {fault}"))


def _check_sizes(entries: tuple[Entry, ...]) -> None:
    if sum(entry.record.size for entry in entries) > modzip.MAX_ZIP_FILE:
        raise Refused(f"zip: total uncompressed size too large (max size is {modzip.MAX_ZIP_FILE} bytes)")
    for entry in entries:
        limit = _LIMITS.get(entry.path)
        if limit is not None and entry.record.size > limit:
            raise Refused(f"zip: {entry.path} file too large (max size is {limit} bytes)")
