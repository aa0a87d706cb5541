"""What the configuration says about modules, hosts and credentials, as one value that a reload replaces as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from vcsproxy import errors
from vcsproxy.access.prefix import DEFAULT_PORTS, Prefix
from vcsproxy.build.job import Access, Host
from vcsproxy.mod import module
from vcsproxy.mod.reporoot import RepoRoot, SourceRule, static_root

# Hosts that everybody's modules are on: as good as named where only strangers are kept short.
_PUBLIC = ("github.com", "gitlab.com", "bitbucket.org")


class Credentials(Protocol):
    """Finds what a host may be told; `proxy.keyring.Keyring` is the one."""

    async def for_url(self, url: str, name: str = "") -> Access | None:
        """The credential of that name, or the one with the longest prefix that covers the URL."""
        ...

    async def for_page(self, url: str) -> tuple[Access, ...]:
        """Every credential of the origin of a go-import page."""
        ...

    async def for_way(self, url: str) -> tuple[Access, ...]:
        """What goes to the proxy or the jump host through which a URL's host is reached."""
        ...

    def denied(self, access: Access) -> None:
        """The host refused it: renew what can be renewed."""
        ...


class NoCredentials:
    """For a configuration without any."""

    async def for_url(self, url: str, name: str = "") -> Access | None:
        return None

    async def for_page(self, url: str) -> tuple[Access, ...]:
        return ()

    async def for_way(self, url: str) -> tuple[Access, ...]:
        return ()

    def denied(self, access: Access) -> None:
        """Nothing was sent, so nothing was refused."""


@dataclass(frozen=True)
class Wiring:
    """Where modules come from. `private` and the like are patterns as in GOPRIVATE; `named` are host names.

    `named`: hosts that the configuration names anywhere; they may have private addresses.
    """

    mirrors: Path
    sources: tuple[SourceRule, ...] = ()
    hosts: tuple[Host, ...] = ()
    credentials: Credentials = field(default_factory=NoCredentials)
    credential_urls: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    refs_ttl: float = 60.0
    negative_ttl: float = 10.0
    go_limit: str = ""
    known_hosts: Path | None = None  # of hosts that are named, but not listed
    offline: bool = False
    offline_sources: frozenset[str] = frozenset()  # roots of sources that are offline though others are not

    @cached_property
    def all_hosts(self) -> tuple[Host, ...]:
        """The listed hosts, and those that sources and credentials name outright, as good as listed."""
        listed = {host.name for host in self.hosts}
        jumps = (f"ssh://{host.jump}" for host in self.hosts if host.jump)
        urls = [*(rule.url for rule in self.sources), *self.credential_urls, *jumps]
        more = sorted({name for name in map(host_of, urls) if name and name not in listed})
        return (*self.hosts, *(Host(name, known_hosts=str(self.known_hosts or "")) for name in more))

    @cached_property
    def named(self) -> frozenset[str]:
        return frozenset(host.name for host in self.all_hosts)

    def is_stranger(self, host: str) -> bool:
        """Whether anybody could have brought this host in."""
        return host not in self.named and host not in _PUBLIC

    def check(self, path: str) -> None:
        """Raise Forbidden for a module path that the configuration does not let through."""
        if _matches(self.deny, path) or (self.allow and not _matches(self.allow, path)):
            raise errors.Forbidden(f"{path} is not served here: the configuration does not allow it", "see [modules]")

    def is_offline(self, path: str) -> bool:
        """Whether a path is answered from the store alone. Raises what `static_root` does where a source decides."""
        if self.offline or not self.offline_sources:
            return self.offline
        target = static_root(path, self.sources)
        return isinstance(target, RepoRoot) and target.source in self.offline_sources

    def guarded(self, path: str, target: RepoRoot) -> RepoRoot:
        """The repository of a path, marked if the path is private. Raises Forbidden where a private path may not go."""
        if target.source or not _matches(self.private, path):
            return target
        self.check_private(path, host_of(target.url))
        return RepoRoot(target.root, target.url, target.subdir, target.origin, private=True, trust_not_found=False)

    def check_private(self, path: str, host: str) -> None:
        """Raise Forbidden if looking for a private path would tell a stranger its name."""
        if _matches(self.private, path) and host not in self.named:
            hint = f'if it belongs there, map it with a [[source]] or name the host: [[host]] name = "{host}"'
            raise errors.Forbidden(f"{path} is private, and {host} is not a host of the configuration", hint)


def _matches(patterns: Iterable[str], path: str) -> bool:
    return bool(patterns) and module.match_prefix_patterns(",".join(patterns), path)


def authority_of(url: str) -> str:
    """Host, and port if it is not the scheme's own: two servers on one machine are two hosts that can fail."""
    try:
        prefix = Prefix.parse(url)
    except ValueError:
        return ""
    return prefix.host if prefix.port == DEFAULT_PORTS[prefix.scheme] else f"{prefix.host}:{prefix.port}"


def host_of(url: str) -> str:
    """The host that a URL or its template names outright; "" for a file, and where a placeholder decides."""
    try:
        host = Prefix.parse(url).host
    except ValueError:
        return ""
    return "" if "{" in host else host
