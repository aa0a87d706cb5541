"""The path of a GOPROXY request: raw URL path to module path, version and kind, or a refusal.

The raw path still has its percent signs. It is decoded once, segment by segment, after it was split at the slashes, so
that no encoding can smuggle one in; `+` stays `+`, and `%21` is the `!` that escapes an upper-case letter. What comes
out obeys Go's rules for module paths and file names, and is no option, range or expression to Git.

DIFFERS: paths longer than 1024 bytes and versions longer than 256, that start with a dash or that contain `..`, `@{`
or a colon are refused. Go sets no such limits, and no such name is a version or was ever a branch worth asking for.

Source: cmd/go/internal/modfetch/proxy.go; GOPROXY protocol (go help goproxy).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import gotext, module

MAX_PATH = 1024
"""Bytes of a module path."""
MAX_VERSION = 256
"""Bytes of a version or version query."""

_MAX_RAW = 3 * (2 * MAX_PATH + 2 * MAX_VERSION)  # every byte escaped by `!` and that percent-encoded
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"[/\x00-\x1f\x7f]")
_GIT_SYNTAX = re.compile(r"\A-|\.\.|@\{|[:^~?*\[\\]")  # nothing that a ref can be called
_HINT = "ask for MODULE/@v/list, MODULE/@v/VERSION.info, .mod or .zip, or MODULE/@latest"


class Kind(Enum):
    """What is asked for."""

    LIST = "list"
    LATEST = "latest"
    INFO = "info"
    MOD = "mod"
    ZIP = "zip"


_FILES = {"info": Kind.INFO, "mod": Kind.MOD, "zip": Kind.ZIP}


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """`path` and `version` are unescaped and valid; a version may be any revision name, "" for LIST and LATEST."""

    kind: Kind
    path: str
    version: str = ""


def parse(raw_path: str) -> ProxyRequest:
    """Read a raw URL path that starts behind the proxy's base URL, with or without its first slash.

    Raises InvalidRequest, in one line, for every path that no go command would ask for.
    """
    if len(raw_path) > _MAX_RAW:
        raise InvalidRequest("request path is too long", _HINT)
    segments = [_decode(segment) for segment in raw_path.removeprefix("/").split("/")]
    if segments[-1] == "@latest":
        return ProxyRequest(Kind.LATEST, _module_path(segments[:-1]))
    if "@v" not in segments:
        raise InvalidRequest("not a module proxy request: no /@v/ or /@latest in the path", _HINT)
    at = len(segments) - 1 - segments[::-1].index("@v")
    return _file_request(segments[:at], segments[at + 1 :])


def _file_request(module_segments: list[str], file: list[str]) -> ProxyRequest:
    if len(file) != 1:
        raise InvalidRequest("a version in a proxy request cannot contain a slash", _HINT)
    path = _module_path(module_segments)
    if file[0] == "list":
        return ProxyRequest(Kind.LIST, path)
    escaped, _, extension = file[0].rpartition(".")
    kind = _FILES.get(extension)
    if kind is None:
        raise InvalidRequest(f"unknown kind of file: {gotext.quote(file[0][:MAX_VERSION])}", _HINT)
    return ProxyRequest(kind, path, _version(escaped))


def _decode(segment: str) -> str:
    if _BAD_PERCENT.search(segment):
        raise InvalidRequest("malformed percent-encoding in request path")
    try:
        text = unquote_to_bytes(segment).decode() if "%" in segment else segment
    except UnicodeDecodeError:
        raise InvalidRequest("request path is not valid UTF-8") from None
    if _FORBIDDEN.search(text):
        raise InvalidRequest("encoded slash or control character in request path")
    return text


def _module_path(segments: list[str]) -> str:
    path = module.unescape_path("/".join(segments))
    if len(path) > MAX_PATH:
        raise InvalidRequest(f"module path is longer than {MAX_PATH} bytes")
    return path


def _version(escaped: str) -> str:
    version = module.unescape_version(escaped)
    if len(version) > MAX_VERSION:
        raise InvalidRequest(f"version is longer than {MAX_VERSION} bytes")
    if _GIT_SYNTAX.search(version):
        raise InvalidRequest(
            f"disallowed version string {gotext.quote(version)}", "ask for a version, branch or commit"
        )
    return version
