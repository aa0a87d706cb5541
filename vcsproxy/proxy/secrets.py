"""Reading a secret from where the configuration says that it is: a file, a variable, or what a program prints.

It knows nothing of what secrets are for. No error here holds a secret, and no program's output is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import stat
from pathlib import Path

import structlog

from vcsproxy import errors
from vcsproxy.secret import Secret

log = structlog.get_logger()

_MAX = 64 << 10
_SECONDS = 10.0


async def resolve(source: str, *, whole: bool = False) -> Secret:
    """The secret that `file:PATH`, `env:NAME` or `cmd:PROGRAM ARGUMENTS` names; Secret("") for no source.

    whole: all of it, as for keys; else without newlines at its end, of a program's output the first line. Raises
    VCSProxyError with a sentence that says what is wrong.
    """
    if not source:
        return Secret("")
    kind, _, name = source.partition(":")
    if kind == "file":
        shown, text = source, await asyncio.to_thread(read_file, Path(name))
    elif kind == "env":
        shown, text = source, _variable(name)
    else:
        argv = _words(name)
        shown, text = f"the output of {argv[0]}", await _output(argv)  # arguments may be nobody's business
    value = text if whole else _first_line(text) if kind == "cmd" else text.rstrip("\r\n")
    if not value.strip():
        raise errors.VCSProxyError(f"{shown} is empty")
    if not whole and not value.isprintable():
        raise errors.VCSProxyError(f"{shown} has more than one line, or characters that cannot be sent")
    return Secret(value)


def _first_line(text: str) -> str:
    return text.partition("\n")[0].rstrip("\r")


def _variable(name: str) -> str:
    text = os.environ.get(name, "")
    if not text:
        raise errors.VCSProxyError(f"the environment variable {name} is not set or empty")
    return text


def _words(command: str) -> list[str]:
    try:
        argv = shlex.split(command)
    except ValueError as bad:
        raise errors.VCSProxyError(f"the command cannot be read: {bad}") from None
    if not argv or not argv[0] or "\0" in command:
        raise errors.VCSProxyError("the command names no program")
    return argv


def read_file(file: Path, *, private: bool = False, public: bool = False) -> str:
    """The text of a regular file of at most 64 KiB. Raises VCSProxyError.

    A file that everybody may write is refused, with `private` also one that others than its owner may read. public:
    it is no secret, and may be read by everybody without a word.
    """
    try:
        # Without waiting: a named pipe would hold us until somebody writes to it.
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise errors.VCSProxyError(f"{file} is no regular file")
            data = opened.read(_MAX + 1)
        text = data.decode()
    except OSError as err:
        raise errors.VCSProxyError(f"{file}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise errors.VCSProxyError(f"{file} is not UTF-8") from None
    if len(data) > _MAX:
        raise errors.VCSProxyError(f"{file} is larger than {_MAX} bytes")
    _check_mode(file, stat.S_IMODE(found.st_mode), private=private, public=public)
    return text


def _check_mode(file: Path, mode: int, *, private: bool, public: bool) -> None:
    if mode & 0o002:
        raise errors.VCSProxyError(f"{file} may be written by everybody; chmod 600 it")
    if private and mode & 0o077:
        raise errors.VCSProxyError(f"{file} may be read by others than its owner; chmod 600 it")
    if mode & 0o004 and not public:
        log.warning("secret_readable", file=str(file), reason="everybody on this machine may read it")


async def run(argv: list[str], stdin: bytes = b"") -> bytes:
    """What a program prints, at most 64 KiB. Raises VCSProxyError when it fails or takes longer than 10 seconds."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"LC_ALL": "C.UTF-8"}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=env, start_new_session=True,
        )  # fmt: skip
    except OSError as err:
        raise errors.VCSProxyError(f"cannot run {argv[0]}: {err.strerror}") from None
    try:
        async with asyncio.timeout(_SECONDS):
            data = await _talk(process, stdin)
            if len(data) > _MAX:
                raise errors.VCSProxyError(f"{argv[0]} prints more than {_MAX} bytes")
            code = await process.wait()
    except TimeoutError:
        raise errors.VCSProxyError(f"{argv[0]} took longer than {_SECONDS:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
        await process.wait()
    if code != 0:
        raise errors.VCSProxyError(f"{argv[0]} failed with exit code {code}")
    return data


async def _talk(process: asyncio.subprocess.Process, stdin: bytes) -> bytes:
    """Say `stdin`, and hear the end or a little too much."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop calls a pipe that has been closed a RuntimeError
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    data = b""
    while len(data) <= _MAX and (piece := await process.stdout.read(_MAX)):
        data += piece
    return data


async def _output(argv: list[str]) -> str:
    try:
        return (await run(argv)).decode()
    except UnicodeDecodeError:
        raise errors.VCSProxyError(f"{argv[0]} prints what is not UTF-8") from None
