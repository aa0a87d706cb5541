"""Proof that something was left alone: files that nobody opened or changed, programs that nobody ran."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = (
    "git", "ssh", "sh", "bash", "env", "curl", "wget", "hg", "svn", "fossil", "bzr", "git-lfs", "git-upload-pack",
    "git-remote-ext", "git-credential-store", "touch", "nc", "netcat", "python3", "perl", "scp", "sftp",
)  # fmt: skip
_OPEN, _CLOEXEC, _NONBLOCK = 0x20, 0o2000000, 0o4000
_EVENT = struct.Struct("iIII")


def below(directory: Path) -> Iterator[Path]:
    """Every file and directory below, also where a running server makes and removes some meanwhile.

    Not what is in the repository of ours over which workers rehearse.
    """
    for at, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith("rehearsal-")]
        yield from (Path(at, name) for name in (*directories, *files))


def listing(directory: Path, *but: str) -> dict[str, tuple[int, int, int, str]]:
    """Every file below a directory: mode, size, time of change, target of a link; `but` are first elements left out."""
    found = {}
    for path in sorted(below(directory)):
        name = str(path.relative_to(directory))
        if name.partition("/")[0] not in but:
            about = path.lstat()
            when = 0 if path.is_dir() and not path.is_symlink() else about.st_mtime_ns
            found[name] = (about.st_mode, 0 if path.is_dir() else about.st_size, when, _target(path))
    return found


def _target(path: Path) -> str:
    return os.readlink(path) if path.is_symlink() else ""


@dataclass(frozen=True)
class Tripwire:
    """A directory of programs that do nothing but note that they were run, to be found first in PATH."""

    directory: Path

    @classmethod
    def stretch(cls, directory: Path) -> Tripwire:
        directory.mkdir(parents=True)
        for name in PROGRAMS:
            program = directory / name
            program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>{directory}.runs\nexit 1\n')
            program.chmod(0o755)
        return cls(directory)

    @property
    def path(self) -> str:
        """A value for PATH."""
        return f"{self.directory}:/usr/bin:/bin"

    @property
    def runs(self) -> list[str]:
        """One line for each program that was run."""
        log = Path(f"{self.directory}.runs")
        return log.read_text().splitlines() if log.exists() else []


class Opened:
    """Names in some directories that anybody has opened since, by the kernel's word (inotify)."""

    def __init__(self, fd: int, watched: dict[int, Path]) -> None:
        self._fd = fd
        self._watched = watched

    def files(self) -> set[Path]:
        found = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, 65536):
                at = 0
                while at < len(data):
                    number, _, _, size = _EVENT.unpack_from(data, at)
                    name = data[at + _EVENT.size : at + _EVENT.size + size].rstrip(b"\0")
                    found.add(self._watched[number] / os.fsdecode(name))
                    at += _EVENT.size + size
        return found


@contextlib.contextmanager
def watching(*directories: Path) -> Iterator[Opened]:
    """Watch directories (not what is deeper). Raises OSError where the kernel has no inotify to give."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(_CLOEXEC | _NONBLOCK)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    try:
        numbers = {libc.inotify_add_watch(fd, os.fsencode(each), _OPEN): each for each in directories}
        yield Opened(fd, numbers)
    finally:
        os.close(fd)
