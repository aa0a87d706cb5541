"""T12: what lies about on the machine, netrc, Git configuration, agents, proxies, is no part of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.githost import Handler
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.toxgit import Bystander, bystander
from tests.support.untouched import Tripwire, below
from tests.support.vanity import Vanity, vanity

PASSWORD = "canary-e0a27c"
NETRC = f"machine git.test login robot password {PASSWORD}\nmachine meta.test login robot password {PASSWORD}\ndefault login x password {PASSWORD}\n"
GITCONFIG = f"""
[credential]
    helper = "!echo password={PASSWORD}; touch {{work}}/PWN"
    helper = store
[http]
    extraHeader = "Authorization: Bearer {PASSWORD}"
    proxy = http://127.0.0.1:{{port}}
    cookieFile = {{work}}/home/cookies
[url "http://127.0.0.1:{{port}}/"]
    insteadOf = https://git.test/
    pushInsteadOf = https://git.test/
[core]
    sshCommand = touch {{work}}/PWN
    gitProxy = touch {{work}}/PWN
    askPass = {{work}}/bin/sh
[include]
    path = {{work}}/home/more
[safe]
    directory = *
"""


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    pages: Vanity
    inside: Bystander
    trip: Tripwire
    work: Path
    headers: list[tuple[str, dict[str, str]]]


def home(work: Path, port: int) -> None:
    """A home directory full of what other programs would use."""
    for name, text in {
        ".netrc": NETRC,
        "_netrc": NETRC,
        ".gitconfig": GITCONFIG,
        ".config/git/config": GITCONFIG,
        ".git-credentials": f"https://robot:{PASSWORD}@git.test\n",
        ".config/git/credentials": f"https://robot:{PASSWORD}@git.test\n",
        ".ssh/config": "Host *\n  ProxyCommand touch {work}/PWN\n  IdentityFile {work}/home/key\n",
        ".curlrc": "proxy = 127.0.0.1:{port}\n",
        ".config/pip/pip.conf": "[global]\nproxy = http://127.0.0.1:{port}\n",
        "cookies": f"git.test\tFALSE\t/\tTRUE\t0\tsession\t{PASSWORD}\n",
    }.items():
        file = work / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{work}", str(work)).replace("{port}", str(port)))
        file.chmod(0o600)


def ambient(work: Path, port: int, trip: Tripwire) -> dict[str, str]:
    """An environment full of it as well."""
    proxy = f"http://127.0.0.1:{port}"
    names = ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "ftp_proxy")
    git = {
        "GIT_CONFIG_GLOBAL": f"{work}/home/.gitconfig", "GIT_CONFIG_SYSTEM": f"{work}/home/.gitconfig", "GIT_ASKPASS": f"{trip.directory}/sh",
        "GIT_SSH_COMMAND": f"touch {work}/PWN", "GIT_SSH": f"{trip.directory}/sh", "GIT_PROXY_COMMAND": f"touch {work}/PWN",
        "GIT_DIR": f"{work}/home", "GIT_EXEC_PATH": str(trip.directory), "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/", "GIT_TRACE_CURL": f"{work}/PWN",
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {PASSWORD}",
        "GIT_CONFIG_PARAMETERS": f"'http.proxy={proxy}'", "GIT_TEMPLATE_DIR": f"{work}/home",
    }  # fmt: skip
    return {
        "HOME": f"{work}/home", "XDG_CONFIG_HOME": f"{work}/home/.config", "NETRC": f"{work}/home/.netrc", "SSH_AUTH_SOCK": f"{work}/home/agent",
        "SSH_ASKPASS": f"{trip.directory}/sh", "DISPLAY": ":0", "GITHUB_TOKEN": PASSWORD, "GH_TOKEN": PASSWORD, "GITLAB_TOKEN": PASSWORD,
        "GOAUTH": f"{trip.directory}/sh", "GOPROXY": proxy, "GOFLAGS": "-insecure", "GOINSECURE": "*", "PATH": trip.path, "SSLKEYLOGFILE": f"{work}/keys",
        "REQUESTS_CA_BUNDLE": f"{work}/none", "CURL_CA_BUNDLE": f"{work}/none", **dict.fromkeys(names, proxy), **git,
    }  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("ambient")
    build(work / "repos" / "x", [Step({"go.mod": "module meta.test/x\n"}, tags=["v1.0.0"])])
    trip = Tripwire.stretch(work / "bin")
    heard: list[tuple[str, dict[str, str]]] = []

    def hear(handler: Handler) -> bool:
        heard.append((handler.path, dict(handler.headers.items())))
        if "private" in handler.path:
            handler.reply(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"who are you?\n")
            return True
        return False

    with bystander("127.0.0.1") as inside, vanity(work, work / "repos") as pages:
        home(work, inside.port)
        pages.host.script = hear
        with serving(work / "s", pages.config, **ambient(work, inside.port, trip)) as server:
            yield Site(server, pages, inside, trip, work, heard)


def test_T12_nothing_ambient_is_sent_or_asked(site: Site) -> None:
    """A repository that everybody may read: no header that would say who we are, no proxy, no other place."""
    site.pages.name("x", "meta.test/x git https://git.test/x")
    assert site.server.get("/meta.test/x/@v/v1.0.0.zip").status == 200
    assert_unknown(site)


def test_T12_nothing_ambient_is_tried_when_a_host_asks(site: Site) -> None:
    """401: with no credential in the configuration there is none, and that is no absence."""
    site.pages.name("private", "meta.test/private git https://git.test/private")
    got = site.server.get("/meta.test/private/@v/v1.0.0.info")
    assert got.status == 502, got.data
    assert b"credential" in got.data
    assert PASSWORD.encode() not in got.data
    assert_unknown(site)


def assert_unknown(site: Site) -> None:
    names = {name.lower() for _, headers in site.headers for name in headers}
    assert not names & {"authorization", "proxy-authorization", "cookie", "private-token"}, names
    assert PASSWORD not in str(site.headers)
    assert len(site.headers) >= 2
    site.inside.assert_untouched()
    assert site.trip.runs == []
    assert not [path for path in below(site.work) if path.name == "PWN"]
    keys = site.work / "keys"
    assert not keys.exists() or b"CLIENT" not in keys.read_bytes(), "keys of TLS connections were written down"


def test_T12_a_netrc_file_is_for_exact_names(tmp_path: Path) -> None:
    """CVE-2024-45340: a host whose name ends or begins like another's gets nothing, nor does `default` apply."""
    heard: list[tuple[str, str]] = []

    def hear(handler: Handler) -> bool:
        heard.append((handler.headers.get("Host", ""), handler.headers.get("Authorization", "")))
        return False

    build(tmp_path / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    others = ("evilgit.test", "git.test.evil.test", "sub.git.test", "it.test")
    (tmp_path / "netrc").write_text(
        f"machine git.test login robot password {PASSWORD}\ndefault login x password {PASSWORD}x\n"
    )
    (tmp_path / "netrc").chmod(0o600)
    credential = f'[[credential]]\nname = "n"\nkind = "netrc"\nfile = "{tmp_path}/netrc"\n'
    sources = "".join(
        f'[[source]]\nroot = "{name}/{{repo}}"\nurl = "https://{name}/{{repo}}"\n' for name in ("git.test", *others)
    )
    with vanity(tmp_path, tmp_path / "repos", *others) as pages:
        pages.host.script = hear
        with serving(tmp_path / "s", pages.config + credential + sources) as server:
            for name in ("git.test", *others):
                assert server.get(f"/{name}/x/@v/v1.0.0.info").status == 200
    sent = {host for host, authorization in heard if authorization}
    assert sent <= {"git.test"}, sent
    assert {host for host, _ in heard} == {"git.test", *others}


BROKEN = ("[include]\n\tpath = /etc/passwd\n", "no section\n", "[core\n", '[core]\n\tbare = "\n', "\0\n")


def test_T12_repositories_in_place_are_not_obeyed(tmp_path: Path) -> None:
    """Nothing that a repository's own configuration says is run; one that makes no sense is no crash; no file is read aloud."""
    run = f"touch {tmp_path}/PWN"
    runs = f'[core]\n\tfsmonitor = {run}\n\thooksPath = {tmp_path}\n[filter "x"]\n\tsmudge = {run}\n[alias]\n\tx = !{run}\n'
    for number, more in enumerate((runs, *BROKEN)):
        repo = build(tmp_path / "repos" / f"r{number}", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
        with (repo.path / "config").open("a") as file:
            file.write(more)
    trip = Tripwire.stretch(tmp_path / "bin")
    config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "file://{tmp_path}/repos/{{repo}}"\n'
    with serving(tmp_path / "s", config, PATH=trip.path) as server:
        found = [server.get(f"/git.test/r{number}/@v/v1.0.0.zip").status for number in range(1 + len(BROKEN))]
        log = server.log.read_bytes()
    assert trip.runs == []
    assert not (tmp_path / "PWN").exists()
    assert b"root:x:0:" not in log
    assert (found[0], set(found[1:]) <= {200, 502}) == (200, True), found
