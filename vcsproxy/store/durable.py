"""File primitives that leave nothing half done: directories, write-once names, and what an errno means.

Everything works below a directory that is already open, follows no symbolic link, and does not depend on the umask:
directories are 0700, files 0400. Nothing here knows about modules.

Theory of operation: a file gets its bytes and its fsync under a private name; link(2) then gives it the final name,
which fails if that exists; fsync of the directory makes the name durable. A file therefore has its final name only when
it is complete. After a failed fsync the same file is never written or synced again: the kernel may have dropped the
pages and would report success.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vcsproxy import errors

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY = READ | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_POLL = 0.005  # seconds between two attempts for a lock


def explain(err: OSError) -> errors.VCSProxyError:
    """What an error of the file system means to a caller; the names of files stay out of it."""
    if err.errno in _NO_ROOM:
        return errors.Overloaded("no room in the store", "free space on the store's disk or raise its quota")
    if err.errno in _NO_HANDLES:
        return errors.Overloaded("no file handle or memory left for the store", "raise the limit of open files")
    if err.errno == errno.ENAMETOOLONG:
        return errors.InvalidRequest("the module path or version is too long to be stored")
    what = f"{err.strerror or err} ({errno.errorcode.get(err.errno or 0, '?')})"
    return errors.Corrupt(f"the store's file system fails: {what}", "check the disk, its mount and its permissions")


@contextmanager
def opened(name: str, flags: int, parent: int | None = None) -> Iterator[int]:
    """A file descriptor for `name` below the directory `parent`, closed at the end."""
    handle = os.open(name, flags, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def open_directory(name: str, parent: int | None = None) -> int:
    """An open directory, not through a symbolic link in the last element when `parent` is given."""
    return os.open(name, DIRECTORY if parent is not None else DIRECTORY & ~os.O_NOFOLLOW, dir_fd=parent)


def enter(name: str, parent: int) -> tuple[int, bool]:
    """An open directory below `parent`, and whether it was made just now; its name is not durable yet then."""
    with suppress(FileNotFoundError):
        return open_directory(name, parent), False
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    handle = open_directory(name, parent)
    try:
        os.fchmod(handle, 0o700)
    except OSError:
        os.close(handle)
        raise
    return handle, True


def make_directories(path: Path) -> None:
    """Make a directory and its parents, each durable."""
    if path.is_dir():
        return
    make_directories(path.parent)
    with suppress(FileExistsError):
        path.mkdir(0o700)
        path.chmod(0o700)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = open_directory(str(path))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(name: str, data: bytes, parent: int) -> None:
    """A new durable file of exactly these bytes, mode 0400; its name is not durable yet."""
    with opened_new(name, parent) as handle:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        seal(handle)


@contextmanager
def opened_new(name: str, parent: int) -> Iterator[int]:
    """A file that did not exist, open for writing."""
    handle = os.open(name, _CREATE, 0o600, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def seal(handle: int) -> None:
    """Make a finished file read-only and durable."""
    os.fchmod(handle, 0o400)
    os.fsync(handle)


def read(name: str, parent: int) -> tuple[bytes, float]:
    """All bytes of a regular file, and when they were written, in seconds since 1970."""
    with opened(name, READ, parent) as handle:
        return read_open(handle)


def read_open(handle: int, most: int = sys.maxsize - 1) -> tuple[bytes, float]:
    """As read, of a file open at its start, if it has at most `most` bytes."""
    known = os.fstat(handle)
    if not stat.S_ISREG(known.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if known.st_size > most:
        raise OSError(errno.EINVAL, "larger than it can be")
    data = os.read(handle, known.st_size + 1)
    if len(data) != known.st_size:
        raise OSError(errno.EIO, "read another length than the file has")
    return data, known.st_mtime


def try_read(name: str, parent: int) -> bytes | None:
    """All bytes of a regular file, or None when it is absent."""
    try:
        return read(name, parent)[0]
    except FileNotFoundError:
        return None


@contextmanager
def locked(name: str, parent: int, seconds: float) -> Iterator[None]:
    """Hold the lock file `name` against every other holder on any node; the kernel frees it when the holder dies.

    Raises Overloaded when others hold it for longer than `seconds`.
    """
    handle = open_lock(name, parent)
    try:
        end = time.monotonic() + seconds
        while not try_lock(handle):
            if time.monotonic() > end:
                raise errors.Overloaded("another process keeps this module's lock in the store")
            time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


def open_lock(name: str, parent: int) -> int:
    """An open lock file, made when absent, not locked yet."""
    return os.open(name, _LOCK, 0o600, dir_fd=parent)


def try_lock(handle: int) -> bool:
    """Whether the lock file could be locked at once."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
