"""A seed, and a sync by its plan, is killed at random moments; the next run completes it.

Real processes, kill -9, 50 times each. What was killed leaves a store that is sound as it is, but for `list` files that
the next start mends, and after a second run it has everything.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.history import Step, build
from tests.support.killed import faults, finished, infos, kill_midway, moments

pytestmark = pytest.mark.slow

KILLS = 50
MODULES, TAGS = 6, 4


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("repos")
    for number in range(MODULES):
        chance = random.Random(number)
        gomod = f"module git.test/m{number}\n\ngo 1.21\n"
        steps = [
            Step({"go.mod": gomod, "m.go": "package m\n", "data.bin": chance.randbytes(300_000)}, [n - 1] if n else [], tags=[f"v1.{n}.0"])
            for n in range(TAGS)
        ]  # fmt: skip
        build(top / f"m{number}", steps)
    return top


def prepared(work: Path, repos: Path) -> list[str]:
    """The targets of a seed below `work`, where a configuration lies."""
    (work / "vcsproxy.toml").write_text(
        f'[server]\ndata = "data"\n[[source]]\nroot = "git.test/{{repo}}"\nurl = "file://{repos}/{{repo}}"\n'
    )
    return [f"git.test/m{number}@all" for number in range(MODULES)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", ["seed", "sync"])
def test_killed_at_any_moment_the_next_run_completes(repos: Path, tmp_path: Path, what: str) -> None:
    targets = prepared(tmp_path, repos)
    finished(tmp_path, "seed", *targets, "--out", "once", "--save", "plan.toml")
    plan = (tmp_path / "plan.toml").read_text()
    begun = time.monotonic()
    finished(tmp_path, "seed", *targets, "--out", "whole")
    whole = time.monotonic() - begun
    partly = 0
    for number, moment in enumerate(moments(what, whole * 0.6, KILLS)):
        out = f"out{number}"
        (tmp_path / "plan.toml").write_text(plan.replace('out = "once"', f'out = "{out}"'))
        command = ["sync", "plan.toml"] if what == "sync" else ["seed", *targets, "--out", out]
        store = tmp_path / out
        kill_midway(tmp_path, store, moment, *command)
        assert faults(store, lists=False) == []
        partly += 0 < infos(store) < MODULES * TAGS
        finished(tmp_path, *command)
        assert infos(store) == MODULES * TAGS
        assert faults(store, lists=True) == []
        assert not (store / ".vcsproxy").exists()
    assert partly >= KILLS // 10, "the moments were not spread over the work"
