"""The private directory of one process for unfinished files, and the removal of those that dead processes left.

Every process has its own directory below the shared one, with a lock file that it keeps locked as long as it lives.
Nothing that is published lies here.

Theory of operation: the kernel frees a lock when its holder dies, so a directory whose lock can be taken has no owner.
Whoever removes one holds its lock meanwhile; an owner that finds its directory gone after locking starts with another
name. Both are safe against any number of processes that start and sweep at the same time.

If we crash here: the directory stays until the next sweep of any process on the same disk.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path

from vcsproxy.store import durable

_LOCK = "lock"
_NAME = re.compile(r"[0-9a-f]{16}")


class TempDir:
    """The directory `shared`/`name` of this process, from construction to `close`. Blocking; any thread may use it."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        durable.make_directories(shared)
        while True:
            self.name = secrets.token_hex(8)
            self.path = shared / self.name
            held = _own(self.path)
            if held is not None:
                self._held = held
                return

    def new(self, prefix: str) -> Path:
        """A new empty directory, mode 0700."""
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self.path))

    def remove(self, directory: Path) -> None:
        """Remove a directory that `new` made; gone already is fine, anything else is left alone."""
        if directory.parent == self.path:
            shutil.rmtree(directory, ignore_errors=True)

    def sweep(self) -> list[str]:
        """Remove the directories of dead processes; their names."""
        others = [entry for entry in self._shared.iterdir() if _NAME.fullmatch(entry.name) and entry.name != self.name]
        return [entry.name for entry in others if _remove_dead(entry)]

    def close(self) -> None:
        """Remove this process's directory and give up its lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


def _own(path: Path) -> int | None:
    """Make a directory and lock it; None when a sweeper was faster."""
    path.mkdir(0o700)
    path.chmod(0o700)
    try:
        parent = durable.open_directory(str(path))
    except FileNotFoundError:
        return None
    try:
        held = durable.open_lock(_LOCK, parent)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)
    if durable.try_lock(held) and _is_at(held, path / _LOCK):
        durable.sync_directory(path.parent)
        return held
    os.close(held)
    return None


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _remove_dead(path: Path) -> bool:
    """Remove a directory unless its owner lives. A missing lock file is made: its owner may be about to do so."""
    try:
        parent = durable.open_directory(str(path))
    except OSError:  # not a directory, or gone
        return False
    try:
        held = durable.open_lock(_LOCK, parent)
    except OSError:
        return False
    finally:
        os.close(parent)
    try:
        if not durable.try_lock(held):
            return False
        shutil.rmtree(path, ignore_errors=True)
        return True
    finally:
        os.close(held)
