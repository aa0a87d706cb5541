"""T8, T9, F9, F10: nothing but the configuration leads to this machine, its network or its cloud, however it is written."""

from __future__ import annotations

import ipaddress
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.githost import Handler
from tests.support.history import Step, build
from tests.support.processes import descendants
from tests.support.proxyserver import ProxyServer, serving
from tests.support.toxgit import Bystander, Tox, bystander, redirect
from tests.support.vanity import Vanity, vanity
from vcsproxy.build.job import Host, Limits
from vcsproxy.errors import UpstreamFailed
from vcsproxy.vcs.guard import Guard, is_public

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "0.0.0.0", "0", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
    "127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "127.0.0.2", "127.255.255.254", "%31%32%37.0.0.1", "1\u20e327.0.0.1",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[::1%25lo]", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021",
]  # fmt: skip
INSIDE = [
    "169.254.169.254", "[fd00:ec2::254]", "168.63.129.16", "100.100.100.200", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
    "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[fe80::1]", "[fc00::1]", "[ff02::1]", "[fec0::1]",
    "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
]  # fmt: skip
ADDRESSES = [*LOOPBACK, *INSIDE]
NOT_FETCHED = (403, 502)


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    pages: Vanity
    inside: Bystander  # a service of this machine, on the ports that hostile pages name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("addresses")
    build(work / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    limits = '[limits]\nconnect = "1s"\nidle = "1s"\nwall = "4s"\n'
    with (
        bystander("127.0.0.1", "127.0.0.2", "::1") as inside,
        vanity(work, work / "repos") as pages,
        serving(work / "s", pages.config + limits) as server,
    ):
        yield Site(server, pages, inside)


@dataclass(frozen=True)
class Told:
    """What a client hears of a page that leads to an address; `seconds` until then."""

    address: str
    status: int
    body: bytes
    seconds: float


def ask(site: Site, path: str, address: str) -> Told:
    started = time.monotonic()
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    return Told(address, got.status, got.data, time.monotonic() - started)


@pytest.fixture(scope="module", params=["names", "redirects"])
def told(request: pytest.FixtureRequest, site: Site) -> list[Told]:
    """What is heard of every address: a page names a repository there, or is itself a redirect to there.

    The page's own host is named in the configuration; what it leads to is not. F9: an address in a URL is judged like one
    that a name server has given.
    """
    asked = []
    for number, address in enumerate(ADDRESSES):
        where = f"{request.param}{number}"
        url = f"https://{address}:{site.inside.port}/latest/meta-data?go-get=1"
        if request.param == "names":
            path = site.pages.name(where, f"meta.test/{where} git {url}")
        else:
            path = site.pages.lead(where, url.encode().decode("latin-1"))
        asked.append((path, address))
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda each: ask(site, *each), asked))


def test_T8_nobody_connects_to_an_address_inside(told: list[Told], site: Site) -> None:
    site.inside.assert_untouched()
    assert [each for each in told if each.seconds > 2] == [], "somebody has waited for an answer"
    assert [each for each in told if each.status in (200, 500, 503)] == []


def test_T8_an_address_inside_is_no_absence(told: list[Told]) -> None:
    """What Go itself would not take for a URL is refused by its rules; all else is refused by ours, and may exist."""
    by_go = [each for each in told if b"invalid repo root" in each.body or b"redirects to no URL" in each.body]
    assert [each for each in told if each.status not in NOT_FETCHED and each not in by_go] == []


def test_T8_a_git_host_redirects_to_an_address_inside(site: Site) -> None:
    """g5 redirects to the fifth address."""

    def play(handler: Handler) -> bool:
        number = int(handler.path.split("/")[1][1:]) if "git-upload-pack" in handler.path else -1
        target = f"https://{ADDRESSES[number]}:{site.inside.port}/x/info/refs?service=git-upload-pack"
        return number >= 0 and Tox(greet=redirect(target.encode().decode("latin-1")))(handler)

    site.pages.host.script = play
    numbers = range(len(ADDRESSES))
    paths = [site.pages.name(f"g{at}", f"meta.test/g{at} git https://git.test/g{at}") for at in numbers]
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda at: ask(site, paths[at], ADDRESSES[at]), numbers))
    finally:
        site.pages.host.script = None
    site.inside.assert_untouched()
    assert [each for each in found if each.status not in (502, 503)] == []


def test_T8_a_module_path_is_an_address_inside(site: Site) -> None:
    """The first element of a path is a host that discovery would ask."""
    for address in ADDRESSES:
        got = site.server.get(f"/{address}/x/@v/v1.0.0.info".encode().decode("latin-1").replace("%25", "%2525"))
        assert got.status in (404, *NOT_FETCHED), (address, got.data)
    site.inside.assert_untouched()


def test_F10_addresses_by_the_book_and_beyond() -> None:
    """ipaddress alone calls several of these global."""
    refused = """127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 255.255.255.255 224.0.0.1 239.1.1.1 240.0.0.1
        192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 168.63.129.16 100.100.100.200 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1
        ff0e::1 2001:db8::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1
        2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe:: 2001:0:7f00:1:: 2001:0:a9fe:a9fe:: 64:ff9b::a83f:8110 ::ffff:168.63.129.16 fec0::1 100::1"""
    allowed = "1.1.1.1 8.8.8.8 140.82.121.3 2606:4700::1111 2a00:1450:4001::1 64:ff9b::808:808 ::ffff:8.8.8.8"
    assert [text for text in refused.split() if is_public(ipaddress.ip_address(text))] == []
    assert [text for text in allowed.split() if not is_public(ipaddress.ip_address(text))] == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:7f00:1", "2130706433", "0x7f.1"])
def test_F9_a_literal_is_judged_before_it_is_dialled(address: str) -> None:
    """No name server is asked about it, and it is no exception for that: what a worker dials, it has judged."""
    with bystander() as inside:
        with pytest.raises(UpstreamFailed, match="public address"):
            Guard((), Limits(connect=1.0)).dial(address, inside.port)
        inside.assert_untouched()


def test_F9_a_host_that_the_configuration_names_may_be_inside() -> None:
    """Or the test above would prove nothing."""
    with bystander() as inside:
        Guard((Host("127.0.0.1"),), Limits(connect=1.0)).dial("127.0.0.1", inside.port).close()
        while not inside.came:
            time.sleep(0.01)


RESOLVER = """
import socket
from pathlib import Path

PUBLIC, INTERNET = "93.184.216.34", ("127.0.0.1", {public})
asked = Path({asked!r})
real, connect = socket.getaddrinfo, socket.socket.connect


def entry(address, port):
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


def getaddrinfo(host, port, *args, **kwargs):
    if host not in ("rebind.test", "mixed.test"):
        return real(host, port, *args, **kwargs)
    with asked.open("a") as file:
        file.write(host + "\\n")
    if host == "mixed.test":
        return [entry(PUBLIC, port), entry("127.0.0.1", port)]
    first = asked.read_text().count("rebind.test") == 1
    return [entry(PUBLIC if first else "127.0.0.1", port)]


def to_the_internet(self, address):
    return connect(self, INTERNET if address[0] == PUBLIC else address)


socket.getaddrinfo, socket.socket.connect = getaddrinfo, to_the_internet
"""


def test_T9_a_name_that_changes_its_address(tmp_path: Path) -> None:
    """A name server that answers a public address first and loopback afterwards, or both at once: never loopback.

    The name server and the Internet behind the public address are played by a module that Python loads at its start.
    """
    with bystander("127.0.0.1") as public, bystander("127.0.0.1") as inside, vanity(tmp_path) as pages:
        (tmp_path / "py").mkdir()
        text = RESOLVER.format(public=public.port, asked=str(tmp_path / "asked"))
        (tmp_path / "py" / "sitecustomize.py").write_text(text)
        config = pages.config + '[limits]\nidle = "1s"\nwall = "5s"\n'
        with serving(tmp_path / "s", config, PYTHONPATH=str(tmp_path / "py")) as server:
            for name in ("mixed", "rebind"):
                where = pages.name(name, f"meta.test/{name} git https://{name}.test:{inside.port}/x")
                got = server.get(f"/{where}/@v/v1.0.0.info")
                assert got.status in (502, 503, 504), (name, got.data)
                inside.assert_untouched()
            assert len(public.came) >= 1, "the first answer was believed, and it alone"
        inside.assert_untouched()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows what no listener can hear: connects elsewhere")
def test_T8_no_connect_at_all_by_the_kernels_word(site: Site, tmp_path: Path) -> None:
    """Addresses that nobody here listens on: metadata services, NAT64, private networks."""
    pids = [site.server.process.pid, *descendants(site.server.process.pid)]
    log = tmp_path / "connects"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(log)]
    tracer = subprocess.Popen(command + [word for pid in pids for word in ("-p", str(pid))], stderr=subprocess.PIPE)
    try:
        time.sleep(0.5)
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace may not attach here: {tracer.stderr.read().decode()[:200]}")
        good = site.pages.name("ok", "meta.test/ok git https://git.test/x")
        assert site.server.get(f"/{good}/@v/v1.0.0.info").status == 200
        for number, address in enumerate(INSIDE):
            path = site.pages.name(f"k{number}", f"meta.test/k{number} git https://{address}/latest/meta-data")
            assert site.server.get(f"/{path}/@v/v1.0.0.info").status in (404, *NOT_FETCHED)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)
    seen = [line for line in log.read_text().splitlines() if "connect(" in line and "AF_INET" in line]
    ours = f'sin_port=htons({site.pages.host.port}), sin_addr=inet_addr("127.0.0.1")'
    assert any(ours in line for line in seen), "the pages were fetched"
    assert [line for line in seen if ours not in line] == []
