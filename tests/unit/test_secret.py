"""A secret is seen by nobody who does not ask for it, and is taken out of texts in every form in which it travels."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import string
import traceback
from dataclasses import asdict, dataclass, field, replace
from pprint import pformat
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vcsproxy.build.job import RESULT, TASK, Access, Call, Failed, Host, Job, Op
from vcsproxy.errors import AccessDenied
from vcsproxy.mod.reporoot import Discover
from vcsproxy.secret import Redactor, Secret

CANARY = "canary-92d1f0"
SECRET = Secret(CANARY)


@dataclass(frozen=True)
class Holder:
    name: str
    secret: Secret = field(default_factory=lambda: SECRET)


SHOWN = {
    "str": lambda: str(SECRET),
    "repr": lambda: repr(SECRET),
    "f-string": lambda: f"{SECRET} {SECRET!r} {SECRET!s} {SECRET!a} {SECRET:>30} {SECRET:.3}",
    "percent": lambda: "%s %r %a" % (SECRET, SECRET, SECRET),  # noqa: UP031 - that is what is tested
    "format": lambda: "{} {!r} {:s}".format(SECRET, SECRET, SECRET),  # noqa: UP032
    "Template": lambda: string.Template("$x").substitute(x=SECRET),
    "in containers": lambda: f"{[SECRET]} {(SECRET,)} { {'a': SECRET} }",
    "pformat": lambda: pformat({"a": [SECRET], "b": Holder("x")}),
    "dataclass": lambda: repr(Holder("x")) + repr(replace(Holder("x"), name="y")),
    "dir": lambda: repr([getattr(SECRET, name, None) for name in ("__dict__", "__doc__", "__str__", "__slots__")]),
    "access": lambda: repr(Access("a", "https://h", "basic", "u", SECRET)),
    "call": lambda: repr(Call("POST", "https://h", SECRET)),
    "host": lambda: repr(Host("h", client_key_password=SECRET)),
    "job": lambda: repr(Job(Op.LIST, "p", "", Discover("p"), "/m", access=(Access("a", "https://h", "basic", "u", SECRET),))),
    "python dump": lambda: repr(TASK.dump_python(Call("POST", "https://h", SECRET))),
    "logging": lambda: logging.LogRecord("x", 1, "f", 1, "%s %r", (SECRET, Holder("x")), None).getMessage(),
}  # fmt: skip


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN.keys())
def test_it_shows_as_stars(show: object) -> None:
    assert callable(show)
    assert "canary" not in show()
    assert "92d1f0" not in show()


@pytest.mark.parametrize(
    "work", [pickle.dumps, copy.deepcopy, copy.copy, hash, json.dumps, vars, len, iter, bytes, asdict],
    ids=lambda work: work.__name__,
)  # fmt: skip
def test_it_is_not_pickled_copied_hashed_or_taken_apart(work: object) -> None:
    assert callable(work)
    for subject in (SECRET, Holder("x")) if work is asdict or work is pickle.dumps else (SECRET,):
        with pytest.raises(TypeError) as caught:
            work(subject)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_it_is_equal_by_value_and_not_to_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("\ud800") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert (repr(Secret("")), str(Secret(""))) == ("Secret('')", "")


def test_it_crosses_to_a_worker_as_text_and_is_a_secret_again_there() -> None:
    """In JSON between our own processes, and only there."""
    call = Call("POST", "https://h", SECRET)
    data = TASK.dump_json(call)
    assert CANARY.encode() in data
    again = TASK.validate_json(data)
    assert isinstance(again, Call)
    assert again == call
    assert CANARY not in repr(again)


def test_a_refused_value_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Host).validate_python({"name": 1, "client_key_password": SECRET, "jump": 2})
    assert CANARY not in str(caught.value)


def test_a_failure_of_a_worker_does_not_repeat_what_a_host_repeated() -> None:
    error = AccessDenied(f"the host said: bad token {CANARY}", f"https://u:{CANARY}@h is wrong")
    failed = Failed.of(error, (SECRET,))
    assert (failed.message, failed.hint) == ("the host said: bad token ****", "https://u:****@h is wrong")
    assert CANARY.encode() not in RESULT.dump_json(failed)


@pytest.mark.parametrize(
    "text",
    [
        CANARY, f"a{CANARY}b", f"{CANARY}{CANARY}", base64.b64encode(CANARY.encode()).decode(),
        quote(CANARY, safe=""),
    ],
)  # fmt: skip
def test_it_is_taken_out_of_texts(text: str) -> None:
    clean = Redactor([SECRET])(f"before {text} after")
    assert "canary" not in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")


def test_of_secrets_that_contain_each_other_nothing_is_left() -> None:
    longer = Secret(CANARY + "-and-more")
    for both in ([SECRET, longer], [longer, SECRET]):
        assert Redactor(both)(f"x {longer.reveal()} y {CANARY}") == "x **** y ****"


def test_of_a_key_every_line_is_taken_out() -> None:
    key = Secret("-----BEGIN KEY-----\nAAAAcanary1\nBBBBcanary2\n-----END KEY-----\n")
    assert "canary" not in Redactor([key])("read AAAAcanary1 and\nBBBBcanary2")


def test_what_is_too_short_to_be_told_from_words_is_left() -> None:
    assert Redactor([Secret("a"), Secret("abc"), Secret("")])("a cabbage") == "a cabbage"


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_survives_in_any_text(value: str, before: str, after: str) -> None:
    pieces = [line for line in value.splitlines() if line.strip()] if "\n" in value else [value]
    clean = Redactor([Secret(value)])(before + value + after)
    for piece in pieces:
        assert len(piece) < 4 or piece not in clean.replace("****", "\0") or set(piece) <= set("*")
