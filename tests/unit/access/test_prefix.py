"""I5: a prefix covers what lies below it at its own origin, whatever a URL does to look like that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.linear import assert_linear
from vcsproxy.access.prefix import Prefix, longest

TEAM = Prefix.parse("https://git.test/team")

ELSEWHERE = [
    # The path walks out again, as one server or another reads it.
    "https://git.test/team/..", "https://git.test/team/.", "https://git.test/team/../other/x.git",
    "https://git.test/team/x/../../other", "https://git.test/team/./../other", "https://git.test/team/%2e%2e/other",
    "https://git.test/team/%2E%2e/other", "https://git.test/team/.%2e/other", "https://git.test/team/..%2fother",
    "https://git.test/team/%252e%252e/other", "https://git.test/team/..%252fother", "https://git.test/team/..%5cother",
    "https://git.test/team/..\\other", "https://git.test/team/..;/other", "https://git.test/team/..;x=y/other",
    "https://git.test/team/..%3bx/other",
    # It only begins alike.
    "https://git.test/team2", "https://git.test/team.git", "https://git.test/team-x/y", "https://git.test/team%2fx",
    "https://git.test/Team/x", "https://git.test/TEAM", "https://git.test//team/x", "https://git.test/x/team",
    "https://git.test/te%61m/x", "https://git.test/?/team/x", "https://git.test/#/team/x", "https://git.test",
    # Another origin.
    "http://git.test/team/x", "ssh://git.test/team/x", "git@git.test:team/x", "https://git.test:444/team/x",
    "https://git.test:80/team/x", "https://git.test./team/x", "https://git.test.evil.test/team/x",
    "https://evil.test/git.test/team/x", "https://git.test@evil.test/team/x", "https://git.test:443@evil.test/team/x",
    "https://evil.test?@git.test/team/x", "https://evil.test#@git.test/team/x", "https://evil.test\\@git.test/team/x",
    "https://evil.test/@git.test/team/x", "https://git.test\\.evil.test/team", "//git.test/team/x", "git.test/team/x",
    "https:git.test/team/x", "https:/git.test/team/x", "https:///git.test/team/x", "file://git.test/team/x",
    "ext::sh -c x https://git.test/team/x",
    # What clients drop, or refuse.
    " https://git.test/team/x", "https://git.test/team/x\n", "https://git.te\tst/team/x", "https://git.test/team\r/x",
    "https://git.test/team/\x00", "https://git.test/team/a b", "https://git.test:99999/team", "https://git.test:x/team",
    "https://[git.test]/team", "https://[::1/team", "https://git.test:-1/team", "",
]  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_url_that_leads_elsewhere_is_not_covered(url: str) -> None:
    assert not TEAM.covers(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://git.test/team", "https://git.test/team/", "https://git.test/team/x.git/info/refs?service=git-upload-pack",
        "https://GIT.test/team/x", "HTTPS://git.test/team/x", "https://git.test:443/team/x", "https://git.test:/team/x",
        "https://me@git.test/team/x", "https://me:pw@git.test/team/x", "https://git.test/team/x?y=/../z",
        "https://git.test/team/x#/../z", "https://git.test/team/...", "https://git.test/team/a..b", "https://git.test/team/%20x",
        "https://git.test/team//x", "https://git.test/team/x;y",
    ],
)  # fmt: skip
def test_a_url_below_it_is_covered(url: str) -> None:
    assert TEAM.covers(url)


def test_ports_are_compared_as_numbers_and_schemes_have_their_own() -> None:
    assert Prefix.parse("https://git.test:0443").covers("https://git.test/x")
    assert Prefix.parse("ssh://git.test:22").covers("git@git.test:x")
    assert not Prefix.parse("ssh://git.test:443").covers("https://git.test/x")


@pytest.mark.parametrize("url", ["https://me:hunter2", "https://[hunter2", "hunter2", "https://git.test:hunter2/x"])
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        Prefix.parse(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_longest_of_equal_length_is_the_first() -> None:
    known = [("https://git.test/a", 1), ("https://git.test/a/", 2), ("https://git.test", 3)]
    assert longest(known, "https://git.test/a/x") == 1
    assert longest(known, "https://git.test/ab") == 3
    assert longest(known, "https://git.test/a/../b") is None


NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9.\-]{0,12}[a-z0-9])?", fullmatch=True)
ELEMENTS = st.lists(st.from_regex(r"[A-Za-z0-9_~\-][A-Za-z0-9_~.\-]{0,8}", fullmatch=True), max_size=4)


@given(st.sampled_from(["https", "http", "ssh"]), NAMES, st.integers(1, 65535), ELEMENTS, ELEMENTS)
def test_what_it_prints_is_the_same_prefix_and_covers_all_below(
    scheme: str, host: str, port: int, path: list[str], more: list[str]
) -> None:
    prefix = Prefix(scheme, host, port, "".join("/" + each for each in path))
    assert Prefix.parse(str(prefix)) == prefix
    assert prefix.covers(f"{scheme}://{host}:{port}{prefix.path}" + "".join("/" + each for each in more))


@given(st.text(st.characters(codec="utf-8"), max_size=30), ELEMENTS)
def test_text_after_an_origin_never_changes_the_origin(text: str, path: list[str]) -> None:
    """A host name that goes on, whatever it goes on with, is another host, or the same one by everybody's reading."""
    url = "https://git.test" + text + "".join("/" + each for each in path)
    covered = Prefix.parse("https://git.test").covers(url)
    assert not covered or text[:1] in ("", "/", "?", "#", ":")


def test_time_grows_with_the_url() -> None:
    for piece in ("/a", "..", "%2e", ";", "@", ":", "/../", "%252e"):
        assert_linear(TEAM.covers, lambda n, piece=piece: "https://git.test/team/" + piece * (n // len(piece)), 1 << 18)  # type: ignore[misc]
