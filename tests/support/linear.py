"""Whether the time of some work grows in proportion to what it is given, measured so that noise does not decide."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vcsproxy.errors import VCSProxyError

MOST = 3.2  # times that twice as much may take, on a machine that is busy; what is quadratic takes four times as long
_ENOUGH = 0.006  # seconds of processor time that are measured without much noise
_QUICK = 0.25  # seconds for what is bounded, at its longest
_ATTEMPTS = 5

Make = Callable[[int], Any]
Work = Callable[[Any], object]


def assert_linear(work: Work, make: Make, longest: int) -> None:
    """Compare n with 2n and 4n, where n is large enough to measure; `make(n)` has a size in proportion to n.

    Where n would be above `longest`, the work must be quick on make(longest).
    """
    n = min(1024, longest)
    while n < longest and _cost(work, make(n)) < _ENOUGH:
        n = min(4 * n, longest)
    if n == longest:
        took = min(_cost(work, make(longest)) for _ in range(3))
        assert took < _QUICK, f"{took:.3f} s for {longest}"
        return
    seen: list[float] = []
    subjects = [make(n), make(2 * n), make(4 * n)]
    while len(seen) < _ATTEMPTS:
        one, two, four = (min(_cost(work, subject) for _ in range(2)) for subject in subjects)
        # Memory comes in steps, and a step costs once; what is quadratic grows fourfold both times.
        seen.append(round(min(two / one, four / two), 2))
        if seen[-1] < MOST:
            return
    raise AssertionError(f"from {n} to {2 * n} and {4 * n} the time grew by {seen}")


def _cost(work: Work, subject: object) -> float:
    """Seconds of processor time; refusals of the subject are an answer like any other."""
    gc.disable()
    started = time.process_time()
    try:
        with suppress(VCSProxyError, ValueError):
            work(subject)
        return time.process_time() - started
    finally:
        gc.enable()
