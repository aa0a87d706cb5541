"""T3, T4, F6: a page or a redirect can name an address of a repository, and never a command, a file, an option or a secret."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.history import Step, build
from tests.support.processes import descendants, environment
from tests.support.proxyserver import ProxyServer, serving
from tests.support.toxgit import Tox, redirect
from tests.support.untouched import Tripwire, below, listing
from tests.support.vanity import Vanity, vanity

TOKEN = "canary-7c1f0d2e"
NOT_SERVED = (403, 404, 502)

ROOTS = [
    "ext::sh", "ext::sh%20-c%20touch%20PWN", "ext::touch%20{work}/PWN", "EXT::sh", "ext://sh", "fd::17", "fd::17/x", "remote-ext::sh",
    "file:///etc", "FILE:///etc", "file://{work}/repos/x", "file://localhost/etc", "file:/etc", "/etc", "//etc", "{work}/repos/x", "~/x",
    "-oProxyCommand=touch", "--upload-pack=touch", "-oProxyCommand=touch@git.test:x", "ssh://-oProxyCommand=touch%20PWN/x",
    "ssh://git@-oProxyCommand=x/x", "https://-oProxyCommand=x/x", "git@-oProxyCommand=x:x", "ssh://git.test/-oProxyCommand=x",
    "ssh://git.test/x", "git@git.test:x", "git+ssh://git.test/x", "ssh+git://git.test/x", "git://git.test/x", "http://git.test/x",
    "git+http://git.test/x", "ftp://git.test/x", "ftps://git.test/x", "rsync://git.test/x", "svn://git.test/x", "dict://git.test/x",
    "gopher://git.test/_x", "ldap://git.test/x", "javascript:alert(1)", "data:text/plain,x", "transport::address", "a::https://git.test/x",
    "https:git.test/x", "https:/git.test/x", "https:///git.test/x", "https://", "https:///", "https://git.test", "https://git.test/",
    "https://git.test:99999/x", "https://git.test:-1/x", "https://git.test:0x1bb/x", "https://git.test:/", "https://[git.test]/x",
    "https://git.test\\@evil.test/x", "https://git.test\\x", "https://evil.test#@git.test/x", "https://git.test%00.evil.test/x",
    "https://git.test%2fx", "https://git.te%73t%00/x", "https://git.test%0d%0aX-Evil:%201/x", "https://git%20.test/x", "https://gіt.test/x",
    "https://.git.test/x", "https://git..test/x", "https://git.test./../x", "https://*.test/x", "https://{{repo}}.test/x",
]  # fmt: skip
SPELLED = {  # paths that reach the host as they were written, whatever a shell would make of them
    "$GITHUB_TOKEN": r"GET git\.test/(\$|%24)GITHUB_TOKEN/",
    "${{GITHUB_TOKEN}}": r"GET git\.test/(\$|%24)(\{|%7B)GITHUB_TOKEN(\}|%7D)/",
    "$(id)": r"GET git\.test/(\$|%24)(\(|%28)id(\)|%29)/",
    "`id`": r"GET git\.test/(`|%60)id(`|%60)/",
    "~root/x": r"GET git\.test/(~|%7E)root/x/",
    "%24HOME/x": r"GET git\.test/(\$|%24)HOME/x/",
    "a;touch%20PWN": r"GET git\.test/a(;|%3B)touch%20PWN/",
    "a|b&c": r"GET git\.test/a(\||%7C)b(&|%26)c/",
    "%0d%0aX-Evil:%201": r"GET git\.test/%0[dD]%0[aA]X-Evil(:|%3A)%201/",
    "--upload-pack=x": r"GET git\.test/--upload-pack(=|%3D)x/",
    "x%2f..%2f..%2fy": r"GET git\.test/",
}


def number(text: str) -> int:
    """One for each text, so that each has a module path of its own."""
    return zlib.crc32(text.encode())


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    pages: Vanity
    trip: Tripwire
    work: Path

    def assert_nothing_ran(self) -> None:
        assert self.trip.runs == []
        assert not [path for path in below(self.work) if path.name == "PWN"], "a file was made"
        assert not Path("PWN").exists()

    def assert_nothing_leaked(self, body: bytes) -> None:
        for text in (body, *map(str.encode, self.pages.host.requests), self.server.log.read_bytes()):
            assert TOKEN.encode() not in text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("urls")
    build(work / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    trip = Tripwire.stretch(work / "bin")
    with vanity(work, work / "repos") as pages:
        config = pages.config + '[limits]\nidle = "2s"\n'
        with serving(work / "s", config, PATH=trip.path, GITHUB_TOKEN=TOKEN) as server:
            yield Site(server, pages, trip, work)


@pytest.mark.parametrize("root", ROOTS)
def test_T3_a_page_names_what_is_no_https_repository(root: str, site: Site) -> None:
    """Refused by rule: nothing is run, opened or fetched."""
    site.pages.host.requests.clear()
    where = f"p{ROOTS.index(root)}"
    path = site.pages.name(where, f"meta.test/{where} git {root.format(work=site.work)}")
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    assert got.status in NOT_SERVED, got.data
    assert site.pages.fetched() == []
    assert b"root:" not in got.data
    site.assert_nothing_ran()


@pytest.mark.parametrize(
    "location", [*ROOTS, "https://git.test/\r\nX-Evil: 1", "https://user:secret@meta.test/ok?go-get=1"]
)
def test_F6_a_page_redirects_to_what_is_no_page(location: str, site: Site) -> None:
    """Files, commands and user information in a redirect of discovery."""
    site.pages.host.requests.clear()
    where = f"r{number(location)}"
    path = site.pages.lead(where, location.format(work=site.work).replace("\r\n", "%0d%0a"))
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    assert got.status in NOT_SERVED, got.data
    assert b"root:" not in got.data
    assert b"secret" not in got.data
    site.assert_nothing_ran()


@pytest.mark.parametrize(
    "userinfo", ["user:secret@", "secret@", "$GITHUB_TOKEN@", "x:y@", "-oProxyCommand@", "%24GITHUB_TOKEN:@"]
)
def test_T3_user_information_of_a_page_is_never_sent(userinfo: str, site: Site) -> None:
    """A page may not choose who we are."""
    heard: list[str] = []
    site.pages.host.script = lambda handler: heard.append(handler.headers.get("Authorization", "")) is not None
    try:
        where = f"u{number(userinfo)}"
        got = site.server.get(
            f"/{site.pages.name(where, f'meta.test/{where} git https://{userinfo}git.test/x')}/@v/v1.0.0.info"
        )
    finally:
        site.pages.host.script = None
    assert got.status in (200, *NOT_SERVED), got.data
    assert set(heard) <= {""}
    assert b"secret" not in got.data
    site.assert_nothing_ran()
    site.assert_nothing_leaked(got.data)


@pytest.mark.parametrize("spelled", SPELLED)
def test_T4_what_a_shell_would_expand_goes_out_as_it_was_written(spelled: str, site: Site) -> None:
    """GitPython has expanded $VAR in a clone URL, and sent secrets out that way."""
    site.pages.host.requests.clear()
    where = f"s{number(spelled)}"
    path = site.pages.name(
        where, f"meta.test/{where} git https://git.test/{spelled.replace('{{', '{').replace('}}', '}')}"
    )
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    assert got.status in NOT_SERVED, got.data
    fetched = site.pages.fetched()
    assert all(re.match(SPELLED[spelled], request) for request in fetched), fetched
    assert fetched or got.status != 404 or b"not a URL" in got.data, got.data
    site.assert_nothing_ran()
    site.assert_nothing_leaked(got.data)


def test_T3_a_git_host_redirects_to_what_is_no_repository(site: Site) -> None:
    """The same strings as the target of a redirect of the repository itself."""
    for at, root in enumerate(["https://evil.test/x", *ROOTS, "/x%0d%0aX-Evil: 1", "//evil.test/x"]):
        location = root.format(work=site.work)
        site.pages.host.script = Tox(greet=redirect(location.replace("{", "{{").replace("}", "}}")))
        path = site.pages.name(f"g{at}", f"meta.test/g{at} git https://git.test/g{at}")
        try:
            got = site.server.get(f"/{path}/@v/v1.0.0.info")
        finally:
            site.pages.host.script = None
        assert got.status in (502, 503), (location, got.data)
        site.assert_nothing_ran()


def test_T4_processes_of_the_server_inherit_a_fixed_list_and_nothing_else(site: Site) -> None:
    """Neither tokens nor a home directory with Git configuration; the server itself forgets to show its own."""
    known = {
        "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "TMPDIR", "LC_ALL", "TZ",
        "HOME", "PYTHONSAFEPATH",
    }  # fmt: skip
    seen = 0
    for pid in descendants(site.server.process.pid):
        names = {entry.partition(b"=")[0].decode() for entry in environment(pid).split(b"\0") if entry}
        seen += bool(names)
        assert names <= known, pid
        assert TOKEN.encode() not in environment(pid)
    assert seen, "the fork server can be looked at"


def test_T3_nothing_is_left_on_the_disk(site: Site) -> None:
    """Runs last in this file: all of it has changed nothing but the server's own directory."""
    before, mirrors = listing(site.work, "s"), set((site.server.data / "mirrors").iterdir())
    got = site.server.get(
        f"/{site.pages.name('z', 'meta.test/z git file://' + str(site.work / 'repos/x'))}/@v/v1.0.0.zip"
    )
    assert got.status in NOT_SERVED
    assert listing(site.work, "s") == before
    assert set((site.server.data / "mirrors").iterdir()) == mirrors
