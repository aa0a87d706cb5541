"""From credentials of the configuration to what a worker may use: the one that goes to a URL, with its present secret.

Everything is read and checked when the keyring is opened, all faults at once; afterwards only tokens that expire and
programs that give passwords are asked again. A keyring is never changed: another configuration, or another file with
a secret, is another keyring.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vcsproxy import errors
from vcsproxy.access.prefix import Prefix, longest
from vcsproxy.build.job import Access, Host
from vcsproxy.config.credentials import SSH_KINDS, Credential
from vcsproxy.proxy.holders import Clock, Holder, Machines
from vcsproxy.proxy.opener import Caller, Opener, stamp
from vcsproxy.secret import Secret
from vcsproxy.trace import note


class Keyring:
    """The credentials of one configuration. `open` first, `close` last; lives on one event loop.

    call: sends a request to GitHub's API, away from this process. hosts: those that the configuration lists. clock:
    seconds that only grow. now: seconds since 1970.
    """

    def __init__(
        self, credentials: Sequence[Credential], call: Caller, hosts: Sequence[Host] = (), *,
        clock: Clock = time.monotonic, now: Clock = time.time,
    ) -> None:  # fmt: skip
        self._credentials = {credential.name: credential for credential in credentials}
        self._hosts = {host.name: host for host in hosts}
        self._insecure = frozenset(host.name for host in hosts if host.insecure)
        self._opener = Opener(call, self._insecure, clock, now)
        self._holders: dict[str, Holder] = {}
        self._prefixes: list[tuple[str, tuple[str, str]]] = []  # URL prefix, (it again, name of the credential)
        self._secrets: tuple[Secret, ...] = ()
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read and check everything. Raises ConfigError with all faults; then nothing stays open."""
        try:
            told = await asyncio.gather(*(self._open(i, each) for i, each in enumerate(self._credentials.values())))
        except BaseException:
            await self.close()
            raise
        if faults := [fault for each in told for fault in each]:
            await self.close()
            raise errors.ConfigError(faults)
        for name, credential in self._credentials.items():
            self._prefixes += [(url, (url, name)) for url in _prefixes(credential, self._holders[name])]

    async def _open(self, number: int, credential: Credential) -> list[str]:
        """The faults of one credential."""
        try:
            self._holders[credential.name] = await self._opener.open(credential)
        except errors.ConfigError as err:
            return [f"credential[{number}].{fault}" for fault in err.faults]
        return []

    async def close(self, linger: float = 0.0) -> None:
        """End the agents; what was given before must not be used any more.

        linger: seconds in which it still may be, by jobs that have it already; returns at once all the same.
        """
        if linger > 0:
            self._closing = asyncio.create_task(self._close_after(linger))
            return
        for holder in self._holders.values():
            await holder.close()

    async def _close_after(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:  # or when the loop ends
            await self.close()

    # ---- asking

    async def for_url(self, url: str, name: str = "") -> Access | None:
        """The credential of that name, or the one with the longest prefix that covers the URL, with its prefix.

        One without a prefix is bound to the very URL. Raises what asking for a token raises; Forbidden if the named one
        may not go there.
        """
        if not self._may_be_sent(url):
            return None
        found = self._named(name, url) if name else longest(self._prefixes, url)
        if found is None:
            return None
        bound, owner = found
        access = await self._holders[owner].access(url)
        if access is None:
            host = Prefix.parse(url).host
            raise errors.Forbidden(f"the credential {owner} has nothing for {host}", f"it has no machine {host}")
        return replace(access, url=bound)

    async def for_page(self, url: str) -> tuple[Access, ...]:
        """Every credential of a page's origin: the URL that is asked for decides which of them goes along.

        Raises what asking for a token raises, if it is the one for this very page; others are left out then.
        """
        if not self._may_be_sent(url) or not url.startswith("https:"):
            return ()
        origin, best = Prefix.parse(url).origin, longest(self._prefixes, url)
        found = []
        for prefix, (_, name) in self._prefixes:
            if Prefix.parse(prefix).origin != origin:
                continue
            try:
                access = await self._holders[name].access(prefix)
            except errors.Unavailable as err:
                if best == (prefix, name):
                    raise
                note("credential", f"{name} is left out: {err.message}")
            else:
                found += [replace(access, url=prefix)] if access is not None else []
        return tuple(found)

    async def for_way(self, url: str) -> tuple[Access, ...]:
        """What goes to the proxy or the SSH jump host through which a URL's host is reached. Raises as `for_url`."""
        try:
            where = Prefix.parse(url)
        except ValueError:
            return ()
        host = self._hosts.get(where.host, Host(where.host))
        if where.scheme == "ssh":
            through = f"ssh://{host.jump}/" if host.jump else ""
        else:
            through = f"https://{host.proxy.partition('://')[2].rstrip('/')}/" if host.proxy else ""
        access = await self.for_url(through)
        return (access,) if access is not None else ()

    def _may_be_sent(self, url: str) -> bool:
        try:
            prefix = Prefix.parse(url)
        except ValueError:
            return False
        return prefix.scheme in ("https", "ssh") and prefix.host not in self._insecure

    def _named(self, name: str, url: str) -> tuple[str, str]:
        """(prefix, name) for a URL whose source names the credential."""
        credential = self._credentials.get(name)
        if credential is None:
            raise errors.Forbidden(f"there is no credential named {name}", "see the source's credential")
        own = [(prefix, each) for prefix, each in self._prefixes if each[1] == name]
        found = longest(own, url)
        if found is not None:
            return found
        scheme = "ssh" if credential.kind in SSH_KINDS else "https"
        if credential.url or Prefix.parse(url).scheme != scheme:
            where = credential.url or f"{scheme}://"
            raise errors.Forbidden(f"the credential {name} may not go to the repository's URL", f"it is for {where}")
        return str(Prefix.parse(url)), name

    def denied(self, access: Access) -> None:
        """The host refused it: renew what can be renewed, but not all the time."""
        holder = self._holders.get(access.name)
        if holder is not None:
            holder.refused(access)

    # ---- watching

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret in use; the same tuple until one of them changes."""
        now = [secret for holder in self._holders.values() for secret in holder.secrets() if secret]
        if len(now) != len(self._secrets) or any(a is not b for a, b in zip(now, self._secrets, strict=True)):
            self._secrets = tuple(now)
        return self._secrets

    def changed(self) -> bool:
        """Whether a file that a secret was read from is another one than when this was last asked. Reads the disk.

        Each change is told once, so that a faulty file is tried again when it was mended, and not before.
        """
        before = self._opener.files
        self._opener.files = {file: stamp(file) for file in before}
        return self._opener.files != before


def _prefixes(credential: Credential, holder: Holder) -> Iterator[str]:
    """Where a credential goes without being named."""
    if credential.url:
        yield str(Prefix.parse(credential.url))
    elif isinstance(holder, Machines):
        yield from dict.fromkeys(f"https://{entry.name}" for entry in holder.entries)
