"""Which failures are remembered, and for how long."""

from __future__ import annotations

import pytest

from vcsproxy import errors
from vcsproxy.proxy.failures import Failures, Key
from vcsproxy.trace import Step

KEY: Key = ("git.test/x", "v1.0.0", "info")


class Clock:
    """Time that goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def seconds_remembered(err: errors.VCSProxyError, *, fixed: bool) -> float:
    """How long a failure is given again, to the second; 0: not at all."""
    clock = Clock()
    failures = Failures(clock)
    failures.remember(KEY, err, 10.0, fixed=fixed)
    while True:
        try:
            failures.check(KEY)
        except type(err):
            clock.now += 1
        else:
            return clock.now


@pytest.mark.parametrize(
    ("err", "fixed", "seconds"),
    [
        (errors.NotFound("no"), True, 10),
        (errors.RepositoryNotFound("no"), False, 10),
        (errors.Refused("big"), True, 600),
        (errors.Refused("big"), False, 60),
        (errors.ModuleChanged("other bytes"), True, 0),
        (errors.HostUnreachable("down"), True, 0),
        (errors.AccessDenied("401"), True, 0),
        (errors.DeadlineExceeded("slow"), True, 0),
        (errors.Corrupt("disk"), True, 0),
    ],
)
def test_absence_for_seconds_a_broken_limit_for_minutes_trouble_never(
    err: errors.VCSProxyError, fixed: bool, seconds: int
) -> None:
    assert seconds_remembered(err, fixed=fixed) == seconds


def test_what_is_remembered_keeps_its_words_and_steps() -> None:
    failures = Failures()
    first = errors.NotFound("no such tag", "tag it")
    first.steps = (Step(0.1, "refs", "3 tags"),)
    failures.remember(KEY, first, 10.0, fixed=True)
    with pytest.raises(errors.NotFound) as caught:
        failures.check(KEY)
    assert (caught.value.message, caught.value.hint, caught.value.steps) == (first.message, first.hint, first.steps)


def test_a_new_list_ends_absences_of_its_module_alone() -> None:
    failures = Failures()
    other: Key = ("git.test/y", "v1.0.0", "info")
    for key in (KEY, other):
        failures.remember(key, errors.NotFound("no"), 10.0, fixed=True)
    failures.forget_absences(KEY[0])
    failures.check(KEY)
    with pytest.raises(errors.NotFound):
        failures.check(other)


def test_their_number_is_bounded() -> None:
    failures = Failures()
    for n in range(25_000):
        failures.remember((f"git.test/{n}", "list"), errors.NotFound("no"), 10.0, fixed=False)
    assert sum(len(each) for each in failures._known.values()) <= 10_000
