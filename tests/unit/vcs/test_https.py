"""Single requests against real servers: trust, certificates, proxies, plain HTTP, what is told to whom, and errors."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
import urllib3

from tests.support.authority import Authority
from tests.support.githost import GitHost
from tests.support.tunnel import Tunnel
from vcsproxy import errors
from vcsproxy.build.job import Access, Call, Host, Limits
from vcsproxy.secret import Secret
from vcsproxy.trace import Trace, tracing
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.https import HttpClient, call, read_some
from vcsproxy.vcs.httpwords import busy, denied

LIMITS = Limits(connect=2.0, idle=2.0)
CANARY = "canary-s3cret-päss"
PAGE = {"/page": (200, {}, b"hello")}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def host(authority: Authority, tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path, authority.server_context("git.test"), dict(PAGE)).running() as running:
        yield running


def named(host: GitHost, authority: Authority | None = None, name: str = "git.test") -> Host:
    return Host(name, connect=host.address, ca=str(authority.pem) if authority else "")


def get(url: str, *hosts: Host, access: tuple[Access, ...] = (), limits: Limits = LIMITS) -> tuple[int, bytes]:
    client = HttpClient(Guard(hosts, limits, access))
    try:
        response = client.send("GET", url, {}, access=client.credential(url))
        return response.status, read_some(response, 1000, "git.test")
    finally:
        client.close()


def basic(url: str = "https://git.test", name: str = "team", secret: str = CANARY) -> Access:
    return Access(name, url, "basic", "me", Secret(secret))


def pair(user: str, secret: str) -> str:
    return "Basic " + b64encode(f"{user}:{secret}".encode()).decode()


# ---- trust


def test_own_authority(host: GitHost, authority: Authority) -> None:
    assert get("https://git.test/page", named(host, authority)) == (200, b"hello")


def test_unknown_authority(host: GitHost) -> None:
    with pytest.raises(errors.UpstreamFailed, match=r"the certificate of git\.test is not trusted") as caught:
        get("https://git.test/page", named(host))
    assert not isinstance(caught.value, errors.HostUnreachable)
    assert '[[host]] name = "git.test", ca = ' in caught.value.hint
    assert host.requests == []


def test_a_certificate_for_another_name(host: GitHost, authority: Authority) -> None:
    with pytest.raises(errors.UpstreamFailed, match=r"the certificate of other\.test is not trusted"):
        get("https://other.test/page", named(host, authority, "other.test"))
    assert host.requests == []


def test_insecure_is_for_the_host_that_says_so(host: GitHost, authority: Authority) -> None:
    assert get("https://git.test/page", replace(named(host), insecure=True)) == (200, b"hello")
    with pytest.raises(errors.UpstreamFailed, match="not trusted"):
        get("https://other.test/page", replace(named(host), insecure=True), named(host, authority, "other.test"))


@pytest.mark.parametrize("password", ["", "open sesame"])
def test_client_certificate(password: str, authority: Authority, tmp_path: Path) -> None:
    pem = str(authority.client_pem(f"me{len(password)}", password))
    with GitHost(tmp_path, authority.server_context("git.test", clients=True), dict(PAGE)).running() as host:
        rule = replace(named(host, authority), client_cert=pem, client_key_password=Secret(password))
        assert get("https://git.test/page", rule) == (200, b"hello")
        # Whether its alert arrives before our request meets a closed connection is up to the network.
        with pytest.raises((errors.AccessDenied, errors.HostUnreachable), match=r"git\.test (failed|broke)") as caught:
            get("https://git.test/page", named(host, authority))
        assert "client_cert" in caught.value.hint or isinstance(caught.value, errors.HostUnreachable)
        assert len(host.requests) == 1


def test_a_client_key_that_cannot_be_read(host: GitHost, authority: Authority) -> None:
    """It is not asked for at the terminal, and the words name no secret."""
    pem = str(authority.client_pem("locked", "right"))
    for password in ("", CANARY):
        rule = replace(named(host, authority), client_cert=pem, client_key_password=Secret(password))
        with pytest.raises(errors.Unavailable, match=r"client certificate for git\.test cannot be used") as caught:
            get("https://git.test/page", rule)
        assert CANARY not in str(caught.value) + caught.value.hint


# ---- plain HTTP


def test_T14_plain_http_is_refused(tmp_path: Path) -> None:
    with GitHost(tmp_path, pages=dict(PAGE)).running() as host:
        with pytest.raises(errors.UpstreamFailed, match="plain http") as caught:
            get("http://git.test/page", named(host))
        assert '[[host]] name = "git.test", insecure = true' in caught.value.hint
        assert host.requests == []
        assert get("http://git.test/page", replace(named(host), insecure=True)) == (200, b"hello")
        assert get(host.url + "/page", Host("127.0.0.1")) == (200, b"hello")


@pytest.mark.parametrize("url", ["http://git.test/page", "https://git.test/page"])
def test_no_credential_goes_where_anybody_could_be(url: str, host: GitHost) -> None:
    rule = replace(named(host), insecure=True)
    with pytest.raises(errors.Unavailable, match=r"the credential team is not sent to git\.test"):
        get(url, rule, access=(basic(url),))
    assert host.requests == []
    with pytest.raises(errors.Unavailable, match="not verified"):
        call(Call("GET", url, Secret(CANARY), hosts=(rule,), limits=LIMITS))
    assert host.requests == []


@pytest.mark.parametrize(
    "url", ["ftp://git.test/x", "file:///etc/passwd", "git.test/x", "https://[::1/x", "https:///x"]
)
def test_other_schemes_are_not_spoken(url: str) -> None:
    with pytest.raises(errors.UpstreamFailed, match="cannot fetch"):
        get(url)


def test_a_host_name_that_cannot_be_one() -> None:
    for url in (f"https://{'a' * 300}.test/", "https://a..b/", "http://localhost:1/"):
        with pytest.raises((errors.UpstreamFailed, errors.NotFound)):
            get(url)


# ---- credentials


def test_basic_and_bearer(host: GitHost, authority: Authority) -> None:
    rule = named(host, authority)
    bearer = Access("bot", "https://git.test/bot", "bearer", secret=Secret("tok"))
    with tracing(Trace()) as trace:
        get("https://git.test/page", rule, access=(basic(), bearer))
        get("https://git.test/bot/page", rule, access=(basic(), bearer))
    assert host.seen == [pair("me", CANARY), "Bearer tok"]
    assert [step.text for step in trace.steps if step.topic == "credential"] == [
        "team is sent to https://git.test", "bot is sent to https://git.test/bot",
    ]  # fmt: skip
    assert CANARY not in repr(trace.steps)


def test_a_credential_is_bound_to_its_prefix(host: GitHost, authority: Authority) -> None:
    rule = named(host, authority)
    for url in ("https://git.test/teams/x", "https://git.test:444/team/x", "https://git.test/team/../x"):
        get(url, rule, access=(basic("https://git.test/team"),))
    agent = Access("keys", "https://git.test", "agent", agent="/nowhere")
    get("https://git.test/page", rule, access=(agent,))
    assert host.seen == [""] * 4


def test_a_credential_that_was_chosen_for_another_url_is_not_sent(host: GitHost, authority: Authority) -> None:
    client = HttpClient(Guard([named(host, authority)], LIMITS))
    client.send("GET", "https://git.test/page", {}, access=basic("https://other.test")).close()
    client.close()
    assert host.seen == [""]


def test_a_token_with_a_line_end_is_not_repeated(host: GitHost, authority: Authority) -> None:
    access = Access("bot", "https://git.test", "bearer", secret=Secret(CANARY + "\r\nX-Evil: 1"))
    with pytest.raises(errors.AccessDenied, match="the token of the credential bot cannot be sent") as caught:
        get("https://git.test/page", named(host, authority), access=(access,))
    assert CANARY not in str(caught.value) + caught.value.hint
    assert host.requests == []


@pytest.mark.parametrize(
    ("status", "access", "message", "hint"),
    [
        (401, None, "git.test needs a credential for https://git.test/o/x (HTTP 401)", 'url = "https://git.test/..."'),
        (403, None, "git.test needs a credential for https://git.test/o/x (HTTP 403)", "[[credential]]"),
        (401, basic(), "git.test refuses the credential team for https://git.test/o/x (HTTP 401)", "wrong or has expired"),
        (403, basic(), "git.test does not let the credential team read https://git.test/o/x (HTTP 403)", "read access"),
    ],
)  # fmt: skip
def test_denials_name_the_credential(status: int, access: Access | None, message: str, hint: str) -> None:
    error = denied(status, "https://git.test/o/x", access)
    assert error.message == message
    assert hint in error.hint
    assert CANARY not in error.message + error.hint


# ---- proxies


@pytest.mark.parametrize("over", ["http", "https"])
@pytest.mark.parametrize("login", [False, True])
def test_through_a_proxy(over: str, login: bool, host: GitHost, authority: Authority) -> None:
    """The proxy alone knows where git.test is; TLS is with git.test itself."""
    context = authority.server_context("proxy.test") if over == "https" else None
    with Tunnel({"git.test:443": host.port}, context, pair("me", CANARY) if login else "").running() as tunnel:
        rules = (Host("git.test", ca=str(authority.pem), proxy=tunnel.url), Host("127.0.0.1", ca=str(authority.pem)))
        access = basic(f"https://127.0.0.1:{tunnel.port}", "way out")
        assert get("https://git.test/page", *rules, access=(access,)) == (200, b"hello")
        assert tunnel.asked == ["CONNECT git.test:443 HTTP/1.0"]
        assert (host.seen, CANARY in tunnel.seen[0]) == ([""], False)
        if login:
            with pytest.raises(errors.AccessDenied, match=r"the proxy for git\.test answered HTTP 407") as caught:
                get("https://git.test/page", *rules)
            assert "[[credential]]" in caught.value.hint


@pytest.mark.parametrize("over", ["http", "https"])
def test_plain_http_through_a_proxy(over: str, authority: Authority, tmp_path: Path) -> None:
    context = authority.server_context("proxy.test") if over == "https" else None
    with (
        GitHost(tmp_path, pages=dict(PAGE)).running() as host,
        Tunnel({"git.test:80": host.port}, context, pair("me", CANARY)).running() as tunnel,
    ):
        rules = (Host("git.test", insecure=True, proxy=tunnel.url), Host("127.0.0.1", ca=str(authority.pem)))
        access = basic(f"https://127.0.0.1:{tunnel.port}", "way out")
        assert get("http://git.test/page", *rules, access=(access,)) == (200, b"hello")
        assert tunnel.asked == ["GET http://git.test/page HTTP/1.1"]
        assert host.requests == ["GET git.test/page"]


def test_a_proxy_that_refuses_or_is_not_there(host: GitHost) -> None:
    with Tunnel({}).running() as tunnel:
        with pytest.raises(errors.AccessDenied, match="answered HTTP 403"):
            get("https://git.test/page", Host("git.test", proxy=tunnel.url))
        gone = tunnel.url
    with pytest.raises(errors.HostUnreachable):
        get("https://git.test/page", Host("git.test", proxy=gone))


def test_T12_no_ambient_proxy_or_netrc(
    host: GitHost, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text(f"machine git.test login me password {CANARY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    with Tunnel({"git.test:443": host.port}).running() as tunnel:
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, tunnel.url)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        assert get("https://git.test/page", named(host, authority)) == (200, b"hello")
        assert (tunnel.asked, host.seen) == ([], [""])


# ---- what goes wrong


@contextmanager
def answering(act: Callable[[socket.socket], object]) -> Iterator[str]:
    """A listener that does `act` with every connection, after a request's head has come; its URL."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.recv(65536)
                act(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "nothing": (b"", errors.HostUnreachable),
    "half a head": (HEAD, errors.HostUnreachable),
    "half a field": (HEAD + b"Content-Len", errors.HostUnreachable),
    "half a body": (HEAD + b"Content-Length: 10\r\n\r\nhalf", errors.HostUnreachable),
    "half a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf", errors.HostUnreachable),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2 canary\r\n", errors.UpstreamFailed),
    "an endless line": (HEAD + b"X: " + b"x" * 70000 + b"\r\n\r\n", errors.UpstreamFailed),
    "no gzip": (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\ncanary", errors.UpstreamFailed),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answers(kind: str) -> None:
    data, expected = BROKEN[kind]
    with answering(lambda sock: sock.sendall(data)) as url, pytest.raises(errors.UpstreamFailed) as caught:
        get(url, Host("127.0.0.1"))
    assert type(caught.value) is expected
    assert "canary" not in str(caught.value)


def test_silence_is_bounded() -> None:
    began = time.monotonic()
    with answering(lambda _: time.sleep(1.5)) as url, pytest.raises(errors.HostSilent, match="stopped answering"):
        get(url, Host("127.0.0.1"), limits=replace(LIMITS, idle=0.3))
    assert time.monotonic() - began < 5


def test_a_dripping_body_is_bounded() -> None:
    def drip(sock: socket.socket) -> None:
        sock.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x")
                time.sleep(0.05)

    client = HttpClient(Guard([Host("127.0.0.1")], LIMITS))
    with answering(drip) as url:
        response = client.send("GET", url, {})
        with pytest.raises(errors.HostSilent, match="too long"):
            read_some(response, 1000, "127.0.0.1", time.monotonic() + 0.3)
        client.close()


def test_no_tls_on_the_port() -> None:
    with (
        answering(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as url,
        pytest.raises(errors.HostUnreachable, match=r"TLS with 127\.0\.0\.1 failed") as caught,
    ):
        get(url.replace("http", "https"), Host("127.0.0.1"))
    assert "speak https" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "given", "seconds"),
    [
        (429, "7", 7), (429, "0", 1), (429, "999999", 3600), (429, "", 60), (429, "soon", 60), (429, "-5", 60),
        (429, "1" * 400, 60), (429, "٣", 60), (503, "20", 20), (503, "", None), (500, "20", None), (404, "20", None),
    ],
)  # fmt: skip
def test_patience(status: int, given: str, seconds: float | None) -> None:
    error = busy(urllib3.HTTPResponse(status=status, headers={"Retry-After": given} if given else {}), "git.test")
    assert (error.retry_after if error else None) == seconds


def test_patience_until_a_date() -> None:
    error = busy(urllib3.HTTPResponse(status=503, headers={"Retry-After": formatdate(time.time() + 100)}), "git.test")
    assert error is not None
    assert 90 < error.retry_after <= 100
    past = busy(urllib3.HTTPResponse(status=429, headers={"Retry-After": formatdate(1)}), "git.test")
    assert past is not None
    assert past.retry_after == 1


def test_a_call_sends_its_token_and_gives_any_status(host: GitHost, authority: Authority) -> None:
    host.pages["/api"] = (422, {}, b"x" * 2000)
    task = Call(
        "POST", "https://git.test/api", Secret("tok"), body=b"{}", hosts=(named(host, authority),), limits=LIMITS
    )
    answer = call(replace(task, limits=replace(LIMITS, page=100)))
    assert (answer.status, answer.body, host.seen) == (422, b"x" * 100, ["Bearer tok"])
