"""Conversations with upload-pack over smart HTTP and over SSH.

URLs are taken apart here once, against a list of schemes; nothing is ever guessed from a string that looks like a path
or an option. HTTP redirects are followed only within the same origin, and only for the first request.

Source: gitprotocol-http(5); ssh(1).
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3

from vcsproxy import errors
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.https import HttpClient, explain
from vcsproxy.vcs.wire import Connection

_USER_AGENT = "git/2.0 (vcsproxy)"
_MAX_REDIRECTS = 3
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\Z", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z", re.ASCII)
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>[^:].*)\Z", re.ASCII | re.DOTALL)
_NEWLINES = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class GitUrl:
    """A repository URL that is safe to use: scheme https, http or ssh; `port` 0 is the scheme's own."""

    scheme: str
    user: str
    host: str
    port: int
    path: str


def parse_url(text: str) -> GitUrl:
    """Take a URL, or the `user@host:path` form of SSH, apart. Raises NotFound for what cannot name a repository."""
    refused = errors.NotFound(f"{text[:80]!r} is not a URL of a Git repository", "https://, ssh:// or user@host:path")
    if _NEWLINES.search(text):
        raise refused
    if "://" in text:
        try:
            parts = urlsplit(text)
            port = parts.port or 0
        except ValueError:
            raise refused from None
        scheme = parts.scheme.removeprefix("git+")
        url = GitUrl(scheme, unquote(parts.username or ""), parts.hostname or "", port, parts.path)
    elif found := _SCP.match(text):
        url = GitUrl("ssh", found["user"] or "", found["host"].lower(), 0, found["path"])
    else:
        raise refused
    if url.scheme not in ("https", "http", "ssh") or not _HOST.match(url.host) or not url.path.strip("/"):
        raise refused
    if (url.user and not _USER.match(url.user)) or url.path.startswith("-"):
        raise refused
    return url


def connect(text: str, guard: Guard) -> Connection:
    """Open a conversation with the repository at a URL."""
    url = parse_url(text)
    return SshConnection(url, guard) if url.scheme == "ssh" else HttpConnection(url, guard)


class HttpConnection:
    """Smart HTTP: every command is a POST of its own."""

    def __init__(self, url: GitUrl, guard: Guard) -> None:
        port = f":{url.port}" if url.port else ""
        self._base = f"{url.scheme}://{url.host}{port}{quote(unquote(url.path), safe='/~!$&+,;=:@')}".rstrip("/")
        self._host = url.host
        self._client = HttpClient(guard)
        self._headers = {"User-Agent": _USER_AGENT, "Git-Protocol": "version=2"}
        self._old = False

    def close(self) -> None:
        self._client.close()

    def advertisement(self) -> Callable[[int], bytes]:
        response = self._discover()
        kind = response.headers.get("Content-Type", "")
        if kind != "application/x-git-upload-pack-advertisement":
            response.close()
            raise errors.UpstreamFailed(f"{self._host} does not serve Git at {self._base} (content type {kind[:60]!r})")
        read = _reading(response, self._host)
        return _after_service_header(read)

    def _discover(self) -> urllib3.BaseHTTPResponse:
        tail = "/info/refs?service=git-upload-pack"
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._client.send("GET", self._base + tail, self._headers)
            if response.status == 200:
                return response
            response.close()
            if response.status not in (301, 302, 303, 307, 308):
                raise self._failure(response.status)
            self._follow(response.headers.get("Location", ""), tail)
        raise errors.UpstreamFailed(f"{self._host} redirects too often")

    def _follow(self, location: str, tail: str) -> None:
        try:
            target = urljoin(self._base + tail, location)
            old, new = urlsplit(self._base), urlsplit(target)
        except ValueError:
            raise errors.UpstreamFailed(f"{self._host} redirects to no URL") from None
        if (old.scheme, old.netloc) != (new.scheme, new.netloc) or not target.endswith(tail):
            raise errors.UpstreamFailed(
                f"{self._host} redirects the repository to {new.scheme}://{new.netloc}",
                "map the module path to the repository's present URL with a [[source]]",
            )
        self._base = target[: -len(tail)]

    def _failure(self, status: int) -> errors.VCSProxyError:
        """Hosts hide private repositories; as for go, the repository's own page decides whether it is absent."""
        if status in (404, 410) or self._page_is_gone():
            return errors.NotFound(f"repository {self._base} not found", "is it private, or has it moved?")
        if status in (401, 403):
            return errors.UpstreamFailed(
                f"{self._host} denies access to {self._base} (HTTP {status})", "it needs a credential"
            )
        return errors.UpstreamFailed(f"{self._host} answered HTTP {status} for {self._base}")

    def _page_is_gone(self) -> bool:
        response = self._client.send("GET", self._base, {"User-Agent": _USER_AGENT})
        response.close()
        return response.status in (404, 410)

    def command(self, body: bytes) -> Callable[[int], bytes]:
        kind = "application/x-git-upload-pack"
        headers = {**self._headers, "Content-Type": kind + "-request", "Accept": kind + "-result"}
        response = self._client.send("POST", self._base + "/git-upload-pack", headers, body)
        if response.status != 200 or response.headers.get("Content-Type") != kind + "-result":
            response.close()
            raise errors.UpstreamFailed(f"{self._host} answered HTTP {response.status} to a fetch from {self._base}")
        return _reading(response, self._host)


def _reading(response: urllib3.BaseHTTPResponse, host: str) -> Callable[[int], bytes]:
    """A read function over a response that returns what is there, at most `size` bytes."""

    def read(size: int) -> bytes:
        try:
            return response.read1(min(size, 1 << 16), decode_content=True)
        except urllib3.exceptions.HTTPError as err:
            raise explain(err, host) from err
        except OSError as err:
            raise errors.UpstreamFailed(f"the connection to {host} broke: {err}") from err

    return read


def _after_service_header(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Drop `# service=git-upload-pack` and its flush, which hosts may leave out for protocol version 2."""
    start = bytearray()
    while len(start) < 5:
        piece = read(5 - len(start))
        if not piece:
            break
        start += piece
    if bytes(start[4:5]) != b"#":
        return _put_back(bytes(start), read)
    try:
        rest = int(bytes(start[:4]), 16) - 5 + 4
    except ValueError:
        raise errors.UpstreamFailed("the Git host does not speak Git's protocol") from None
    while rest > 0:
        piece = read(rest)
        if not piece:
            raise errors.UpstreamFailed("the Git host ended its answer in the middle")
        rest -= len(piece)
    return read


def _put_back(start: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    held = [start]

    def again(size: int) -> bytes:
        if not held[0]:
            return read(size)
        piece, held[0] = held[0][:size], held[0][size:]
        return piece

    return again


class SshConnection:
    """SSH through the system's client, with nothing of its user's configuration but keys and known hosts."""

    def __init__(self, url: GitUrl, guard: Guard) -> None:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise errors.Unavailable(f"cannot reach {url.host}: this machine has no ssh client", "install OpenSSH")
        self._host, self._idle = url.host, guard.limits.idle
        path = url.path[1:] if url.path.startswith("/~") else url.path
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(int(guard.limits.connect)),
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "ForwardAgent": "no",
            "ClearAllForwardings": "yes",
            "ProxyCommand": "none",
            "SendEnv": "GIT_PROTOCOL",
        }
        command = [ssh, "-F", "/dev/null", "-T", *(f"-o{name}={value}" for name, value in options.items())]
        command += ["-p", str(url.port)] if url.port else []
        command += ["-l", url.user] if url.user else []
        command += ["--", url.host, "git-upload-pack " + shlex.quote(path)]
        self._process = subprocess.Popen(  # noqa: S603 - a list, no shell, every word checked by parse_url
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={"PATH": "/usr/bin:/bin", "GIT_PROTOCOL": "version=2", "LC_ALL": "C"},
        )

    def advertisement(self) -> Callable[[int], bytes]:
        return self._read

    def command(self, body: bytes) -> Callable[[int], bytes]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(body)
        except OSError as err:
            raise self._failure() from err
        return self._read

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        if not select.select([stream], [], [], self._idle)[0]:
            raise errors.DeadlineExceeded(f"{self._host} stopped answering")
        data = os.read(stream, size)
        if not data:
            raise self._failure()
        return data

    def _failure(self) -> errors.VCSProxyError:
        assert self._process.stderr is not None
        self._process.kill()
        said = self._process.stderr.read(2000).decode("utf-8", "replace").strip().splitlines()
        reason = "".join(c for c in (said[-1] if said else "") if c.isprintable())[:160]
        return errors.UpstreamFailed(f"ssh to {self._host} failed: {reason or 'it ended without a word'}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
