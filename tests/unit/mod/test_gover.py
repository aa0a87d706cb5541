"""gover: versions of the Go toolchain and language."""

from __future__ import annotations

import itertools

import pytest

from vcsproxy.mod import gover

ASCENDING = (
    "1.2rc1 1.2 1.3alpha1 1.3beta1 1.3beta2 1.3rc1 1.3 1.3.1 1.20rc1 1.20 1.21 1.21rc1 1.21rc2 1.21.0 1.21.1 1.100"
)
INVALID = [
    "",
    "go1.21",
    "1.",
    "01",
    "1.01",
    "1.21.3rc1",
    "1.x",
    "1.21RC1",
    "1.21-custom",
    "1.21\n",
    "1.٣",
    "v1.2",
    "1.2rc01",
]


def test_order() -> None:
    versions = ASCENDING.split()
    for (i, x), (j, y) in itertools.product(enumerate(versions), repeat=2):
        assert gover.compare(x, y) == (i > j) - (i < j), (x, y)


@pytest.mark.parametrize("x", INVALID)
def test_invalid(x: str) -> None:
    assert not gover.is_valid(x)
    assert gover.lang(x) == ""
    assert gover.compare(x, "nonsense") == 0
    assert gover.compare(x, "1") == -1
    assert gover.compare("1", x) == 1


@pytest.mark.parametrize(
    ("x", "lang"),
    [
        ("1.21rc2", "1.21"),
        ("1.21.2", "1.21"),
        ("1.21", "1.21"),
        ("1", "1"),
        ("1.0", "1"),
        ("2", "2.0"),
        ("1.999rc", "1.999"),
    ],
)
def test_lang(x: str, lang: str) -> None:
    assert gover.is_valid(x)
    assert gover.lang(x) == lang


def test_a_missing_patch_is_zero_only_before_go_1_21() -> None:
    assert gover.compare("1.20", "1.20.0") == 0
    assert gover.compare("1.21", "1.21.0") == -1
    assert gover.compare("1", "1.0.0") == 0


def test_numbers_of_any_length() -> None:
    assert gover.compare("1." + "9" * 10_000, "1.1" + "0" * 10_000) == -1
