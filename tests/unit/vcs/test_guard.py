"""Addresses: which are public, in all spellings; that the one judged is the one dialled; time."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator

import pytest

from vcsproxy import errors
from vcsproxy.build.job import Access, Host, Limits
from vcsproxy.secret import Secret
from vcsproxy.vcs.guard import Guard, Meter, is_public

LIMITS = Limits(connect=0.5, idle=2.0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(0.2)
        yield sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def untouched(sock: socket.socket) -> bool:
    try:
        sock.accept()[0].close()
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize("text", [
    "8.8.8.8", "140.82.121.4", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
])  # fmt: skip
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.0.1", "169.254.169.254", "172.16.0.1",
    "192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200",
    "::", "::1", "::7f00:1", "::808:808", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:7f00:1::1",
    "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fec0::1", "ff02::1",
])  # fmt: skip
def test_addresses_that_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("name", [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "::1", "::ffff:7f00:1",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "localhost", "0", "0.0.0.0",
])  # fmt: skip
def test_T8_no_spelling_of_a_loopback_address_is_dialled(name: str, listener: socket.socket) -> None:
    for reach in (Guard([], LIMITS).dial, Guard([], LIMITS).pin):
        with pytest.raises((errors.UpstreamFailed, errors.NotFound)) as caught:
            reach(name, port_of(listener))
        assert "not at a public address" in str(caught.value) or "no such host" in str(caught.value)
    assert untouched(listener)


def test_a_named_host_may_be_anywhere(listener: socket.socket) -> None:
    guard = Guard([Host("localhost")], LIMITS)
    with guard.dial("localhost", port_of(listener)) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() == LIMITS.idle
    assert guard.pin("localhost", port_of(listener)) == listener.getsockname()


@pytest.mark.parametrize("reach", ["dial", "pin"])
def test_connect_is_believed_and_nothing_resolved(reach: str, listener: socket.socket) -> None:
    guard = Guard([Host("nowhere.invalid", connect=f"127.0.0.1:{port_of(listener)}")], LIMITS)
    if reach == "pin":
        assert guard.pin("nowhere.invalid", 443) == listener.getsockname()
    else:
        with guard.dial("nowhere.invalid", 443) as sock:
            assert sock.getpeername() == listener.getsockname()


def test_the_host_of_a_named_proxy_may_be_anywhere(listener: socket.socket) -> None:
    guard = Guard([Host("git.test", proxy=f"http://127.0.0.1:{port_of(listener)}")], LIMITS)
    guard.dial("127.0.0.1", port_of(listener)).close()
    with pytest.raises(errors.UpstreamFailed, match="not at a public address"):
        guard.dial("127.0.0.2", port_of(listener))


class Resolver:
    """In the place of the name server, which a test cannot have: other answers at every call."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.calls = list(answers), 0

    def __call__(self, name: str, port: int, **_: object) -> list[tuple[object, ...]]:
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]


def test_T9_a_name_with_a_public_and_a_private_address_is_refused(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in (["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]):
        monkeypatch.setattr(socket, "getaddrinfo", Resolver(answer))
        with pytest.raises(errors.UpstreamFailed, match="not at a public address"):
            Guard([], LIMITS).dial("rebind.test", port_of(listener))
    assert untouched(listener)


def test_T9_the_address_that_was_judged_is_the_one_dialled(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second answer would lead to the listener; nobody asks for it."""
    resolver = Resolver(["192.88.98.1"], ["127.0.0.1"])
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda name, *a, **k: resolver(name, *a, **k) if name == "rebind.test" else real(name, *a, **k),
    )
    guard = Guard([], LIMITS)
    assert guard.pin("rebind.test", port_of(listener)) == ("192.88.98.1", port_of(listener))
    assert resolver.calls == 1
    resolver.calls = 0
    with pytest.raises(errors.HostUnreachable, match=r"cannot connect to rebind\.test"):
        guard.dial("rebind.test", port_of(listener))
    assert resolver.calls == 1
    assert untouched(listener)


def test_of_several_addresses_one_that_answers_is_pinned(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda name, *a, **k: resolver(name, *a, **k) if name == "two.test" else real(name, *a, **k),
    )
    assert Guard([Host("two.test")], LIMITS).pin("two.test", port_of(listener)) == listener.getsockname()


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3))
    began = time.monotonic()
    with pytest.raises(errors.HostUnreachable, match="the name server does not answer"):
        Guard([], LIMITS).dial("slow.test", 443)
    assert time.monotonic() - began < 2


def test_a_name_that_is_not_there() -> None:
    """Proven absence, unless the operator named the host."""
    gone = "no-such-host.invalid"
    try:
        socket.getaddrinfo(gone, 443)
    except socket.gaierror as err:
        if err.errno != socket.EAI_NONAME:
            pytest.skip("this machine has no name server that would say so")
    with pytest.raises(errors.NotFound, match="no such host"):
        Guard([], LIMITS).dial(gone, 443)
    with pytest.raises(errors.HostUnreachable, match="cannot resolve"):
        Guard([Host(gone)], LIMITS).dial(gone, 443)


def test_nobody_listens(listener: socket.socket) -> None:
    port = port_of(listener)
    listener.close()
    with pytest.raises(errors.HostUnreachable, match="Connection refused") as caught:
        Guard([Host("127.0.0.1")], LIMITS).dial("127.0.0.1", port)
    assert caught.value.hint


def test_the_credential_is_that_of_the_longest_prefix() -> None:
    one = Access("one", "https://git.test", "bearer", secret=Secret("a"))
    two = Access("two", "https://git.test/team", "bearer", secret=Secret("b"))
    guard = Guard([], LIMITS, [one, two])
    assert guard.access("https://git.test/team/x") is two
    assert guard.access("https://git.test/teams/x") is one
    assert guard.access("https://git.test:8443/team/x") is None


def test_a_meter_ends_what_is_too_large() -> None:
    meter = Meter("the pack", 10)
    meter.take(10)
    with pytest.raises(errors.Refused, match="the pack is larger than 10 bytes"):
        meter.take(1)
