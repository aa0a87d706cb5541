"""T2: what Git's rev-parse, fetch and diff would read as more than a name is refused before anybody hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.support.githost import GitHost
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.rawhttp import RawClient
from tests.support.untouched import Tripwire

OPTIONS = [
    f"-{dash}{word}"
    for dash in ("", "-")
    for word in (
        "", "h", "c", "n", "o", "p", "q", "u", "C/tmp", "cdiff.external=id", "output=/x", "output", "exec=id", "upload-pack=id",
        "upload-pack", "end-of-options", "git-dir=/x", "all", "glob=x", "exclude=x", "help", "version", "verify", "no-index",
        "config-env=a=B", "receive-pack=id", "ext-diff", "textconv", "open-files-in-pager=id", "remote=/x", "template=/x",
    )
]  # fmt: skip
RANGES = [
    f"{a}{dots}{b}" for a in ("", "main", "v1.0.0", "HEAD") for dots in ("..", "...") for b in ("", "main", "HEAD~1")
]
REFLOGS = [
    f"{name}@{{{what}}}"
    for name in ("", "HEAD", "main", "refs%2fheads%2fmain")
    for what in ("1", "0", "-1", "u", "upstream", "push", "yesterday", "2 days ago", "now", "")
]
COLONS = [
    ":", ":/", ":/x", ":/.", ":/^a(b|c)*$", ":0:go.mod", ":1:x", ":2:", ":3:x", ":x", "main:", "main:go.mod", "main:./x", "HEAD:../../x",
    "v1.0.0:go.mod", "a:b", "main:refs", "+main:main", "refs:refs", "C:x", "ext::sh -c id", "file:x", "x:y:z", "^:x", "main:!!",
]  # fmt: skip
SLASHES = [
    "/", "//", "/etc/passwd", "refs/heads/main", "refs/pull/1/head", "heads/main", "a/b", "./x", "../x", "a/../b", "%2e%2e%2fx", "tags/v1.0.0",
    "refs%2fheads%2fmain", "%2fetc%2fpasswd", "..%2f..%2fx", "main%2f..", "%2f",
]  # fmt: skip
CONTROLS = [
    "%00",
    "a%00b",
    "%0a",
    "main%0a",
    "a%0d%0ab",
    "%1b[31m",
    "%7f",
    "main%09",
    "v1.0.0%00",
    "%01",
    "x%0aX-Evil:%20y",
    "%c2%85",
    "%e2%80%a8",
]
LONG = ["x" * 257, "a" * 300, "v1." + "0" * 400, "f" * 1000]
NO_NAMES = [  # what no ref of Git can be called, and no hash
    "HEAD^", "HEAD^^", "HEAD^2", "HEAD~", "HEAD~1", "HEAD~~~", "HEAD~1^2", "main^{}", "main^{commit}", "main^{tree}", "main^{/fix}", "^main",
    "main^@", "main^!", "main^-", "main^-1", "v1.0.0^{}", "v1.0.0~1", "v1.0.0^0", "*", "ma*", "m?in", "[m]ain", "main\\x", "~main",
]  # fmt: skip
GROUPS = {
    "options": OPTIONS, "ranges": RANGES, "reflogs": REFLOGS, "colons": COLONS, "slashes": SLASHES, "controls": CONTROLS, "long": LONG,
    "no names": NO_NAMES,
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    host: GitHost
    trip: Tripwire


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("versions")
    build(work / "repos" / "x", [Step({"go.mod": "module git.test/x\n"}, tags=["v1.0.0"])])
    trip = Tripwire.stretch(work / "bin")
    with GitHost(work / "repos").running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(work / "s", config, PATH=trip.path) as server:
            yield Site(server, host, trip)


def test_T2_the_list_is_long() -> None:
    assert sum(len(set(each)) for each in GROUPS.values()) > 200


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("ending", ["info", "mod", "zip"])
def test_T2_specials_are_no_versions(group: str, ending: str, site: Site) -> None:
    """404 without a question to the host and without a program."""
    site.host.requests.clear()
    with RawClient(site.server.base) as client:
        for special in GROUPS[group]:
            version = quote(special, safe="%/!$&'()*+,;=:@~")
            got = client.get(f"/git.test/x/@v/{version}.{ending}".encode())
            assert got.status == 404, (special, got)
            assert site.host.requests == [], special
    assert site.trip.runs == []


def test_T2_the_host_would_have_been_asked(site: Site) -> None:
    """Or the tests above would prove nothing."""
    site.host.requests.clear()
    assert site.server.get("/git.test/x/@v/main.info").status == 200
    assert site.host.requests != []
