"""Smart HTTP: what each status means, where redirects may lead, and to whom the credential goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.githost import GitHost, Handler
from vcsproxy import errors
from vcsproxy.build.job import Access, Host, Limits
from vcsproxy.secret import Secret
from vcsproxy.trace import Trace, tracing
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.pktline import Special, encode
from vcsproxy.vcs.transport import connect
from vcsproxy.vcs.wire import UploadPack

LIMITS = Limits(connect=2.0, idle=2.0)
URL = "https://git.test/team/x"
TOKEN = Access("team", "https://git.test/team", "bearer", secret=Secret("canary-token"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def host(authority: Authority, tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path, authority.server_context("git.test")).running() as running:
        yield running


def fail(host: GitHost, authority: Authority, *access: Access, url: str = URL) -> errors.VCSProxyError:
    rule = Host("git.test", connect=host.address, ca=str(authority.pem))
    connection = connect(url, Guard([rule], LIMITS, access))
    try:
        with pytest.raises(errors.VCSProxyError) as caught:
            UploadPack(connection, LIMITS)
    finally:
        connection.close()
    assert "canary" not in str(caught.value) + caught.value.hint
    return caught.value


def statuses(host: GitHost, refs: int, page: int, **headers: str) -> None:
    """What the list of refs and the repository's page answer."""

    def script(handler: Handler) -> bool:
        handler.reply(refs if "info/refs" in handler.path else page, headers, b"")
        return True

    host.script = script


ABSENT, DENIED, DOWN, BUSY = errors.RepositoryNotFound, errors.AccessDenied, errors.HostUnreachable, errors.HostBusy


@pytest.mark.parametrize(
    ("refs", "page", "stranger", "known"),
    [
        (404, 200, ABSENT, ABSENT), (410, 200, ABSENT, ABSENT),
        (401, 404, ABSENT, DENIED), (403, 410, ABSENT, DENIED), (401, 200, DENIED, DENIED), (403, 403, DENIED, DENIED),
        (401, 500, DENIED, DENIED), (500, 404, ABSENT, ABSENT), (502, 200, DOWN, DOWN), (503, 403, DOWN, DOWN),
        (400, 200, errors.UpstreamFailed, errors.UpstreamFailed), (429, 404, BUSY, BUSY),
    ],
)  # fmt: skip
def test_statuses(refs: int, page: int, stranger: type, known: type, host: GitHost, authority: Authority) -> None:
    """I3: absence is what the host says of the repository or of its page, and never a refused credential."""
    statuses(host, refs, page)
    assert type(fail(host, authority)) is stranger
    assert type(fail(host, authority, TOKEN)) is known
    assert host.seen[-1] == "Bearer canary-token"


def test_a_busy_host_says_for_how_long(host: GitHost, authority: Authority) -> None:
    statuses(host, 503, 200, **{"Retry-After": "17"})
    error = fail(host, authority)
    assert isinstance(error, errors.HostBusy)
    assert error.retry_after == 17


def test_denials_have_cause_and_cure(host: GitHost, authority: Authority) -> None:
    statuses(host, 401, 200)
    assert fail(host, authority).hint.startswith('add a [[credential]] with url = "https://git.test/..."')
    assert "refuses the credential team" in str(fail(host, authority, TOKEN))
    statuses(host, 403, 200)
    assert "does not let the credential team read https://git.test/team/x" in str(fail(host, authority, TOKEN))
    with tracing(Trace()) as trace:
        fail(host, authority, TOKEN)
    told = [(step.topic, step.text) for step in trace.steps]
    assert ("credential", "team is sent to https://git.test/team") in told
    assert ("host", "git.test answered HTTP 403 for the list of refs") in told


def test_a_page_instead_of_git(host: GitHost, authority: Authority) -> None:
    statuses(host, 200, 200, **{"Content-Type": "text/html"})
    error = fail(host, authority)
    assert type(error) is errors.UpstreamFailed
    assert "does not serve Git" in str(error)


def redirect(host: GitHost, target: str) -> None:
    def script(handler: Handler) -> bool:
        if "/team/x/" not in handler.path:
            return False
        handler.reply(302, {"Location": target}, b"")
        return True

    host.script = script


TAIL = "/info/refs?service=git-upload-pack"


@pytest.mark.parametrize("target", [
    f"https://other.test/team/x{TAIL}", f"http://git.test/team/x{TAIL}", f"https://git.test:444/team/x{TAIL}",
    "https://git.test/login", f"https://[/x{TAIL}", f"https://127.0.0.1/x{TAIL}", "",
])  # fmt: skip
def test_T14_git_is_not_redirected_elsewhere(target: str, host: GitHost, authority: Authority) -> None:
    redirect(host, target)
    error = fail(host, authority, TOKEN)
    assert isinstance(error, errors.UpstreamFailed)
    assert "redirects" in str(error)
    assert len(host.requests) <= 4


def test_T11_a_redirect_out_of_the_prefix_loses_the_credential(host: GitHost, authority: Authority) -> None:
    redirect(host, f"/public/x{TAIL}")
    fail(host, authority, TOKEN)
    assert host.requests == [f"GET git.test/team/x{TAIL}", f"GET git.test/public/x{TAIL}"]
    assert host.seen == ["Bearer canary-token", ""]


@pytest.mark.parametrize("tail", [b"", b"4\r\nmore\r\n"], ids=["ends", "goes on"])
def test_a_conversation_has_one_connection(tail: bytes, host: GitHost, authority: Authority) -> None:
    """What Git says ends before the last, empty chunk of an answer; a host that says more gets another connection."""
    greeting = encode(b"version 2\n", b"ls-refs\n", b"fetch=shallow\n", Special.FLUSH)
    refs = encode(b"1" * 40 + b" refs/heads/main\n", Special.FLUSH)
    clients: list[int] = []

    def script(handler: Handler) -> bool:
        clients.append(handler.client_address[1])
        kind, body = ("advertisement", greeting) if handler.command == "GET" else ("result", refs)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        handler.wfile.write(head.encode() + b"%x\r\n%s\r\n" % (len(body), body) + tail + b"0\r\n\r\n")
        return True

    host.script = script
    connection = connect(URL, Guard([Host("git.test", connect=host.address, ca=str(authority.pem))], LIMITS))
    try:
        talk = UploadPack(connection, LIMITS)
        assert [talk.refs().peeled("refs/heads/main") for _ in range(2)] == ["1" * 40] * 2
    finally:
        connection.close()
    assert len(clients) == 3
    assert len(set(clients)) == (3 if tail else 1)
