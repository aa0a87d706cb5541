"""Answers that are as young as the refs they come from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.githost import GitHost
from tests.support.history import Step, build
from tests.support.proxyserver import serving
from vcsproxy.proxy.recent import Recent

PATH = "git.test/x"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recent(clock: Clock) -> Recent:
    return Recent(limit=2000, clock=clock)


def test_an_answer_is_good_as_long_as_its_refs(recent: Recent, clock: Clock) -> None:
    recent.put(PATH, "list", b"v1.0.0\n", read=990.0)
    assert recent.get(PATH, "list", 60.0) == (b"v1.0.0\n", 50.0)
    assert recent.get(PATH, "main", 60.0) is None
    clock.now = 1049.5
    assert recent.get(PATH, "list", 60.0) == (b"v1.0.0\n", 0.5)
    clock.now = 1050.0
    assert recent.get(PATH, "list", 60.0) is None


@pytest.mark.parametrize("read", [0.0, 1000.5, 940.0])
def test_answers_of_no_age_of_the_future_and_of_old_are_not_given(recent: Recent, read: float) -> None:
    """A repository on this machine is read in place each time; a clock that was set back proves nothing."""
    recent.put(PATH, "list", b"x", read)
    assert recent.get(PATH, "list", 60.0) is None


def test_newer_refs_end_the_life_of_all_answers_about_the_module(recent: Recent) -> None:
    recent.put(PATH, "list", b"old", 990.0)
    recent.put("other", "list", b"other", 980.0)
    recent.saw(PATH, 995.0)
    assert recent.get(PATH, "list", 60.0) is None
    recent.put(PATH, "list", b"late", 990.0)
    assert recent.get(PATH, "list", 60.0) is None
    recent.put(PATH, "list", b"new", 995.0)
    assert recent.get(PATH, "list", 60.0) == (b"new", 55.0)
    assert recent.get("other", "list", 60.0) == (b"other", 40.0)


def test_memory_is_bounded(recent: Recent) -> None:
    for number in range(50):
        recent.put(f"m{number}", "list", b"x" * 100, 999.0)
    kept = [number for number in range(50) if recent.get(f"m{number}", "list", 60.0)]
    assert kept == [47, 48, 49]


def test_a_list_asks_no_host_twice_a_minute_and_knows_a_new_tag_as_soon_as_it_was_asked_for(tmp_path: Path) -> None:
    repo = build(tmp_path / "repos" / "x", [Step({"go.mod": f"module {PATH}\n"}, tags=["v1.0.0"]), Step({"go.mod": f"module {PATH}\n", "y.go": "package x\n"}, [0])])  # fmt: skip
    with GitHost(tmp_path / "repos").running() as host:
        config = (
            f'[[source]]\nroot = "{PATH}"\nurl = "{host.url}/x"\n[freshness]\nnegative = "0s"\n[log]\nformat = "json"\n'
        )
        with serving(tmp_path / "s", config) as server:
            for question in ("@v/list", "@latest", "@v/main.info"):
                first = server.get(f"/{PATH}/{question}")
                assert first.status == 200
                asked = len(host.requests)
                assert [server.get(f"/{PATH}/{question}").data for _ in range(3)] == [first.data] * 3
                assert len(host.requests) == asked
            repo.tag("v1.1.0", repo.git("rev-parse", "main"))
            assert server.get(f"/{PATH}/@v/list", headers={"If-None-Match": '"x"'}).data == b"v1.0.0\n"
            assert server.get(f"/{PATH}/@latest").status == 200
            until = (
                time.monotonic() + 10
            )  # an unknown version makes the server look again, not more often than every 2 s
            while server.get(f"/{PATH}/@v/v1.1.0.info").status != 200:
                assert time.monotonic() < until
                time.sleep(0.3)
            assert server.get(f"/{PATH}/@v/list", headers={"If-None-Match": '"x"'}).data == b"v1.0.0\nv1.1.0\n"
