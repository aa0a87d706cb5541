"""Conversations with upload-pack: over smart HTTP here, over SSH in `vcs/ssh.py`; and the one place that opens them.

URLs are taken apart here once, against a list of schemes; nothing is ever guessed from a string that looks like a path
or an option. HTTP redirects are followed only within the same origin, and only for the first request.

Source: gitprotocol-http(5); ssh(1).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3

from vcsproxy import errors
from vcsproxy.build.job import Access
from vcsproxy.trace import note
from vcsproxy.vcs.giturl import GitUrl, parse_url
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.https import HttpClient
from vcsproxy.vcs.httpwords import busy, denied, explain
from vcsproxy.vcs.ssh import SshConnection
from vcsproxy.vcs.wire import Connection

_USER_AGENT = "git/2.0 (vcsproxy)"
_MAX_REDIRECTS = 3


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
        self._access: Access | None = None
        self._answer: urllib3.BaseHTTPResponse | None = None

    def close(self) -> None:
        self._client.close()

    def resume(self) -> None:
        """Go on in another job, which hears what the first one heard."""
        self._client.resume()

    def advertisement(self) -> Callable[[int], bytes]:
        response = self._discover()
        kind = response.headers.get("Content-Type", "")
        if kind != "application/x-git-upload-pack-advertisement":
            response.close()
            raise errors.UpstreamFailed(f"{self._host} does not serve Git at {self._base} (content type {kind[:60]!r})")
        self._answer = response
        return _after_service_header(_reading(response, self._host))

    def _discover(self) -> urllib3.BaseHTTPResponse:
        tail = "/info/refs?service=git-upload-pack"
        for _ in range(_MAX_REDIRECTS + 1):
            self._access = self._client.credential(self._base + tail)
            response = self._client.send("GET", self._base + tail, self._headers, access=self._access)
            if response.status == 200:
                return response
            note("host", f"{self._host} answered HTTP {response.status} for the list of refs")
            response.close()
            if response.status not in (301, 302, 303, 307, 308):
                raise self._failure(response)
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

    def _failure(self, response: urllib3.BaseHTTPResponse) -> errors.VCSProxyError:
        """Hosts hide private repositories; as for go, the repository's own page decides whether it is absent.

        DIFFERS: a host that refuses our credential is not asked for its page, which it shows to nobody else either.
        """
        status = response.status
        patience = busy(response, self._host)
        if patience is not None:
            return patience
        refused = status in (401, 403) and self._access is not None
        if status in (404, 410) or (not refused and self._page_is_gone()):
            hint = f"may {self._access.name} read it?" if self._access else "is it private, or has it moved?"
            return errors.RepositoryNotFound(f"repository {self._base} not found", hint)
        return self._trouble(status)

    def _trouble(self, status: int) -> errors.VCSProxyError:
        if status in (401, 403):
            return denied(status, self._base, self._access)
        message = f"{self._host} answered HTTP {status} for {self._base}"
        if status >= 500:
            return errors.HostUnreachable(message, "the host is in trouble; try again later")
        return errors.UpstreamFailed(message, "is this the URL of a Git repository?")

    def _page_is_gone(self) -> bool:
        access = self._client.credential(self._base)
        response = self._client.send("GET", self._base, {"User-Agent": _USER_AGENT}, access=access)
        response.close()
        note("host", f"{self._host} answered HTTP {response.status} for the repository's page")
        return response.status in (404, 410)

    def command(self, body: bytes) -> Callable[[int], bytes]:
        kind = "application/x-git-upload-pack"
        headers = {**self._headers, "Content-Type": kind + "-request", "Accept": kind + "-result"}
        access = self._access = self._client.credential(self._base + "/git-upload-pack")
        self._finish()
        response = self._client.send("POST", self._base + "/git-upload-pack", headers, body, access=access)
        if response.status == 200 and response.headers.get("Content-Type") == kind + "-result":
            self._answer = response
            return _reading(response, self._host)
        response.close()
        note("host", f"{self._host} answered HTTP {response.status} to a fetch")
        patience = busy(response, self._host)
        if patience is not None:
            raise patience
        raise self._trouble(response.status)

    def _finish(self) -> None:
        """Read the last answer to its end, or its connection would not be free for another request.

        What Git says ends before that: the last chunk, which has nothing in it, is still to come.
        """
        answer, self._answer = self._answer, None
        if answer is None:
            return
        try:
            more = answer.read1(1)
        except (urllib3.exceptions.HTTPError, OSError):
            more = b"-"
        if more:
            answer.close()


def _reading(response: urllib3.BaseHTTPResponse, host: str) -> Callable[[int], bytes]:
    """A read function over a response that returns what is there, at most `size` bytes."""

    def read(size: int) -> bytes:
        try:
            return response.read1(min(size, 1 << 16), decode_content=True)
        except urllib3.exceptions.HTTPError as err:
            raise explain(err, host) from err
        except OSError as err:
            raise errors.HostUnreachable(f"the connection to {host} broke: {err.strerror or err}", "try again") from err

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
            raise errors.HostUnreachable("the Git host ended its answer in the middle", "try again")
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
