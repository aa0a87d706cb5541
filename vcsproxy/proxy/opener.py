"""From a table [[credential]] to an opened credential: everything is read, parsed and checked once, here.

It opens no connections: a request to GitHub's API is a task for a worker, handed to `call`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from vcsproxy import errors
from vcsproxy.access import agentwire, gitcredential, githubapp, netrc, privatekey
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Access, Call, Called
from vcsproxy.config.credentials import Credential
from vcsproxy.proxy.holders import USER, Agent, Clock, Fixed, Holder, Machines, Renewed
from vcsproxy.proxy.secrets import read_file, resolve, run
from vcsproxy.proxy.sshagent import SshAgent
from vcsproxy.secret import Secret
from vcsproxy.trace import note

Caller = Callable[[Call], Awaitable[Called]]

_TOKEN_EARLY = 300.0  # seconds before its end that a token of a GitHub App is renewed
_HELPER_EARLY, _HELPER_TTL = 30.0, 300.0  # seconds; the second for a password without an expiry
_HEADER = re.compile(r"[\x21-\x7e]+", re.ASCII)


class Opener:
    """Opens credentials, and notes in `files` which files they come from, as they were before they were read."""

    def __init__(
        self, call: Caller, insecure: frozenset[str], clock: Clock = time.monotonic, now: Clock = time.time
    ) -> None:
        self._call, self._insecure, self._clock, self._now = call, insecure, clock, now
        self.files: dict[Path, tuple[int, ...]] = {}

    async def open(self, credential: Credential) -> Holder:
        """Raises ConfigError with all faults, each beginning with the key of the table that is at fault."""
        kinds: dict[str, Callable[[Credential], Awaitable[Holder]]] = {
            "basic": self._password,
            "bearer": self._token,
            "ssh-key": self._ssh_key,
            "ssh-agent": self._ssh_agent,
            "netrc": self._netrc,
            "github-app": self._github_app,
            "helper": self._helper,
        }
        return await kinds[credential.kind](credential)

    # ---- passwords and tokens

    async def _password(self, credential: Credential) -> Holder:
        def made(secret: Secret) -> Access:
            return Access(credential.name, "", "basic", credential.user or USER, secret)

        return await self._given(credential, "password", credential.password, made)

    async def _token(self, credential: Credential) -> Holder:
        def made(secret: Secret) -> Access:
            if not _HEADER.fullmatch(secret.reveal()):
                raise errors.VCSProxyError("the token has characters that no header can carry")
            return Access(credential.name, "", "bearer", secret=secret)

        return await self._given(credential, "token", credential.token, made)

    async def _given(self, credential: Credential, key: str, source: str, made: Callable[[Secret], Access]) -> Holder:
        """A secret as it is, or one that a program prints anew when the last one is refused."""
        with _at(key):
            first = made(await self._secret(source))
        if not source.startswith("cmd:"):
            return Fixed(first)

        async def ask() -> tuple[Access, float]:
            note("credential", f"the program of {credential.name} is run for a new secret")
            with _named(credential, "check the program of its " + key):
                return made(await resolve(source)), math.inf

        return Renewed(ask, first=first, clock=self._clock)

    async def _netrc(self, credential: Credential) -> Holder:
        assert credential.file is not None
        file = credential.file
        self._watch(file)
        with _at("file"):
            text = await asyncio.to_thread(read_file, file, private=True)
            try:
                machines = Machines(credential.name, netrc.parse(text))
            except ValueError as bad:
                raise errors.VCSProxyError(f"{file}: {bad}") from None
            if not machines.entries:
                raise errors.VCSProxyError(f"{file} has no machine with a password")
            host = Prefix.parse(credential.url).host if credential.url else ""
            if host and machines.entry(host) is None:
                raise errors.VCSProxyError(f"{file} has no machine {host} with a password")
        return machines

    async def _helper(self, credential: Credential) -> Holder:
        argv, url, user = list(credential.command), credential.url, credential.user
        with _at("command"):
            if shutil.which(argv[0]) is None:
                raise errors.VCSProxyError(f"there is no program {argv[0]}")

        async def ask() -> tuple[Access, float]:
            note("credential", f"the helper of {credential.name} is asked for a password")
            with _named(credential, "run it by hand, with the word get and the lines protocol=https and host=HOST"):
                answer = gitcredential.parse(await run([*argv, "get"], gitcredential.question(url, user)))
                seconds = answer.expires - self._now()
                if seconds <= 0:
                    raise ValueError("the helper's password has expired")
                access = Access(credential.name, "", "basic", answer.username or user or USER, answer.password)
                return access, min(seconds, _HELPER_TTL)

        async def forget(wrong: Access) -> None:
            said = "" if wrong.user == USER else wrong.user
            with contextlib.suppress(errors.VCSProxyError):  # whether it could is its own affair
                await run([*argv, "erase"], gitcredential.question(url, said, wrong.secret))

        return Renewed(ask, early=_HELPER_EARLY, forget=forget, clock=self._clock)

    async def _github_app(self, credential: Credential) -> Holder:
        with _at("api"):
            host = Prefix.parse(credential.api).host
            if host in self._insecure:
                raise errors.VCSProxyError(f"{host} is insecure, and a token goes only to hosts that are verified")
        with _at("key"):
            key = privatekey.app_key(await self._secret(credential.key, whole=True))
        app = githubapp.App(str(credential.app_id), str(credential.installation_id), credential.api, key)

        async def ask() -> tuple[Access, float]:
            note("credential", f"a token for {credential.name} is asked for at {host}")
            answer = await self._call(Call("POST", app.url, app.jwt(self._now()), githubapp.ACCEPT))
            token = githubapp.token(answer.status, answer.body, credential.name)
            access = Access(credential.name, "", "basic", githubapp.USER, token.value)
            return access, token.expires - self._now()

        return Renewed(ask, early=_TOKEN_EARLY, clock=self._clock)

    # ---- SSH keys

    async def _ssh_key(self, credential: Credential) -> Holder:
        faults: list[str] = []
        with _collected(faults), _at("key"):
            text = await self._secret(credential.key, whole=True)
        with _collected(faults), _at("passphrase"):
            passphrase = await self._secret(credential.passphrase)
        if faults:
            raise errors.ConfigError(faults)
        with _at("key"):
            agent = SshAgent(await asyncio.to_thread(privatekey.ssh_key, text, passphrase))
            try:
                await agent.start()
            except BaseException:
                await agent.close()
                raise
        keys = (agent.key.line,)
        return Agent(Access(credential.name, "", "agent", credential.user, agent=agent.socket, public_keys=keys), agent)

    async def _ssh_agent(self, credential: Credential) -> Holder:
        socket = str(credential.socket or os.environ.get("SSH_AUTH_SOCK", ""))
        with _at("socket"):
            if not socket:
                raise errors.VCSProxyError("is not given, and there is no SSH_AUTH_SOCK")
            if not _is_socket(socket):
                raise errors.VCSProxyError(f"{socket} is no socket")
        keys: tuple[str, ...] = ()
        if credential.public_key is not None:
            self._watch(credential.public_key)
            with _at("public_key"):
                text = await asyncio.to_thread(read_file, credential.public_key, public=True)
                keys = agentwire.public_lines(text)
        return Agent(Access(credential.name, "", "agent", credential.user, agent=socket, public_keys=keys))

    # ---- files

    async def _secret(self, source: str, *, whole: bool = False) -> Secret:
        if source.startswith("file:"):
            self._watch(Path(source.removeprefix("file:")))
        return await resolve(source, whole=whole)

    def _watch(self, file: Path) -> None:
        self.files[file] = stamp(file)


def stamp(file: Path) -> tuple[int, ...]:
    """What tells a file from the one that was there before; links are followed, as Kubernetes changes them."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size, found.st_dev


def _is_socket(name: str) -> bool:
    return Path(name).is_socket()


# ---- what went wrong, where


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    """Say which key a fault belongs to."""
    try:
        yield
    except (errors.VCSProxyError, ValueError) as err:
        raise errors.ConfigError([f"{key}: {err}"]) from None
    except OSError as err:
        raise errors.ConfigError([f"{key}: {err.strerror or err}"]) from None


@contextlib.contextmanager
def _collected(faults: list[str]) -> Iterator[None]:
    """Go on to the next key, to find all faults."""
    try:
        yield
    except errors.ConfigError as err:
        faults += err.faults


@contextlib.contextmanager
def _named(credential: Credential, hint: str) -> Iterator[None]:
    """Say which credential cannot be had, once requests want it."""
    try:
        yield
    except (errors.VCSProxyError, ValueError) as err:
        raise errors.UpstreamFailed(f"the credential {credential.name} cannot be had: {err}", hint) from None
