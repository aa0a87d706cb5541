"""Commands that are killed in the middle, and stores that are looked at afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from vcsproxy.store.check import check
from vcsproxy.store.survey import Finding

TOP = Path(__file__).resolve().parents[2]


def start(cwd: Path, *args: str) -> subprocess.Popen[str]:
    """Begin a verb of vcsproxy."""
    return subprocess.Popen(
        [sys.executable, "-m", "vcsproxy", *args],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.defpath, "PYTHONPATH": str(TOP), "HOME": str(cwd)},
    )  # fmt: skip


def finished(cwd: Path, *args: str) -> str:
    """What a verb prints, which has to succeed."""
    with start(cwd, *args) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def kill_midway(cwd: Path, store: Path, seconds: float, *args: str) -> None:
    """Begin a verb, and kill it so long after its store has appeared: before that nothing can go wrong."""
    process = start(cwd, *args)
    while not store.is_dir() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def moments(seed: str, longest: float, number: int) -> list[float]:
    """Moments spread over some time."""
    chance = random.Random(seed)
    return [chance.random() * longest for _ in range(number)]


def faults(store: Path, *, lists: bool) -> list[Finding]:
    """What `vcsproxy store check` finds wrong; without `lists`, not in `list` files, which the next start mends."""
    found: list[Finding] = []
    if store.is_dir():
        check(store, 100, found.append, lambda text: None, processes=0)
    return [each for each in found if each.is_fault and (lists or not each.name.endswith("/list"))]


def infos(store: Path) -> int:
    """How many versions are published."""
    return len(list(store.rglob("v*.info")))
