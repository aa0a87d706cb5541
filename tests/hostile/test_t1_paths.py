"""T1, F8: no spelling of a path leads out of the store or out of the repositories, and one module has one identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.githost import GitHost
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.rawhttp import Raw, RawClient
from tests.support.untouched import Opened, listing, watching

CANARY = b"canary-bf3a91"
REFUSED = {400, 404, 405, 414, 431}

DOTS = (
    "..", "%2e%2e", "%2E%2e", ".%2e", "%2e.", "%252e%252e", "%25252e%25252e", "..%00", "%00..", "..%2f..", "..%5c..", "..\\..",
    "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%u002e%u002e", "\uff0e\uff0e", "%ef%bc%8e%ef%bc%8e", "....", "....//..", "..;", "..%3b", ".!.",
    "!..", "!.!.", "..%0d%0a", "..%20", "..%09", "..~1", "..::$DATA", "%2e%2e%2e", ".", "%2e", "", "%", "%2", "%zz", "%fe%fe", "%ff", "~",
    "..%e2%80%8b", "..%c2%a0", "..%ef%bb%bf", "%e2%81%84..", "%2525", "%2521", "!", "!!", "!A", "!1", "..%01", "%7f..",
)  # fmt: skip
TARGETS = (
    "canary",
    "etc/passwd",
    "canary/@v/list",
    "other",
    "data/store",
    "proc/self/environ",
    "%2fetc%2fpasswd",
    "C%3a%5ccanary",
)
SHAPES = (
    "/{d}/{t}", "/{d}/{d}/{d}/{t}", "/git.test/{d}/{t}/@v/list", "/git.test/{d}/{d}/{d}/{t}/@v/v1.0.0.info", "/git.test/x/{d}/@v/v1.0.0.zip",
    "/git.test/x/@v/{d}.info", "/git.test/x/@v/{d}/{t}.zip", "/git.test/x/@v/v1.0.0.zip/{d}/{d}/{t}", "/git.test/{d}%2f{t}/@v/list",
    "/git.test/x/{d}/@latest", "//{d}/{t}", "/git.test/x/@v/v1.0.0{d}{t}.mod", "/git.test%2f{d}%2f{t}/@v/list", "{t}/{d}", "/cache/download/{d}/{t}",
)  # fmt: skip
CORPUS = sorted({shape.format(d=d, t=t) for shape, d, t in product(SHAPES, DOTS, TARGETS)})


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    work: Path
    opened: Opened


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose neighbours are canaries: files beside its data, and a repository beside its repositories."""
    work = tmp_path_factory.mktemp("paths")
    build(work / "git" / "repos" / "x", [Step({"go.mod": "module git.test/x\n"}, tags=["v1.0.0"])])
    build(work / "git" / "other", [Step({"go.mod": "module git.test/other\n", "c.go": CANARY}, tags=["v1.0.0"])])
    for place in (work, work / "git", work / "s", work / "s" / "data", work / "s" / "data" / "store"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "canary").write_bytes(CANARY)
    config = f"""
        [[source]]
        root = "git.test/{{repo}}"
        url = "file://{work}/git/repos/{{repo}}"
        [modules]
        allow = ["git.test"]
    """
    with serving(work / "s", config) as server:
        assert server.get("/git.test/x/@v/v1.0.0.zip").status == 200
        with watching(work, work / "git", work / "git" / "other", work / "s" / "data" / "store") as opened:
            yield Site(server, work, opened)


def assert_safe(answer: Raw, target: bytes, more: set[int] | None = None) -> None:
    assert answer.status in REFUSED | (more or set()), (target, answer)
    assert CANARY not in answer.body
    assert b"root:" not in answer.body


def is_outside(path: Path) -> bool:
    return path.name == "canary" or "other" in path.parts


def test_T1_corpus_of_traversals(site: Site) -> None:
    """5,000 spellings: each is refused, nothing new appears on the disk, and nobody opens what lies outside."""
    assert len(CORPUS) > 5000
    before = listing(site.work, "s"), listing(site.server.data, "tmp")  # there, workers get ready when they like
    site.opened.files()  # what we have looked at ourselves
    with RawClient(site.server.base) as client:
        for path in CORPUS:
            assert_safe(client.get(path.encode()), path.encode())
    assert [path for path in site.opened.files() if is_outside(path)] == []
    assert (listing(site.work, "s"), listing(site.server.data, "tmp")) == before
    (site.work / "canary").read_bytes()
    assert site.work / "canary" in site.opened.files()  # or nothing would have been noticed


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=80).map(str.encode), st.binary(max_size=80)),
    st.sampled_from([b"/", b"/git.test/x/@v/", b"/git.test/", b""]),
)
@example(b"a" * 100_000, b"/")
@example(b"%00" * 2000, b"/git.test/")
@example(b"x HTTP/1.1\r\nHost: y\r\n\r\nGET /../canary", b"/")
def test_T1_any_bytes_as_a_path(site: Site, rest: bytes, start: bytes) -> None:
    """Whatever comes on the wire is refused in words, or is a path of a module that is not served (403)."""
    target = start + rest
    known = {200} if target.split(b"?")[0] in (b"/", b"/healthz", b"/readyz", b"/version") else set()
    if b"\n" in target or b"\r" in target or b" " in target:
        known |= {0, 200}  # another request begins in it, or none that has an answer
    with RawClient(site.server.base) as client:
        assert_safe(client.get(target), target, {403} | known)
    assert not [path for path in site.opened.files() if is_outside(path)]
    assert site.server.get("/git.test/x/@v/v1.0.0.info").status == 200


def test_T1_names_in_repositories_are_not_names_on_the_disk(site: Site) -> None:
    """A repository's own name can be a link out of the directory only if its owner made it."""
    names = ("..", "x/..", "x%2f..%2f..%2fother", "%2e%2e%2fother", "...", "x/../../other")
    with RawClient(site.server.base) as client:
        for name in names:
            assert_safe(client.get(f"/git.test/{name}/@v/v1.0.0.info".encode()), name.encode())


def test_F8_one_module_has_one_identity_however_it_is_spelled(tmp_path: Path) -> None:
    """`!x` and `%21x` share rules, store and flight; what is decoded twice is another name."""
    build(tmp_path / "repos" / "Azure", [Step({"go.mod": "module git.test/Azure\n"}, tags=["v1.0.0"])])
    spellings = ["!azure", "%21azure", "%21%61zure", "!%61zur%65"]
    with GitHost(tmp_path / "repos").running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(tmp_path / "s", config) as server, RawClient(server.base) as client:
            answers = [client.get(f"/git.test/{name}/@v/v1.0.0.info".encode()) for name in spellings]
            assert {answer.status for answer in answers} == {200}
            assert len({answer.body for answer in answers}) == 1
            assert host.count("GET ") == 1, "the host is asked once"
            for twice in ("%2521azure", "%2541zure", "Azure", "%41zure"):
                assert client.get(f"/git.test/{twice}/@v/v1.0.0.info".encode()).status == 404
        denied = config + '[modules]\ndeny = ["git.test/Azure"]\n'
        with serving(tmp_path / "t", denied) as server, RawClient(server.base) as client:
            statuses = [client.get(f"/git.test/{name}/@v/v1.0.0.info".encode()).status for name in spellings]
            assert statuses == [403] * len(spellings)
