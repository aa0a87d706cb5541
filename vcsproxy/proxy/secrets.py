"""Reading a secret from where the configuration says that it is: a file, a variable, or what a program prints.

No error here holds a secret, and no program's output is shown.
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

    whole: all of it, as for keys; else without white space at its ends, of a program's output the first line. Raises
    VCSProxyError with a sentence that says what is wrong.
    """
    kind, _, name = source.partition(":")
    if not source:
        return Secret("")
    if kind == "file":
        text = await asyncio.to_thread(read_file, Path(name))
    elif kind == "env":
        text = os.environ.get(name, "")
        if not text:
            raise errors.VCSProxyError(f"the environment variable {name} is not set or empty")
    else:
        text = await _output(shlex.split(name))
    value = text if whole else (text.strip().split("\n")[0].strip() if kind == "cmd" else text.strip())
    if not value:
        raise errors.VCSProxyError(f"{_shown(source)} is empty")
    if not whole and any(c in value for c in "\n\r\0"):
        raise errors.VCSProxyError(f"{_shown(source)} has more than one line")
    return Secret(value)


def _shown(source: str) -> str:
    """A source for messages: arguments of a program may be nobody's business."""
    kind, _, name = source.partition(":")
    return f"{kind}:{name}" if kind != "cmd" else f"the output of {shlex.split(name)[0]}"


def read_file(file: Path, *, private: bool = False) -> str:
    """The text of a file of at most 64 KiB. Raises VCSProxyError.

    A file that everybody may write is refused, with `private` also one that others than its owner may read.
    """
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            data = opened.read(_MAX + 1)
        text = data.decode()
    except OSError as err:
        raise errors.VCSProxyError(f"{file}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise errors.VCSProxyError(f"{file} is not UTF-8") from None
    if len(data) > _MAX:
        raise errors.VCSProxyError(f"{file} is larger than {_MAX} bytes")
    if mode & 0o002 or (private and mode & 0o077):
        raise errors.VCSProxyError(f"{file} may be {'read' if private else 'written'} by others; chmod 600 it")
    if mode & 0o004:
        log.warning("secret_readable", file=str(file), reason="everybody on this machine may read it")
    return text


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
            code = await process.wait()
    except TimeoutError:
        raise errors.VCSProxyError(f"{argv[0]} took longer than {_SECONDS:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()
    if code != 0:
        raise errors.VCSProxyError(f"{argv[0]} failed with exit code {code}")
    return data


async def _talk(process: asyncio.subprocess.Process, stdin: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    data = b""
    while len(data) <= _MAX and (piece := await process.stdout.read(_MAX)):
        data += piece
    if len(data) > _MAX:
        raise errors.VCSProxyError("a program that should print a secret prints too much")
    return data


async def _output(argv: list[str]) -> str:
    try:
        return (await run(argv)).decode()
    except UnicodeDecodeError:
        raise errors.VCSProxyError(f"{argv[0]} prints what is not UTF-8") from None
