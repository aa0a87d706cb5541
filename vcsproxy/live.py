"""The part of the configuration that may change while requests are served: sources, hosts, credentials, budgets.

Everything new is read and checked before anything old is given up: a faulty file, an unreadable secret or a key that
does not open leaves the server as it was, and the log says why. What listens, stores and logs stays as it was at the
start; a change there is told and waits for a restart.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

import structlog

from vcsproxy import errors, logs
from vcsproxy.build.job import Host, Limits
from vcsproxy.config import Settings
from vcsproxy.proxy.dispatch import Dispatch
from vcsproxy.proxy.keyring import Keyring
from vcsproxy.proxy.secrets import resolve
from vcsproxy.proxy.service import Service
from vcsproxy.proxy.wiring import Wiring
from vcsproxy.proxy.workers import Workers
from vcsproxy.secret import Secret

log = structlog.get_logger()

ReadSettings = Callable[[], Settings]
"""Reads the configuration as it is now. Raises ConfigError."""

KNOWN_HOSTS = "known_hosts"  # below the data directory, unless a host has its own
_LOOK = 2.0  # seconds between two looks at the files of secrets
_FIXED = ("server", "log")  # tables that take a restart


def job_limits(settings: Settings) -> Limits:
    """What one job may use."""
    return Limits(**settings.limits.of_job())


def job_hosts(settings: Settings, passwords: dict[str, Secret]) -> tuple[Host, ...]:
    """The hosts that the configuration lists; `passwords` of client keys, by host name."""
    return tuple(
        Host(
            name=host.name,
            connect=host.connect,
            ca=str(host.ca or ""),
            client_cert=str(host.client_cert or ""),
            client_key=str(host.client_key or ""),
            client_key_password=passwords.get(host.name, Secret("")),
            proxy=host.proxy,
            insecure=host.insecure,
            known_hosts=str(host.known_hosts or settings.server.data / KNOWN_HOSTS),
            accept_new_host_key=host.accept_new_host_key,
            jump=host.jump,
        )
        for host in settings.host
    )


class Live:
    """The configuration in use. `open` first, `close` last; lives on one event loop."""

    def __init__(self, settings: Settings, dispatch: Dispatch, service: Service, workers: Workers) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._service = service
        self._workers = workers
        self._keyring: Keyring | None = None
        self.forget: Callable[[], None] = lambda: None  # told when answers given before may not be given again

    async def open(self) -> None:
        """Read every secret and begin. Raises ConfigError with all faults."""
        await self._use(self._settings)
        for problem in missing_programs(self._settings):
            log.warning("program_missing", reason=problem)

    async def close(self) -> None:
        """Forget the secrets, end the agents."""
        if self._keyring is not None:
            await self._keyring.close()

    async def _use(self, settings: Settings) -> None:
        """Make everything of these settings, then swap it in one step."""
        hosts = job_hosts(settings, await _passwords(settings))
        keyring = Keyring(settings.credential, self._dispatch.call, hosts)
        try:
            await keyring.open()
        except BaseException:
            await keyring.close()
            raise
        old, self._keyring, self._settings = self._keyring, keyring, settings
        logs.hide(keyring.secrets)
        self._workers.limits = job_limits(settings)
        self._service.configure(wiring(settings, hosts, keyring))
        self.forget()
        if old is not None:
            await old.close(linger=self._workers.limits.wall)  # jobs that run have its agents

    async def reload(self, why: str, read: ReadSettings) -> bool:
        """Use what `read` gives; whether that could be done."""
        try:
            settings = await asyncio.to_thread(read)
            fixed = [name for name in _FIXED if getattr(settings, name) != getattr(self._settings, name)]
            await self._use(settings)
        except errors.ConfigError as err:
            for fault in err.faults:
                log.error("not_reloaded", why=why, reason=fault)
            return False
        except (OSError, errors.VCSProxyError) as err:
            log.error("not_reloaded", why=why, reason=str(err))
            return False
        log.info("reloaded", why=why)
        if fixed:
            log.warning("restart_needed", tables=fixed, reason="these take effect at the next start")
        return True

    async def watch(self, asked: asyncio.Event, read: ReadSettings) -> None:
        """Reload when `asked` is set, and use secrets anew when their files change; until cancelled."""
        refused = False
        while True:
            try:
                async with asyncio.timeout(_LOOK):
                    await asked.wait()
            except TimeoutError:
                changed = self._keyring is not None and await asyncio.to_thread(self._keyring.changed)
                if changed and not refused:
                    refused = not await self.reload("a file with a secret changed", lambda: self._settings)
                elif not changed:
                    refused = False
            else:
                asked.clear()
                refused = False
                await self.reload("SIGHUP", read)


def wiring(settings: Settings, hosts: tuple[Host, ...], keyring: Keyring) -> Wiring:
    """Settings as the proxy's side sees them."""
    return Wiring(
        mirrors=settings.server.data / "mirrors",
        sources=tuple(source.rule() for source in settings.source),
        hosts=hosts,
        credentials=keyring,
        credential_urls=tuple(url for credential in settings.credential for url in credential.urls),
        allow=settings.modules.allow,
        deny=settings.modules.deny,
        private=settings.modules.private,
        refs_ttl=settings.freshness.refs,
        negative_ttl=settings.freshness.negative,
        go_limit=settings.go.refuse_newer_than,
        known_hosts=settings.server.data / KNOWN_HOSTS,
        offline=settings.server.offline,
        offline_sources=frozenset(source.root for source in settings.source if source.offline),
    )


async def _passwords(settings: Settings) -> dict[str, Secret]:
    """Passwords of client keys. Raises ConfigError with every one that cannot be had."""
    found: dict[str, Secret] = {}
    faults: list[str] = []
    for i, host in enumerate(settings.host):
        if host.client_key_password:
            try:
                found[host.name] = await resolve(host.client_key_password)
            except errors.VCSProxyError as err:
                faults.append(f"host[{i}].client_key_password: {err.message}")
    if faults:
        raise errors.ConfigError(faults)
    return found


def missing_programs(settings: Settings) -> list[str]:
    """Programs of the system that a source needs and this machine does not have, one sentence each."""
    found = []
    by_ssh = [s.root for s in settings.source if s.url.startswith("ssh:") or "://" not in s.url]
    by_git = [s.root for s in settings.source if s.engine == "git"]
    for program, roots in (("ssh", by_ssh), ("git", by_git)):
        if roots and shutil.which(program) is None:
            more = f" and {len(roots) - 1} more" if len(roots) > 1 else ""
            found.append(f"no program {program} is installed, and the source {roots[0]}{more} needs it")
    return found
