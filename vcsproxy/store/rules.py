"""What every store checks, as pure functions over values: what may be published, what is the same, what has changed.

No file, clock or task is known here; `disk` and `memory` hold the bytes and ask these functions about them.

Source: cmd/go/internal/modfetch (the `.info` of a version, `.ziphash` of 47 bytes); golang.org/x/mod/sumdb/dirhash.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from vcsproxy import errors
from vcsproxy.mod import module
from vcsproxy.store import Artifacts

H1_LENGTH = 47
NO_PIN = ("", "")
_H1 = re.compile(r"h1:[A-Za-z0-9+/]{43}=")
_HINT = "the tag was moved or the history rewritten; the first bytes stay, ask the author for a new version"

_END = b"PK\x05\x06"  # end of central directory, 22 bytes without a comment
_LOCATOR = b"PK\x06\x07"  # its zip64 locator, 20 bytes
_END64 = b"PK\x06\x06"  # zip64 end of central directory, 56 bytes
_TAIL = 22 + 20 + 56
_MAX32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Facts:
    """What makes two `.info` of a version the same; `time` and `commit` are "" when the `.info` has none."""

    version: str
    time: str
    commit: str


def facts(info: bytes) -> Facts:
    """The facts of an `.info`. Raises ValueError for anything but a JSON object with a Version."""
    try:
        value = json.loads(info)
    except RecursionError as err:
        raise ValueError("nested too deeply") from err
    if not isinstance(value, dict) or not isinstance(value.get("Version"), str) or not value["Version"]:
        raise ValueError("no JSON object with a Version")
    origin = value.get("Origin")
    commit = origin.get("Hash") if isinstance(origin, dict) else None
    return Facts(value["Version"], str(value.get("Time") or ""), str(commit or ""))


def pin(info: bytes) -> tuple[str, str]:
    """(Origin.Ref, Origin.Hash) of an `.info`, "" for what it does not say or cannot."""
    try:
        value = json.loads(info)
    except (ValueError, RecursionError):
        return NO_PIN
    origin = value.get("Origin") if isinstance(value, dict) else None
    if not isinstance(origin, dict):
        return NO_PIN
    ref, commit = origin.get("Ref"), origin.get("Hash")
    return ref if isinstance(ref, str) else "", commit if isinstance(commit, str) else ""


def check_artifacts(path: str, version: str, artifacts: Artifacts) -> None:
    """Refuse to publish what could not be found again. Raises Corrupt: the builder has made a mistake."""
    if not is_canonical(version):
        raise errors.Corrupt(f"{path}@{version}: only canonical versions can be published")
    try:
        named = facts(artifacts.info).version
    except ValueError as err:
        raise errors.Corrupt(f"{path}@{version}: the .info to publish is broken: {err}") from err
    if named != version:
        raise errors.Corrupt(f"{path}@{version}: the .info to publish is that of version {named}")
    if artifacts.zip is not None and not is_h1(artifacts.zip_h1):
        raise errors.Corrupt(f"{path}@{version}: the zip to publish has no valid dirhash")


def is_canonical(version: str) -> bool:
    """Whether this can be the name of a published version."""
    return version != "" and version == module.canonical_version(version)


def check_info(path: str, version: str, stored: bytes, new: bytes) -> None:
    """Raise ModuleChanged unless both `.info` have the same facts, Corrupt if the stored one has none."""
    try:
        old = facts(stored)
    except ValueError as err:
        raise broken(path, version, ".info", str(err)) from err
    now = facts(new)
    if old.commit != now.commit:
        raise _changed(path, version, "commit", old.commit or "none", now.commit or "none")
    if old != now:
        raise _changed(path, version, ".info", _info_text(old, stored), _info_text(now, new))


def check_gomod(path: str, version: str, stored: bytes, new: bytes) -> None:
    """Raise ModuleChanged unless both go.mod files have the same bytes."""
    if stored != new:
        raise _changed(path, version, "go.mod", gomod_h1(stored), gomod_h1(new))


def check_h1(path: str, version: str, stored: str, new: str) -> None:
    """Raise ModuleChanged unless both dirhashes are the same."""
    if stored != new:
        raise _changed(path, version, "zip", stored, new)


def is_h1(text: str) -> bool:
    """Whether this is a dirhash as `.ziphash` holds it: 47 characters, no newline."""
    return _H1.fullmatch(text) is not None


def gomod_h1(gomod: bytes) -> str:
    """The dirhash of a go.mod file, as go.sum has it."""
    line = f"{sha256(gomod).hexdigest()}  go.mod\n"
    return "h1:" + base64.b64encode(sha256(line.encode()).digest()).decode()


def data_etag(data: bytes) -> str:
    """The strong entity tag of bytes, quoted."""
    return f'"{sha256(data).hexdigest()}"'


def zip_etag(h1: str, size: int) -> str:
    """The strong entity tag of a zip, quoted.

    Equal dirhashes allow other compressed bytes, and those have another size but for an accident that only an evicted
    zip, built again by another release, could bring about.
    """
    return f'"{h1.removeprefix("h1:")}-{size:x}"'


def broken(path: str, version: str, suffix: str, why: str) -> errors.Corrupt:
    """The error for a stored artifact that cannot be right."""
    return errors.Corrupt(
        f"{path}@{version}: the stored {suffix} is broken: {why}", "restore it from a copy or remove it"
    )


def is_whole_zip(file: BinaryIO, size: int) -> bool:
    """Whether an open zip of `size` bytes ends where its end-of-central-directory record says.

    Finds truncation and trailing bytes in one read of the end. A comment counts as trailing bytes: neither we nor Go's
    zip.Create write one.
    """
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    if len(tail) != min(size, _TAIL) or tail[-22:-18] != _END or tail[-2:] != b"\0\0":
        return False
    length, start = int.from_bytes(tail[-10:-6], "little"), int.from_bytes(tail[-6:-2], "little")
    if tail[-12:-10] == b"\xff\xff" or _MAX32 in (length, start):
        return len(tail) == _TAIL and _is_zip64_end(tail, size - _TAIL)
    return start + length == size - 22


def _is_zip64_end(tail: bytes, record: int) -> bool:
    """Whether the last 98 bytes are all three end records, the first at `record`, where the directory ends."""
    if tail[-98:-94] != _END64 or tail[-42:-38] != _LOCATOR:
        return False
    length, start = int.from_bytes(tail[-58:-50], "little"), int.from_bytes(tail[-50:-42], "little")
    return start + length == record == int.from_bytes(tail[-34:-26], "little")


def _info_text(known: Facts, info: bytes) -> str:
    return f"{known.time or 'no time'} (sha256 {sha256(info).hexdigest()})"


def _changed(path: str, version: str, what: str, old: str, new: str) -> errors.ModuleChanged:
    return errors.ModuleChanged(f"{path}@{version}: {what} has changed: published as {old}, now {new}", _HINT)
