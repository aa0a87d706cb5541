"""Module paths and versions: what is valid, how they are escaped, which major version belongs to which path.

Text is `str`; a byte that is no UTF-8 is a surrogate escape, and nothing here accepts one. Every function that refuses
raises InvalidRequest with Go's words. This module knows nothing of repositories: `reporoot` goes from a path to one.

Source: golang.org/x/mod/module (module.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import glob, gotext, letters, semver

_ElementFault = Callable[[str], str]

_INCOMPATIBLE = "+incompatible"
_UNSTABLE = "-unstable"
_GOPKG_IN = "gopkg.in/"

_NOT_IN_MODULE_PATH = re.compile(r"[^A-Za-z0-9._~-]")
_NOT_IN_IMPORT_PATH = re.compile(r"[^A-Za-z0-9._~+-]")
_NOT_IN_FIRST_ELEMENT = re.compile(r"[^a-z0-9.-]")
_NOT_PLAIN_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9!#$%&()+,\-.=@\[\]^_{}~ ]")
_DEVICE = re.compile(r"con|prn|aux|nul|com[1-9]|lpt[1-9]", re.ASCII | re.IGNORECASE)
_SHORT_NAME = re.compile(r"~[0-9]+\Z")
_NO_UTF8 = re.compile("[\ud800-\udfff]")
_DIGITS = "0123456789"

_ESCAPED = re.compile(r"(?:[^!A-Z\x80-\U0010ffff]|![a-z])*+")
_BANG = re.compile(r"!([a-z])")
_UPPER = re.compile(r"[A-Z]")


# ---- validity


def check(path: str, version: str) -> None:
    """Check a pair: a valid path, a semantic version, and the path's major version."""
    check_path(path)
    if not semver.is_valid(version):
        raise InvalidRequest(f"{path}@{version}: invalid version: not a semantic version")
    fault = _path_major_fault(version, split_path_version(path)[1])
    if fault:
        raise InvalidRequest(f"{path}@{version}: invalid version: {fault}")


def check_path(path: str) -> None:
    """Check a module path."""
    fault = _path_fault(path, _module_element_fault, leading_dash=False) or _module_path_fault(path)
    if fault:
        raise InvalidRequest(f"malformed module path {gotext.quote(path)}: {fault}")


def check_import_path(path: str) -> None:
    """Check the import path of a package: leading dots and plus signs are fine, and it names no major version."""
    fault = _path_fault(path, _import_element_fault, leading_dash=False)
    if fault:
        raise InvalidRequest(f"malformed import path {gotext.quote(path)}: {fault}")


def check_file_path(path: str) -> None:
    """Check the path of a file in a module: letters of any script and more marks than in a module path."""
    fault = _path_fault(path, file_element_fault, leading_dash=True)
    if fault:
        raise InvalidRequest(f"malformed file path {gotext.quote(path)}: {fault}")


def is_utf8(text: str) -> bool:
    """Whether the text came from valid UTF-8."""
    return text.isascii() or _NO_UTF8.search(text) is None


def _path_fault(path: str, element_fault: _ElementFault, *, leading_dash: bool) -> str:
    """Why a path is malformed, "" if it is not."""
    if not is_utf8(path):
        return "invalid UTF-8"
    if not path:
        return "empty string"
    if path.startswith("-") and not leading_dash:
        return "leading dash"
    if "//" in path:
        return "double slash"
    if path.endswith("/"):
        return "trailing slash"
    return next(filter(None, map(element_fault, path.split("/"))), "")


def _module_path_fault(path: str) -> str:
    """What a module path has to fulfil beyond a well-formed path."""
    first = path.partition("/")[0]
    if "." not in first:
        return "missing dot in first path element"
    wrong = _NOT_IN_FIRST_ELEMENT.search(first)
    if wrong is not None:
        return f"invalid char {gotext.quote_rune(wrong[0])} in first path element"
    return "" if split_path_version(path)[2] else "invalid version"


def _module_element_fault(element: str) -> str:
    return _element_fault(element, _NOT_IN_MODULE_PATH, leading_dot=False) or _short_name_fault(element)


def _import_element_fault(element: str) -> str:
    return _element_fault(element, _NOT_IN_IMPORT_PATH) or _short_name_fault(element)


def file_element_fault(element: str) -> str:
    """Why a name cannot be one element of a file path, "" if it can."""
    return _element_fault(element, _NOT_PLAIN_IN_FILE_NAME)


def _element_fault(element: str, unusual: re.Pattern[str], *, leading_dot: bool = True) -> str:
    if not element:
        return "empty path element"
    if not element.strip("."):
        return f"invalid path element {gotext.quote(element)}"
    if element.startswith(".") and not leading_dot:
        return "leading dot in path element"
    if element.endswith("."):
        return "trailing dot in path element"
    wrong = _wrong_char(element, unusual)
    if wrong:
        return f"invalid char {gotext.quote_rune(wrong)}"
    short = element.partition(".")[0]
    if _DEVICE.fullmatch(short):
        return f"{gotext.quote(short)} disallowed as path element component on Windows"
    return ""


def _wrong_char(element: str, unusual: re.Pattern[str]) -> str:
    """The first character that may not be there; beyond ASCII only file names may have any, and only letters."""
    for found in unusual.finditer(element):
        if unusual is not _NOT_PLAIN_IN_FILE_NAME or found[0].isascii() or not letters.is_letter(ord(found[0])):
            return found[0]
    return ""


def _short_name_fault(element: str) -> str:
    """Windows writes long names as NAME~1; a path that looks like that could mean two things there."""
    return "trailing tilde and digits in path element" if _SHORT_NAME.search(element.partition(".")[0]) else ""


# ---- versions and major suffixes


def canonical_version(v: str) -> str:
    """The canonical form of a version, a build suffix kept only if it is +incompatible; "" if v is no version."""
    return semver.canonical(v) + (_INCOMPATIBLE if semver.build(v) == _INCOMPATIBLE else "")


def split_path_version(path: str) -> tuple[str, str, bool]:
    """(prefix, path major, ok) with prefix + path major == path.

    The path major is "", `/vN` with N >= 2, or below gopkg.in `.vN` or `.vN-unstable` with any N. When the path ends
    in a suffix that no module path may have, the answer is (path, "", False).
    """
    if path.startswith(_GOPKG_IN):
        return _split_gopkg_in(path)
    head = path.rstrip(_DIGITS + ".")
    tail = path[len(head) :]
    if not tail or not head.endswith("/v"):
        return path, "", True
    if "." in tail or tail.startswith("0") or tail == "1":
        return path, "", False
    return head[:-2], "/v" + tail, True


def _split_gopkg_in(path: str) -> tuple[str, str, bool]:
    unstable = _UNSTABLE if path.endswith(_UNSTABLE) else ""
    stem = path.removesuffix(unstable)
    head = stem.rstrip(_DIGITS)
    tail = stem[len(head) :] + unstable
    if not head.endswith(".v") or not tail or (tail.startswith("0") and tail != "0"):
        return path, "", False
    return head[:-2], ".v" + tail, True


def path_major_prefix(path_major: str) -> str:
    """The major version that the tags of a path major have: `v2` of `/v2` and `.v2-unstable`; "" (v0 or v1) of "".

    DIFFERS: where Go panics (gopkg.in/x.v-unstable, which passes for a valid path) this raises InvalidRequest.
    """
    if not path_major:
        return ""
    prefix = _without_unstable(path_major)[1:]
    if path_major[0] not in "/." or prefix != semver.major(prefix):
        raise InvalidRequest(f"malformed module path: {gotext.quote(path_major)} is no major version suffix")
    return prefix


def match_path_major(v: str, path_major: str) -> bool:
    """Whether a version has the major version that the path asks for."""
    return not _path_major_fault(v, path_major)


def check_path_major(v: str, path_major: str) -> None:
    """As match_path_major, with the reason."""
    fault = _path_major_fault(v, path_major)
    if fault:
        raise InvalidRequest(f"version {gotext.quote(v)} invalid: {fault}")


def _without_unstable(path_major: str) -> str:
    return path_major.removesuffix(_UNSTABLE) if path_major.startswith(".v") else path_major


def _path_major_fault(v: str, path_major: str) -> str:
    path_major = _without_unstable(path_major)
    if path_major == ".v1" and v.startswith("v0.0.0-"):
        return ""  # pseudo-versions that an old bug of Go made are in go.mod files for good
    have = semver.major(v)
    if not path_major:
        fits = have in ("v0", "v1") or semver.build(v) == _INCOMPATIBLE
        return "" if fits else f"should be v0 or v1, not {have}"
    if path_major[0] in "/.":
        path_major = path_major[1:]
        if have == path_major:
            return ""
    return f"should be {path_major}, not {have}"


# ---- escaping


def escape_path(path: str) -> str:
    """The path as URLs and file names have it: `!x` for each upper-case X."""
    check_path(path)
    return _UPPER.sub(_escape_letter, path)


def escape_version(v: str) -> str:
    """The same for a version, which may be any ASCII file name without `!`."""
    if file_element_fault(v) or "!" in v or not v.isascii():
        raise InvalidRequest(f"version {gotext.quote(v)} invalid: disallowed version string")
    return _UPPER.sub(_escape_letter, v)


def unescape_path(escaped: str) -> str:
    """The module path for its escaped form."""
    path = _unescape(escaped)
    if path is None:
        raise InvalidRequest(f"invalid escaped module path {gotext.quote(escaped)}")
    try:
        check_path(path)
    except InvalidRequest as err:
        raise InvalidRequest(f"invalid escaped module path {gotext.quote(escaped)}: {err}") from None
    return path


def unescape_version(escaped: str) -> str:
    """The version, or version query, for its escaped form; never with a slash or anything else no file name has."""
    v = _unescape(escaped)
    if v is None:
        raise InvalidRequest(f"invalid escaped version {gotext.quote(escaped)}")
    fault = file_element_fault(v)
    if fault:
        raise InvalidRequest(f"invalid escaped version {gotext.quote(v)}: {fault}")
    return v


def _escape_letter(upper: re.Match[str]) -> str:
    return "!" + upper[0].lower()


def _unescape(escaped: str) -> str | None:
    if _ESCAPED.fullmatch(escaped) is None:
        return None
    return _BANG.sub(lambda found: found[1].upper(), escaped)


# ---- patterns


def match_prefix_patterns(globs: str, target: str) -> bool:
    """Whether one of the comma-separated globs matches as many leading elements of target as it has itself.

    Empty and malformed globs match nothing; a trailing slash of a glob does not count; spaces do.
    """
    elements = target.split("/")
    for one in globs.split(","):
        pattern = one.removesuffix("/")
        count = pattern.count("/") + 1
        if pattern and count <= len(elements) and glob.match(pattern, "/".join(elements[:count])):
            return True
    return False
