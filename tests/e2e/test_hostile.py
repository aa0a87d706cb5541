"""Hostile repositories cost one worker and a clean refusal; hits keep flowing."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.support import hostile
from tests.support.githost import GitHost, Handler
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving

GOOD = {"go.mod": "module github.com/t/good\n", "x.go": "package x\n"}
HIT = "/github.com/t/good/@v/v1.0.0.info"


@pytest.fixture
def bad() -> Iterator[GitHost]:
    with GitHost(Path("/nonexistent")).running() as host:
        yield host


@pytest.fixture
def server(bad: GitHost, tmp_path: Path) -> Iterator[ProxyServer]:
    build(tmp_path / "repos" / "good", [Step(GOOD, tags=["v1.0.0"])])
    config = f"""
        [[source]]
        root = "github.com/t/good"
        url = "file://{tmp_path}/repos/good"
        [[source]]
        root = "github.com/t/{{repo}}"
        url = "{bad.url}/{{repo}}"
        [[source]]
        root = "github.com/t2/{{repo}}"
        url = "{bad.url.replace("127.0.0.1", "localhost")}/{{repo}}"
        [limits]
        memory = "1GiB"
        wall = "20s"
        idle = "3s"
        pack = "64MiB"
        refs = 5000
        [log]
        format = "json"
    """
    with serving(tmp_path / "s", config) as running:
        assert running.get(HIT).status == 200
        yield running


def slowest_hit_during(server: ProxyServer, path: str) -> tuple[int, str, float]:
    """(status, body, seconds of the slowest of the hits asked meanwhile)."""
    done = threading.Event()
    result: list[tuple[int, str]] = []

    def ask() -> None:
        answer = server.get(path)
        result.append((answer.status, answer.data.decode()))
        done.set()

    threading.Thread(target=ask).start()
    slowest = 0.0
    while not done.is_set():
        started = time.monotonic()
        assert server.get(HIT).status == 200
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.02)
    return (*result[0], slowest)


@pytest.mark.parametrize("name", ["delta", "tree"])
def test_bombs_are_refused_and_hits_flow(name: str, bad: GitHost, server: ProxyServer) -> None:
    """T7, F1, F14: 422 within the budget, for the bomb alone."""
    pack, head = hostile.delta_bomb(4 << 30) if name == "delta" else hostile.tree_bomb(8)
    assert len(pack) < 1000
    bad.script = hostile.host_of(head, hostile.side_band(pack))
    status, body, slowest = slowest_hit_during(server, "/github.com/t/x/@v/v1.0.0.zip")
    assert status == 422, body
    assert "larger than" in body or "entries" in body
    assert slowest < 2
    assert server.get("/github.com/t/x/@v/v1.0.0.zip").status == 422


def _corrupt(pack: bytes, at: int) -> bytes:
    return pack[:at] + bytes([pack[at] ^ 0x40]) + pack[at + 1 :]


def test_damaged_packs_are_never_served(bad: GitHost, server: ProxyServer) -> None:
    """Cut off or with a flipped bit: an error that is no absence, and nothing is stored."""
    pack, head = hostile.tree_bomb(1)
    whole = hostile.side_band(pack)
    answers = [hostile.side_band(pack[:at]) for at in range(4, len(pack) - 1, len(pack) // 6)]
    answers += [hostile.side_band(_corrupt(pack, at)) for at in range(8, len(pack), len(pack) // 8)]
    answers += [whole[:-4], whole[: len(whole) // 2], b"0000", b"zzzz", b""]
    for number, answer in enumerate(answers):
        bad.script = hostile.host_of(head, answer)
        got = server.get(f"/github.com/t/r{number}/@v/v1.0.0.info")
        assert got.status in (422, 502, 503), (number, got.status, got.data)
    bad.script = hostile.host_of(head, whole)
    assert server.get("/github.com/t2/fine/@v/v1.0.0.zip").status == 200  # by another name of the host, which is paused


def _endless_refs(handler: Handler) -> bool:
    if handler.command == "GET":
        return bool(hostile.host_of("0" * 40, b"")(handler))
    handler.send_response(200)
    handler.send_header("Content-Type", "application/x-git-upload-pack-result")
    handler.end_headers()
    number = 0
    while True:
        line = b"%040x refs/tags/v0.0.%d\n" % (number, number)
        handler.wfile.write(b"%04x" % (len(line) + 4) + line)
        number += 1


def _hang(handler: Handler) -> bool:
    time.sleep(30)
    return True


def _unasked_section(handler: Handler) -> bool:
    section = b"packfile-uris\n"
    uri = b"%040x https://127.0.0.1:1/latest/meta-data\n" % 0
    body = b"%04x" % (len(section) + 4) + section + b"%04x" % (len(uri) + 4) + uri + b"0001"
    handler.reply(200, {"Content-Type": "application/x-git-upload-pack-result"}, body)
    return True


def _redirect(handler: Handler) -> bool:
    handler.reply(302, {"Location": "http://127.0.0.2:1" + handler.path}, b"")
    return True


@pytest.mark.parametrize(("script", "status", "text"), [
    (_endless_refs, 422, "refs"),
    (_hang, 504, "stopped answering"),
    (hostile.host_of("1" * 40, _unasked_section), 502, "nobody asked"),
    (hostile.host_of("1" * 40, _redirect), 502, "HTTP 302"),
    (_redirect, 502, "redirects"),
])  # fmt: skip
def test_hosts_that_misbehave(script: object, status: int, text: str, bad: GitHost, server: ProxyServer) -> None:
    """F3, F4, F5: endless refs, silence, packfile-uris, redirects elsewhere."""
    bad.script = script  # type: ignore[assignment]
    got, body, slowest = slowest_hit_during(server, "/github.com/t/x/@v/v1.0.0.info")
    assert (got, text in body) == (status, True), body
    assert slowest < 2


def test_a_duplicate_name_in_a_tree_is_refused(bad: GitHost, server: ProxyServer) -> None:
    """F13: git archive would write both files."""
    gomod, one, two = b"module github.com/t/x\n", b"1", b"2"
    content = hostile.tree(
        (b"100644", b"a", hostile.oid(hostile.BLOB, one)),
        (b"100644", b"a", hostile.oid(hostile.BLOB, two)),
        (b"100644", b"go.mod", hostile.oid(hostile.BLOB, gomod)),
    )
    top = hostile.commit(hostile.oid(hostile.TREE, content))
    blobs = [hostile.entry(hostile.BLOB, data) for data in (gomod, one, two)]
    pack = hostile.pack([*blobs, hostile.entry(hostile.TREE, content), hostile.entry(hostile.COMMIT, top)])
    bad.script = hostile.host_of(hostile.oid(hostile.COMMIT, top).hex(), hostile.side_band(pack))
    assert server.get("/github.com/t/x/@v/v1.0.0.info").status == 200
    answer = server.get("/github.com/t/x/@v/v1.0.0.zip")
    assert (answer.status, b"multiple entries for file" in answer.data) == (404, True), answer.data


def test_no_worker_outlives_the_server(bad: GitHost, server: ProxyServer) -> None:
    """kill -9 of the server ends the fork server and every worker."""
    bad.script = _hang
    threading.Thread(target=lambda: _quietly(server), daemon=True).start()
    while not bad.requests:
        time.sleep(0.05)
    children = _descendants(server.process.pid)
    assert len(children) >= 2
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 5
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < deadline, children
        time.sleep(0.05)


def _quietly(server: ProxyServer) -> None:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        server.get("/github.com/t/x/@v/v1.0.0.info")


def _descendants(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(int(entry.name)) == pid:
            found += [int(entry.name), *_descendants(int(entry.name))]
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_environment_of_workers_holds_nothing_of_ours(
    tmp_path: Path, bad: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T4, T12: neither tokens nor a home directory with netrc or Git configuration."""
    bad.script = _hang
    config = f'[[source]]\nroot = "github.com/t/{{repo}}"\nurl = "{bad.url}/{{repo}}"\n[limits]\nidle = "3s"\n'
    with serving(tmp_path / "s", config, GITHUB_TOKEN="canary") as server:
        threading.Thread(target=lambda: _quietly(server), daemon=True).start()
        while not bad.requests:
            time.sleep(0.05)
        for pid in _descendants(server.process.pid):
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except (PermissionError, FileNotFoundError):
                continue  # a worker is not dumpable: not even its owner may look
            assert b"canary" not in environment
            assert os.fsencode(f"HOME={tmp_path}") not in environment
