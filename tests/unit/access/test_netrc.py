"""Files that other programs wrote: what counts, what is left out, and that a fault names the line and no secret."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vcsproxy.access import netrc


def entries(text: str) -> list[tuple[str, str, str]]:
    return [(m.name, m.login, m.password.reveal()) for m in netrc.parse(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("machine h\r\nlogin l\r\npassword p\r\n", [("h", "l", "p")]),
        ("machine h login l password p machine i password q", [("h", "l", "p"), ("i", "", "q")]),
        ("machine h password p\nmachine h password q", [("h", "", "p"), ("h", "", "q")]),
        ('machine "h" password "a#b \\\\ c"', [("h", "", "a#b \\ c")]),
        ('machine h password pa"ss', [("h", "", 'pa"ss')]),
        ("machine h password p\\q", [("h", "", "p\\q")]),
        ("machine h password pass\u00a0word", None),
        ("machine h password p\u00e9", [("h", "", "p\u00e9")]),
        ("machine h login l", []),
        ("machine h login l password p\n  # machine i password q\n", [("h", "l", "p")]),
        ("machine machine password machine", [("machine", "", "machine")]),
        ("default login a password b\nmachine h password p", [("h", "", "p")]),
        ("machine h password macdef\nmachine i password q", [("h", "", "macdef"), ("i", "", "q")]),
        ('machine h password "macdef" machine i password q', [("h", "", "macdef"), ("i", "", "q")]),
        ("macdef x\nmachine evil password z", []),
        ("machine 192.0.2.1 password p", [("192.0.2.1", "", "p")]),
    ],
)
def test_what_counts(text: str, found: list[tuple[str, str, str]] | None) -> None:
    if found is None:
        with pytest.raises(ValueError, match="line 1: the password has a character that cannot be sent"):
            netrc.parse(text)
    else:
        assert entries(text) == found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("hunter2", "line 1: expected machine"),
        ("\n\nmachine", "line 3: nothing follows machine"),
        ("machine https://hunter2/ password x", "line 1: what follows machine is not the name of a host"),
        ("machine h:443 password hunter2", "line 1: what follows machine"),
        ('machine "" password hunter2', "line 1: what follows machine"),
        ("machine hunter2- password x", "line 1: what follows machine"),
        ("machine h\npassword hunter2 hunter2", "line 2: expected machine"),
        ("password hunter2", "line 1: password before any machine"),
        ('machine h password "hunter2', "line 1: a quotation mark"),
        ('machine h password "hunter2"x', "line 1: a quotation mark"),
        ("machine h login hunter2:x password y", "line 1: the login has a character"),
        ("machine h password hunter2\x07", "line 1: the password has a character"),
    ],
)
def test_a_fault_names_the_line_and_no_word_of_the_file(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        netrc.parse(text)
    assert "hunter2" not in str(caught.value)


WORDS = st.sampled_from(
    [
        "machine",
        "login",
        "password",
        "default",
        "account",
        "macdef",
        "x",
        "h.test",
        '"a b"',
        '"',
        "#",
        "\\",
        "\n",
        "\n\n",
        "\t",
    ]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=30).map(" ".join))
@example("machine \ud800 password x")
def test_any_text_is_entries_or_a_fault_with_a_line(text: str) -> None:
    try:
        found = netrc.parse(text)
    except ValueError as bad:
        number = int(str(bad).removeprefix("line ").partition(":")[0])
        assert 1 <= number <= text.count("\n") + 1
    else:
        assert all(entry.name == entry.name.lower() and entry.password for entry in found)


VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF).filter(str.isprintable), min_size=1, max_size=20)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z0-9.]{0,8}[a-z]", fullmatch=True), VALUES.filter(lambda v: ":" not in v), VALUES
        ),
        max_size=4,
    )
)
def test_what_is_written_in_quotation_marks_comes_back(machines: list[tuple[str, str, str]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = "".join(f"machine {m}\n login {quoted(l)} password {quoted(p)}\n" for m, l, p in machines)  # noqa: E741
    assert entries(text) == machines
