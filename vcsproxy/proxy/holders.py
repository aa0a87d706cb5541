"""Opened credentials: what each kind gives for a URL, now and after a refusal.

How they are opened from the configuration is `proxy/opener.py`'s work.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from vcsproxy import errors
from vcsproxy.access import netrc
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Access
from vcsproxy.proxy.sshagent import SshAgent
from vcsproxy.secret import Secret
from vcsproxy.trace import note

# With a token as the password, GitHub and Gitea do not look at the user's name, GitLab and Bitbucket take any that is
# not empty ("oauth2" and "x-token-auth" are only conventions): it must be there, and it should tell nothing.
USER = "git"
_AGAIN = 60.0  # seconds between two renewals because of a refusal
_QUIET = 10.0  # seconds in which a failure is believed, and the least that a secret is used

Clock = Callable[[], float]
Ask = Callable[[], Awaitable[tuple[Access, float]]]
"""Gets a credential, and for how many seconds it is good. Raises VCSProxyError."""
Forget = Callable[[Access], Awaitable[None]]


class Holder(Protocol):
    """One credential, opened."""

    async def access(self, url: str) -> Access | None:
        """What goes to a URL below the credential's prefix; its own `url` is filled in by the keyring."""

    def secrets(self) -> list[Secret]:
        """Every secret that it holds as text, and the one before if that may still be on its way."""

    def refused(self, access: Access) -> None:
        """The host did not take it."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Fixed:
    """A user and password, or a token, that stays what it was."""

    value: Access

    async def access(self, url: str) -> Access | None:
        return self.value

    def secrets(self) -> list[Secret]:
        return [self.value.secret]

    def refused(self, access: Access) -> None:
        """Files are looked at all the time; there is nothing else to renew."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Machines:
    """A netrc file: one password for each machine, by exact name."""

    name: str
    entries: list[netrc.Machine]

    async def access(self, url: str) -> Access | None:
        entry = self.entry(Prefix.parse(url).host)
        return Access(self.name, "", "basic", entry.login or USER, entry.password) if entry is not None else None

    def entry(self, host: str) -> netrc.Machine | None:
        return next((entry for entry in self.entries if entry.name == host), None)

    def secrets(self) -> list[Secret]:
        return [entry.password for entry in self.entries]

    def refused(self, access: Access) -> None:
        """The file is looked at all the time."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Agent:
    """An SSH key: in our own agent, or in the operator's."""

    value: Access
    own: SshAgent | None = None

    async def access(self, url: str) -> Access | None:
        return self.value

    def secrets(self) -> list[Secret]:
        """None: of a key and its passphrase no text is kept."""
        return []

    def refused(self, access: Access) -> None:
        """A key does not change."""

    async def close(self) -> None:
        if self.own is not None:
            await self.own.close()


class Renewed:
    """A secret that somebody gives: asked for by one at a time, and again when it ends or is refused.

    Theory of operation: it is asked for `early` seconds before it ends, and used to its end if nobody gives another. A
    failure is believed for a while, so that those who wait do not each wait for the next one. A refusal counts if it is
    the present secret that was refused, once a minute; `forget` tells the giver and ends before the giver is asked.
    """

    def __init__(
        self, ask: Ask, *, first: Access | None = None, early: float = 0.0, forget: Forget | None = None,
        clock: Clock = time.monotonic,
    ) -> None:  # fmt: skip
        self._ask, self._early, self._forget, self._clock = ask, early, forget, clock
        self._lock = asyncio.Lock()
        self._known, self._former = first, first
        self._renew_at = self._ends = math.inf if first is not None else -math.inf
        self._refused_at = self._failed_at = -math.inf
        self._failure: errors.VCSProxyError | None = None
        self._forgetting: asyncio.Future[None] | None = None

    async def access(self, url: str) -> Access | None:
        async with self._lock:
            if self._clock() >= self._renew_at:
                await self._renew()
            return self._known

    async def _renew(self) -> None:
        """Get a new one. Raises what that raises, unless the present one is still good."""
        try:
            if self._failure is not None and self._clock() < self._failed_at + _QUIET:
                raise _anew(self._failure)
            await self._ask_now()
        except errors.VCSProxyError as err:
            if self._clock() >= self._ends:
                raise
            note("credential", f"a secret is used to its end, because it cannot be renewed: {err.message}")

    async def _ask_now(self) -> None:
        if self._forgetting is not None:
            await asyncio.wait([self._forgetting])
        try:
            access, seconds = await self._ask()
        except errors.VCSProxyError as err:
            self._failure, self._failed_at = _anew(err), self._clock()
            raise
        self._failure = None
        self._former, self._known = self._known, access
        now = self._clock()
        self._ends = now + seconds
        self._renew_at = now + max(seconds - self._early, seconds / 2, _QUIET)

    def secrets(self) -> list[Secret]:
        both = [each.secret for each in (self._known, self._former) if each is not None]
        return both[:1] if self._known is self._former else both

    def refused(self, access: Access) -> None:
        known, now = self._known, self._clock()
        if known is None or access.secret != known.secret or now < self._refused_at + _AGAIN:
            return
        self._refused_at = now
        self._renew_at = self._ends = -math.inf
        if self._forget is not None:
            self._forgetting = asyncio.ensure_future(self._forget(known))

    async def close(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._forgetting


def _anew(err: errors.VCSProxyError) -> errors.VCSProxyError:
    """The same error for another request, without what the first one did before."""
    again = copy.copy(err)
    again.steps = ()
    return again
