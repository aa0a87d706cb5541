"""URLs of repositories that are safe to use: taken apart once, against a list of schemes.

Nothing is ever guessed from a string that looks like a path or an option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from vcsproxy import errors

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\Z", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z", re.ASCII)
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>[^:].*)\Z", re.ASCII | re.DOTALL)
_NEWLINES = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class GitUrl:
    """A repository URL that is safe to use: scheme https, http or ssh; `port` 0 is the scheme's own."""

    scheme: str
    user: str
    host: str
    port: int
    path: str


def parse_url(text: str) -> GitUrl:
    """Take a URL, or the `user@host:path` form of SSH, apart. Raises UpstreamFailed for what names no repository."""
    # No absence: a page or a configuration says so, and there may well be something that it wanted to name.
    refused = errors.UpstreamFailed(
        f"{text[:80]!r} is not a URL of a Git repository", "use https://, ssh:// or user@host:path"
    )
    if _NEWLINES.search(text):
        raise refused
    if "://" in text:
        try:
            parts = urlsplit(text)
            port = parts.port or 0
        except ValueError:
            raise refused from None
        scheme = parts.scheme.removeprefix("git+")
        url = GitUrl(scheme, unquote(parts.username or ""), parts.hostname or "", port, parts.path)
    elif found := _SCP.match(text):
        url = GitUrl("ssh", found["user"] or "", found["host"].lower(), 0, found["path"])
    else:
        raise refused
    if url.scheme not in ("https", "http", "ssh") or not _HOST.match(url.host) or not url.path.strip("/"):
        raise refused
    if (url.user and not _USER.match(url.user)) or url.path.startswith("-"):
        raise refused
    return url
