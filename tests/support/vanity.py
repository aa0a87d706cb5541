"""A host of go-import pages over HTTPS, meta.test, and a Git host beside it, git.test; the pages say what a test wants."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.authority import Authority
from tests.support.githost import GitHost, Page

HOSTS = ("meta.test", "git.test")


@dataclass(frozen=True)
class Vanity:
    """`config` are the tables that make a server trust and find both hosts."""

    host: GitHost
    config: str

    def name(self, path: str, content: str) -> str:
        """Make the page of meta.test/PATH name a repository: PREFIX VCS ROOT [SUBDIR]. Returns the module path."""
        tag = f'<meta name="go-import" content="{html.escape(content)}">'
        self.put(path, (200, {"Content-Type": "text/html"}, f"<html><head>{tag}</head></html>".encode()))
        return f"meta.test/{path}"

    def lead(self, path: str, location: str, status: int = 302) -> str:
        """Make the page of meta.test/PATH a redirect. Returns the module path."""
        self.put(path, (status, {"Location": location}, b""))
        return f"meta.test/{path}"

    def put(self, path: str, page: Page) -> None:
        self.host.pages[f"meta.test/{path}?go-get=1"] = page

    def fetched(self) -> list[str]:
        """Requests for anything but pages."""
        return [request for request in self.host.requests if "go-get=1" not in request]


@contextlib.contextmanager
def vanity(work: Path, repos: Path = Path("/nonexistent"), *more: str) -> Iterator[Vanity]:
    """Start it; git.test, and every host of `more`, serves the bare repositories below `repos`."""
    names = (*HOSTS, *more)
    authority = Authority.create(work / "ca")
    with GitHost(repos, authority.server_context(*names)).running() as host:
        config = "".join(
            f'[[host]]\nname = "{name}"\nconnect = "{host.address}"\nca = "{authority.pem}"\n' for name in names
        )
        yield Vanity(host, config)
