"""How system git gets to a host: the URL that it is told, its configuration and variables for that, and the secrets.

The policy is that of our own connections: addresses are judged and pinned by the guard, credentials come from
`https.HttpClient.credential`, SSH from `ssh.ssh_command`. Git itself resolves no name, and answers no question but
through a pipe of ours.

Source: git-config(1), git(1), gitcredentials(7).
"""

from __future__ import annotations

import os
import shlex
from urllib.parse import quote, unquote, urlsplit

from vcsproxy import errors
from vcsproxy.build.job import Access, Host
from vcsproxy.vcs import gitconfig
from vcsproxy.vcs.gitsecret import SecretPipe, answer
from vcsproxy.vcs.giturl import GitUrl
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.https import HttpClient
from vcsproxy.vcs.ssh import SshCommand, ssh_command
from vcsproxy.vcs.transport import HttpConnection

BEARER_SINCE = (2, 46)
PORTS = {"https": 443, "http": 80}


class Road:
    """The way to one repository. Close it.

    place: what git is told. url: what people are told. `sections` and `variables` go to git's configuration and
    environment. Raises what dialling raises, and Unavailable where git cannot be told a credential.
    """

    def __init__(self, url: GitUrl, guard: Guard, directory: str, known: tuple[int, int]) -> None:
        self.scheme, self.host = url.scheme, url.host
        self.sections: list[gitconfig.Section] = []
        self.variables = {"GIT_ALLOW_PROTOCOL": url.scheme}
        self.access: Access | None = None
        self.ssh: SshCommand | None = None
        self._guard, self._directory = guard, directory
        self._pipes: list[SecretPipe] = []
        try:
            if url.scheme == "ssh":
                self._by_ssh(url)
            else:
                self._by_http(url, known)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()
        if self.ssh is not None:
            self.ssh.close()

    # ---- SSH

    def _by_ssh(self, url: GitUrl) -> None:
        self.ssh = ssh_command(url, self._guard)
        path = url.path[1:] if url.path.startswith("/~") else url.path
        self.place = f"{url.host}:{path}"  # nothing is decoded in this form; user and port are in the command
        self.url = f"ssh://{url.host}/{url.path.lstrip('/')}"
        command, (dashes, host) = self.ssh.argv[:-2], self.ssh.argv[-2:]
        assert (dashes, host) == ("--", url.host)  # git adds the host itself
        self.variables |= {"GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"}

    # ---- HTTP

    def _by_http(self, url: GitUrl, known: tuple[int, int]) -> None:
        port = f":{url.port}" if url.port else ""
        path = quote(unquote(url.path), safe="/~!$&+,;=:@").rstrip("/")
        self.url = f"{url.scheme}://{url.host}{port}{path}"
        rule = self._guard.host(url.host)
        self.access = HttpClient(self._guard).credential(self.url)
        if self.access is not None and self.access.kind == "bearer" and known < BEARER_SINCE:
            message = f"git {known[0]}.{known[1]} cannot send the bearer token {self.access.name}"
            raise errors.Unavailable(message, 'install git 2.46 or newer, or use engine = "dulwich"')
        self._look(url)
        if rule is not None and rule.proxy:
            origin = f"{url.scheme}://{url.host}{port}"
            proxy, resolve = self._proxy(rule.proxy)
        else:
            origin, resolve = self._pinned(url.scheme, url.host, url.port or PORTS[url.scheme])
            proxy = ""
        self.place = origin + path
        self.sections.append(gitconfig.http(rule, resolve, proxy, self._guard.limits.idle))
        self._tell(origin, rule)

    def _look(self, url: GitUrl) -> None:
        """Go there ourselves first, with the same credential, and raise what that raises.

        Git would wait minutes for a host that is not there, tells little of why it was denied, and takes any page for
        a repository without refs: it knows a protocol of plain files, which is not spoken here.
        """
        connection = HttpConnection(url, self._guard)
        try:
            connection.advertisement()
        finally:
            connection.close()

    def _pinned(self, scheme: str, host: str, port: int) -> tuple[str, str]:
        """(origin, HOST:PORT:ADDRESS) for a host; the port may be another by the configuration."""
        address, there = self._guard.pin(host, port)
        literal = f"[{address}]" if ":" in address else address
        shown = "" if there == PORTS[scheme] else f":{there}"
        return f"{scheme}://{host}{shown}", f"{host}:{there}:{literal}"

    def _proxy(self, proxy: str) -> tuple[str, str]:
        """As `_pinned`, for a proxy; git is told its credential as our own connections are."""
        parts = urlsplit(proxy)
        if parts.scheme != "http":
            # curl with GnuTLS, which many systems give git, hangs when an answer comes inside two layers of TLS.
            message = f'engine = "git" cannot go through the proxy {proxy}'
            raise errors.Unavailable(message, 'use an http:// proxy, or engine = "dulwich"')
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        origin, resolve = place, _ = self._pinned(parts.scheme, host, port)
        access = self._guard.access(f"https://{host}:{port}/")
        if access is not None and access.kind == "basic":
            self.sections.append(gitconfig.helper(origin, self._pipe(answer(access))))
            place = origin.replace("://", f"://{quote(access.user, safe='')}@")  # without a name git never asks
        return place, resolve

    def _tell(self, origin: str, rule: Host | None) -> None:
        """Let git ask us, and only about this host, who we are."""
        if self.access is not None:
            self.sections.append(("http", "", {"proactiveAuth": "auto"}))
            self.sections.append(gitconfig.helper(origin, self._pipe(answer(self.access))))
        if rule is not None and rule.client_key_password:
            password = f"password={rule.client_key_password.reveal()}\n"
            self.sections.append(gitconfig.key_helper(self._pipe(password)))

    def _pipe(self, text: str) -> str:
        pipe = SecretPipe(os.path.join(self._directory, f"secret{len(self._pipes)}"), text)
        self._pipes.append(pipe)
        return pipe.path
