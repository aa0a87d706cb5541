"""Names that git does not let into an index, on any platform.

`git archive` reads the whole commit into an index first, so one such name anywhere makes every archive of that commit
fail, and with it every module zip. Nothing here is about what Go allows in a module: that is `mod/modzip.py`.

Source: behaviour of git 2.39 with its defaults (core.protectNTFS on, core.protectHFS off); git-config(1).
"""

from __future__ import annotations

import re

# What NTFS takes for .git: its short name, and either with trailing dots and spaces or a stream name.
_DOT_GIT = re.compile(rb"(?:\.git|git~1)[. ]*(?::.*)?\Z", re.IGNORECASE | re.DOTALL)
_DOT_GITMODULES = re.compile(
    rb"(?:\.gitmodules|gitmod~[1-4]|(?=.{8})(?:g(?:i(?:7(?:e(?:ba?)?)?)?)?)?~[1-9][0-9]*)[. ]*(?::.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
_BACKSLASH = ord("\\")


def is_allowed(name: bytes, *, symlink: bool) -> bool:
    """Whether one path element may be in an index; `symlink`: it is the name of a symbolic link."""
    if name in (b".", b".."):
        return False
    parts = name.split(b"\\") if _BACKSLASH in name else [name]
    return not any(_DOT_GIT.match(part) or (symlink and _DOT_GITMODULES.match(part)) for part in parts)
