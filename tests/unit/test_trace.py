"""Steps: recorded in order, bounded, without secrets, and written one line each."""

from __future__ import annotations

import time

from vcsproxy.secret import Redactor, Secret
from vcsproxy.trace import Step, Trace, detailed, format_steps, note, note_each, tracing


def texts(trace: Trace) -> list[str]:
    return [step.text for step in trace.steps]


def test_notes_go_to_the_trace_of_the_context() -> None:
    note("rule", "nobody records this")
    with tracing(Trace()) as outer:
        note("rule", "one")
        with tracing(Trace()) as inner:
            note("rule", "two")
        note("refs", "three")
    note("rule", "nor this")
    assert texts(outer) == ["one", "three"]
    assert texts(inner) == ["two"]
    assert [step.topic for step in outer.steps] == ["rule", "refs"]
    assert 0 <= outer.steps[0].at <= outer.steps[1].at < 5


def test_details_are_kept_only_where_they_are_wanted() -> None:
    assert not detailed()
    for wanted in (False, True):
        with tracing(Trace(detailed=wanted)) as trace:
            assert detailed() is wanted
            note_each("tags", [("v1.0.0", "is the version v1.0.0"), ("x", "is none")], 2)
        assert texts(trace) == (["v1.0.0\tis the version v1.0.0", "x\tis none"] if wanted else [])
        assert all(step.sub for step in trace.steps)


def test_of_many_the_first_are_kept_and_the_rest_is_counted() -> None:
    made = []

    def lines() -> object:
        for number in range(10**9):
            made.append(number)
            yield str(number), "so"

    with tracing(Trace(detailed=True)) as trace:
        note_each("tags", lines(), 1_000_000)  # type: ignore[arg-type]
    assert len(trace.steps) == 41
    assert trace.steps[-1].text == "and 999960 more"
    assert len(made) == 40, "what is not shown is not made"


def test_a_trace_is_bounded_and_can_be_encoded() -> None:
    trace = Trace()
    for number in range(1000):
        trace.note("files", "x" * 1000 + str(number))
    trace.join((Step(0.0, "files", "no more room"),), trace.began)
    assert len(trace.steps) == 400
    assert {len(step.text) for step in trace.steps} == {400}
    odd = Trace()
    odd.note("files", "a\udce9b")
    assert texts(odd) == ["a?b"]


def test_secrets_are_taken_out_before_a_text_is_cut() -> None:
    secret = "canary-0123456789"
    trace = Trace(hide=Redactor((Secret(secret),)))
    trace.note("host", f"the host said {secret}")
    trace.note("host", "x" * 390 + secret)
    assert texts(trace)[0] == "the host said ****"
    assert "canary" not in texts(trace)[1]


def test_joined_steps_keep_their_place_in_time() -> None:
    trace = Trace(began=time.monotonic() - 10)
    trace.join((Step(0.5, "refs", "elsewhere"), Step(0.6, "refs", "below", sub=True)), trace.began + 2)
    assert trace.steps == [Step(2.5, "refs", "elsewhere"), Step(2.6, "refs", "below", sub=True)]


def test_lines_for_a_log() -> None:
    steps = [
        Step(0.0, "rule", "a\nforged line"),
        Step(1.23456, "tags", "two"),
        Step(1.3, "tags", "v1\tis none", sub=True),
    ]
    assert format_steps(steps) == ["0.000s rule: a forged line", "1.235s tags: two", "1.300s   tags: v1 is none"]
