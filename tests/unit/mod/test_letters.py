"""letters: the tables have the checksums of Unicode 17.0.0 as Go 1.27 has it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from vcsproxy.mod import letters

POINTS = range(0x110000)


def total(lines: list[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()


def test_letters_beyond_ascii() -> None:
    found = [f"{c:x}" for c in POINTS if c >= 0x80 and letters.is_letter(c)]
    assert len(found) == 145620
    assert total(found) == "67ec4e9b4e3204c0568342c30b0610248e54b34b5a8ccc96f78d65245f949201"


def test_letters_of_ascii() -> None:
    assert [chr(c) for c in range(0x80) if letters.is_letter(c)] == [
        *"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    ]
    assert not letters.is_letter(-1)
    assert not letters.is_letter(0x110000)


def test_folding_orbits() -> None:
    moved = {c: letters.smallest_fold(c) for c in POINTS if letters.smallest_fold(c) != c}
    members = sorted({*moved, *moved.values()})
    assert len(members) == 2994
    lines = [f"{c:x} {letters.smallest_fold(c):x}" for c in members]
    assert total(lines) == "db6d8cdad400ef075943371ea887ab337b2c8555ede8bf8eca68fca5c7183f57"


@pytest.mark.parametrize(
    ("one", "other"),
    [("k", "\u212a"), ("S", "ſ"), ("ß", "ẞ"), ("Σ", "ς"), ("Dir/Ä", "dIR/ä"), ("LICENSE", "license"), ("å", "\u212b")],
)
def test_same(one: str, other: str) -> None:
    assert letters.fold(one) == letters.fold(other)


@pytest.mark.parametrize(("one", "other"), [("ß", "ss"), ("I", "ı"), ("İ", "i"), ("ﬁ", "fi"), ("é", "e\u0301")])
def test_different(one: str, other: str) -> None:
    assert letters.fold(one) != letters.fold(other)


def test_ascii_ends_in_lower_case_either_way() -> None:
    assert letters.fold("AbC-1") == "abc-1"
    assert letters.fold("AbC-é")[:5] == "abc-\u00c9"
