"""The real go command with vcsproxy as its only GOPROXY."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.direct import DirectGo, objects
from tests.support.githost import GitHost
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.untouched import below

LIB = {
    "go.mod": "module github.com/t/lib\n\ngo 1.21\n",
    "lib.go": 'package lib\n\nfunc Name() string { return "lib" }\n',
    "deep/deep.go": "package deep\n\nconst Deep = 1\n",
    "LICENSE": "do what you like\n",
}
V2 = {
    "go.mod": "module github.com/t/lib/v2\n\ngo 1.24\n",
    "lib.go": 'package lib\n\nfunc Name() string { return "lib2" }\n',
}
APP = {
    "go.mod": "module github.com/t/app\n\ngo 1.21\n\nrequire (\n\tgithub.com/t/lib v1.1.0\n\tgithub.com/t/lib/v2 v2.0.0\n)\n",
    "app.go": "package app\n\nimport (\n\tone \"github.com/t/lib\"\n\ttwo \"github.com/t/lib/v2\"\n)\n\nvar Both = one.Name() + two.Name()\n",
    "tools/go.mod": "module github.com/t/app/tools\n",
    "tools/t.go": "package tools\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("git") / "repos"
    lib = [
        Step(LIB, tags=["v1.0.0"]),
        Step({**LIB, "more.go": "package lib\n"}, [0], "1709337600 +0100", annotated=["v1.1.0"]),
        Step(V2, [1], "1709424000 +0000", tags=["v2.0.0"]),
        Step({**LIB, "next.go": "package lib\n"}, [1], "1709510400 +0000", "next"),
    ]
    build(root / "lib", lib)
    build(root / "app", [Step(APP, tags=["v0.3.0", "tools/v0.1.0"])])
    return root


@pytest.fixture(scope="module", params=["file", "http"])
def server(
    request: pytest.FixtureRequest, repos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyServer]:
    work = tmp_path_factory.mktemp("server")
    with GitHost(repos).running() as host:
        url = f"file://{repos}/{{repo}}" if request.param == "file" else f"{host.url}/{{repo}}"
        source = (
            f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{url}"\norigin = "https://github.com/t/{{repo}}"\n'
        )
        with serving(work, source + '[log]\nformat = "json"\n') as running:
            yield running


def client(go: GoTool, server: ProxyServer, cache: Path) -> dict[str, str]:
    """Environment of a client that can reach nothing but the server."""
    return {"GOPROXY": server.base, "GONOPROXY": "none", "GOVCS": "*:off", "GOMODCACHE": str(cache)}


def test_mod_download_is_what_direct_mode_gives(server: ProxyServer, go: GoTool, repos: Path, tmp_path: Path) -> None:
    queries = [
        "github.com/t/lib@v1.0.0", "github.com/t/lib@v1.1.0", "github.com/t/lib@main", "github.com/t/lib@next",
        "github.com/t/lib/v2@v2.0.0", "github.com/t/app@v0.3.0", "github.com/t/app/tools@v0.1.0", "github.com/t/lib@v9.9.9",
        "github.com/t/nothing@v1.0.0", "github.com/t/lib@latest",
    ]  # fmt: skip
    want = DirectGo(go, repos).download(tmp_path / "direct", queries)
    done = go.run("mod", "download", "-json", *queries, **client(go, server, tmp_path / "ours"))
    for value in objects(done.stdout):
        expected = want[f"{value['Path']}@{value.get('Query') or value['Version']}"]
        assert bool(value.get("Error")) == bool(expected.error), value
        if not expected.error:
            assert (value["Version"], value["Sum"], value["GoModSum"]) == (
                expected.version,
                expected.h1,
                expected.gomod_h1,
            )
            assert json.loads(Path(value["Info"]).read_text())["Origin"]["Hash"] == expected.commit


def test_a_program_is_built_from_nothing_but_the_server(server: ProxyServer, go: GoTool, tmp_path: Path) -> None:
    main = tmp_path / "main"
    main.mkdir()
    (main / "go.mod").write_text("module example.com/main\n\ngo 1.24\n")
    (main / "main.go").write_text('package main\n\nimport "github.com/t/app"\n\nfunc main() { println(app.Both) }\n')
    env = client(go, server, tmp_path / "cache")
    got = go.run("get", "github.com/t/app@v0.3.0", cwd=main, **env)
    assert got.returncode == 0, got.stderr
    ran = go.run("run", ".", cwd=main, **env)
    assert ran.stderr.strip() == "liblib2", ran.stderr
    assert "github.com/t/lib v1.1.0/go.mod h1:" in (main / "go.sum").read_text()


def test_go_get_of_a_package_asks_every_prefix_and_finds_the_module(
    server: ProxyServer, go: GoTool, tmp_path: Path
) -> None:
    """Case 103: github.com and github.com/t are refused at once, so the longer prefix that is a module wins."""
    main = tmp_path / "main"
    main.mkdir()
    (main / "go.mod").write_text("module example.com/main\n\ngo 1.24\n")
    got = go.run("get", "github.com/t/lib/deep@v1.0.0", cwd=main, **client(go, server, tmp_path / "cache"))
    assert got.returncode == 0, got.stderr
    assert "github.com/t/lib v1.0.0" in (main / "go.mod").read_text()


def test_lists(server: ProxyServer, go: GoTool, tmp_path: Path) -> None:
    env = client(go, server, tmp_path / "cache")
    listed = go.run("list", "-m", "-versions", "github.com/t/lib", **env)
    assert listed.stdout.split() == ["github.com/t/lib", "v1.0.0", "v1.1.0"]
    assert go.run("list", "-m", "github.com/t/lib/v2@latest", **env).stdout.split()[1] == "v2.0.0"
    assert go.run("list", "-m", "github.com/t/app/tools@latest", **env).stdout.split()[1] == "v0.1.0"


def test_the_reason_reaches_the_terminal(server: ProxyServer, go: GoTool, tmp_path: Path) -> None:
    done = go.run("mod", "download", "github.com/t/lib@v3.0.0", **client(go, server, tmp_path / "cache"))
    assert "unknown revision v3.0.0" in done.stderr


def test_the_store_is_a_file_proxy(server: ProxyServer, go: GoTool, tmp_path: Path) -> None:
    """Case 108: what was served can be served by `GOPROXY=file://` alone."""
    first = go.json("mod", "download", "-json", "github.com/t/lib@v1.0.0", **client(go, server, tmp_path / "one"))
    env = {**client(go, server, tmp_path / "two"), "GOPROXY": f"file://{server.data}/store"}
    again = go.json("mod", "download", "-json", "github.com/t/lib@v1.0.0", **env)
    assert (first["Sum"], first["GoModSum"]) == (again["Sum"], again["GoModSum"])
    assert "v1.0.0" in go.run("list", "-m", "-versions", "github.com/t/lib", **env).stdout.split()


def test_one_build_however_many_ask(repos: Path, tmp_path: Path) -> None:
    """1,000 waiters would be the same; 60 connections show it: one listing, one fetch."""
    with GitHost(repos).running() as host:
        config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(tmp_path / "s", config) as server, ThreadPoolExecutor(60) as pool:
            answers = list(pool.map(lambda _: server.get("/github.com/t/app/@v/v0.3.0.zip"), range(60)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.data for answer in answers}) == 1
        assert (host.count("GET "), host.count("POST ")) == (1, 2)


def test_a_client_that_leaves_does_not_kill_the_build(repos: Path, tmp_path: Path) -> None:
    with GitHost(repos).running() as host:
        config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(tmp_path / "s", config) as server:
            with socket.create_connection(("127.0.0.1", int(server.base.rpartition(":")[2]))) as leaver:
                leaver.sendall(b"GET /github.com/t/lib/@v/v1.0.0.zip HTTP/1.1\r\nHost: x\r\n\r\n")
                while not host.requests:
                    time.sleep(0.01)
            stored = server.data / "store/github.com/t/lib/@v/v1.0.0.info"
            for _ in range(100):
                if stored.exists():
                    break
                time.sleep(0.1)
            assert stored.exists()


def test_a_version_outlives_its_tag_and_its_host(tmp_path: Path) -> None:
    """Case 111: moved tags and dead hosts do not change what was served; new versions of a dead host are 5xx."""
    repo = build(tmp_path / "repos" / "lib", [Step(LIB, tags=["v1.0.0"]), Step({**LIB, "n.go": "package lib\n"}, [0])])
    with GitHost(tmp_path / "repos").running() as host:
        config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{host.url}/{{repo}}"\n[freshness]\nrefs = "0s"\n'
        with serving(tmp_path / "s", config) as server:
            before = server.info("github.com/t/lib", "v1.0.0")
            repo.tag("v1.0.0", repo.git("rev-parse", "main"))
            zipped = server.get("/github.com/t/lib/@v/v1.0.0.zip")
            assert zipped.status == 200
            assert b"n.go" not in zipped.data
            moved = server.info("github.com/t/lib", "main")
            assert moved["Version"] == "v1.0.0"
            assert moved["Origin"]["Hash"] == before["Origin"]["Hash"]
            host.script = lambda handler: handler.reply(500, {}, b"") is None
            assert server.info("github.com/t/lib", "v1.0.0") == before
            assert server.get("/github.com/t/lib/@v/v1.0.0.zip").data == zipped.data
            assert server.get("/github.com/t/lib/@v/v1.0.1.info").status == 502
            host.script = lambda handler: handler.reply(404, {}, b"") is None
            assert server.get("/github.com/t/lib/@v/v1.0.2.info").status == 404


def test_discovery_over_https(go: GoTool, repos: Path, tmp_path: Path) -> None:
    """Cases 15, 16, 19, 20: pages decide, the root's page confirms, and only https roots are followed."""
    authority = Authority.create(tmp_path / "ca")
    host = GitHost(repos, authority.server_context("meta.test", "git.test"))
    tag = '<meta name="go-import" content="{}">'

    def page(text: str, status: int = 200) -> tuple[int, dict[str, str], bytes]:
        return status, {"Content-Type": "text/html"}, f"<html><head>{text}</head></html>".encode()

    lib = tag.format("meta.test/lib git https://git.test/lib")
    host.pages = {
        "/lib?go-get=1": page(lib, 404),
        "/lib/v2?go-get=1": page(lib),
        "/split/x?go-get=1": page(tag.format("meta.test/split git https://git.test/lib")),
        "/split?go-get=1": page(tag.format("meta.test/split git https://git.test/app")),
        "/none?go-get=1": page(""),
        "/down?go-get=1": page("", 503),
        "/plain?go-get=1": page(tag.format("meta.test/plain git http://git.test/lib")),
        "/local?go-get=1": page(tag.format("meta.test/local git file:///etc")),
        "/svn?go-get=1": page(tag.format("meta.test/svn svn https://git.test/lib")),
        "/far?go-get=1": (302, {"Location": "http://meta.test/lib?go-get=1"}, b""),
        "/apps?go-get=1": page(tag.format("meta.test/apps git https://git.test/app tools")),
    }
    with host.running():
        names = "".join(
            f'[[host]]\nname = "{name}"\nconnect = "{host.address}"\nca = "{authority.pem}"\n'
            for name in ("meta.test", "git.test")
        )
        with serving(tmp_path / "s", names) as server:
            assert server.info("meta.test/lib", "v1.0.0")["Origin"]["URL"] == "https://git.test/lib"
            assert server.info("meta.test/lib/v2", "v2.0.0")["Version"] == "v2.0.0"
            assert server.info("meta.test/apps", "v0.1.0")["Origin"]["Subdir"] == "tools"
            pages = host.count("go-get=1")
            assert server.get("/meta.test/lib/@v/v1.0.0.zip").status == 200
            assert host.count("go-get=1") == pages, "a page is believed for some minutes"
            expected = {
                "split/x": (404, "disagree about go-import"), "none": (404, "no go-import meta tags"), "down": (502, ""),
                "plain": (403, "over http"), "local": (404, "file scheme disallowed"), "svn": (404, "GOVCS disallows using svn"),
                "far": (404, "insecure"),
            }  # fmt: skip
            for path, (status, text) in expected.items():
                answer = server.get(f"/meta.test/{path}/@v/v1.0.0.info")
                assert (answer.status, text in answer.data.decode()) == (status, True), (path, answer.data)


def test_private_addresses_are_not_contacted_unless_named(tmp_path: Path) -> None:
    """T8: a module path, a page or a redirect cannot send the server to this machine or its network."""
    with serving(tmp_path / "s", "") as server:
        for path in ("127.0.0.1/x", "localhost.localdomain/x", "169.254.169.254/x", "2130706433.0/x"):
            answer = server.get(f"/{path}/@v/v1.0.0.info")
            assert answer.status in (404, 502), answer.data
            if answer.status == 502:
                assert b"not at a public address" in answer.data or b"resolve" in answer.data


@pytest.mark.parametrize(
    "path", ["github.com", "github.com/t", "golang.org/toolchain", "example.net/x", "rsc.io", "github.com/t/r/a~b"]
)
def test_what_cannot_be_a_module_is_refused_without_a_worker(server: ProxyServer, path: str) -> None:
    """Cases 9, 10, 14, 110."""
    started = time.monotonic()
    answers = [server.get(f"/{path}/@v/{name}") for name in ("list", "v1.0.0.info", "v1.0.0.zip")]
    assert {answer.status for answer in answers} == {404}
    assert all(answer.headers["Content-Type"].startswith("text/plain") for answer in answers)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_server_cleanly(number: int, repos: Path, tmp_path: Path) -> None:
    config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "file://{repos}/{{repo}}"\n'
    with serving(tmp_path / "s", config) as server:
        assert server.get("/github.com/t/lib/@v/v1.0.0.zip").status == 200
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log.read_text()
        assert [path for path in below(server.data / "tmp") if path.is_file() and path.name != "lock"] == []


def test_who_asks_not_to_fetch_gets_what_is_stored_or_nothing(repos: Path, tmp_path: Path) -> None:
    """Case 113: no upstream traffic, and nobody may keep the 404."""
    wish = {"Disable-Module-Fetch": "true"}
    with GitHost(repos).running() as host:
        config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(tmp_path / "s", config) as server:
            for file in ("v1.0.0.info", "v1.0.0.zip", "list", "main.info"):
                answer = server.get(f"/github.com/t/lib/@v/{file}", headers=wish)
                assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store"), file
                assert answer.headers["Vary"] == "Disable-Module-Fetch"
            assert host.requests == []
            assert server.get("/github.com/t/lib/@v/v1.0.0.zip").status == 200
            for file in ("v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"):
                assert server.get(f"/github.com/t/lib/@v/{file}", headers=wish).status == 200
            assert (
                server.get("/github.com/t/lib/@v/v1.1.0.info", headers={"Disable-Module-Fetch": "false"}).status == 200
            )


def test_names_of_nothing_leave_nothing_behind(repos: Path, tmp_path: Path) -> None:
    """Anybody can ask for repositories that are not there; they must not fill the disk."""
    with GitHost(repos).running() as host:
        host.script = lambda handler: "junk" in handler.path and handler.reply(404, {}, b"") is None
        config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(tmp_path / "s", config) as server:
            for number in range(5):
                assert server.get(f"/github.com/t/junk{number}/@v/list").status == 404
            assert list((server.data / "mirrors").iterdir()) == []
            assert host.count("/info/refs") == 5, "one question for each is enough"
            assert server.get("/github.com/t/lib/@v/list").status == 200
            assert len(list((server.data / "mirrors").iterdir())) == 1


def test_a_version_that_a_list_names_is_not_denied_by_an_older_answer(tmp_path: Path) -> None:
    repo = build(tmp_path / "repos" / "lib", [Step(LIB, tags=["v1.0.0"])])
    config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "file://{tmp_path}/repos/{{repo}}"\n'
    config += '[freshness]\nnegative = "1h"\n'
    with serving(tmp_path / "s", config) as server:
        assert server.get("/github.com/t/lib/@v/v1.1.0.info").status == 404
        repo.tag("v1.1.0", repo.git("rev-parse", "main"))
        assert server.get("/github.com/t/lib/@v/v1.1.0.info").status == 404
        assert b"v1.1.0" in server.get("/github.com/t/lib/@v/list").data
        assert server.get("/github.com/t/lib/@v/v1.1.0.info").status == 200


def test_a_missing_directory_of_repositories_is_no_absence(repos: Path, tmp_path: Path) -> None:
    """A disk that is not mounted must not send go on to the next proxy; and clients need not know our paths."""
    config = f'[[source]]\nroot = "a.test/{{repo}}"\nurl = "file://{tmp_path}/nomount/{{repo}}"\n'
    config += f'[[source]]\nroot = "b.test/{{repo}}"\nurl = "file://{repos}/{{repo}}"\n'
    with serving(tmp_path / "s", config) as server:
        for path, status in (("a.test/x", 502), ("b.test/nothing", 404)):
            answer = server.get(f"/{path}/@v/list")
            assert answer.status == status
            assert str(tmp_path.parent).encode() not in answer.data
        assert "URL" not in server.info("b.test/app", "v0.3.0")["Origin"]
