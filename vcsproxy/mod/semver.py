"""Semantic versions as Go has them: with a leading `v`, with the short forms v1 and v1.2, with numbers of any length.

Which of two versions comes first is for `semver.Version` of the semver package to say; this module parses, and adds
Go's rules on top: build metadata never counts, and what is no version comes before every version.

Not for the versions of the Go toolchain (1.21rc1), which are no semantic versions: see `gover`.

Source: golang.org/x/mod/semver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from semver import Version

_NUMBER = r"0|[1-9][0-9]*+"
_IDENTIFIER = r"[0-9A-Za-z-]++"
_VERSION = re.compile(
    rf"v(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER})(?:\.(?P<patch>{_NUMBER})"
    rf"(?P<prerelease>-{_IDENTIFIER}(?:\.{_IDENTIFIER})*+)?(?P<build>\+{_IDENTIFIER}(?:\.{_IDENTIFIER})*+)?)?)?",
    re.ASCII,
)
_LEADING_ZERO = re.compile(r"(?:\A-|\.)0[0-9]++(?=\.|\Z)", re.ASCII)  # only the first hyphen separates
_NUMERIC = re.compile(r"(?<![^.])[0-9]++(?![^.])", re.ASCII)
_PIECE = 1000  # digits; far below the 4300 that int() takes


def is_valid(v: str) -> bool:
    """Whether v is a version, in full or short form."""
    return _parse(v) is not None


def canonical(v: str) -> str:
    """vX.Y.Z or vX.Y.Z-PRE: missing numbers filled in, build metadata gone; "" if v is no version."""
    parts = _parse(v)
    if parts is None:
        return ""
    if parts["minor"] is None:
        return v + ".0.0"
    if parts["patch"] is None:
        return v + ".0"
    return v.removesuffix(parts["build"]) if parts["build"] else v


def major(v: str) -> str:
    """`v1` of v1.2.3; "" if v is no version."""
    parts = _parse(v)
    return "v" + parts["major"] if parts else ""


def major_minor(v: str) -> str:
    """`v1.2` of v1.2.3, `v1.0` of v1; "" if v is no version."""
    parts = _parse(v)
    return f"v{parts['major']}.{parts['minor'] or '0'}" if parts else ""


def prerelease(v: str) -> str:
    """`-rc.1` of v1.2.3-rc.1+meta, with the dash; "" if there is none."""
    parts = _parse(v)
    return parts["prerelease"] or "" if parts else ""


def build(v: str) -> str:
    """`+meta` of v1.2.3-rc.1+meta, with the plus sign; "" if there is none."""
    parts = _parse(v)
    return parts["build"] or "" if parts else ""


def compare(v: str, w: str) -> int:
    """-1, 0 or 1 by precedence. Strings that are no versions are equal to each other and less than any version."""
    first, second = _precedence(v), _precedence(w)
    if first is None or second is None:
        return (first is not None) - (second is not None)
    return first.compare(second)


def sort_key(v: str) -> tuple[int, int, int, Version, str]:
    """A key that sorts by precedence, and by text where that leaves a tie.

    The three numbers come first because integers compare faster than a Version, which decides about the rest.
    """
    version = _precedence(v)
    if version is None:
        return -1, -1, -1, _NONE, v
    return version.major, version.minor, version.patch, version, v


def sort(versions: Iterable[str]) -> list[str]:
    """The versions in ascending order, by text where precedence leaves a tie."""
    return sorted(versions, key=sort_key)


def _parse(v: str) -> re.Match[str] | None:
    parts = _VERSION.fullmatch(v)
    if parts is None or (parts["prerelease"] and _LEADING_ZERO.search(parts["prerelease"])):
        return None
    return parts


def _precedence(v: str) -> Version | None:
    """What counts of a version, in the same order, with numbers that semver.Version can take at any length."""
    parts = _parse(v)
    if parts is None:
        return None
    pre = parts["prerelease"]
    return Version(
        _ordinal(parts["major"]),
        _ordinal(parts["minor"] or "0"),
        _ordinal(parts["patch"] or "0"),
        _NUMERIC.sub(_in_pieces, pre[1:]) if pre else None,
    )


def _ordinal(digits: str) -> int:
    """An integer that orders as the number does, the longer the greater, then digit by digit.

    Python refuses to read more than 4300 digits and takes quadratic time for them; bytes are read in linear time.
    """
    return int.from_bytes(digits.encode(), "big")


def _in_pieces(number: re.Match[str]) -> str:
    """The number as `count of digits.piece.piece...`: identifiers that order as it does and that int() can take."""
    digits = number[0]
    pieces = (digits[at : at + _PIECE] for at in range(0, len(digits), _PIECE))
    return ".".join((str(len(digits)), *pieces))


_NONE = Version(0)
