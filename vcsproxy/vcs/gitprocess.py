"""Running system git in a closed environment, through GitPython's command runner and nothing else of it.

The child sees the variables that it is given and no others, its output is bounded while it is read, and what it says on
standard error is kept for diagnosis. It knows nothing of repositories or hosts.

Theory of operation: GitPython adds this process's variables to those of the child, so the variables are exchanged while
the child is started; a worker starts one at a time. The child stays in the worker's process group, which is killed with
it, and inherits its limits.

Source: git(1), "Environment Variables".
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, BinaryIO

from vcsproxy import errors

OLDEST = (2, 39)
_PATH = "/usr/bin:/bin"
_MAX_SAID = 1 << 20  # bytes of progress and messages before git is ended
_KEPT_SAID = 1 << 16
_PATIENCE = 5.0  # seconds for git to end its own children
_VERSION = re.compile(rb"git version (\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Ended:
    """How git ended: its exit status, negative for a signal, and what it said."""

    status: int
    said: str


def run(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    directory: str,
    *,
    take: Callable[[bytes], None] | None = None,
    stdin: BinaryIO | None = None,
    limits: Mapping[int, int] | None = None,
) -> Ended:
    """Run `git ARGUMENTS` in a directory with exactly these variables and a fixed PATH.

    take: gets standard output piece by piece; what it raises ends git. limits: resource (RLIMIT_...) -> bytes, besides
    those of this process. Raises Unavailable when there is no git or it is too old, Refused when it says too much.
    """
    process = _start([executable(), *arguments], {"PATH": _PATH, **variables}, directory, stdin, limits or {})
    said = bytearray()

    def hear(piece: bytes) -> None:
        said.extend(piece)
        if len(said) > _MAX_SAID:
            raise errors.Refused("the Git host sends endless progress messages")

    try:
        _drain({process.stdout: take or (lambda _: None), process.stderr: hear})
        return Ended(process.wait(), said[-_KEPT_SAID:].decode("utf-8", "replace"))
    finally:
        _end(process)


def executable() -> str:
    """Where git is. Raises Unavailable."""
    found = shutil.which("git")
    if found is None:
        raise errors.Unavailable('engine = "git" needs git, and this machine has none', "install git 2.39 or newer")
    return found


@lru_cache(maxsize=4)
def version(git: str) -> tuple[int, int]:
    """Major and minor version of a git. Raises Unavailable when it is too old for what keeps it in bounds."""
    found = _VERSION.match(_told(git, "version"))
    known = (int(found[1]), int(found[2])) if found else (0, 0)
    if known < OLDEST:
        raise errors.Unavailable(
            f'git {known[0]}.{known[1]} is too old for engine = "git"', "install git 2.39 or newer"
        )
    return known


@lru_cache(maxsize=4)
def exec_path(git: str) -> str:
    """Where a git has the programs that are no part of itself."""
    return os.fsdecode(_told(git, "--exec-path").strip())


def _told(git: str, word: str) -> bytes:
    out = bytearray()
    process = _start([git, word], {"PATH": _PATH}, "/", None, {})
    try:
        _drain({process.stdout: out.extend, process.stderr: lambda _: None})
    finally:
        _end(process)
    return bytes(out)


def _start(
    command: list[str], variables: Mapping[str, str], directory: str, stdin: BinaryIO | None, limits: Mapping[int, int]
) -> subprocess.Popen[bytes]:
    with _variables({"GIT_PYTHON_REFRESH": "quiet", "PATH": "/nonexistent"}):
        from git import Git  # noqa: PLC0415 - few jobs need it; and its import would run whatever git it finds
    with _variables(variables), _lowered(limits):
        # Signals stay as Python has them: a write beyond RLIMIT_FSIZE is an error that git tells, not a silent death.
        started: Any = Git(directory).execute(command, as_process=True, istream=stdin, restore_signals=False)
    process: subprocess.Popen[bytes] = started.proc
    started.proc = None  # its wrapper must not interrupt a process that we wait for
    return process


@contextlib.contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's environment, replaced."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextlib.contextmanager
def _lowered(limits: Mapping[int, int]) -> Iterator[None]:
    """Limits for the children that are started here; none is raised."""
    kept = {what: resource.getrlimit(what) for what in limits}
    for what, (soft, hard) in kept.items():
        if soft == resource.RLIM_INFINITY or limits[what] < soft:
            resource.setrlimit(what, (limits[what], hard))
    try:
        yield
    finally:
        for what, both in kept.items():
            resource.setrlimit(what, both)


def _drain(streams: Mapping[IO[bytes] | None, Callable[[bytes], None]]) -> None:
    """Hand out what arrives on several pipes until all have ended."""
    with selectors.DefaultSelector() as waiting:
        for stream, take in streams.items():
            assert stream is not None
            waiting.register(stream, selectors.EVENT_READ, take)
        while waiting.get_map():
            for key, _ in waiting.select():
                piece = os.read(key.fd, 1 << 16)
                if piece:
                    key.data(piece)
                else:
                    waiting.unregister(key.fileobj)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that nothing of it is left: git ends its helpers itself when it is asked to end."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
