"""Private repositories over HTTPS: the answers are those of reading them in place, and secrets go to their own host only.

The hosts are real: git's http-backend behind TLS with an authority of its own, wanting a credential.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.githost import GitHost
from tests.support.gitrepo import GitRepo
from tests.support.history import Step, build
from tests.support.tunnel import Tunnel
from vcsproxy.build.job import Access, Built, Failed, Host, Job, Limits, Listed, Located, Op, Result
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import Discover, RepoRoot
from vcsproxy.secret import Secret

MODULE = "corp.test/x"
FILES = {"go.mod": f"module {MODULE}\n", "x.go": "package x\n"}
ONE, TWO, WRONG = "canary-one-7d1", "canary-two-2f9", "canary-wrong-e44"


def pair(user: str, secret: str) -> str:
    return "Basic " + b64encode(f"{user}:{secret}".encode()).decode()


def basic(secret: str = ONE, url: str = "https://git.test/one", name: str = "one") -> Access:
    return Access(name, url, "basic", "bot", Secret(secret))


def bearer(secret: str = TWO, url: str = "https://git.test/two", name: str = "two") -> Access:
    return Access(name, url, "bearer", secret=Secret(secret))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"))


@dataclass
class World:
    """One host with a repository in each of two organisations, and what asks it."""

    host: GitHost
    repo: GitRepo
    rule: Host
    work: Path
    asked: int = 0

    def ask(self, op: Op, query: str = "", *, url: str = "https://git.test/one/x", access: tuple[Access, ...] = (),
            hosts: tuple[Host, ...] = ()) -> Result:  # fmt: skip
        """Every question with a mirror directory of its own; no answer and no file holds a secret."""
        self.asked += 1
        work = self.work / f"w{self.asked}"
        work.mkdir()
        root = RepoRoot(MODULE, url, "", f"https://{MODULE}")
        result = run(
            Job(op, MODULE, query, root, str(work / "mirrors"), str(work), hosts=hosts or (self.rule,), access=access)
        )
        clean(result, work)
        return result

    def refused(self, error: str, *access: Access, url: str = "https://git.test/one/x") -> Failed:
        result = self.ask(Op.LIST, url=url, access=access)
        assert isinstance(result, Failed)
        assert result.error == error, result
        assert result.hint
        return result


def clean(result: Result, work: Path) -> None:
    """T32: neither the answer with its steps nor any file that was made shows a secret."""
    texts = [repr(result).encode(), *(p.read_bytes() for p in work.rglob("*") if p.is_file())]
    forms = [form for secret in (ONE, TWO, WRONG) for form in (secret, pair("bot", secret).partition(" ")[2])]
    assert not [form for form in forms if any(form.encode() in text for text in texts)]


@pytest.fixture
def world(authority: Authority, tmp_path: Path) -> Iterator[World]:
    steps = [Step(FILES, tags=["v1.0.0"]), Step({**FILES, "y.go": "package x\n"}, [0], tags=["v1.1.0"])]
    repo = build(tmp_path / "repos" / "one" / "x", steps)
    build(tmp_path / "repos" / "two" / "x", steps)
    auth = {"/one/": {pair("bot", ONE)}, "/two/": {f"Bearer {TWO}"}}
    host = GitHost(tmp_path / "repos", authority.server_context("git.test"), auth=auth, forbidden={f"Bearer {ONE}"})
    with host.running():
        yield World(host, repo, Host("git.test", connect=host.address, ca=str(authority.pem)), tmp_path)


def same(one: Result, other: Result) -> None:
    assert not isinstance(one, Failed), one
    if isinstance(one, Built):
        assert isinstance(other, Built)
        assert (one.version, one.answer, one.gomod, one.zip_h1) == (
            other.version, other.answer, other.gomod, other.zip_h1,
        )  # fmt: skip
    else:
        assert isinstance(one, Listed)
        assert replace(one, steps=(), read=0.0) == replace(other, steps=(), read=0.0)


@pytest.mark.parametrize(("op", "query"), [(Op.LIST, ""), (Op.LATEST, ""), (Op.INFO, "v1.0.0"), (Op.ZIP, "v1.1.0")])
def test_two_organisations_on_one_host_have_a_credential_each(op: Op, query: str, world: World) -> None:
    local = world.ask(op, query, url=world.repo.url)
    both = (basic(), bearer())
    for url in ("https://git.test/one/x", "https://git.test/two/x"):
        same(world.ask(op, query, url=url, access=both), local)
    for request, said in zip(world.host.requests, world.host.seen, strict=True):
        assert said == (pair("bot", ONE) if "/one/" in request else f"Bearer {TWO}")


def test_without_a_credential(world: World) -> None:
    world.host.pages["/one/x"] = (200, {}, b"the page")
    world.host.auth.pop("/one/")
    world.host.auth["/one/x/"] = {pair("bot", ONE)}
    told = world.refused("AccessDenied")
    assert told.message == "git.test needs a credential for https://git.test/one/x (HTTP 401)"
    assert '[[credential]] with url = "https://git.test/..."' in told.hint


def test_a_wrong_token(world: World) -> None:
    told = world.refused("AccessDenied", basic(WRONG))
    assert "git.test refuses the credential one" in told.message
    assert told.hint == "the secret of one is wrong or has expired"


def test_a_missing_scope(world: World) -> None:
    told = world.refused("AccessDenied", bearer(ONE), url="https://git.test/two/x")
    assert "does not let the credential two read https://git.test/two/x (HTTP 403)" in told.message
    assert "Contents" in told.hint


def test_an_unknown_authority(world: World) -> None:
    world.rule = replace(world.rule, ca="")
    told = world.refused("UpstreamFailed", basic())
    assert "the certificate of git.test is not trusted" in told.message
    assert '[[host]] name = "git.test", ca = "FILE"' in told.hint
    assert world.host.seen == []


def test_a_client_certificate(world: World, authority: Authority) -> None:
    context = authority.server_context("git.test", clients=True)
    with GitHost(world.host.root, context, auth=world.host.auth).running() as strict:
        pem = str(authority.client_pem("worker"))
        rule = Host("git.test", connect=strict.address, ca=str(authority.pem), client_cert=pem)
        local = world.ask(Op.ZIP, "v1.0.0", url=world.repo.url)
        same(world.ask(Op.ZIP, "v1.0.0", access=(basic(),), hosts=(rule,)), local)
        count = len(strict.requests)
        assert isinstance(world.ask(Op.LIST, access=(basic(),), hosts=(replace(rule, client_cert=""),)), Failed)
        assert len(strict.requests) == count


@pytest.mark.parametrize("over", ["http", "https"])
def test_through_a_proxy_with_a_login(over: str, world: World, authority: Authority) -> None:
    context = authority.server_context("proxy.test") if over == "https" else None
    with Tunnel({"git.test:443": world.host.port}, context, pair("bot", TWO)).running() as tunnel:
        hosts = (
            Host("git.test", ca=str(authority.pem), proxy=tunnel.url),
            Host("127.0.0.1", ca=str(authority.pem)),
        )
        way = basic(TWO, f"https://127.0.0.1:{tunnel.port}", "way out")
        local = world.ask(Op.ZIP, "v1.0.0", url=world.repo.url)
        same(world.ask(Op.ZIP, "v1.0.0", access=(basic(), way), hosts=hosts), local)
        assert set(tunnel.asked) == {"CONNECT git.test:443 HTTP/1.0"}
        assert not [head for head in tunnel.seen if pair("bot", ONE) in head]
        assert set(world.host.seen) == {pair("bot", ONE)}
        refused = world.ask(Op.LIST, access=(basic(),), hosts=hosts)
        assert isinstance(refused, Failed)
        assert (refused.error, "HTTP 407" in refused.message) == ("AccessDenied", True)


def test_insecure_never_with_a_credential(world: World) -> None:
    rule = replace(world.rule, ca="", insecure=True)
    result = world.ask(Op.LIST, access=(basic(),), hosts=(rule,))
    assert isinstance(result, Failed)
    assert "is not sent to git.test, which is not verified" in result.message
    assert world.host.seen == []
    world.host.auth.clear()
    same(world.ask(Op.LIST, hosts=(rule,)), world.ask(Op.LIST, url=world.repo.url))


def test_T14_plain_http_is_refused(world: World) -> None:
    with GitHost(world.host.root).running() as plain:
        rule = Host("git.test", connect=plain.address)
        refused = world.ask(Op.LIST, url="http://git.test/one/x", hosts=(rule,))
        assert isinstance(refused, Failed)
        assert (refused.error, "insecure = true" in refused.hint, plain.requests) == ("UpstreamFailed", True, [])
        allowed = world.ask(Op.LIST, url="http://git.test/one/x", hosts=(replace(rule, insecure=True),))
        same(allowed, world.ask(Op.LIST, url=world.repo.url))


def test_T12_nothing_ambient_has_an_effect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with .netrc and .gitconfig for this very host, and proxy variables: nobody reads them."""
    home = world.work / "home"
    home.mkdir()
    (home / ".netrc").write_text(f"machine git.test login bot password {ONE}\n")
    (home / ".netrc").chmod(0o600)
    (home / ".gitconfig").write_text(
        f'[http]\n\textraHeader = Authorization: {pair("bot", ONE)}\n\tsslVerify = false\n[url "file://{world.repo.path}"]\n'
        "\tinsteadOf = https://git.test/one/x\n"
    )
    monkeypatch.setenv("HOME", str(home))
    with Tunnel({"git.test:443": world.host.port}).running() as tunnel:
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, tunnel.url)
        result = world.ask(Op.LIST)
        assert isinstance(result, Failed)
        assert result.error == "AccessDenied"
        assert tunnel.asked == []
    assert set(world.host.seen) == {""}
    assert os.environ["HOME"] == str(home)


# ---- discovery


def page(prefix: str, repo: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, f'<meta name="go-import" content="{prefix} git {repo}">'.encode()


def locate(path: str, work: Path, hosts: tuple[Host, ...], *access: Access) -> Result:
    limits = Limits(connect=2.0, idle=2.0)
    result = run(Job(Op.LOCATE, path, "", Discover(path), str(work / "m"), hosts=hosts, access=access, limits=limits))
    clean(result, work)
    return result


def test_T11_a_credential_does_not_survive_a_change_of_origin(authority: Authority, tmp_path: Path) -> None:
    """A sends us to B, and B back to A: only the first request says who we are."""
    with (
        GitHost(tmp_path / "a", authority.server_context("a.test")).running() as a,
        GitHost(tmp_path / "b", authority.server_context("b.test")).running() as b,
    ):
        a.pages["/x?go-get=1"] = (302, {"Location": "/near?go-get=1"}, b"")
        a.pages["/near?go-get=1"] = (302, {"Location": "https://b.test/x"}, b"")
        b.pages["/x"] = (302, {"Location": "https://a.test/back"}, b"")
        a.pages["/back"] = page("a.test/x", "https://git.test/one/x")
        hosts = tuple(
            Host(name, connect=h.address, ca=str(authority.pem)) for name, h in (("a.test", a), ("b.test", b))
        )
        found = locate("a.test/x", tmp_path, hosts, basic(url="https://a.test"), bearer(url="https://b.test"))
        assert isinstance(found, Located)
        assert found.root.url == "https://git.test/one/x"
        assert a.requests == ["GET a.test/x?go-get=1", "GET a.test/near?go-get=1", "GET a.test/back"]
        assert a.seen == [pair("bot", ONE), pair("bot", ONE), ""]
        assert b.seen == [""]


@pytest.mark.parametrize("target", ["http://a.test/x", "http://127.0.0.1/x"])
def test_T14_a_redirect_from_https_to_http_is_refused(target: str, authority: Authority, tmp_path: Path) -> None:
    with GitHost(tmp_path, authority.server_context("a.test")).running() as a:
        a.pages["/x?go-get=1"] = (302, {"Location": target}, b"")
        found = locate("a.test/x", tmp_path, (Host("a.test", connect=a.address, ca=str(authority.pem)),))
        assert isinstance(found, Failed)
        assert "to insecure URL" in found.message
        assert len(a.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((200, {}, b"no tag"), "NotFound", "no go-import meta tags"),
        ((404, {}, b""), "NotFound", "HTTP 404"),
        ((401, {}, b""), "AccessDenied", "needs a credential"),
        ((500, {}, b""), "HostUnreachable", "HTTP 500"),
        ((429, {"Retry-After": "9"}, b""), "HostBusy", "asks for patience"),
    ],
)  # fmt: skip
def test_pages_without_a_tag(
    answer: tuple[int, dict[str, str], bytes], error: str, message: str, authority: Authority, tmp_path: Path
) -> None:
    with GitHost(tmp_path, authority.server_context("a.test")).running() as a:
        a.pages["/x?go-get=1"] = answer
        found = locate("a.test/x", tmp_path, (Host("a.test", connect=a.address, ca=str(authority.pem)),))
        assert isinstance(found, Failed)
        assert (found.error, message in found.message) == (error, True), found
        assert found.hint
        assert f"HTTP {answer[0]}" in " ".join(step.text for step in found.steps)
        if error == "NotFound":
            assert "[[source]]" in found.hint
