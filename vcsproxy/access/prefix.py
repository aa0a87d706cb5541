"""The URL prefix to which a credential is bound: scheme, host, port and path.

A prefix covers a URL when all but the path are equal and its path's elements begin the URL's path; the longest one
wins. User names in URLs say nothing about where they lead and are not compared. Paths are compared as they are sent: an
encoded dot or slash matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22}
_SCP = re.compile(r"(?:[^@/:]+@)?([^@/:\[\]]+):(?!//|:)(.*)", re.ASCII | re.DOTALL)
_ODD = re.compile(r"[\x00-\x20\x7f\\]")  # what clients drop, or read in different ways

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prefix:
    """One origin and the beginning of a path, without a final slash."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Prefix:
        """From https://host[:port]/path, ssh://[user@]host/path or [user@]host:path.

        Raises ValueError, which repeats nothing of the URL: there may be a password in it.
        """
        scp = _SCP.fullmatch(url) if "://" not in url else None
        if scp is not None:
            return cls("ssh", scp[1].lower(), 22, "/" + scp[2].strip("/") if scp[2].strip("/") else "")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("has a host or a port that cannot be") from None
        if parts.scheme not in DEFAULT_PORTS or not host:
            raise ValueError("must be a URL such as https://git.corp.example/team or ssh://git.corp.example")
        return cls(parts.scheme, host, DEFAULT_PORTS[parts.scheme] if port is None else port, parts.path.rstrip("/"))

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def covers(self, url: str) -> bool:
        """Whether a credential bound here may be sent to `url`; False for what is no URL, or not the same to all."""
        if _ODD.search(url):
            return False
        try:
            other = Prefix.parse(url)
        except ValueError:
            return False
        if self.origin != other.origin or _walks(other.path):
            return False
        path = other.path
        return not self.path or path == self.path or path.startswith(self.path + "/")

    def __str__(self) -> str:
        port = f":{self.port}" if self.port != DEFAULT_PORTS[self.scheme] else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.path}"


def _walks(path: str) -> bool:
    """Whether a server might read the path as one that lies elsewhere; some cut elements off at a semicolon."""
    plain = path.lower().replace("%25", "%").replace("%2e", ".").replace("%3b", ";")
    return any(element.partition(";")[0] in (".", "..") for element in re.split(r"/|%2f|%5c", plain))


def longest(candidates: Iterable[tuple[str, T]], url: str) -> T | None:
    """The value whose prefix covers `url` and is the longest; the first of equals; None if none covers it."""
    best: T | None = None
    length = -1
    for prefix, value in candidates:
        parsed = Prefix.parse(prefix)
        if parsed.covers(url) and len(parsed.path) > length:
            best, length = value, len(parsed.path)
    return best
