"""With every Git host down: what was served is served, lists and `@latest` as they were last seen, and nothing is a 404."""

from __future__ import annotations

from pathlib import Path

from tests.support.githost import GitHost
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving

PLAIN, META = "git.test/x", "meta.test/y"
STEPS = [
    Step({"go.mod": f"module {PLAIN}\n", "x.go": "package x\n"}, tags=["v1.0.0"]),
    Step({"go.mod": f"module {PLAIN}\n", "x.go": "package x // 2\n"}, [0], "1709337600 +0000", tags=["v1.1.0"]),
    Step({"go.mod": f"module {PLAIN}\n", "x.go": "package x // 3\n"}, [1], "1709424000 +0000", "dev"),
]
ASKED = [
    f"/{PLAIN}/@v/list",
    f"/{PLAIN}/@latest",
    f"/{PLAIN}/@v/dev.info",
    f"/{PLAIN}/@v/v1.0.0.info",
    f"/{PLAIN}/@v/v1.0.0.mod",
    f"/{PLAIN}/@v/v1.0.0.zip",
]


def config(port: int) -> str:
    return f"""
[[source]]
root = "git.test/{{repo}}"
url = "http://127.0.0.1:{port}/{{repo}}"

[freshness]
refs = "0s"
negative = "0s"

[log]
format = "json"
"""


def ask_all(proxy: ProxyServer) -> dict[str, bytes]:
    found = {}
    for path in ASKED:
        response = proxy.get(path)
        assert response.status == 200, (path, response.data)
        found[path] = response.data
    return found


def moved(work: Path) -> Path:
    """The data directory in the hands of the next server, which has a log of its own."""
    (work / "two").mkdir()
    (work / "one/data").rename(work / "two/data")
    return work / "two"


def test_everything_that_was_answered_is_answered_still(tmp_path: Path) -> None:
    build(tmp_path / "repos" / "x", STEPS)
    with GitHost(tmp_path / "repos").running() as host, serving(tmp_path / "one", config(host.port)) as proxy:
        before = ask_all(proxy)
        assert "Vcsproxy-Stale" not in proxy.get(ASKED[0]).headers
        port = host.port
    with serving(moved(tmp_path), config(port)) as proxy:  # the host is gone, and the server has been restarted
        assert ask_all(proxy) == before
        for path in ASKED[:3]:
            response = proxy.get(path)
            assert int(response.headers["Vcsproxy-Stale"]) > 0
            assert response.headers["Cache-Control"] == "no-store"
        assert "Vcsproxy-Stale" not in proxy.get(ASKED[3]).headers
        unknown = proxy.get(f"/{PLAIN}/@v/v1.9.0.info")
        assert unknown.status in (502, 503)
        assert int(unknown.headers["Retry-After"]) > 0
        # The other version's commit is known from the refs, but its files are not here.
        assert proxy.get(f"/{PLAIN}/@v/v1.1.0.zip").status in (200, 502, 503)
        assert proxy.get("/git.test/never-asked/@v/list").status in (502, 503)
        stale = [event for event in proxy.events() if event.get("stale") and event["event"] == "request"]
        assert len(stale) >= 3


def test_without_the_mirror_the_last_answers_are_enough(tmp_path: Path) -> None:
    build(tmp_path / "repos" / "x", STEPS)
    with GitHost(tmp_path / "repos").running() as host, serving(tmp_path / "one", config(host.port)) as proxy:
        before = ask_all(proxy)
        port = host.port
    (moved(tmp_path) / "data/mirrors").rename(tmp_path / "lost")
    with serving(tmp_path / "two", config(port)) as proxy:
        assert ask_all(proxy) == before


def test_a_host_that_is_down_is_soon_not_asked_any_more_and_comes_back(tmp_path: Path) -> None:
    build(tmp_path / "repos" / "x", STEPS)
    with GitHost(tmp_path / "repos").running() as host, serving(tmp_path, config(host.port)) as proxy:
        ask_all(proxy)
        host.script = lambda handler: handler.reply(500, {}, b"") or True
        asked = len(host.requests)
        for _ in range(10):
            assert proxy.get(ASKED[0]).status == 200
        assert len(host.requests) - asked <= 12, "the breaker should have opened"
        assert any(event["event"] == "host_paused" for event in proxy.events())
