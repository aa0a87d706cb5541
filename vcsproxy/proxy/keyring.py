"""From credentials of the configuration to what a worker may use: the one that goes to a URL, with its present secret.

Everything is read and checked when the keyring is opened, all faults at once; afterwards only tokens that expire and
programs that give passwords are asked again. A keyring is never changed: another configuration is another keyring.

It opens no connections: a request to GitHub's API is a task for a worker, handed to `call`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from vcsproxy import errors
from vcsproxy.access import gitcredential, githubapp, netrc
from vcsproxy.access.agentwire import Key
from vcsproxy.access.prefix import Prefix, longest
from vcsproxy.build.job import Access, Call, Called, Host
from vcsproxy.config.credentials import Credential
from vcsproxy.proxy.holders import USER, Agent, Fixed, Holder, Machines, Renewed
from vcsproxy.proxy.secrets import read_file, resolve, run
from vcsproxy.proxy.sshagent import SshAgent
from vcsproxy.secret import Secret

Caller = Callable[[Call], Awaitable[Called]]

_EARLY = 300.0  # seconds before its end that a token is renewed
_HELPER_TTL = 300.0  # seconds that a password of a helper without an expiry is used
_ACCEPT = "application/vnd.github+json"


class Keyring:
    """The credentials of one configuration. `open` first, `close` last; lives on one event loop."""

    def __init__(self, credentials: Sequence[Credential], call: Caller, hosts: Sequence[Host] = ()) -> None:
        self._credentials = credentials
        self._opener = _Opener(call)
        self._insecure = {host.name for host in hosts if host.insecure}
        self._holders: dict[str, Holder] = {}
        self._prefixes: list[tuple[str, str]] = []  # URL prefix, name of the credential
        self._secrets: tuple[Secret, ...] = ()

    async def open(self) -> None:
        """Read and check everything. Raises ConfigError with all faults."""
        faults: list[str] = []
        for i, credential in enumerate(self._credentials):
            try:
                holder = await self._opener.open(credential)
            except errors.VCSProxyError as err:
                faults.append(f"credential[{i}]{err.message if err.message.startswith('.') else ': ' + err.message}")
                continue
            self._holders[credential.name] = holder
            self._prefixes += [(url, credential.name) for url in _prefixes(credential, holder)]
        if faults:
            raise errors.ConfigError(faults)

    async def close(self) -> None:
        """End the agents; what was given before must not be used any more."""
        for holder in self._holders.values():
            await holder.close()
        self._holders.clear()

    # ---- asking

    async def for_url(self, url: str, name: str = "") -> Access | None:
        """The credential of that name, or the one with the longest prefix that covers the URL, with its prefix.

        Raises what asking for a token raises; Forbidden if the named one may not go there.
        """
        if not self._may_be_sent(url):
            return None
        found = name or longest(self._prefixes, url)
        if not found:
            return None
        bound = next(
            (prefix for prefix, owner in self._prefixes if owner == found and Prefix.parse(prefix).covers(url)), ""
        )
        if name and not bound:
            if any(owner == name for _, owner in self._prefixes):
                raise errors.Forbidden(f"the credential {name} may not go to the repository's URL", "see its url")
            bound = str(Prefix.parse(url))
        return await self._held(found, url, bound)

    async def for_page(self, url: str) -> tuple[Access, ...]:
        """Every credential of the URL's origin: the page asked for decides which of them goes along."""
        if not self._may_be_sent(url):
            return ()
        origin = Prefix.parse(url).origin
        found = [
            await self._held(name, prefix, prefix)
            for prefix, name in self._prefixes
            if Prefix.parse(prefix).origin == origin
        ]
        return tuple(access for access in found if access is not None and access.kind != "agent")

    def _may_be_sent(self, url: str) -> bool:
        try:
            prefix = Prefix.parse(url)
        except ValueError:
            return False
        return prefix.scheme in ("https", "ssh") and prefix.host not in self._insecure

    async def _held(self, name: str, url: str, bound: str) -> Access | None:
        access = await self._holders[name].access(url)
        return replace(access, url=bound) if access is not None else None

    def denied(self, access: Access) -> None:
        """The host refused it: renew what can be renewed, but not all the time."""
        holder = self._holders.get(access.name)
        if holder is not None:
            holder.refused()

    # ---- watching

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret in use; the same tuple until one of them changes."""
        now = [secret for holder in self._holders.values() for secret in holder.secrets() if secret]
        if len(now) != len(self._secrets) or any(a is not b for a, b in zip(now, self._secrets, strict=True)):
            self._secrets = tuple(now)
        return self._secrets

    def changed(self) -> bool:
        """Whether a file that a secret was read from is another one now. Reads the disk."""
        return any(_stamp(file) != stamp for file, stamp in self._opener.files.items())


def _prefixes(credential: Credential, holder: Holder) -> list[str]:
    """Where a credential goes without being named."""
    if credential.url:
        return [str(Prefix.parse(credential.url))]
    if isinstance(holder, Machines):
        return [f"https://{entry.name}" for entry in holder.entries]
    return []


class _Opener:
    """Opens credentials, and notes which files they come from."""

    def __init__(self, call: Caller) -> None:
        self._call = call
        self.files: dict[Path, tuple[int, ...]] = {}

    async def open(self, credential: Credential) -> Holder:
        """Raises VCSProxyError; a message that begins with a dot begins with the key that is at fault."""
        kind = credential.kind
        if kind == "basic":
            user = credential.user or USER
            return await self._plain(credential, "password", credential.password, user)
        if kind == "bearer":
            return await self._plain(credential, "token", credential.token, "")
        if kind == "ssh-key":
            return await self._ssh_key(credential)
        if kind == "ssh-agent":
            return self._ssh_agent(credential)
        if kind == "netrc":
            return await self._netrc(credential)
        return await (self._github_app(credential) if kind == "github-app" else self._helper(credential))

    def _watch(self, source: str) -> None:
        if source.startswith("file:"):
            self._watch_file(Path(source.removeprefix("file:")))

    def _watch_file(self, file: Path) -> None:
        self.files[file] = _stamp(file)

    async def _secret(self, key: str, source: str, *, whole: bool = False) -> Secret:
        self._watch(source)
        with _at(key):
            return await resolve(source, whole=whole)

    async def _plain(self, credential: Credential, key: str, source: str, user: str) -> Holder:
        kind: Literal["basic", "bearer"] = "basic" if user else "bearer"

        async def ask(_: str) -> tuple[Access, float]:
            return Access(credential.name, "", kind, user, await self._secret(key, source)), math.inf

        holder = Renewed(ask) if source.startswith("cmd:") else Fixed((await ask(""))[0])
        await holder.access("")
        return holder

    async def _ssh_key(self, credential: Credential) -> Holder:
        text = await self._secret("key", credential.key, whole=True)
        passphrase = await self._secret("passphrase", credential.passphrase)
        with _at("key"):
            agent = SshAgent(_ssh_key(text, passphrase))
            await agent.start()
        value = Access(credential.name, "", "agent", credential.user, agent=agent.socket, public_keys=(agent.key.line,))
        return Agent(value, agent)

    def _ssh_agent(self, credential: Credential) -> Holder:
        socket = credential.socket or os.environ.get("SSH_AUTH_SOCK", "")
        if not socket or not Path(socket).is_socket():
            where = f"{socket} is no socket" if socket else "there is no SSH_AUTH_SOCK, and no socket is given"
            raise errors.VCSProxyError(f".socket: {where}")
        keys: tuple[str, ...] = ()
        if credential.public_key is not None:
            self._watch_file(credential.public_key)
            with _at("public_key"):
                text = read_file(credential.public_key)
            keys = tuple(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
        return Agent(Access(credential.name, "", "agent", credential.user, agent=socket, public_keys=keys))

    async def _netrc(self, credential: Credential) -> Holder:
        assert credential.file is not None
        self._watch_file(credential.file)
        with _at("file"):
            text = await asyncio.to_thread(read_file, credential.file, private=True)
            try:
                return Machines(credential.name, netrc.parse(text))
            except ValueError as bad:
                raise errors.VCSProxyError(f"{credential.file}: {bad}") from None

    async def _github_app(self, credential: Credential) -> Holder:
        text = await self._secret("key", credential.key, whole=True)
        with _at("key"):
            key = _rsa_key(text)
        app = githubapp.App(str(credential.app_id), str(credential.installation_id), credential.api, key)

        async def ask(_: str) -> tuple[Access, float]:
            answer = await self._call(Call("POST", app.url, app.jwt(time.time()), _ACCEPT))
            token = githubapp.token(answer.status, answer.body, credential.name)
            return Access(credential.name, "", "basic", githubapp.USER, token.value), token.expires - _EARLY

        return Renewed(ask)

    async def _helper(self, credential: Credential) -> Holder:
        argv = list(credential.command)
        if shutil.which(argv[0]) is None:
            raise errors.VCSProxyError(f".command: there is no program {argv[0]}")
        erasing: set[asyncio.Task[bytes]] = set()

        async def ask(_: str) -> tuple[Access, float]:
            try:
                answer = gitcredential.parse(await run([*argv, "get"], gitcredential.question(credential.url)))
            except (ValueError, errors.VCSProxyError) as err:
                message = f"the helper of the credential {credential.name} gives no password: {err}"
                raise errors.UpstreamFailed(message, "try it by hand: git credential fill") from None
            until = min(answer.expires - _EARLY / 10, time.time() + _HELPER_TTL)
            return Access(credential.name, "", "basic", answer.username or USER, answer.password), until

        def forget(access: Access) -> None:
            wrong = gitcredential.Answer(access.user, access.secret)
            task = asyncio.ensure_future(run([*argv, "erase"], gitcredential.question(credential.url, wrong)))
            erasing.add(task)
            task.add_done_callback(lambda done: _ended(done, erasing))

        return Renewed(ask, forget)


def _ended(task: asyncio.Task[bytes], running: set[asyncio.Task[bytes]]) -> None:
    """A helper has been told to forget; whether it could is its own affair."""
    running.discard(task)
    if not task.cancelled():
        task.exception()


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    """Say which key a fault belongs to."""
    try:
        yield
    except errors.VCSProxyError as err:
        raise errors.VCSProxyError(f".{key}: {err.message}") from None
    except OSError as err:
        raise errors.VCSProxyError(f".{key}: {err.strerror}") from None


def _ssh_key(text: Secret, passphrase: Secret) -> Key:
    data, password = text.reveal().encode(), passphrase.reveal().encode() or None
    if not data.endswith(b"\n"):
        data += b"\n"  # variables and programs lose it, and the format wants it
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        return Key.of(load(data, password))
    except TypeError:
        needs = "has no passphrase, and one is given" if password else "needs a passphrase"
        raise errors.VCSProxyError(f"the key {needs}") from None
    except UnsupportedAlgorithm:
        raise errors.VCSProxyError("the key is of an unknown kind") from None
    except ValueError as bad:
        about = (
            str(bad)
            if str(bad).startswith("is ")
            else "cannot be read: is the passphrase right?"
            if password
            else "cannot be read"
        )
        raise errors.VCSProxyError(f"the key {about}") from None


def _rsa_key(text: Secret) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(text.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise errors.VCSProxyError("is no private key in PEM format without a passphrase") from None
    if not isinstance(key, RSAPrivateKey):
        raise errors.VCSProxyError("is no RSA key, and GitHub's apps have RSA keys")
    return key


def _stamp(file: Path) -> tuple[int, ...]:
    """What tells a file from the one that was there before; links are followed, as Kubernetes changes them."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_dev
