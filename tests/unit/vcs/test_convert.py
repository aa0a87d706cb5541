"""Blob to work tree bytes, one conversion at a time and in git's order."""

from __future__ import annotations

import time

import pytest

from vcsproxy import errors
from vcsproxy.vcs.attributes import NONE, Attributes, AttributeStack, State
from vcsproxy.vcs.convert import convert_to_working_tree, is_noop

OID = "0123456789" * 4


def attributes(line: str) -> Attributes:
    return AttributeStack(lambda _: b"* " + line.encode()).lookup(b"f")


def convert(line: str, blob: bytes) -> bytes:
    return convert_to_working_tree(attributes(line), blob, OID)


def test_what_nothing_changes_is_the_same_object() -> None:
    blob = b"a\r\nb\n$Id$"
    assert convert_to_working_tree(NONE, blob, OID) is blob


# --- line ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "eol=crlf",
        "text eol=crlf",
        "text=input eol=crlf",
        "text=odd eol=crlf",
        "text=odd crlf eol=crlf",
        "crlf eol=crlf",
        "text= eol=crlf",
        "text -crlf eol=crlf",
    ],
)
def test_eol_crlf_makes_every_lone_lf_a_crlf(line: str) -> None:
    assert convert(line, b"a\nb\r\n\nc\rd\r\r\n\0") == b"a\r\nb\r\n\r\nc\rd\r\r\n\0"


@pytest.mark.parametrize(
    "line",
    [
        "text",
        "text=auto",
        "crlf",
        "crlf=auto",
        "crlf=input",
        "eol=lf",
        "text eol=lf",
        "-text eol=crlf",
        "eol",
        "eol=CRLF",
        "-crlf eol=crlf",
        "text=odd -crlf eol=crlf",
        "binary eol=crlf",
        "filter=lfs",
        "-ident",
        "ident=yes",
    ],
)
def test_nothing_else_does(line: str) -> None:
    assert is_noop(attributes(line))
    assert convert(line, b"a\n$Id$") == b"a\n$Id$"


@pytest.mark.parametrize("line", ["text=auto eol=crlf", "crlf=auto eol=crlf"])
@pytest.mark.parametrize(
    ("blob", "is_text"),
    [
        (b"a\nb\n", True),
        (b"\n", True),
        (b"a\r\nb\n", False),
        (b"a\rb\n", False),
        (b"a\0\n", False),
        (b"\x01\n", False),
        (b"\x7f" + b"x" * 127 + b"\n", False),
        (b"\x7f" + b"x" * 128 + b"\n", True),
        (b"\x7f" + b"x" * 127 + b"\n" * 9, False),
        (b"\t\x08\x0c\x1b\xff\n", True),
        (b"\n\x1a", True),
        (b"\x1a\n", False),
    ],
)
def test_text_auto_guesses(line: str, blob: bytes, is_text: bool) -> None:
    assert convert(line, blob) == (blob.replace(b"\n", b"\r\n") if is_text else blob)


# --- ident -----------------------------------------------------------------------------------------------------------

EXPANDED = f"$Id: {OID} $".encode()


@pytest.mark.parametrize(
    "blob", [b"$Id$", b"$Id:$", b"$Id: $", b"$Id:  $", b"$Id: x $", b"$Id:x $", b"$Id: x$", b"$Id:xyz$"]
)
def test_ident_writes_the_hash(blob: bytes) -> None:
    assert convert("ident", b"a " + blob + b" b\n") == b"a " + EXPANDED + b" b\n"


@pytest.mark.parametrize(
    "blob",
    [
        b"$Id",
        b"$Id x$",
        b"$id$",
        b"$Idx$",
        b"$Id: open",
        b"$Id: x\n$",
        b"$Id:\n$",
        b"$Id: f.c,v 1.2 me Exp $",
        b"$Id:x y$",
        b"$Id: x  $",
    ],
)
def test_ident_leaves_alone(blob: bytes) -> None:
    assert convert("ident", blob) == blob


def test_ident_of_neighbours() -> None:
    assert convert("ident", b"$$Id$Id$") == b"$" + EXPANDED + b"Id$"
    assert convert("ident", b"$Id: a b $Id$") == b"$Id: a b " + EXPANDED
    assert convert("ident", b"$Id: \n$Id$") == b"$Id: \n" + EXPANDED


@pytest.mark.parametrize("blob", [b"$Id:" * 200_000, b"$Id:" + b"x" * 800_000, b"$Id: a" * 150_000])
def test_ident_takes_linear_time(blob: bytes) -> None:
    start = time.process_time()
    convert("ident", blob)
    assert time.process_time() - start < 2


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTF-16", b"\xff\xfe\xe9\0"),
        ("utf16", b"\xff\xfe\xe9\0"),
        ("UTF-16LE", b"\xe9\0"),
        ("utf-16be", b"\0\xe9"),
        ("UTF-16LE-BOM", b"\xff\xfe\xe9\0"),
        ("utf16be-bom", b"\xfe\xff\0\xe9"),
        ("UTF-32", b"\xff\xfe\0\0\xe9\0\0\0"),
        ("UTF32LE", b"\xe9\0\0\0"),
        ("UTF-32BE", b"\0\0\0\xe9"),
        ("ISO-8859-1", b"\xe9"),
        ("iso88591", b"\xe9"),
        ("latin-1", b"\xe9"),
        ("cp1252", b"\xe9"),
        ("Windows-1252", b"\xe9"),
        ("UTF(16)LE", b"\xe9\0"),
        ("GBK", b"\xa8\xa6"),
        ("UTF-8", b"\xc3\xa9"),
        ("utf8", b"\xc3\xa9"),
        ("", b"\xc3\xa9"),
        ("ASCII", b"\xc3\xa9"),
        ("SHIFT-JIS", b"\xc3\xa9"),
        ("UTF-8-BOM", b"\xc3\xa9"),
        ("windows1252", b"\xc3\xa9"),
    ],
)
def test_encodings(name: str, expected: bytes) -> None:
    assert convert(f"working-tree-encoding={name}", "é".encode()) == expected


@pytest.mark.parametrize("name", ["UTF-16", "UTF-32BE", "ISO-8859-1"])
@pytest.mark.parametrize("blob", [b"", b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_what_is_no_utf8_stays(name: str, blob: bytes) -> None:
    assert convert(f"working-tree-encoding={name}", blob) == blob


def test_language_tags_vanish_where_they_have_no_place() -> None:
    assert convert("working-tree-encoding=ISO-8859-1", "a\U000e0041b".encode()) == b"ab"
    assert convert("working-tree-encoding=UTF-16LE", "\U000e0041".encode()) == "\U000e0041".encode("utf-16-le")


@pytest.mark.parametrize(
    "name", ["EUC-KR", "BIG5", "CP932", "ISO-2022-JP", "UTF-7", "IBM1047", "UCS-2", "UTF-16//IGNORE", "$"]
)
def test_encodings_that_only_git_could_do_are_refused(name: str) -> None:
    with pytest.raises(errors.Refused, match="is not supported"):
        convert(f"working-tree-encoding={name}", b"a")


def test_a_character_that_libraries_disagree_about_is_refused() -> None:
    assert convert("working-tree-encoding=GBK", "中".encode()) == b"\xd6\xd0"
    with pytest.raises(errors.Refused, match=r"GBK: cannot convert U\+20AC"):
        convert("working-tree-encoding=GBK", "中€".encode())


def test_an_encoding_without_a_name_is_refused_as_by_git() -> None:
    with pytest.raises(errors.Refused, match="true/false are no valid"):
        convert("working-tree-encoding", b"")
    assert is_noop(Attributes(working_tree_encoding=State.UNSET))


def test_ident_comes_before_line_ends_and_these_before_the_encoding() -> None:
    expected = (EXPANDED.decode() + "\r\n").encode("utf-16-le")
    assert convert("ident text=auto eol=crlf working-tree-encoding=UTF-16LE", b"$Id$\n") == expected
    assert convert("ident eol=crlf working-tree-encoding=UTF-16LE", b"$Id$\n\xff") == EXPANDED + b"\r\n\xff"
