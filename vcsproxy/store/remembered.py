"""Remembered answers as files beside the published ones. Blocking: for the threads of `disk`.

    <root>/<escaped path>/@latest                    what the latest version was
                         /@v/<escaped query>.info    what a branch, a tag or the start of a commit stood for
                            /list.remembered         the versions that the Git host had, published here or not

The first two are where `go` looks for them with GOPROXY=file://<root>, so a copy of the tree answers these questions
too. The list of the host is not: `list` names what the tree itself can give. `list.remembered` ends as nothing does
that `go` asks for (`list`, `.info`, `.mod`, `.zip`) or that is published, and every query ends in `.info`: no name of
a branch can collide with it. The time of an answer is that of its file, so a copy has to keep times (`cp -a`).

Theory of operation: a new answer is written and synced under a private name and takes the old one's place by rename(2),
so a reader sees one or the other as a whole. The same answer again changes the file's time only, on the open file: it
is that of the very bytes that were compared. Of two processes that remember at once the later one wins. Which queries
are the oldest is decided, and they are removed, under the module's lock.

If we crash here: the last answer or the one before it is there; there may be some queries too many until the next new
one.

Source: cmd/go/internal/modfetch/proxy.go for the names.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from vcsproxy import errors
from vcsproxy.mod import module
from vcsproxy.store import Kind, Remembered, answers, durable, publication, rules

_STAGED = "answer"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer lies: `directory` is below the root; `is_query`: only so many of these are kept."""

    directory: str
    file: str
    is_query: bool

    @property
    def name(self) -> str:
        """Below the root."""
        return f"{self.directory}/{self.file}"


def place(path: str, name: str) -> Place:
    """The place of an answer; path and name have been checked."""
    escaped = module.escape_path(path)
    if name == answers.LATEST:
        return Place(escaped, "@latest", is_query=False)
    if name == answers.LIST:
        return Place(f"{escaped}/@v", "list.remembered", is_query=False)
    return Place(f"{escaped}/@v", module.escape_version(name) + Kind.INFO.suffix, is_query=True)


def read(path: str, name: str, tree: int) -> Remembered | None:
    """The answer in the open root `tree`, None if there is none. Raises Corrupt when it cannot be right."""
    try:
        with durable.opened(place(path, name).name, durable.READ, tree) as handle:
            data, mtime = durable.read_open(handle, answers.most_bytes(name))
    except OSError as err:
        if err.errno in durable.ABSENT:
            return None
        known = durable.explain(err)
        raise known if isinstance(known, errors.Overloaded) else answers.broken(path, name, str(err.strerror)) from err
    answers.check_stored(path, name, data)
    return Remembered(data, mtime)


def refresh(where: Place, data: bytes, tree: int) -> bool:
    """Whether these bytes lie there already; their time is brought up to date then."""
    with suppress(OSError), durable.opened(where.name, durable.READ, tree) as handle:
        known, mtime = durable.read_open(handle, len(data))
        if known != data:
            return False
        if abs(time.time() - mtime) >= answers.REFRESH_SECONDS:
            os.utime(handle)
        return True
    return False  # nothing there, or nothing that could be read or kept


def replace(where: Place, data: bytes, directory: int, private: int) -> None:
    """Put an answer into its open directory, in place of the old one; the lock is held if it is a query."""
    durable.write(_STAGED, data, private)
    is_new = where.is_query and not _exists(where.file, directory)
    os.rename(_STAGED, where.file, src_dir_fd=private, dst_dir_fd=directory)
    os.fsync(directory)
    if is_new:
        _drop_oldest(directory)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _drop_oldest(directory: int) -> None:
    queries = [name for name in os.listdir(directory) if _is_query(name)]
    excess = len(queries) - answers.MAX_QUERIES
    if excess > 0:
        for name in sorted(queries, key=lambda name: _written(name, directory))[:excess]:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)


def _is_query(name: str) -> bool:
    version = publication.infos_version(name)
    return version is not None and not rules.is_canonical(version)


def _written(name: str, directory: int) -> int:
    return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns
