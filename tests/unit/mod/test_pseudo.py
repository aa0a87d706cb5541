"""pseudo: making pseudo-versions and taking them apart."""

from __future__ import annotations

import pytest

from vcsproxy.errors import InvalidRequest, NotFound
from vcsproxy.mod import pseudo

T = 1709251200  # 2024-03-01T00:00:00Z
TEXT, REV = "20240301000000", "0123456789ab"
TAIL = f"{TEXT}-{REV}"

# major, older, pseudo-version, its base
FORMS = [
    ("", "", f"v0.0.0-{TAIL}", ""),
    ("v0", "", f"v0.0.0-{TAIL}", ""),
    ("v3", "", f"v3.0.0-{TAIL}", ""),
    ("unused", "v1.2.3", f"v1.2.4-0.{TAIL}", "v1.2.3"),
    ("", "v1.2.9", f"v1.2.10-0.{TAIL}", "v1.2.9"),
    ("", "v1.2.99999999999999999999", f"v1.2.100000000000000000000-0.{TAIL}", "v1.2.99999999999999999999"),
    ("", "v1.2.3-pre", f"v1.2.3-pre.0.{TAIL}", "v1.2.3-pre"),
    ("", "v1.2.9-0", f"v1.2.9-0.0.{TAIL}", "v1.2.9-0"),
    ("", "v2.3.4+incompatible", f"v2.3.5-0.{TAIL}+incompatible", "v2.3.4+incompatible"),
    ("", "v2.3.4-a.b+incompatible", f"v2.3.4-a.b.0.{TAIL}+incompatible", "v2.3.4-a.b+incompatible"),
    ("", "v2.3.4+meta.1", f"v2.3.5-0.{TAIL}+meta.1", "v2.3.4+meta.1"),
    ("", "v1.2", f"v1.2.1-0.{TAIL}", "v1.2.0"),
    ("v5", "no version", f"v5.0.0-{TAIL}", ""),
]


@pytest.mark.parametrize(("major", "older", "v", "base"), FORMS)
def test_forms(major: str, older: str, v: str, base: str) -> None:
    assert pseudo.pseudo_version(major, older, T, REV) == v
    assert pseudo.is_pseudo_version(v)
    assert pseudo.pseudo_version_time(v) == T
    assert pseudo.pseudo_version_rev(v) == REV
    assert pseudo.pseudo_version_base(v) == base


@pytest.mark.parametrize(
    "v",
    [
        f"v1.2.0-{TAIL}",
        f"v1.2.3-rc1.{TAIL}",
        f"v1.2.3-0.{TAIL[1:]}",
        f"v1.2.3-0.1{TAIL}",
        f"v0.0.0-{TAIL}-",
        f"v0.0.0-{TAIL}+a_b",
        f"v00.0.0-{TAIL}",
        f"v0.0.0-{TEXT}-é",
        f"v0.0.0-{TAIL}\n",
        "v0.0.0-٢٠٢٤٠٣٠١٠٠٠٠٠٠-a",
        "v1.2.3",
        "main",
        "",
    ],
)
def test_not_a_pseudo_version(v: str) -> None:
    assert not pseudo.is_pseudo_version(v)
    for part in (pseudo.pseudo_version_time, pseudo.pseudo_version_rev, pseudo.pseudo_version_base):
        with pytest.raises(InvalidRequest, match=r"^pseudo-version .* invalid: syntax error$"):
            part(v)


def test_odd_ones() -> None:
    """Case 7 of the specification's checklist."""
    assert pseudo.pseudo_version_base(f"v1.2.3-1.0.{TEXT}-ABC") == "v1.2.3-1"
    assert pseudo.pseudo_version_rev(f"v1.2.3-1.0.{TEXT}-ABC") == "ABC"
    v = f"v2.0.0-{TAIL}+incompatible"
    assert pseudo.is_pseudo_version(v)
    with pytest.raises(InvalidRequest, match='lacks base version, but has build metadata "\\+incompatible"'):
        pseudo.pseudo_version_base(v)


def test_base_before_patch_zero() -> None:
    with pytest.raises(InvalidRequest) as caught:
        pseudo.pseudo_version_base(f"v1.0.0-0.{TAIL}")
    want = f'pseudo-version "v1.0.0-0.{TAIL}" invalid: version before v1.0.0 would have negative patch number'
    assert caught.value.message == want


@pytest.mark.parametrize(("patch", "before"), [("1", "0"), ("10", "9"), ("100", "99"), ("20", "19"), ("11", "10")])
def test_base_counts_down(patch: str, before: str) -> None:
    assert pseudo.pseudo_version_base(f"v1.0.{patch}-0.{TAIL}") == f"v1.0.{before}"


def test_patch_of_any_length() -> None:
    older = "v1.0." + "9" * 100_000
    v = pseudo.pseudo_version("", older, T, REV)
    assert v == "v1.0.1" + "0" * 100_000 + f"-0.{TAIL}"
    assert pseudo.pseudo_version_base(v) == older


@pytest.mark.parametrize(
    "time",
    [
        "20241301000000",
        "20240230000000",
        "20240001000000",
        "20240100000000",
        "20240101240000",
        "20240101006000",
        "20240101000060",
    ],
)
def test_malformed_times(time: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pseudo.pseudo_version_time(f"v0.0.0-{time}-a")
    assert caught.value.message == f'pseudo-version "v0.0.0-{time}-a" invalid: malformed time "{time}"'


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("19700101000000", 0),
        ("19691231235959", -1),
        ("00010101000000", -62135596800),
        ("00001231235959", -62135596801),
        ("00000229000000", -62162121600),
        ("00000101000000", -62167219200),
        ("99991231235959", 253402300799),
        ("20000229120000", 951825600),
    ],
)
def test_times(time: str, seconds: int) -> None:
    assert pseudo.pseudo_version_time(f"v0.0.0-{time}-a") == seconds
    if time >= "0001":
        assert pseudo.timestamp(seconds) == time


@pytest.mark.parametrize("seconds", [-62135596801, 253402300800, 2**63, -(2**63), 10**30])
def test_times_that_no_version_can_name(seconds: int) -> None:
    with pytest.raises(NotFound, match="outside the years 1 to 9999"):
        pseudo.timestamp(seconds)
    with pytest.raises(NotFound):
        pseudo.pseudo_version("", "", seconds, REV)
