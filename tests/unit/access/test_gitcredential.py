"""Git's own words for credentials, compared with git where that can be: what is asked, and what an answer means."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gitrepo import git_env
from vcsproxy.access import gitcredential
from vcsproxy.secret import Secret


@pytest.mark.parametrize(
    ("url", "user", "wrong", "asked"),
    [
        ("https://h.test", "", None, b"protocol=https\nhost=h.test\n\n"),
        ("https://h.test:8443/a/b/", "", None, b"protocol=https\nhost=h.test:8443\npath=a/b\n\n"),
        ("https://h.test/a", "me", None, b"protocol=https\nhost=h.test\npath=a\nusername=me\n\n"),
        ("https://you@h.test/a", "", None, b"protocol=https\nhost=h.test\npath=a\n\n"),
        ("https://h.test/a", "me", Secret("p"), b"protocol=https\nhost=h.test\npath=a\nusername=me\npassword=p\n\n"),
    ],
)
def test_what_is_asked(url: str, user: str, wrong: Secret | None, asked: bytes) -> None:
    assert gitcredential.question(url, user, wrong) == asked


@pytest.mark.parametrize("value", ["a\nhost=evil", "a\rb", "a\0b"])
def test_no_value_begins_another_line(value: str) -> None:
    """CVE-2020-5260, CVE-2024-52006"""
    for words in ((value, None), ("me", Secret(value))):
        with pytest.raises(ValueError, match="newline"):
            gitcredential.question("https://h.test", *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"quit=TRUE\npassword=hunter2\n", "give up"),
        (b"password=hunter2\nusername=a:b\n", "colon"),
        (b"\npassword=hunter2\n", "no password"),
        (b"hunter2\n", "not KEY=VALUE"),
        (b"pass\0word=hunter2\n", "not KEY=VALUE"),
        (b"password=hunter2\r\n", "not KEY=VALUE"),
    ],
)
def test_what_is_no_answer_is_refused_without_repeating_it(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        gitcredential.parse(data)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("expiry", "seconds"),
    [("1900000000", 1.9e9), ("", None), ("-1", None), ("soon", None), ("1" * 16, None), ("\u0661", None), ("0", 0.0)],
)
def test_an_expiry_that_is_none_does_not_count(expiry: str, seconds: float | None) -> None:
    """As git: credential_read ignores what is no number."""
    answer = gitcredential.parse(f"password=p\npassword_expiry_utc={expiry}\n".encode())
    assert answer.expires == (float("inf") if seconds is None else seconds)


def test_git_itself_understands_the_question_and_we_its_answer() -> None:
    """`git credential fill` with a helper reads and writes the same protocol."""
    asked = gitcredential.question("https://h.test:8443/team", "me")
    helper = (
        "!f() { test \"$1\" = get && cat >/dev/null && printf 'password=p=q\\npassword_expiry_utc=4000000000\\n'; }; f"
    )
    command = ["git", "-c", f"credential.helper={helper}", "-c", "credential.useHttpPath=true", "credential", "fill"]
    env = git_env(GIT_TERMINAL_PROMPT="0", GIT_ASKPASS="true")
    said = subprocess.run(command, input=asked, env=env, capture_output=True, check=True).stdout
    assert said.startswith(asked.rstrip(b"\n"))
    answer = gitcredential.parse(said)
    assert (answer.username, answer.password.reveal()) == ("me", "p=q")


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1, max_size=30)


@given(FIELD.filter(lambda name: ":" not in name), FIELD, st.integers(0, 10**12))
def test_what_a_helper_says_comes_back(user: str, password: str, expires: int) -> None:
    data = f"protocol=https\nusername={user}\npassword={password}\npassword_expiry_utc={expires}\n\nignored".encode()
    answer = gitcredential.parse(data)
    assert (answer.username, answer.password.reveal(), answer.expires) == (user, password, expires)


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"password", b"=", b"x", b"\n", b"\0", b"quit", b"1", b"\xff"]), max_size=20).map(
        b"".join
    )
)
def test_any_bytes_are_an_answer_or_a_value_error(data: bytes) -> None:
    try:
        answer = gitcredential.parse(data)
    except ValueError as bad:
        assert not isinstance(bad, UnicodeError)  # noqa: PT017 - that one would repeat the bytes
    else:
        assert answer.password
