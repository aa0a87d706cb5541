"""What a connection may reach and how much it may take: addresses, bytes, time.

Every connection of a worker is dialled here, so that no redirect, no page and no DNS answer leads to an address that
the operator did not allow: the name is resolved once, every address is judged, and one of those very addresses is
dialled. Hosts that the configuration names may be anywhere; all others must be on the public Internet.

This is not a firewall for the machine: it governs only what this worker opens.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from vcsproxy import errors
from vcsproxy.access.prefix import longest
from vcsproxy.build.job import Access, Host, Limits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Not on the public Internet, whatever the Python that runs here thinks of it.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "::/8", "64:ff9b:1::/48",
        "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
    )
)  # fmt: skip
# Public by the registries, yet inside somebody's cloud.
_CLOUD = {ipaddress.ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_WINDOW = 30.0  # seconds over which the least throughput is measured
_BEGUN = 65536  # bytes after which a transfer has really begun
_LEAST_RATE = 1024  # bytes a second


def is_public(address: Address) -> bool:
    """Whether an address, or the IPv4 address that it stands for, is on the public Internet.

    Tunnels that nobody needs any more (6to4, Teredo, IPv4-compatible addresses) never are, wherever they end.
    """
    address = _meant(address)
    if not address.is_global or address.is_multicast or address.is_reserved or address in _CLOUD:
        return False
    return not any(address.version == special.version and address in special for special in _SPECIAL)


def _meant(address: Address) -> Address:
    """The IPv4 address that packets to a mapped or translated (NAT64) one go to; else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class Guard:
    """Dials hosts for one job; `hosts` are those that the configuration names, `access` the credentials it may use."""

    def __init__(self, hosts: Sequence[Host], limits: Limits, access: Sequence[Access] = ()) -> None:
        proxies = {name: Host(name) for host in hosts if host.proxy and (name := urlsplit(host.proxy).hostname)}
        self._hosts: Mapping[str, Host] = {**proxies, **{host.name: host for host in hosts}}
        self._access = tuple((each.url, each) for each in access)
        self.limits = limits

    def access(self, url: str) -> Access | None:
        """The credential to use for exactly this URL, None if there is none."""
        return longest(self._access, url)

    def host(self, name: str) -> Host | None:
        """What the configuration says about a host name (lower case)."""
        return self._hosts.get(name)

    def dial(self, name: str, port: int) -> socket.socket:
        """A connected TCP socket. Raises HostUnreachable, or UpstreamFailed when the host may not be reached."""
        return self._connect(name, self._addresses(name, port))

    def pin(self, name: str, port: int) -> tuple[str, int]:
        """The one checked address for a program that connects by itself: of several, one that answers now."""
        found = self._addresses(name, port)
        if len(found) == 1:
            return found[0]
        with self._connect(name, found) as sock:
            return str(sock.getpeername()[0]), int(sock.getpeername()[1])

    def _addresses(self, name: str, port: int) -> list[tuple[str, int]]:
        """Where a host is, all of it allowed."""
        rule = self.host(name)
        if rule is not None and rule.connect:
            address, _, rule_port = rule.connect.rpartition(":")
            return [(address.strip("[]"), int(rule_port))]
        found = self._resolve(name, port)
        if rule is None and not all(is_public(ipaddress.ip_address(a.partition("%")[0])) for a, _ in found):
            hint = f'if it may be reached, name the host in the configuration: [[host]] name = "{name}"'
            raise errors.UpstreamFailed(f"{name} is not at a public address", hint)
        return found

    def _resolve(self, name: str, port: int) -> list[tuple[str, int]]:
        """Every address of a name. getaddrinfo knows no deadline: a thread that hangs in it is left behind."""
        found: list[Any] = []
        thread = threading.Thread(target=_look_up, args=(name, port, found), daemon=True)
        thread.start()
        thread.join(self.limits.connect)
        outcome = found[0] if found else TimeoutError("the name server does not answer")
        if not isinstance(outcome, Exception):
            return list(dict.fromkeys((str(entry[4][0]), port) for entry in outcome))
        unknown = isinstance(outcome, socket.gaierror) and outcome.errno == socket.EAI_NONAME and ":" not in name
        if unknown and self.host(name) is None:
            # The name server says that there is no such host. Of a host that the operator named, that is trouble.
            hint = "is the module path spelled right, and does DNS work on the server?"
            raise errors.HostUnknown(f"no such host {name}", hint) from outcome
        why = getattr(outcome, "strerror", None) or outcome
        raise errors.HostUnreachable(f"cannot resolve host {name}: {why}", "does DNS work on the server?") from outcome

    def _connect(self, name: str, addresses: list[tuple[str, int]]) -> socket.socket:
        problem: OSError | None = None
        for address in addresses[:4]:
            try:
                sock = socket.create_connection(address, timeout=self.limits.connect)
            except OSError as err:
                problem = err
                continue
            sock.settimeout(self.limits.idle)
            # A request goes out in two pieces; the second would wait until the host has acknowledged the first.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        why = getattr(problem, "strerror", None) or problem
        raise errors.HostUnreachable(
            f"cannot connect to {name}:{addresses[0][1]}: {why}", "is the host up, and may this server reach it?"
        ) from problem


def _look_up(name: str, port: int, found: list[Any]) -> None:
    try:
        found.append(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as err:
        found.append(err)


class Meter:
    """Counts what arrives; ends a transfer that is too large or hardly moves."""

    def __init__(self, what: str, limit: int) -> None:
        self._what, self._limit = what, limit
        self.total = 0
        self._since, self._at = time.monotonic(), 0

    def take(self, size: int) -> None:
        """Note `size` more bytes. Raises Refused above the limit, DeadlineExceeded below 1 KiB/s over 30 s."""
        self.total += size
        if self.total > self._limit:
            raise errors.Refused(f"{self._what} is larger than {self._limit} bytes")
        now = time.monotonic()
        if now - self._since >= _WINDOW:
            # A host that prepares a large pack sends a few bytes now and then; idle and wall bound that.
            if self._at >= _BEGUN and self.total - self._at < _LEAST_RATE * _WINDOW:
                raise errors.HostSilent(f"{self._what} arrives too slowly")
            self._since, self._at = now, self.total
