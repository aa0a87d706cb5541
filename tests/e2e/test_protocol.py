"""What a running server says over HTTP, status by status, and what the real go command makes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.direct import PREFIX, DirectGo
from tests.support.githost import GitHost, Handler
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving

LIB = PREFIX + "lib"
PSEUDO_TAG = "v1.3.0-0.20200101000000-aaaaaaaaaaaa"
FILES = {
    "go.mod": f"module {LIB}\n\ngo 1.21\n",
    "lib.go": "package lib\n",
    "sub/go.mod": f"module {LIB}/sub\n",
    "pkg/p.go": "package p\n",
}


def gomod(name: str, rest: str = "") -> dict[str, str]:
    return {"go.mod": f"module {PREFIX}{name}\n{rest}", "a.go": "package a\n"}


def line(*made: Step) -> list[Step]:
    """Each step a day after, and a child of, the one before."""
    return [
        Step(s.files, [at - 1] if at else [], f"{1709251200 + at * 86400} +0000", s.branch, s.tags, s.annotated)
        for at, s in enumerate(made)
    ]


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("git") / "repos"
    build(root / "lib", line(
        Step(FILES, tags=["v0.1.0", "sub/v0.1.0"]),
        Step({**FILES, "b.go": "package lib\n"}, tags=["v1.0.0"], branch="a&b"),
        Step({**FILES, "c.go": "package lib\n"}, annotated=["v1.1.0-RC.1"]),
        Step({**FILES, "d.go": "package lib\n"}, tags=["v1", "v1.3.0+meta", PSEUDO_TAG, "v2.0.0", "release"], branch="v1.9.0"),
        Step({**FILES, "e.go": "package lib\n"}),
    ))  # fmt: skip
    build(root / "bare", line(Step({"a.go": "package a\n"}, tags=["v2.0.0"])))
    build(root / "none", line(Step(gomod("none"))))
    build(root / "pre", line(*(Step(gomod("pre"), tags=[tag]) for tag in ("v0.1.0-rc.2", "v0.1.0-rc.10", "x"))))
    sorry = gomod("sorry", "retract [v1.0.0, v1.0.1]\n")
    build(root / "sorry", line(Step(gomod("sorry"), tags=["v1.0.0"]), Step(sorry, tags=["v1.0.1"])))
    build(root / "other", line(Step(gomod("other/v2"), tags=["v2.0.0"])))
    build(root / "unclean", line(Step({**gomod("unclean"), "a:b": "x"}, tags=["v1.0.0"])))
    build(root / "empty", [])
    return root


def fail(handler: Handler) -> bool:
    """Fail as the repository's name says: rN, the status for Git, and pN, that of its page; or by its word."""
    name, _, rest = handler.path.strip("/").partition("/")
    if name == "hangup":
        handler.close_connection = True
    elif name == "html":
        handler.reply(200, {"Content-Type": "text/html"}, b"<html>log in</html>")
    elif name == "garbage":
        handler.reply(200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"not git at all")
    else:
        git, page = name.split("-")
        handler.reply(int((git if rest else page)[1:]), {}, b"no")
    return True


@pytest.fixture(scope="module")
def server(repos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    """Modules of github.com/t are those of `repos`; the hosts of all others are in trouble."""
    with GitHost(Path("/nonexistent"), script=fail).running() as broken:
        places = {
            PREFIX + "{repo}": f"file://{repos}/{{repo}}",
            "github.com/broken/{repo}": "http://{repo}.broken.test/{repo}",  # hosts of their own: one's trouble is not another's
            "github.com/closed/{repo}": "http://127.0.0.1:1/{repo}",
        }
        config = "".join(
            f'[[source]]\nroot = "{root}"\nurl = "{url}"\norigin = "https://{root}"\n' for root, url in places.items()
        )
        config += "".join(
            f'[[host]]\nname = "{name.removeprefix("broken/")}.broken.test"\nconnect = "{broken.address}"\ninsecure = true\n'
            for name in [*TROUBLE, "broken/r404-p404"]
            if name.startswith("broken/")
        )
        with serving(tmp_path_factory.mktemp("server"), config) as running:
            yield running


@pytest.fixture
def second() -> Iterator[GitHost]:
    """Another proxy, which has whatever `offer` is told to."""
    with GitHost(Path("/nonexistent")).running() as host:
        yield host


def offer(host: GitHost, path: str, version: str) -> None:
    text = f"module {path}\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{path}@{version}/go.mod", text)
    answers = {
        "list": f"{version}\n".encode(),
        f"{version}.info": json.dumps({"Version": version}).encode(),
        f"{version}.mod": text,
        f"{version}.zip": out.getvalue(),
    }
    host.pages.update({f"/{path}/@v/{name}": (200, {}, body) for name, body in answers.items()})


def client(proxies: str, cache: Path) -> dict[str, str]:
    """Environment of a client that can reach nothing but these proxies."""
    return {"GOPROXY": proxies, "GONOPROXY": "none", "GOVCS": "*:off", "GOMODCACHE": str(cache)}


# ---- .info, .mod, .zip


def test_an_info_is_the_file_that_go_keeps(server: ProxyServer, go: GoTool, repos: Path, tmp_path: Path) -> None:
    """One line of JSON without a newline, and the version asked for, to the letter (case 102)."""
    versions = {
        LIB: ["v0.1.0", "v1.0.0", "v1.1.0-RC.1"],
        LIB + "/sub": ["v0.1.0"],
        PREFIX + "bare": ["v2.0.0+incompatible"],
    }
    questions = [f"{path}@{version}" for path, found in versions.items() for version in found]
    DirectGo(go, repos).download(tmp_path / "cache", questions)
    for question in questions:
        path, _, version = question.partition("@")
        name = version.replace("RC", "!r!c")
        for _ in range(2):  # made, then stored
            for ending in ("info", "mod"):
                got = server.get(f"/{path}/@v/{name}.{ending}")
                assert got.status == 200
                assert got.data == (tmp_path / "cache/cache/download" / path / f"@v/{name}.{ending}").read_bytes()
        assert server.info(path, name)["Version"] == version
        assert not server.get(f"/{path}/@v/{name}.info").data.endswith(b"\n")


def test_a_pseudo_version_is_echoed_too(server: ProxyServer) -> None:
    """Asked for by a branch first, and then by its name (case 102)."""
    answer = server.get(f"/{LIB}/@v/main.info")
    version = answer.json()["Version"]
    assert version.startswith("v1.3.1-0.20240305000000-")
    assert server.get(f"/{LIB}/@v/{version}.info").data == answer.data
    assert b'"Ref"' not in answer.data


def test_letters_that_html_knows_are_escaped_in_an_info(server: ProxyServer) -> None:
    """As Go writes JSON (case 102)."""
    answer = server.get(f"/{LIB}/@v/a%26b.info")
    assert b'"Ref":"refs/heads/a\\u0026b"' in answer.data
    assert (answer.json()["Version"], answer.json()["Origin"]["Ref"]) == ("v1.0.0", "refs/heads/a&b")


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("v1.9.0", "(v1.9.0 is not a tag)"),
        ("v9.9.9", "unknown revision v9.9.9"),
        ("v2.0.0", "module path must match major version"),
        ("v1.0.0+incompatible", "+incompatible suffix not allowed"),
        (PSEUDO_TAG, "unknown revision aaaaaaaaaaaa"),
        ("v0.0.0-20240302000000-aaaaaaaaaaaa", "unknown revision aaaaaaaaaaaa"),
        ("v1.2.1-0.{p}", "preceding tag (v1.2.0) not found"),
        ("v0.0.0-20250101000000-{h}", "does not match version-control timestamp (expected 20240302000000)"),
    ],
)
def test_what_is_no_version_has_neither_info_nor_go_mod_nor_zip(server: ProxyServer, version: str, reason: str) -> None:
    """A branch named like one, an untrue pseudo-version, another major: 404 and why (cases 53, 59, 112)."""
    commit = server.info(LIB, "v1.0.0")["Origin"]["Hash"][:12]
    version = version.format(p=f"20240302000000-{commit}", h=commit)
    for ending in ("info", "mod", "zip"):
        answer = server.get(f"/{LIB}/@v/{version}.{ending}")
        assert answer.status == 404
        assert answer.data.startswith(b"not found: ")
        assert reason in answer.data.decode()


def test_a_version_that_cannot_be_zipped_keeps_its_info_and_go_mod(server: ProxyServer) -> None:
    """(cases 87, 112)"""
    answers = {ending: server.get(f"/{PREFIX}unclean/@v/v1.0.0.{ending}") for ending in ("info", "mod", "zip")}
    assert [answer.status for answer in answers.values()] == [200, 200, 404]
    assert b"not found: create zip: a:b: malformed file path" in answers["zip"].data


@pytest.mark.parametrize("version", ["v1", "v1.3.0+meta", "release", "main", "!h!e!a!d"])
def test_only_canonical_versions_have_a_go_mod_and_a_zip(server: ProxyServer, version: str) -> None:
    """Clients ask with the version that `.info` told them."""
    assert server.info(LIB, version)["Version"].startswith("v1.3.1-0.")
    assert [server.get(f"/{LIB}/@v/{version}.{ending}").status for ending in ("mod", "zip")] == [404, 404]


# ---- list and latest


@pytest.mark.parametrize(
    ("path", "listed", "latest"),
    [
        (LIB, "v0.1.0 v1.0.0 v1.1.0-RC.1", "v1.0.0"),
        (LIB + "/sub", "v0.1.0", "v0.1.0"),
        (PREFIX + "bare", "v2.0.0+incompatible", "v2.0.0+incompatible"),
        (PREFIX + "pre", "v0.1.0-rc.2 v0.1.0-rc.10", "v0.1.0-rc.10"),
        (PREFIX + "sorry", "v1.0.0 v1.0.1", "v0.0.0-20240302000000-"),
        (PREFIX + "none", "", "v0.0.0-20240301000000-"),
        (PREFIX + "other/v2", "v2.0.0", "v2.0.0"),
        (PREFIX + "other", None, ""),
        (PREFIX + "empty", None, ""),
        (PREFIX + "nothing", None, ""),
        (LIB + "/pkg", None, ""),
        (LIB + "/nosuch", None, ""),
        (LIB + "/v2", "v2.0.0", ""),
    ],
)  # fmt: skip
def test_lists_and_latest(server: ProxyServer, path: str, listed: str | None, latest: str) -> None:
    """Exactly the versions, a line each; 200 with nothing in it for a module without any, 404 for what is no module.

    Shortened versions, build metadata and tags that look like pseudo-versions are never listed (cases 72, 104, 106, 107, 109).
    """
    answer = server.get(f"/{path}/@v/list")
    assert answer.status == (404 if listed is None else 200), answer.data
    if listed is not None:
        assert answer.data.decode() == "".join(f"{version}\n" for version in listed.split())
    for url in (f"/{path}/@latest", f"/{path}/@v/latest.info"):
        answer = server.get(url)
        assert answer.status == (200 if latest else 404), answer.data
        assert not latest or answer.json()["Version"].startswith(latest)


@pytest.mark.parametrize("name", ["upgrade", "patch", "none", "v1.2"])
def test_queries_that_clients_answer_themselves_are_not_found(server: ProxyServer, name: str) -> None:
    assert server.get(f"/{LIB}/@v/{name}.info").status == 404


def test_go_takes_an_empty_list_for_a_module_without_versions(
    server: ProxyServer, go: GoTool, second: GitHost, tmp_path: Path
) -> None:
    """It goes on to the latest version here, and not to the next proxy (cases 104, 106)."""
    offer(second, PREFIX + "none", "v1.0.0")
    env = client(f"{server.base},{second.url}", tmp_path / "cache")
    found = go.run("list", "-m", f"{PREFIX}none@latest", **env)
    assert found.stdout.split()[1].startswith("v0.0.0-20240301000000-"), found.stderr
    assert second.requests == []


# ---- where go turns next


@pytest.mark.parametrize(
    "query",
    [
        PREFIX + "nothing@v1.0.0", PREFIX + "nothing@latest", LIB + "/nosuch@latest", LIB + "/pkg@v1.0.0", PREFIX + "empty@latest",
        LIB + "@v7.0.0+incompatible", LIB + "@v1.9.0", PREFIX + "unclean@v1.0.0", "github.com/broken/r404-p404@v1.0.0",
        "github.com/broken/r401-p404@latest",
    ],
)  # fmt: skip
def test_after_404_go_asks_the_next_proxy(
    server: ProxyServer, go: GoTool, second: GitHost, tmp_path: Path, query: str
) -> None:
    """Whatever is proven not to be here may be elsewhere (case 104)."""
    path, _, version = query.partition("@")
    version = "v1.0.0" if version == "latest" else version
    offer(second, path, version)
    done = go.json("mod", "download", "-json", query, **client(f"{server.base},{second.url}", tmp_path / "cache"))
    assert (done.get("Error"), done["Version"]) == (None, version)
    assert second.requests


@pytest.mark.parametrize(
    "query", ["github.com/broken/r500-p200@v1.0.0", "github.com/broken/hangup@latest", "github.com/closed/x@v1.0.0"]
)
def test_after_502_go_stops_unless_it_is_told_to_go_on(
    server: ProxyServer, go: GoTool, second: GitHost, tmp_path: Path, query: str
) -> None:
    """A host in trouble tells the next proxy no names of private modules; `|` instead of `,` allows it (case 105)."""
    offer(second, query.partition("@")[0], "v1.0.0")
    stopped = go.json("mod", "download", "-json", query, **client(f"{server.base},{second.url}", tmp_path / "one"))
    assert "502 Bad Gateway" in stopped["Error"]
    assert second.requests == []
    went = go.json("mod", "download", "-json", query, **client(f"{server.base}|{second.url}", tmp_path / "two"))
    assert (went.get("Error"), went["Version"]) == (None, "v1.0.0")


def test_after_403_go_stops_and_shows_what_to_do(go: GoTool, second: GitHost, tmp_path: Path) -> None:
    """The whole of our reason, which is one paragraph (case 105)."""
    authority = Authority.create(tmp_path / "ca")
    page = b'<html><head><meta name="go-import" content="meta.test/plain git http://git.test/lib"></head></html>'
    pages = GitHost(tmp_path, authority.server_context("meta.test"), {"/plain?go-get=1": (200, {}, page)})
    offer(second, "meta.test/plain", "v1.0.0")
    with pages.running():
        host = f'[[host]]\nname = "meta.test"\nconnect = "{pages.address}"\nca = "{authority.pem}"\n'
        with serving(tmp_path / "s", host) as server:
            env = client(f"{server.base},{second.url}", tmp_path / "cache")
            done = go.run("mod", "download", "meta.test/plain@v1.0.0", **env)
            said = server.get("/meta.test/plain/@v/v1.0.0.info")
    assert said.status == 403
    assert "403 Forbidden" in done.stderr
    *texts, last = said.data.decode().splitlines()
    assert all(text in done.stderr for text in texts)
    assert last.startswith("(request ")
    assert second.requests == []


def test_the_checksum_database_is_asked_without_us(
    server: ProxyServer, go: GoTool, second: GitHost, tmp_path: Path
) -> None:
    """We have no copy of it and say so; the client then asks the database itself."""
    name, key = "sums.test", b"\x01" + bytes(range(32))
    digest = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex()
    verifier = f"{name}+{digest}+{base64.b64encode(key).decode()}"
    env = client(server.base, tmp_path / "cache") | {"GOSUMDB": f"{verifier} {second.url}", "GONOSUMDB": ""}
    done = go.run("mod", "download", f"{LIB}@v1.0.0", **env)
    assert f"verifying go.mod: {LIB}@v1.0.0/go.mod: reading {second.url}" in done.stderr
    assert second.requests[0] == f"GET {second.address}/lookup/{LIB}@v1.0.0"
    for path in ("supported", "latest", f"lookup/{LIB}@v1.0.0", "tile/8/0/000"):
        assert server.get(f"/sumdb/{name}/{path}").status == 404


def test_an_escaped_version_can_be_had_from_the_store_alone(server: ProxyServer, go: GoTool, tmp_path: Path) -> None:
    """Upper-case letters of a prerelease have `!` before them in the store as in a request (case 108)."""
    query = f"{LIB}@v1.1.0-RC.1"
    first = go.json("mod", "download", "-json", query, **client(server.base, tmp_path / "one"))
    again = go.json("mod", "download", "-json", query, **client(f"file://{server.data}/store", tmp_path / "two"))
    assert again.get("Error") is None
    assert (first["Sum"], first["GoModSum"]) == (again["Sum"], again["GoModSum"])


# ---- hosts in trouble

TROUBLE = {
    "broken/r500-p200": 502, "broken/r503-p200": 502, "broken/r429-p200": 503, "broken/r401-p200": 502, "broken/r403-p403": 502,
    "broken/r500-p500": 502, "broken/html": 502, "broken/garbage": 502, "broken/hangup": 502, "closed/x": 502,
    "broken/r404-p200": 404, "broken/r410-p200": 404, "broken/r401-p404": 404, "broken/r403-p410": 404, "broken/r500-p404": 404,
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), TROUBLE.items())
def test_only_a_host_that_says_so_makes_a_repository_absent(server: ProxyServer, name: str, status: int) -> None:
    """404 or 410 for Git or for the repository's page; everything else is trouble, whatever was asked (case 112)."""
    for question in ("@v/list", "@latest", "@v/v1.0.0.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip", "@v/main.info"):
        answer = server.get(f"/github.com/{name}/{question}")
        assert answer.status == status, (question, answer.data)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert b"\n\n" not in answer.data.strip()
