"""URL prefixes, netrc files, git's credential protocol and the agent's messages: what they mean, and that no bytes break them."""

from __future__ import annotations

import struct
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from vcsproxy.access import agentwire, gitcredential, netrc
from vcsproxy.access.prefix import Prefix, longest

# --- prefixes


@pytest.mark.parametrize(
    ("prefix", "url", "covers"),
    [
        ("https://h.test", "https://h.test", True),
        ("https://h.test", "https://H.TEST:443/a", True),
        ("https://h.test/", "https://h.test/a", True),
        ("https://h.test/a/", "https://h.test/a", True),
        ("https://h.test/a", "https://h.test/ab", False),
        ("https://h.test/a", "https://h.test/A", False),
        ("https://h.test/a", "https://user:x@h.test/a/b", True),
        ("https://h.test/a", "https://h.test/a/../b", False),
        ("https://h.test/a", "https://h.test/a/%2E%2e/b", False),
        ("https://h.test/a", "https://h.test/a%2f..%2fb", False),
        ("https://h.test/a", "https://h.test/a\\..\\b", False),
        ("https://h.test:8443", "https://h.test", False),
        ("https://h.test", "http://h.test", False),
        ("https://h.test", "https://h.test.evil", False),
        ("https://h.test", "https://h.test@evil", False),
        ("ssh://h.test", "git@h.test:a/b.git", True),
        ("ssh://git@h.test:2222/a", "ssh://other@h.test:2222/a/b", True),
        ("ssh://h.test:2222", "git@h.test:a", False),
        ("https://h.test", "h.test", False),
        ("https://h.test", "https://h.test:99999/", False),
    ],
)
def test_what_a_prefix_covers(prefix: str, url: str, covers: bool) -> None:
    assert Prefix.parse(prefix).covers(url) is covers


def test_the_longest_wins_whatever_the_order() -> None:
    known = [("https://h.test", 1), ("https://h.test/a/b", 3), ("https://h.test/a", 2), ("https://h.test/a/b", 4)]
    for order in (known, known[::-1]):
        assert longest(order, "https://h.test/a/b/c") == (3 if order is known else 4)
        assert longest(order, "https://h.test/a/c") == 2
        assert longest(order, "https://h.test/c") == 1
    assert longest(known, "https://other.test") is None


@given(st.text(max_size=60))
def test_no_text_breaks_a_prefix_or_is_covered_by_chance(text: str) -> None:
    assert not Prefix.parse("https://secret.test/team").covers(text) or text.lower().startswith("https://")


# --- netrc


def entries(text: str) -> list[tuple[str, str, str]]:
    return [(m.name, m.login, m.password.reveal()) for m in netrc.parse(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("machine h login l password p", [("h", "l", "p")]),
        ("machine H\n\tlogin l\n\tpassword p\nmachine i password q", [("h", "l", "p"), ("i", "", "q")]),
        ('machine h login "a b" password "q\\"x"', [("h", "a b", 'q"x')]),
        ("# note\nmachine h password p#x", [("h", "", "p#x")]),
        ("machine h password p\ndefault login x password y", [("h", "", "p")]),
        ("machine h password p\nmacdef init\ncd /\nmachine evil password z\n\nmachine i password q",
         [("h", "", "p"), ("i", "", "q")]),
        ("machine h account a password p", [("h", "", "p")]),
        ("", []),
    ],
)  # fmt: skip
def test_netrc(text: str, found: list[tuple[str, str, str]]) -> None:
    assert entries(text) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [("\n\nlogin x", 3), ("machine h\npassword", 2), ('machine h password "x', 1), ("machine h secret x", 1)],
)
def test_netrc_faults_name_the_line_and_no_secret(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line}: ") as caught:
        netrc.parse(text)
    assert "secret" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from('machine login password default macdef "\\#\n\t hx'), max_size=200))
def test_no_netrc_breaks_the_parser(text: str) -> None:
    fault = ""
    try:
        netrc.parse(text)
    except ValueError as bad:
        fault = str(bad)
    assert not fault or fault.startswith("line ")


# --- git's credential protocol


def test_a_question_and_an_answer() -> None:
    assert (
        gitcredential.question("https://h.test:8443/a/b.git") == b"protocol=https\nhost=h.test:8443\npath=a/b.git\n\n"
    )
    answer = gitcredential.parse(b"username=u\npassword=p=q\npassword_expiry_utc=1900000000\nother=x\n")
    assert (answer.username, answer.password.reveal(), answer.expires) == ("u", "p=q", 1.9e9)


@pytest.mark.parametrize(
    "data", [b"", b"username=u\n", b"password=\n", b"password=a\0b\n", b"password=a\rb\n", b"\xff", b"nonsense", b"quit=1\n",
             b"password=x\n" * 7000],
)  # fmt: skip
def test_answers_that_are_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|give up"):
        gitcredential.parse(data)


@pytest.mark.parametrize("url", ["https://h.test/a%0ahost=evil", "https://h.test/a\nhost=evil"])
def test_no_url_asks_for_another_host(url: str) -> None:
    """CVE-2020-5260: a newline in a value would be another field."""
    try:
        asked = gitcredential.question(url)
    except ValueError:
        return
    assert b"\nhost=h.test\n" in asked
    assert b"\nhost=evil" not in asked


# --- the agent


ED = agentwire.Key.of(ed25519.Ed25519PrivateKey.generate())
EC = agentwire.Key.of(ec.generate_private_key(ec.SECP256R1()))
FAILURE = b"\x05"


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def test_an_agent_lists_its_key_and_signs_with_no_other() -> None:
    assert agentwire.answer(b"\x0b", ED) == b"\x0c" + struct.pack(">I", 1) + string(ED.blob) + string(b"vcsproxy")
    sign = b"\x0d" + string(ED.blob) + string(b"data") + struct.pack(">I", 0)
    assert agentwire.answer(sign, ED).startswith(b"\x0e")
    assert agentwire.answer(sign, EC) == FAILURE


@pytest.mark.parametrize("kind", [k for k in range(256) if k not in (11, 13)])
def test_nothing_else_is_done(kind: int) -> None:
    """No key is added, removed, locked or extended."""
    assert agentwire.answer(bytes([kind]) + b"\0" * 40, ED) == FAILURE


@given(st.binary(max_size=200))
def test_no_message_breaks_an_agent(data: bytes) -> None:
    for message in (data, b"\x0d" + data, b"\x0d" + string(ED.blob) + data):
        assert agentwire.answer(message, ED)[:1] in (FAILURE, b"\x0c", b"\x0e")


def test_a_long_message_takes_no_longer_than_its_length() -> None:
    started = time.process_time()
    agentwire.answer(b"\x0d" + string(b"x" * agentwire.MAX_MESSAGE), ED)
    assert time.process_time() - started < 0.5
