"""What can be seen of other processes in /proc: who descends from whom, memory, command lines, environments."""

from __future__ import annotations

import time
from pathlib import Path

from vcsproxy.build.entry import IDLE

PROC = Path("/proc")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on, none for a process that is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def descendants(pid: int) -> list[int]:
    """Every process below this one."""
    below: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


def workers(pid: int) -> list[int]:
    """The workers of a server that are at work: what descends from its fork server, helpers of workers too."""
    children = [child for child in descendants(pid) if _stat(child)[1:2] == [str(pid)]]
    found = [each for child in children for each in descendants(child) if is_alive(each)]
    return [each for each in found if _read(each, "comm").strip() != IDLE.encode()]


def wait_for_no_worker(pid: int, seconds: float) -> None:
    """Raise AssertionError if a worker of the server is still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while left := workers(pid):
        assert time.monotonic() < deadline, [command_line(each) for each in left]
        time.sleep(0.05)


def resident(pid: int) -> int:
    """Bytes of a process's memory that are in RAM, 0 for one that is gone."""
    try:
        text = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS:")), 0)


def command_line(pid: int) -> bytes:
    return _read(pid, "cmdline")


def environment(pid: int) -> bytes:
    """The environment that a process was started with, b"" where not even its owner may look."""
    return _read(pid, "environ")


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
