"""Other module proxies, where their programs are on PATH: goproxy (goproxy/goproxy) and Athens (gomods/athens).

They fetch from a GOPROXY=file:// tree, which all of them can, and keep what they fetched by themselves: once
each answer has been asked for, they serve it from their own disk as they would any other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench import warm
from tests.support.gotool import find_go

Begin = Callable[[Path, Path], AbstractContextManager["warm.Server"]]


def installed() -> list[Begin]:
    """What starts each of them, given a directory for its files and the tree to fetch from."""
    return [begin for name, begin in (("goproxy", _goproxy), ("athens", _athens)) if shutil.which(name)]


@contextlib.contextmanager
def _goproxy(work: Path, tree: Path) -> Iterator[warm.Server]:
    port = warm.free_port()
    command = ["goproxy", "server", "--address", f"127.0.0.1:{port}", "--cacher-dir", str(work / "goproxy")]
    with _running(command, work, tree) as pid:
        warm.wait_for(port)
        yield warm.Server("goproxy", f"127.0.0.1:{port}", (pid,))


@contextlib.contextmanager
def _athens(work: Path, tree: Path) -> Iterator[warm.Server]:
    port = warm.free_port()
    storage = work / "athens"
    storage.mkdir()
    env = {
        "ATHENS_STORAGE_TYPE": "disk",
        "ATHENS_DISK_STORAGE_ROOT": str(storage),
        "ATHENS_PORT": f"127.0.0.1:{port}",
        "ATHENS_GO_BINARY_PATH": str(find_go()),
        "ATHENS_LOG_LEVEL": "error",
    }
    with _running(["athens"], work, tree, **env) as pid:
        warm.wait_for(port)
        yield warm.Server("Athens", f"127.0.0.1:{port}", (pid,))


@contextlib.contextmanager
def _running(command: list[str], work: Path, tree: Path, **more: str) -> Iterator[int]:
    env = {
        "PATH": f"{find_go().parent}:{os.environ['PATH']}", "HOME": str(work), "GOPROXY": f"file://{tree}",
        "GONOSUMDB": "*", "GOSUMDB": "off", "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", **more,
    }  # fmt: skip
    with subprocess.Popen(command, env=env, cwd=work, stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
