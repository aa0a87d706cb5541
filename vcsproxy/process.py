"""What a process does to itself so that its memory stays its own. Linux only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import resource
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS = 1, 4, 15, 38


def keep_secrets() -> None:
    """No core dumps, and no reading of this process's memory or environment by others of its user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(PR_SET_DUMPABLE, 0)


def call_it(name: str) -> None:
    """Show another name for this process (its main thread) in `ps` and /proc/PID/comm: 15 characters of it."""
    prctl(PR_SET_NAME, name.encode())


def prctl(option: int, value: int | bytes) -> None:
    """prctl(2), where there is one; a kernel that refuses leaves things as they were."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
