"""One version on its way into its `@v` directory: compare, stage, link; and the directory's `list`.

The order of names and the rules of what may give way are here; `disk` has the theory of operation, and calls this with
open directories and with the module's lock held where it says so. Blocking: for publishers' threads.

If we crash here: see `disk`.

Source: cmd/go/internal/modfetch/cache.go:rewriteVersionList for `list`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from vcsproxy import errors
from vcsproxy.mod import module, pseudo, semver
from vcsproxy.store import Artifacts, Kind, durable, rules

log = structlog.get_logger()

_ZIPHASH = ".ziphash"
_MANIFESTS = (_ZIPHASH, Kind.INFO.suffix)
_LIST = "list"


class Change:
    """One version about to be published into the open directory `directory`; `name` is the escaped version."""

    def __init__(self, path: str, version: str, name: str, artifacts: Artifacts, directory: int) -> None:
        self.path = path
        self.directory = directory
        self._version = version
        self._name = name
        self._new = artifacts

    def missing(self) -> list[str]:
        """The endings that are still to be linked, in their order; the lock is held.

        Compares everything before anything is changed. Raises ModuleChanged, and Corrupt when the stored manifests are
        broken.
        """
        about = (self.path, self._version)
        info = durable.try_read(self._name + Kind.INFO.suffix, self.directory)
        gomod = durable.try_read(self._name + Kind.MOD.suffix, self.directory)
        if info is not None:
            rules.check_info(*about, info, self._new.info)
            if gomod is not None:
                rules.check_gomod(*about, gomod, self._new.gomod)
        missing = self._missing_zip() if self._new.zip is not None else []
        if gomod != self._new.gomod:
            missing.append(Kind.MOD.suffix)
        if info is None:
            missing.append(Kind.INFO.suffix)
        return missing

    def _missing_zip(self) -> list[str]:
        h1 = read_h1(self.path, self._version, self._name, self.directory)
        if not h1:
            return [Kind.ZIP.suffix, _ZIPHASH]
        rules.check_h1(self.path, self._version, h1, self._new.zip_h1)
        try:
            with durable.opened(self._name + Kind.ZIP.suffix, durable.READ, self.directory) as handle:
                whole = is_whole(handle)
        except FileNotFoundError:
            whole = False
        return [] if whole else [Kind.ZIP.suffix]

    def stage(self, private: int, missing: list[str]) -> None:
        """Write what is missing to the open directory `private`, synced; the zip is synced where it lies."""
        if self._new.zip is not None and Kind.ZIP.suffix in missing:
            self._stage_zip(self._new.zip, private)
        small = {_ZIPHASH: self._new.zip_h1.encode(), ".mod": self._new.gomod, ".info": self._new.info}
        for suffix, data in small.items():
            if suffix in missing:
                durable.write(suffix, data, private)

    def _stage_zip(self, zip_file: Path, private: int) -> None:
        with durable.opened(str(zip_file), durable.READ) as handle:
            if not is_whole(handle):
                raise errors.Corrupt(f"{self.path}@{self._version}: the zip to publish is not whole")
            os.utime(handle)
            durable.seal(handle)
            os.link(zip_file, Kind.ZIP.suffix, dst_dir_fd=private, follow_symlinks=False)

    def link(self, private: int, missing: list[str]) -> None:
        """Give the staged files their final names, or leave everything as it was; the lock is held.

        A zip that lies there before its version exists, and is not part of this publish, may be of another commit: it
        goes, and its `.ziphash` stays as the pin that a later zip has to meet.
        """
        if Kind.INFO.suffix in missing and self._new.zip is None:
            self._unlink(Kind.ZIP.suffix)
        given: list[str] = []
        try:
            for suffix in missing:
                if suffix in _MANIFESTS:
                    os.fsync(self.directory)
                self._link_one(private, suffix, given)
            os.fsync(self.directory)
        except BaseException:
            for suffix in reversed(given):
                with suppress(OSError):
                    self._unlink(suffix)
            raise

    def _link_one(self, private: int, suffix: str, given: list[str]) -> None:
        """Only a name that no manifest vouches for, or whose file is broken, gives way; manifests never do."""
        if suffix not in _MANIFESTS:
            self._unlink(suffix)
        os.link(suffix, self._name + suffix, src_dir_fd=private, dst_dir_fd=self.directory, follow_symlinks=False)
        given.append(suffix)

    def _unlink(self, suffix: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._name + suffix, dir_fd=self.directory)


def read_h1(path: str, version: str, base: str, parent: int) -> str:
    """The zip's dirhash, "" when none was ever published. Raises Corrupt when there is something else."""
    data = durable.try_read(base + _ZIPHASH, parent)
    if data is None:
        return ""
    text = data.decode("latin-1")
    if not rules.is_h1(text):
        raise rules.broken(path, version, _ZIPHASH, "no dirhash")
    return text


def is_whole(handle: int) -> bool:
    """Whether an open file is a regular one and ends as a zip does."""
    known = os.fstat(handle)
    if not stat.S_ISREG(known.st_mode):
        return False
    with os.fdopen(handle, "rb", buffering=0, closefd=False) as file:
        return rules.is_whole_zip(file, known.st_size)


def listed(directory: int) -> list[str]:
    """The versions with an `.info` in an open `@v` directory, sorted."""
    return semver.sort(published(os.listdir(directory)))


def published(names: Iterable[str]) -> Iterator[str]:
    """The versions whose `.info` is among the names of an `@v` directory; what is remembered there is none."""
    for name in names:
        version = infos_version(name)
        if version is not None and rules.is_canonical(version):
            yield version


def infos_version(name: str) -> str | None:
    """The version, or version query, that a file in an `@v` directory is the `.info` of."""
    if not name.endswith(Kind.INFO.suffix):
        return None
    try:
        return module.unescape_version(name.removesuffix(Kind.INFO.suffix))
    except errors.InvalidRequest:
        return None


def write_list(directory: int, private: int) -> None:
    """Bring `list` up to date if possible; the lock is held. Nothing of ours depends on it, so failure is a warning."""
    try:
        _replace_list(directory, private)
    except OSError as err:
        with suppress(OSError):
            os.unlink(_LIST, dir_fd=private)
        log.warning("list_not_written", reason=durable.explain(err).message)


def _replace_list(directory: int, private: int) -> None:
    """Bring `list` up to date, atomically and durably; the lock is held."""
    versions = [v for v in listed(directory) if semver.is_valid(v) and not pseudo.is_pseudo_version(v)]
    data = "".join(version + "\n" for version in versions).encode()
    if durable.try_read(_LIST, directory) == data:
        return
    durable.write(_LIST, data, private)
    os.rename(_LIST, _LIST, src_dir_fd=private, dst_dir_fd=directory)
    os.fsync(directory)
