"""Versions of the Go toolchain and language, without a leading `go`: 1.21, 1.21rc1, 1.21.0.

They are no semantic versions: 1.21 (the language) < 1.21rc1 < 1.21.0, and before 1.21 a missing patch is 0.

Source: internal/gover of the Go distribution; go/version, which is the same for `go1.21`.
"""

from __future__ import annotations

import re

_NUMBER = r"0|[1-9][0-9]*"
_VERSION = re.compile(rf"({_NUMBER})(?:\.({_NUMBER})(?:\.({_NUMBER})|([a-z]+)({_NUMBER})?)?)?", re.ASCII)

_Number = tuple[int, str]
"""A decimal number of any length that orders as the number does; (0, "") for a missing one, less than 0."""


def is_valid(x: str) -> bool:
    """Whether x is a version of Go."""
    return _VERSION.fullmatch(x) is not None


def lang(x: str) -> str:
    """The language version: `1.21` of 1.21rc1 and 1.21.3; "" if x is no version."""
    parts = _VERSION.fullmatch(x)
    if parts is None:
        return ""
    major, minor = parts[1], parts[2] or "0"
    # A bare major reads as MAJOR.0, and only for Go 1 is that written without the zero.
    return major if (major, minor) == ("1", "0") else f"{major}.{minor}"


def compare(x: str, y: str) -> int:
    """-1, 0 or 1; strings that are no versions are equal to each other and less than any version."""
    first, second = _precedence(x), _precedence(y)
    return (first > second) - (first < second)


def _precedence(x: str) -> tuple[_Number, _Number, _Number, str, _Number]:
    parts = _VERSION.fullmatch(x)
    if parts is None:
        return _number(""), _number(""), _number(""), "", _number("")
    major, minor, patch, kind, pre = (text or "" for text in parts.groups())
    if not minor:
        minor = patch = "0"
    elif not patch and not kind and _number(minor) < _number("21"):
        patch = "0"
    return _number(major), _number(minor), _number(patch), kind, _number(pre)


def _number(digits: str) -> _Number:
    return len(digits), digits
