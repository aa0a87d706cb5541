"""T10, F3, T11, F4, T14: a host cannot send us, or what we know, to another; and nothing goes over the wire in the clear."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.githost import Handler
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.toxgit import GREETING, Bystander, Tox, bystander, redirect, side_band
from tests.support.vanity import Vanity, vanity
from vcsproxy.vcs.pktline import Special, encode

PACK, TOP = hostile.repository(hostile.PLAIN)
HONEST = Tox.of(TOP, PACK)
PASSWORD = "canary-91d4be"
BASIC = "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode()

GENEROUS = encode(
    b"version 2\n", b"ls-refs=unborn\n", b"fetch=shallow filter ref-in-want sideband-all packfile-uris wait-for-done\n", b"server-option\n",
    b"object-info\n", b"bundle-uri\n", Special.FLUSH,
)  # fmt: skip


@dataclass
class Site:
    server: ProxyServer
    pages: Vanity
    inside: Bystander
    heard: list[tuple[str, str]] = field(default_factory=list)  # host with path, Authorization


@pytest.fixture(scope="module")
def module_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("redirection")
    build(work / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    (work / "password").write_text(PASSWORD)
    (work / "password").chmod(0o600)
    credentials = "".join(
        f'[[credential]]\nname = "{name}"\nkind = "basic"\nurl = "https://{name}.test"\nuser = "robot"\npassword = "file:{work}/password"\n'
        for name in ("git", "meta")
    )
    with bystander() as inside, vanity(work, work / "repos", "b.test") as pages:
        config = pages.config + credentials + '[limits]\nidle = "2s"\n'
        with serving(work / "s", config) as server:
            yield Site(server, pages, inside)


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    module_site.heard.clear()
    module_site.pages.host.script = lambda handler: note(module_site, handler)
    yield module_site
    module_site.pages.host.script = None


def note(site: Site, handler: Handler) -> bool:
    site.heard.append((handler.headers.get("Host", "") + handler.path, handler.headers.get("Authorization", "")))
    return False


def play(site: Site, *plays: Tox) -> None:
    site.pages.host.script = lambda handler: note(site, handler) or any(each(handler) for each in plays)


# ---- T10, F3: sections and protocols that nobody asked for


def uris(port: int) -> dict[str, bytes]:
    """What a fetch may be answered with to make a client go elsewhere; each names the bystander."""
    pack_line = f"{'0' * 40} https://127.0.0.1:{port}/latest/meta-data/iam\n".encode()
    plain = f"{'0' * 40} http://127.0.0.1:{port}/latest/meta-data/iam\n".encode()
    return {
        "packfile-uris": encode(b"packfile-uris\n", pack_line, Special.DELIM) + side_band(PACK),
        "packfile-uris http": encode(b"packfile-uris\n", plain, Special.DELIM) + side_band(PACK),
        "after acknowledgments": encode(
            b"acknowledgments\n", b"NAK\n", Special.DELIM, b"packfile-uris\n", pack_line, Special.FLUSH
        ),
        "bundle-uri": encode(
            b"bundle.version=1\n", f"bundle.a.uri=https://127.0.0.1:{port}/b\n".encode(), Special.FLUSH
        ),
        "wanted-refs": encode(b"wanted-refs\n", f"{TOP} refs/heads/main\n".encode(), Special.DELIM) + side_band(PACK),
        "alternates": encode(f"http-alternates http://127.0.0.1:{port}/objects\n".encode(), Special.FLUSH),
    }


@pytest.mark.parametrize("name", uris(0))
@pytest.mark.parametrize("greeting", [GREETING, GENEROUS], ids=["plain", "generous"])
def test_F3_sections_that_nobody_asked_for(name: str, greeting: bytes, site: Site) -> None:
    """T10: an error, and the place that they name hears nothing."""
    play(site, Tox(HONEST.refs, uris(site.inside.port)[name], greeting))
    where = f"{name}{len(greeting)}".replace(" ", "-")
    path = site.pages.name(where, f"meta.test/{where} git https://git.test/{where}")
    got = site.server.get(f"/{path}/@v/v1.0.0.zip")
    assert (got.status, b"nobody asked" in got.data) == (502, True), got.data
    site.inside.assert_untouched()


def test_T10_only_what_is_needed_is_asked_for(site: Site) -> None:
    """Whatever a host offers: no packfile-uris, no bundle-uri, no ref but HEAD, heads and tags."""
    bodies: list[bytes] = []

    def script(handler: Handler) -> bool:
        bodies.append(handler.body)
        return Tox(HONEST.refs, HONEST.fetch, GENEROUS)(handler)

    site.pages.host.script = script
    path = site.pages.name("needed", "meta.test/needed git https://git.test/needed")
    assert site.server.get(f"/{path}/@v/v1.0.0.zip").status == 200
    said = b"".join(bodies)
    assert b"command=ls-refs" in said
    assert b"command=fetch" in said
    for word in (
        b"packfile-uris",
        b"bundle-uri",
        b"object-info",
        b"want-ref",
        b"refs/pull",
        b"ref-prefix refs/\n",
        b"sideband-all",
    ):
        assert word not in said


def test_T10_the_dumb_protocol_is_not_spoken(site: Site) -> None:
    """Files of a repository over HTTP, with alternates elsewhere: nothing but the first answer is read."""
    files = {
        "info/refs": f"{TOP}\trefs/heads/main\n{TOP}\trefs/tags/v1.0.0\n",
        "HEAD": "ref: refs/heads/main\n",
        "objects/info/alternates": "/etc\n",
        "objects/info/http-alternates": f"http://127.0.0.1:{site.inside.port}/objects\n",
        "objects/info/packs": "\n",
    }

    def script(handler: Handler) -> bool:
        note(site, handler)
        name = handler.path.partition("?")[0].removeprefix("/dumb/")
        if handler.headers.get("Host") != "git.test" or name not in files:
            return False
        handler.reply(200, {"Content-Type": "text/plain"}, files[name].encode())
        return True

    site.pages.host.script = script
    path = site.pages.name("dumb", "meta.test/dumb git https://git.test/dumb")
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    assert (got.status, b"does not serve Git" in got.data) == (502, True), got.data
    assert {place.partition("?")[0] for place, _ in site.heard if place.startswith("git.test")} <= {
        "git.test/dumb/info/refs",
        "git.test/dumb",
    }
    site.inside.assert_untouched()


# ---- T11, F4: credentials stay where they belong


def test_T11_a_credential_goes_to_its_origin_and_no_further(site: Site) -> None:
    """A -> B -> A: only the first request to A has it, not the one that B has asked for."""
    site.pages.lead("chain", "https://b.test/hop?go-get=1")
    site.pages.host.pages["b.test/hop?go-get=1"] = (302, {"Location": "https://meta.test/back?go-get=1"}, b"")
    site.pages.name("back", "meta.test/chain git https://git.test/x")
    assert site.server.get("/meta.test/chain/@v/v1.0.0.info").status in (200, 404, 502)
    heard = {place.partition("?")[0]: authorization for place, authorization in site.heard}
    assert "b.test/hop" in heard
    assert heard.get("meta.test/back", "") == ""
    assert heard["b.test/hop"] == ""
    assert heard["meta.test/chain"] == BASIC
    assert all(authorization in ("", BASIC) for _, authorization in site.heard)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", [
    "https://b.test{path}", "https://b.test:443{path}", "https://git.test.b.test{path}", "//b.test{path}", "https://git.test@b.test{path}",
    "https://git.test:8443{path}", "http://git.test{path}", "https://b.test/#@git.test{path}", "https://b.test\\@git.test{path}",
])  # fmt: skip
def test_F4_a_git_host_redirects_elsewhere(status: int, location: str, site: Site) -> None:
    """Another host, port or scheme: not followed at all, so that nothing can be sent along."""
    play(site, Tox(greet=redirect(location, status)))
    number = f"e{status}{len(location)}{location.count('b')}"
    path = site.pages.name(number, f"meta.test/{number} git https://git.test/{number}")
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    assert got.status == 502, got.data
    assert all(place.startswith(("git.test/", "meta.test/")) for place, _ in site.heard), site.heard
    assert PASSWORD.encode() not in got.data


def test_F4_a_fetch_is_never_redirected(site: Site) -> None:
    """The question for a pack is a POST; where it goes was settled by the first request."""
    play(site, Tox(HONEST.refs, redirect("https://b.test{path}", 307)))
    path = site.pages.name("post", "meta.test/post git https://git.test/post")
    assert site.server.get(f"/{path}/@v/v1.0.0.info").status == 502
    assert not [place for place, _ in site.heard if place.startswith("b.test")]


# ---- T14: nothing in the clear


@pytest.mark.parametrize("scheme", ["http", "git", "ftp", "git+http"])
def test_T14_a_page_names_a_repository_in_the_clear(scheme: str, site: Site) -> None:
    path = site.pages.name(f"clear{scheme}", f"meta.test/clear{scheme} git {scheme}://127.0.0.1:{site.inside.port}/x")
    assert site.server.get(f"/{path}/@v/v1.0.0.info").status in (403, 404, 502)
    site.inside.assert_untouched()


def test_T14_a_page_redirects_into_the_clear(site: Site) -> None:
    path = site.pages.lead("down", f"http://127.0.0.1:{site.inside.port}/down?go-get=1")
    got = site.server.get(f"/{path}/@v/v1.0.0.info")
    assert (got.status, b"insecure" in got.data) == (404, True), got.data  # Go's own rule and words
    site.inside.assert_untouched()


def test_T14_a_host_without_tls_is_not_spoken_to_in_the_clear(tmp_path: Path) -> None:
    """Where https is expected nothing but TLS is tried; plain http is for hosts that are marked as insecure."""
    with bystander() as plain:
        host = f'[[host]]\nname = "git.test"\nconnect = "127.0.0.1:{plain.port}"\n[limits]\nidle = "1s"\n'
        source = '[[source]]\nroot = "git.test/{repo}"\nurl = "https://git.test/{repo}"\n'
        with serving(tmp_path / "s", host + source) as server:
            assert server.get("/git.test/x/@v/v1.0.0.info").status in (502, 504)
        assert all(b"HTTP/1" not in said for said in plain.came)
        assert plain.came


@pytest.mark.parametrize("url", ["http://git.test/{repo}", "git://git.test/{repo}", "ftp://git.test/{repo}"])
def test_T14_a_configuration_in_the_clear_is_refused(url: str, tmp_path: Path) -> None:
    """The server does not start, and says how it could be meant."""
    source = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{url}"\n'
    with pytest.raises(SystemExit) as refused, serving(tmp_path / "s", source):
        pass
    assert "source[0].url" in str(refused.value)
