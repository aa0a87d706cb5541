"""Pseudo-versions: versions that name a commit by its time and hash, such as v0.0.0-20240301000000-0123456789ab.

Three forms, with T the commit's time and R the start of its hash:

    vX.0.0-T-R          no older version is known
    vX.Y.(Z+1)-0.T-R    after the release vX.Y.Z
    vX.Y.Z-PRE.0.T-R    after the prerelease vX.Y.Z-PRE

Whether such a version tells the truth about a repository is not known here: see `build.coderepo`. Times are seconds
since 1970 in UTC.

Source: golang.org/x/mod/module (pseudo.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vcsproxy.errors import InvalidRequest, NotFound
from vcsproxy.mod import gotext, semver

_PSEUDO_VERSION = re.compile(
    r"v[0-9]+\.(?:0\.0-|[0-9]+\.[0-9]+-(?:[^+]*\.)?0\.)[0-9]{14}-[A-Za-z0-9]+"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_TIMESTAMP = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = -62135596800  # 0001-01-01T00:00:00Z
_LAST = 253402300799  # 9999-12-31T23:59:59Z
_CYCLE = 400  # years, after which the calendar repeats
_SECONDS_OF_CYCLE = 146097 * 86400


@dataclass(frozen=True, slots=True)
class _Parts:
    """`base` is all before the time without its separator; `build` has its plus sign."""

    base: str
    time: str
    rev: str
    build: str


def is_pseudo_version(v: str) -> bool:
    """Whether a version has one of the three forms."""
    return v.count("-") >= 2 and semver.is_valid(v) and _PSEUDO_VERSION.fullmatch(v) is not None


def pseudo_version(major: str, older: str, unix_seconds: int, rev: str) -> str:
    """The pseudo-version of a commit.

    `major` (`v2`, "" for v0) counts only without an `older` version; the build metadata of `older` moves to the end.
    Raises NotFound for a time that timestamp() refuses.
    """
    commit = f"{timestamp(unix_seconds)}-{rev}"
    base, build = semver.canonical(older), semver.build(older)
    if not base:
        return f"{major or 'v0'}.0.0-{commit}"
    if semver.prerelease(base):
        return f"{base}.0.{commit}{build}"
    head, _, patch = base.rpartition(".")
    return f"{head}.{_increment(patch)}-0.{commit}{build}"


def timestamp(unix_seconds: int) -> str:
    """yyyymmddhhmmss. Raises NotFound outside the years 1 to 9999, which no version can name."""
    if not _FIRST <= unix_seconds <= _LAST:
        raise NotFound(
            "commit time is outside the years 1 to 9999", "the commit's metadata is broken; tag another commit"
        )
    t = _EPOCH + timedelta(seconds=unix_seconds)
    return f"{t.year:04}{t.month:02}{t.day:02}{t.hour:02}{t.minute:02}{t.second:02}"


def pseudo_version_time(v: str) -> int:
    """The seconds that the time in a pseudo-version stands for. Raises InvalidRequest, also for a month 13."""
    stamp = _parse(v).time
    try:
        return _seconds(stamp)
    except ValueError:
        raise _invalid(v, f"malformed time {gotext.quote(stamp)}") from None


def pseudo_version_rev(v: str) -> str:
    """The hash prefix in a pseudo-version. Raises InvalidRequest."""
    return _parse(v).rev


def pseudo_version_base(v: str) -> str:
    """The version that a pseudo-version comes right after, "" if it does not say. Raises InvalidRequest."""
    parts = _parse(v)
    base, prerelease = parts.base, semver.prerelease(parts.base)
    if not prerelease:
        if parts.build:
            raise _invalid(v, f"lacks base version, but has build metadata {gotext.quote(parts.build)}")
        return ""
    if prerelease != "-0":
        return base.removesuffix(".0") + parts.build
    release = base.removesuffix("-0")
    head, _, patch = release.rpartition(".")
    if not patch.strip("0"):
        raise _invalid(v, f"version before {release} would have negative patch number")
    return f"{head}.{_decrement(patch)}{parts.build}"


def _parse(v: str) -> _Parts:
    if not is_pseudo_version(v):
        raise _invalid(v, "syntax error")
    build = semver.build(v)
    rest, _, rev = v.removesuffix(build).rpartition("-")
    # The time follows the last dot, or the last dash in the form that has no base.
    at = max(rest.rfind("-"), rest.rfind("."))
    return _Parts(rest[:at], rest[at + 1 :], rev, build)


def _invalid(v: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"pseudo-version {gotext.quote(v)} invalid: {why}")


def _seconds(stamp: str) -> int:
    """Raises ValueError for what no calendar has."""
    parts = _TIMESTAMP.fullmatch(stamp)
    if parts is None:
        raise ValueError("not 14 digits")
    year, month, day, hour, minute, second = map(int, parts.groups())
    # Go reads the year 0, Python has none.
    shift = 0 if year else _CYCLE
    t = datetime(year + shift, month, day, hour, minute, second, tzinfo=UTC)
    return int((t - _EPOCH) // timedelta(seconds=1)) - (_SECONDS_OF_CYCLE if shift else 0)


def _increment(decimal: str) -> str:
    """One more, as text: a number of any length stays linear."""
    head = decimal.rstrip("9")
    nines = len(decimal) - len(head)
    return (head[:-1] + str(int(head[-1]) + 1) if head else "1") + "0" * nines


def _decrement(decimal: str) -> str:
    """One less, as text, for a number above 0 without leading zeros."""
    head = decimal.rstrip("0")
    zeros = len(decimal) - len(head)
    less = head[:-1] + str(int(head[-1]) - 1)
    return ("" if less == "0" and zeros else less) + "9" * zeros
