"""`.info` files from elsewhere: one JSON object that every reader of JSON understands in the same way.

Go reads JSON with names in any case and takes the last of several; others do not. So a name that comes twice, in
whatever case, is refused, and so is what is JSON to Python alone. Our own `.info` are made by `build.coderepo`.

Source: cmd/go/internal/modfetch (RevInfo, Origin); time.Time.UnmarshalJSON for times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from vcsproxy.errors import Refused
from vcsproxy.mod import gotext, pseudo

MAX_INFO = 1 << 20
"""Bytes that an `.info` may have."""

_ORIGIN = ("VCS", "URL", "Subdir", "Hash", "TagPrefix", "TagSum", "Ref", "RepoSum")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class RevInfo:
    """What an `.info` says. time: RFC 3339 as it is written there. commit: Origin.Hash, "" if it does not say."""

    version: str
    time: str
    commit: str


def parse(data: bytes, version: str) -> RevInfo:
    """The facts of the `.info` of `version`. Raises Refused, with what is wrong with it."""
    if len(data) > MAX_INFO:
        raise Refused(f".info is too large ({len(data)} bytes; limit is {MAX_INFO} bytes)")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise Refused(".info is nested too deeply") from None
    except ValueError as err:
        raise Refused(f".info is no JSON: {gotext.scrub(str(err))}") from None
    if not isinstance(value, dict):
        raise Refused(".info is no JSON object")
    if value.get("Version") != version:
        raise Refused(f".info is that of version {_shown(value.get('Version'))}, not of {version}")
    time = value.get("Time")
    if not isinstance(time, str) or not is_time(time):
        raise Refused(f".info has no RFC 3339 time: {_shown(time)}")
    return RevInfo(version, time, _commit(value.get("Origin")))


def is_time(text: str) -> bool:
    """Whether Go takes this for a time in JSON."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        return False
    try:
        datetime(*map(int, found.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return False
    return True


def of_pseudo_version(version: str) -> bytes:
    """The `.info` that a pseudo-version itself says all about. Raises InvalidRequest for any other version."""
    stamp = pseudo.timestamp(pseudo.pseudo_version_time(version))
    time = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:]}Z"
    return json.dumps({"Version": version, "Time": time}, separators=(",", ":")).encode()


def _commit(origin: object) -> str:
    if origin is None:
        return ""
    if not isinstance(origin, dict) or any(not isinstance(origin.get(name, ""), str | None) for name in _ORIGIN):
        raise Refused(".info has a malformed Origin")
    return str(origin.get("Hash") or "")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A name in another case is the same name to Go; here it would be read by nobody, or hide another."""
    found: dict[str, Any] = dict(pairs)
    if len({name.casefold() for name, _ in pairs}) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _shown(value: object) -> str:
    return gotext.quote(value[:80]) if isinstance(value, str) else "none" if value is None else "no string"
