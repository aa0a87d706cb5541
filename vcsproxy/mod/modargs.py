"""The arguments of go.mod directives: quoted strings, module paths with versions, intervals, replacements.

Every function takes tokens as `modlex` gives them and raises BadDirective with Go's words.

Source: golang.org/x/mod/modfile/rule.go (parseString, parseVersion, parseVersionInterval, parseReplace).
"""

from __future__ import annotations

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import gotext, module


class BadDirective(ValueError):
    """A directive that cannot be used, with Go's words for it."""


def only_argument(verb: str, args: list[str]) -> str:
    """The one argument that a directive has, as it stands."""
    if len(args) != 1:
        raise BadDirective(f"{verb} directive expects exactly one argument")
    return args[0]


def string_argument(token: str) -> str:
    """A word, or the contents of a string in double quotes."""
    try:
        return _unquoted(token)
    except ValueError as bad:
        raise BadDirective(f"invalid quoted string: {bad}") from None


def path_and_version(verb: str, args: list[str]) -> tuple[str, str]:
    """`module/path v1.2.3`: a path and a version that fits its major suffix."""
    if len(args) != 2:
        raise BadDirective(f"usage: {verb} module/path v1.2.3")
    path = string_argument(args[0])
    version = _version(verb, path, args[1])
    _check_path_major(verb, path, version, _path_major(path))
    return path, version


def interval(args: list[str]) -> tuple[str, str, list[str]]:
    """`version` or `[low, high]`: both ends and the tokens behind; the ends are any words, as Go has it."""
    if args[:1] in ([], ["("]):
        raise BadDirective("expected '[' or version")
    if args[0] != "[":
        version = _version_string("retract", "", args[0])
        return version, version, args[1:]
    low = _version_string("retract", "", _expect(args, 1, "version after '['"))
    _expect(args, 2, "',' after version", ",")
    high = _version_string("retract", "", _expect(args, 3, "version after ','"))
    _expect(args, 4, "']' after version", "]")
    return low, high, args[5:]


def _expect(args: list[str], at: int, what: str, mark: str = "") -> str:
    if at >= len(args) or (mark and args[at] != mark):
        raise BadDirective(f"expected {what}")
    return args[at]


def replacement(args: list[str]) -> tuple[str, str, str, str]:
    """`path [version] => path version` or `=> directory`: old path and version, new path and version."""
    arrow = 1 if args[1:2] == ["=>"] else 2
    if not arrow + 2 <= len(args) <= arrow + 3 or args[arrow] != "=>":
        raise BadDirective(
            "usage: replace module/path [v1.2.3] => other/module v1.4\n"
            "\t or replace module/path [v1.2.3] => ../local/directory"
        )
    old_path = string_argument(args[0])
    major = _path_major(old_path, _about("replace", old_path))
    old_version = ""
    if arrow == 2:
        old_version = _version("replace", old_path, args[1])
        _check_path_major("replace", old_path, old_version, major)
    new_path = string_argument(args[arrow + 1])
    return old_path, old_version, new_path, _replacement_version(new_path, args[arrow + 2 :])


def _replacement_version(path: str, rest: list[str]) -> str:
    if rest:
        version = _version("replace", path, rest[0])
        if _is_directory_path(path):
            raise BadDirective(f"replacement module directory path {gotext.quote(path)} cannot have version")
        return version
    if not _is_directory_path(path):
        if "@" in path:
            raise BadDirective("replacement module must match format 'path version', not 'path@version'")
        raise BadDirective(
            "replacement module without version must be directory path (rooted or starting with . or ..)"
        )
    if "\\" in path:
        raise BadDirective("replacement directory appears to be Windows path (on a non-windows system)")
    return ""


def _is_directory_path(path: str) -> bool:
    """Directories of any system begin with a dot element, a slash, a backslash or a drive letter."""
    drive = len(path) > 1 and path[0].isascii() and path[0].isalpha() and path[1] == ":"
    return drive or path in (".", "..") or path.startswith(("./", ".\\", "../", "..\\", "/", "\\"))


def _unquoted(token: str) -> str:
    if token.startswith('"'):
        return gotext.unquote(token)
    if any(mark in token for mark in "\"'`"):
        raise ValueError("unquoted string cannot contain quote")
    return token


def _about(verb: str, path: str) -> str:
    return f"{verb} {path}: " if path else f"{verb}: "


def _version(verb: str, path: str, token: str) -> str:
    """The canonical form of a version; build metadata other than +incompatible is dropped."""
    version = _version_string(verb, path, token)
    canonical = module.canonical_version(version)
    if not canonical:
        raise BadDirective(f"{_about(verb, path)}version {gotext.quote(version)} invalid: must be of the form v1.2.3")
    return canonical


def _version_string(verb: str, path: str, token: str) -> str:
    try:
        return _unquoted(token)
    except ValueError as bad:
        raise BadDirective(f"{_about(verb, path)}version {gotext.quote(token)} invalid: {bad}") from None


def _path_major(path: str, about: str = "") -> str:
    _, major, ok = module.split_path_version(path)
    if not ok:
        raise BadDirective(f"{about}invalid module path")
    return major


def _check_path_major(verb: str, path: str, version: str, path_major: str) -> None:
    try:
        module.check_path_major(version, path_major)
    except InvalidRequest as bad:
        raise BadDirective(_about(verb, path) + bad.message) from None
