"""Opened credentials: what each kind gives for a URL, now and after a refusal.

How they are opened from the configuration is `proxy/keyring.py`'s work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from vcsproxy.access import netrc
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Access
from vcsproxy.proxy.sshagent import SshAgent
from vcsproxy.secret import Secret

USER = "git"  # GitHub, GitLab, Gitea and Bitbucket take a token with any user name but an empty one
_AGAIN = 60.0  # seconds between two renewals because of a refusal

Ask = Callable[[str], Awaitable[tuple[Access, float]]]
"""Gets a credential for a URL, and until when it is good, in seconds since 1970."""


class Holder(Protocol):
    """One credential, opened."""

    async def access(self, url: str) -> Access | None:
        """What goes to a URL below the credential's prefix; its own `url` is filled in by the keyring."""

    def secrets(self) -> list[Secret]:
        """Every secret that it holds now."""

    def refused(self) -> None:
        """The host did not take it."""

    async def close(self) -> None: ...


@dataclass
class Fixed:
    """A user and password, or a token, that stays what it was."""

    value: Access

    async def access(self, url: str) -> Access | None:
        return self.value

    def secrets(self) -> list[Secret]:
        return [self.value.secret]

    def refused(self) -> None:
        """Files are looked at all the time; there is nothing else to renew."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Machines:
    """A netrc file: one password for each machine, by exact name."""

    name: str
    entries: list[netrc.Machine]

    async def access(self, url: str) -> Access | None:
        host = Prefix.parse(url).host
        for entry in self.entries:
            if entry.name == host:
                return Access(self.name, f"https://{host}", "basic", entry.login or USER, entry.password)
        return None

    def secrets(self) -> list[Secret]:
        return [entry.password for entry in self.entries]

    def refused(self) -> None:
        """The file is looked at all the time."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Agent:
    """An SSH key: in our own agent, or in the operator's."""

    value: Access
    own: SshAgent | None = None

    async def access(self, url: str) -> Access | None:
        return self.value

    def secrets(self) -> list[Secret]:
        return []

    def refused(self) -> None:
        """A key does not change."""

    async def close(self) -> None:
        if self.own is not None:
            await self.own.close()


class Renewed:
    """A secret that somebody gives: asked for by one at a time when it is needed, and again when it ends or is refused.

    ask: raises VCSProxyError. forget: told of what was refused, and may tell the giver.
    """

    def __init__(self, ask: Ask, forget: Callable[[Access], None] = lambda _: None) -> None:
        self._ask = ask
        self._forget = forget
        self._lock = asyncio.Lock()
        self._known: Access | None = None
        self._until = 0.0
        self._refused_at = float("-inf")

    async def access(self, url: str) -> Access | None:
        async with self._lock:
            if self._known is None or time.time() >= self._until:
                self._known, self._until = await self._ask(url)
            return self._known

    def secrets(self) -> list[Secret]:
        return [self._known.secret] if self._known is not None else []

    def refused(self) -> None:
        now = time.monotonic()
        if self._known is not None and now - self._refused_at > _AGAIN:
            self._refused_at, self._until = now, 0.0
            self._forget(self._known)

    async def close(self) -> None:
        """Nothing is open."""
