"""What a comparison is made of: rows with a ratio and its target, the machine it ran on, and timing."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gotool import find_go

AT_MOST, AT_LEAST = "<=", ">="


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` is ours by theirs in what `unit` says; `target` None where there is none."""

    part: str
    case: str
    what: str
    ours: float
    theirs: float
    unit: str = "s"
    target: float | None = None
    sense: str = AT_MOST
    notes: dict[str, float | str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs > 0 else float("nan")

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        met = self.ratio <= self.target if self.sense == AT_MOST else self.ratio >= self.target
        return "ok" if met else "MISSED"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": round(self.ratio, 4), "verdict": self.verdict}


def interleaved(runs: int, sides: dict[str, Callable[[int], float]]) -> dict[str, float]:
    """The median of each side's seconds; the sides take turns, so that what disturbs the machine disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(runs):
        for name, side in sides.items():
            times[name].append(side(number))
    return {name: statistics.median(values) for name, values in times.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def machine() -> dict[str, str]:
    """What the figures belong to."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "go": _said(str(find_go()), "version"),
        "git": _said("git", "version"),
        "commit": _said("git", "describe", "--always", "--dirty", "--abbrev=12"),
    }


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def memory(pid: int, what: str = "VmRSS") -> int:
    """Bytes that a process has in memory (VmRSS) or had at most (VmHWM); 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) << 10
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used itself."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
