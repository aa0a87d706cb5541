"""Zips are made ahead where that was right before, and only there."""

from __future__ import annotations

from vcsproxy.proxy import foresight
from vcsproxy.proxy.foresight import Foresight

M = "example.com/m"


def ask(seen: Foresight, version: str, *, zip_too: bool, path: str = M) -> bool:
    seen.made(path, version)
    likely = seen.gomod_asked(path, version)
    if zip_too:
        seen.zip_asked(path, version)
    return likely


def test_a_zip_is_likely_where_most_earlier_versions_had_theirs_asked_for() -> None:
    seen = Foresight()
    assert [ask(seen, f"v1.{n}.0", zip_too=n < 3) for n in range(9)] == [False, *[True] * 6, False, False]
    assert not ask(seen, "v1.0.0", zip_too=True, path="example.com/other")


def test_only_the_first_question_about_a_version_made_here_counts() -> None:
    seen = Foresight()
    ask(seen, "v1.0.0", zip_too=True)
    assert not seen.gomod_asked(M, "v0.9.0")  # was there before
    seen.made(M, "v1.1.0")
    assert [seen.gomod_asked(M, "v1.1.0") for _ in range(3)] == [True, False, False]
    for _ in range(3):
        seen.zip_asked(M, "v1.1.0")
    assert (seen._past[M].gomods, seen._past[M].zips) == (2, 2)


def test_what_is_kept_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(foresight, "_MOST_MODULES", 3)
    monkeypatch.setattr(foresight, "_MOST_NEW", 3)
    seen = Foresight()
    for number in range(10):
        ask(seen, "v1.0.0", zip_too=False, path=f"example.com/m{number}")
    assert (len(seen._past), len(seen._new)) == (3, 3)
