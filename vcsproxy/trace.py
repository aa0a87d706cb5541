"""What one piece of work has done so far, step by step, for whoever must explain its outcome.

Steps are short sentences with the time at which they were noted. They are recorded always, because the failure that
needs explaining has not been announced; details that cost work belong behind `detailed()`. No step holds a secret, but
any may hold text of a hostile repository: whoever shows them makes that harmless.

`note()` writes to the trace of the running context, so that functions need not hand it through; without one it does
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import islice

_MAX_STEPS = 400
_MAX_TEXT = 400
_MAX_LISTED = 40


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done or found. at: seconds since the work began. topic: one of TOPICS; text: one sentence.

    sub: whether it is one of several that belong to the step before them.
    """

    at: float
    topic: str
    text: str
    sub: bool = False


TOPICS = (
    "rule", "discovery", "repository", "credential", "host", "refs", "fetch", "tags", "revision", "directory", "go.mod",
    "files", "store", "answer", "cause", "cure",
)  # fmt: skip


@dataclass
class Trace:
    """Records steps from now on. hide: takes secrets out of texts, which a host may have repeated."""

    detailed: bool = False
    hide: Callable[[str], str] = str
    steps: list[Step] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def note(self, topic: str, text: str, *, sub: bool = False) -> None:
        if len(self.steps) < _MAX_STEPS:
            clean = self.hide(text).encode("utf-8", "replace").decode()
            clean = clean if len(clean) <= _MAX_TEXT else clean[: _MAX_TEXT - 3] + "..."
            self.steps.append(Step(round(time.monotonic() - self.began, 4), topic, clean, sub))

    def join(self, steps: tuple[Step, ...], began: float) -> None:
        """Take over the steps of work done elsewhere that began at `began` of the monotonic clock."""
        room = _MAX_STEPS - len(self.steps)
        self.steps += [replace(step, at=round(began - self.began + step.at, 4)) for step in steps[:room]]


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Make `trace` the one that `note` writes to."""
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def note(topic: str, text: str) -> None:
    """Record a step, if anybody records."""
    trace = _current.get()
    if trace is not None:
        trace.note(topic, text)


def detailed() -> bool:
    """Whether steps that cost work are wanted."""
    trace = _current.get()
    return trace is not None and trace.detailed


def note_each(topic: str, lines: Iterable[tuple[str, str]], total: int) -> None:
    """Record (name, what is to be said of it) below the step before, if details are wanted; only the first of many.

    total: how many lines there are; the rest is counted. Name and saying are separated by the last tab of the text.
    """
    trace = _current.get()
    if trace is None or not trace.detailed:
        return
    for name, saying in islice(lines, _MAX_LISTED):
        trace.note(topic, f"{name}\t{saying}", sub=True)
    if total > _MAX_LISTED:
        trace.note(topic, f"and {total - _MAX_LISTED} more", sub=True)


def format_steps(steps: Sequence[Step]) -> list[str]:
    """One line a step, for a log: seconds, topic, text; what belongs to the step before is set in by two blanks."""
    return [f"{step.at:.3f}s {'  ' if step.sub else ''}{step.topic}: {_one_line(step.text)}" for step in steps]


def _one_line(text: str) -> str:
    return " ".join(text.split())
