"""T35: however many clients ask for however many paths of a repository, its host is asked a few times."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.support.githost import GitHost, Handler
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving

PATHS = [f"git.test/x/d{number}" for number in range(100)]
REAL = 10  # of the paths, so many are modules


@dataclass
class Site:
    server: ProxyServer
    host: GitHost
    commands: Counter[str] = field(default_factory=Counter)

    def hear(self, handler: Handler) -> bool:
        for command in ("ls-refs", "fetch"):
            self.commands[command] += f"command={command}".encode() in handler.body
        self.commands["requests"] += 1
        return False


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("amplification")
    files = {"go.mod": "module git.test/x\n"} | {f"d{n}/go.mod": f"module git.test/x/d{n}\n" for n in range(REAL)}
    tags = ["v1.0.0", *(f"d{n}/v1.0.0" for n in range(REAL))]
    build(work / "repos" / "x", [Step(files, tags=tags)])
    with GitHost(work / "repos").running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(work / "s", config) as server:
            there = Site(server, host)
            host.script = there.hear
            yield there


def ask_all(site: Site, questions: list[str]) -> list[int]:
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda path: site.server.get(path).status, questions))


def test_T35_a_thousand_requests_for_a_hundred_paths(site: Site) -> None:
    """At most two fetches and a handful of looks at the refs, misses included; what is wanted is there for all."""
    files = (
        "@latest",
        "@v/list",
        "@v/v1.0.0.info",
        "@v/v1.0.0.mod",
        "@v/v1.0.0.zip",
        "@v/main.info",
        "@v/v1.9.0.info",
        "@v/v1.9.0.zip",
        "@v/list",
        "@latest",
    )
    questions = [f"/{path}/{file}" for file in files for path in PATHS]
    assert len(questions) == 1000
    began = time.monotonic()
    statuses = ask_all(site, questions)
    looks = 8 + (time.monotonic() - began) / 2  # what is unknown is worth one more look every two seconds
    assert Counter(statuses).keys() <= {200, 404}, Counter(statuses)
    assert all(
        status == 200
        for status, path in zip(statuses, questions, strict=True)
        if path in [f"/{p}/@v/v1.0.0.zip" for p in PATHS[:REAL]]
    )
    assert site.commands["fetch"] <= 2, site.commands
    assert site.commands["ls-refs"] <= looks, (site.commands, looks)
    before = site.commands.copy()
    assert ask_all(site, questions[:100]) == statuses[:100]
    assert site.commands["fetch"] == before["fetch"]
    assert site.commands["ls-refs"] - before["ls-refs"] <= 4


def test_T35_a_stampede_for_one_version(site: Site) -> None:
    """200 clients that want the same thing, cold: one conversation with the host, one answer for all."""
    statuses = ask_all(site, ["/git.test/x/@v/v1.0.0.zip"] * 200)
    assert set(statuses) == {200}
    assert (site.commands["fetch"], site.commands["ls-refs"]) == (1, 1)


def test_T35_names_of_nothing(site: Site) -> None:
    """Repositories that are not there are asked for once in a while, not once a request."""
    site.host.script = lambda handler: (
        site.hear(handler) or ("junk" in handler.path and handler.reply(404, {}, b"") is None)
    )
    statuses = ask_all(
        site, [f"/git.test/junk/d{number}/@v/{file}" for file in ("list", "v1.0.0.info") for number in range(100)]
    )
    assert set(statuses) == {404}
    assert site.commands["requests"] <= 20, site.commands
