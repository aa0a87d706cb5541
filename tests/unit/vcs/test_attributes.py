"""Attribute files: lines, patterns, precedence, macros, and what hostile ones may cost."""

from __future__ import annotations

import random
import time

import pytest

from vcsproxy.vcs.attributes import MAX_FILE, NONE, Attributes, AttributeStack, State, parse
from vcsproxy.vcs.wildmatch import Wildmatch


def stack(root: bytes = b"", **files: bytes) -> AttributeStack:
    """A commit with these .gitattributes; a keyword's `__` stands for a slash."""
    found = {name.replace("__", "/").encode(): data for name, data in files.items()}
    found[b""] = root
    return AttributeStack(found.get)


def matches(pattern: bytes, path: bytes) -> bool:
    return stack(pattern + b" ident").lookup(path).ident is State.SET


# --- lines -----------------------------------------------------------------------------------------------------------


def settings(line: bytes) -> dict[bytes, object]:
    found = list(parse(line, macros=True))
    assert len(found) == 1
    return dict(found[0].settings)


def test_a_setting_is_set_unset_unspecified_or_has_a_value() -> None:
    assert settings(b"* a -b !c d=e=f g= -h=i") == {
        b"a": State.SET,
        b"b": State.UNSET,
        b"c": State.UNSPECIFIED,
        b"d": b"e=f",
        b"g": b"",
        b"h": State.UNSET,
    }


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"  ",
        b"# a text",
        b"\t# a text",
        b"!a text",
        b'"!a" text',
        b"a -",
        b"a !",
        b"a =x",
        b"a --x",
        b"a b/c",
        b"a \xe9",
        b"[attr]a/b text",
        b"[attr]-a text",
        b"a text".ljust(2048),
        b" " * 2042 + b"a text",
    ],
)
def test_git_skips_these_lines(line: bytes) -> None:
    assert list(parse(line, macros=True)) == []


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        (b"a", b"a"),
        (b" \t a text\r", b"a"),
        (b'"a b" text', b"a b"),
        (b'"a\\tb\\303\\251\\"\\\\"text', b'a\tb\xc3\xa9"\\'),
        (b'"a\\x" text', b'"a\\x"'),
        (b'"a', b'"a'),
        (b'"a\\477b" text', b'"a\\477b"'),
        (b'"a\\000b" text', b"a"),
        (b"[attr] text", b"[attr]"),
        (b"\\!a text", b"\\!a"),
        (b"a text".ljust(2047), b"a"),
    ],
)
def test_the_pattern_of_a_line(line: bytes, pattern: bytes) -> None:
    assert [found.pattern for found in parse(line, macros=True)] == [pattern]


def test_a_nul_ends_the_file_and_a_byte_order_mark_belongs_to_the_pattern() -> None:
    assert [line.pattern for line in parse(b"\xef\xbb\xbfa\nb\0c\nd", macros=True)] == [b"\xef\xbb\xbfa", b"b"]


def test_a_file_of_100_mib_is_ignored() -> None:
    line = b"a text\n"
    assert len(list(parse(line.ljust(MAX_FILE - 1, b"\0"), macros=True))) == 1
    assert list(parse(line.ljust(MAX_FILE, b"\0"), macros=True)) == []


def test_macros_are_defined_in_the_root_only() -> None:
    assert [line.macro for line in parse(b"[attr]dos text", macros=True)] == [b"dos"]
    assert list(parse(b"[attr]dos text", macros=False)) == []


# --- patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"a", b"a x/a x/y/a", b"b ab a/b A"),
        (b"/a", b"a", b"x/a"),
        (b"a/b", b"a/b", b"x/a/b a/b/c"),
        (b"a/", b"", b"a a/b x/a"),
        (b"*.go", b"a.go x/y/.go", b"a.goo a.go/b a.GO"),
        (b"*", b"a x/y", b""),
        (b"x/*", b"x/a", b"x/y/a x"),
        (b"x/**", b"x/a x/y/a", b"x y/x/a"),
        (b"**/a", b"a x/a x/y/a", b"ba x/ba"),
        (b"x/**/a", b"x/a x/y/a x/y/z/a", b"xa x/ya x/y/b"),
        (b"x/**/**/a", b"x/a x/y/a", b"x/ya"),
        (b"x/***/**/a", b"x/a x/y/z/a", b"x/ya"),
        (b"x**/a", b"x/a xy/a xy/z/a", b"y/a"),
        (b"*x**/a", b"x/a yx/a yxz/a", b"x/y/a"),
        (b"x/**y", b"x/y x/zy", b"x/z/a"),
        (b"x/*/a", b"x/y/a", b"x/a x/y/z/a"),
        (b"a?c", b"abc", b"ac a/c abbc"),
        (b"x/?", b"x/a", b"x/ab x/"),
        (b"[a-c]x", b"ax cx", b"dx x"),
        (b"[!a-c]x", b"dx", b"ax"),
        (b"[^a]x", b"bx", b"ax"),
        (b"[]a]x", b"]x ax", b"bx"),
        (b"[a-]x", b"-x ax", b"bx"),
        (b"[[:alpha:][:digit:]_]x", b"Ax 9x _x", b".x"),
        (b"[[:foo:]]x", b"", b"fx :x ox"),
        (b"[[:a]x", b"[x :x ax", b"bx"),
        (b"[a", b"", b"[a a"),
        (b"a\\", b"", b"a a\\"),
        (b"\\a\\*", b"a*", b"ab \\a\\*"),
        (b"x[/]a", b"", b"x/a"),
        (b"a//b", b"", b"a/b"),
        (b"\\!a", b"!a", b"a"),
    ],
)
def test_patterns(pattern: bytes, yes: bytes, no: bytes) -> None:
    assert [path for path in yes.split() if not matches(pattern, path)] == []
    assert [path for path in no.split() if matches(pattern, path)] == []


def test_a_pattern_read_piece_by_piece_says_the_same() -> None:
    rnd = random.Random("pieces")
    for _ in range(300):
        pattern = b"".join(rnd.choices((b"a", b"b", b"/", b"*", b"**", b"?", b"[ab]", b"/**/"), k=rnd.randint(1, 6)))
        text = b"".join(rnd.choices((b"a", b"b", b"/"), k=rnd.randint(0, 9)))
        cut = rnd.randint(0, len(text))
        glob = Wildmatch(pattern)
        assert glob.feed(glob.feed(glob.start, text[:cut]), text[cut:]).accepting == Wildmatch(pattern).matches(text)


# --- precedence ------------------------------------------------------------------------------------------------------


def test_nothing_said_is_the_shared_constant() -> None:
    assert stack().lookup(b"a/b") is NONE
    assert stack(b"*.pb.go linguist-generated\n* diff=go\n").lookup(b"a/x.pb.go") is NONE


def test_the_last_line_wins_and_within_it_the_last_setting() -> None:
    assert stack(b"* text\n*.a -text\n").lookup(b"x.a").text is State.UNSET
    assert stack(b"* text -text text=auto\n").lookup(b"x").text == b"auto"


def test_the_deeper_file_wins_for_its_own_directory_only() -> None:
    found = stack(b"* text eol=crlf\n", x=b"* -text\n", x__y=b"a !text\n/b text=auto\n")
    assert found.lookup(b"a") == Attributes(text=State.SET, eol=b"crlf")
    assert found.lookup(b"x/a") == Attributes(text=State.UNSET, eol=b"crlf")
    assert found.lookup(b"x/y/a") == Attributes(eol=b"crlf")
    assert found.lookup(b"x/y/z/a") == Attributes(eol=b"crlf")
    assert found.lookup(b"x/y/b") == Attributes(text=b"auto", eol=b"crlf")
    assert found.lookup(b"x/y/z/b") == Attributes(text=State.UNSET, eol=b"crlf")
    assert found.lookup(b"xx/a") == Attributes(text=State.SET, eol=b"crlf")


def test_every_field_has_its_attribute() -> None:
    line = b"* text=1 crlf=2 eol=3 ident=4 working-tree-encoding=5 filter=6"
    assert stack(line).lookup(b"a") == Attributes(b"1", b"2", b"3", b"4", b"5", b"6")


def test_order_of_questions_does_not_matter() -> None:
    files = {"x": b"y/* ident\n", "x__y": b"*.a text\n", "z": b"** eol=lf\n"}
    paths = [b"a", b"x/a", b"x/y/b.a", b"x/y/c", b"x/y.a", b"x/y/z/b.a", b"z/q/a", b"x", b"xy/a"]
    expected = {path: stack(b"x/**/b* crlf\n", **files).lookup(path) for path in paths}
    rnd = random.Random("order")
    found = stack(b"x/**/b* crlf\n", **files)
    for _ in range(20):
        rnd.shuffle(paths)
        assert {path: found.lookup(path) for path in paths} == expected


# --- macros ----------------------------------------------------------------------------------------------------------


def test_binary_is_a_macro_and_may_be_redefined() -> None:
    assert stack(b"* text eol=crlf\n*.x binary").lookup(b"a.x") == Attributes(text=State.UNSET, eol=b"crlf")
    assert stack(b"[attr]binary ident\n* binary").lookup(b"a") == Attributes(ident=State.SET)


def test_a_macro_gives_way_to_what_stands_right_of_it() -> None:
    assert stack(b"* binary text").lookup(b"a").text is State.SET
    assert stack(b"* text binary").lookup(b"a").text is State.UNSET


def test_a_macro_is_expanded_only_when_set_and_only_where_it_is_not_overridden() -> None:
    root = b"[attr]dos text eol=crlf\n[attr]both dos ident\n[attr]loop loop both\n* loop\n"
    found = stack(root, x=b"a -dos\nb dos=1\nc !both\nd !loop\n")
    everything = Attributes(text=State.SET, eol=b"crlf", ident=State.SET)
    assert found.lookup(b"a") == found.lookup(b"x/z") == everything
    assert found.lookup(b"x/a") == found.lookup(b"x/b") == Attributes(ident=State.SET)
    assert found.lookup(b"x/c") == found.lookup(b"x/d") == NONE


def test_the_last_definition_of_a_macro_counts_even_for_lines_above_it() -> None:
    assert stack(b"* m\n[attr]m text\n[attr]m ident\n").lookup(b"a") == Attributes(ident=State.SET)


def test_a_long_chain_of_macros_needs_no_deep_stack() -> None:
    chain = b"".join(b"[attr]m%d m%d\n" % (n, n + 1) for n in range(5000))
    assert stack(chain + b"[attr]m5000 ident\n* m0\n").lookup(b"a").ident is State.SET


# --- cost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (b"*a" * 1000 + b"b", b"a" * 5000),
        (b"**/a*/" * 330 + b"b", b"a/" * 2500 + b"c"),
        (b"**/" * 600 + b"*b", b"a/" * 2500 + b"c"),
        (b"?*" * 1000 + b"b", b"ac" * 2500),
        (b"*[ab]" * 400 + b"c", b"ab" * 2500),
    ],
)
def test_a_hostile_pattern_costs_no_more_than_its_length(pattern: bytes, path: bytes) -> None:
    start = time.process_time()
    assert not matches(pattern, path)
    assert time.process_time() - start < 2


def test_memory_of_a_pattern_is_bounded() -> None:
    rnd = random.Random("memory")
    glob = Wildmatch(b"*" + b"*".join(b"[ab]c[cd]" for _ in range(60)))
    for _ in range(50):
        glob.matches(bytes(rnd.choices(b"abcd", k=400)))
    assert len(glob._known) < 5000


def test_many_files_and_patterns_take_a_second_at_most() -> None:
    found = stack(b"".join(b"*.x%d text eol=crlf\n" % number for number in range(50)))
    paths = [b"pkg%d/file%d.go" % (number // 500, number) for number in range(20_000)]
    start = time.process_time()
    assert all(found.lookup(path) is NONE for path in paths)
    assert time.process_time() - start < 2


def test_deep_directories_need_no_deep_stack() -> None:
    assert stack(b"d/**/a ident").lookup(b"d/" * 5000 + b"a").ident is State.SET
