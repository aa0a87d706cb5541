"""semver: the grammar, the parts and the order."""

from __future__ import annotations

import itertools
import random

import pytest

from vcsproxy.mod import semver

# version, canonical form; in ascending order, equal ones with "=" in front
ORDERED = [
    ("bad", ""),
    ("=v1-alpha.beta.gamma", ""),
    ("=v1-pre", ""),
    ("=v1+meta", ""),
    ("=v1.2-pre", ""),
    ("=v1.2+meta", ""),
    ("=v1.0.0-alpha..1", ""),
    ("=v1.0.0-01", ""),
    ("=v1.0.0-a.00", ""),
    ("=v1.0.0-", ""),
    ("=v1.0.0+", ""),
    ("=v01.0.0", ""),
    ("=V1.0.0", ""),
    ("=1.0.0", ""),
    ("=v1.0.0\n", ""),
    ("=v1.0.٣", ""),
    ("=v1.0.0-ä", ""),
    ("=v2+incompatible", ""),
    ("=", ""),
    ("v0.0.0-20240301000000-000000000000", "v0.0.0-20240301000000-000000000000"),
    ("v0.0.0", "v0.0.0"),
    ("v1.0.0-0", "v1.0.0-0"),
    ("v1.0.0-1", "v1.0.0-1"),
    ("v1.0.0-99999999999999999999", "v1.0.0-99999999999999999999"),
    ("v1.0.0-0a", "v1.0.0-0a"),
    ("v1.0.0-ALPHA", "v1.0.0-ALPHA"),
    ("v1.0.0-alpha", "v1.0.0-alpha"),
    ("v1.0.0-alpha.1", "v1.0.0-alpha.1"),
    ("v1.0.0-alpha.beta", "v1.0.0-alpha.beta"),
    ("v1.0.0-rc.2", "v1.0.0-rc.2"),
    ("v1.0.0-rc.10", "v1.0.0-rc.10"),
    ("v1.0.0-rc1", "v1.0.0-rc1"),
    ("v1.0.0-rc10", "v1.0.0-rc10"),
    ("v1.0.0-rc2", "v1.0.0-rc2"),
    ("v1", "v1.0.0"),
    ("=v1.0", "v1.0.0"),
    ("=v1.0.0", "v1.0.0"),
    ("=v1.0.0+01.b-c", "v1.0.0"),
    ("v1.2", "v1.2.0"),
    ("v1.2.3-pre", "v1.2.3-pre"),
    ("=v1.2.3-pre+meta", "v1.2.3-pre"),
    ("v1.9.0", "v1.9.0"),
    ("v1.10.0", "v1.10.0"),
    ("v2.0.0+incompatible", "v2.0.0"),
    ("v99999999999999999999.0.0", "v99999999999999999999.0.0"),
]


def ranked() -> list[tuple[str, int]]:
    ranks = itertools.accumulate(int(not text.startswith("=")) for text, _ in ORDERED)
    return [(text.removeprefix("="), rank) for (text, _), rank in zip(ORDERED, ranks, strict=True)]


def test_precedence() -> None:
    for (v, first), (w, second) in itertools.product(ranked(), repeat=2):
        assert semver.compare(v, w) == (first > second) - (first < second), (v, w)


@pytest.mark.parametrize(("text", "canonical"), ORDERED)
def test_canonical(text: str, canonical: str) -> None:
    v = text.removeprefix("=")
    assert semver.canonical(v) == canonical
    assert semver.is_valid(v) == bool(canonical)


def test_parts() -> None:
    v = "v10.2.3-rc.1-x+meta.01"
    assert semver.major(v) == "v10"
    assert semver.major_minor(v) == "v10.2"
    assert semver.major_minor("v10") == "v10.0"
    assert semver.prerelease(v) == "-rc.1-x"
    assert semver.build(v) == "+meta.01"
    for part in (semver.major, semver.major_minor, semver.prerelease, semver.build):
        assert part("v1.2.3-01") == ""


def test_sort_breaks_ties_by_text() -> None:
    """Case 6 of the specification's checklist."""
    prereleases = ["-1", "-ALPHA", "-alpha", "-rc.2", "-rc.10", "-rc1", "-rc10", "-rc2"]
    wanted = [f"v1.0.0{pre}" for pre in prereleases]
    wanted += ["v1", "v1.0.0", "v1.0.0+a", "v1.0.0+b", "v1.9.0", "v1.10.0"]
    mixed = random.Random(1).sample(wanted, len(wanted))
    assert semver.sort(mixed) == wanted
    assert sorted(mixed, key=semver.sort_key) == wanted


def test_sort_puts_strings_that_are_no_versions_first() -> None:
    assert semver.sort(["v0.0.0-0", "z", "\udcff", "a"]) == ["a", "z", "\udcff", "v0.0.0-0"]


@pytest.mark.parametrize("shape", ["v{}.0.0", "v0.{}.0", "v0.0.{}", "v0.0.0-{}", "v0.0.0-a.{}"])
def test_numbers_longer_than_python_reads(shape: str) -> None:
    short, long, longer = (shape.format(n) for n in ("9" * 4300, "8" * 200_000, "1" + "0" * 200_000))
    assert semver.sort([longer, short, long]) == [short, long, longer]
    assert semver.canonical(long) == long
    assert semver.compare(shape.format("1" * 5000 + "0"), shape.format("1" * 5000 + "1")) == -1
    assert semver.compare(long, long) == 0


def test_a_long_number_is_still_less_than_a_word() -> None:
    assert semver.compare("v1.0.0-" + "9" * 10_000, "v1.0.0-a") == -1
    assert semver.compare("v1.0.0-" + "9" * 10_000, "v1.0.0-" + "9" * 10_000 + ".0") == -1
