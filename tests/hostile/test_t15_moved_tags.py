"""A tag that moves after its version was served, or before it is asked for again: threats T15 and T16.

The bytes that were served first stay the version's bytes; the move is an alarm, never another answer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.githost import GitHost
from tests.support.gitrepo import GitRepo
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving

MODULE = "git.test/x"
FILES = [f"/{MODULE}/@v/v1.0.0.{ext}" for ext in ("info", "mod", "zip")]
STEPS = [
    Step({"go.mod": f"module {MODULE}\n", "x.go": "package x\n"}, tags=["v1.0.0"]),
    Step({"go.mod": f"module {MODULE}\n", "x.go": "package x // another\n"}, [0]),
]


@dataclass
class Site:
    server: ProxyServer
    repo: GitRepo
    work: Path

    def move(self) -> tuple[str, str]:
        """Let the tag name the other commit; (the commit of before, that of now)."""
        before = self.repo.git("rev-parse", "v1.0.0")
        self.repo.git("tag", "-f", "v1.0.0", "main")
        return before, self.repo.git("rev-parse", "v1.0.0")

    def files(self) -> list[bytes]:
        answers = [self.server.get(path) for path in FILES]
        assert [answer.status for answer in answers] == [200] * 3
        return [answer.data for answer in answers]

    def event(self, name: str) -> dict[str, object]:
        """The first log line of this name, which may come a little after the answer."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for event in self.server.events():
                if event["event"] == name:
                    return event
            time.sleep(0.05)
        raise AssertionError(f"no event {name}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    repo = build(tmp_path / "repos" / "x", STEPS)
    with GitHost(tmp_path / "repos").running() as host:
        config = (
            f'[[source]]\nroot = "{MODULE}"\nurl = "{host.url}/x"\n[freshness]\nrefs = "0s"\n[log]\nformat = "json"\n'
        )
        with serving(tmp_path / "s", config) as server:
            yield Site(server, repo, tmp_path / "s")


def test_T15_the_bytes_stay_and_an_alarm_is_raised(site: Site) -> None:
    first = site.files()
    before, now = site.move()
    assert site.server.get(f"/{MODULE}/@v/list").data == b"v1.0.0\n"  # the refs are read again
    event = site.event("tag_moved")
    assert (event["module"], event["version"], event["level"]) == (MODULE, "v1.0.0", "error")
    assert {before, now} <= {str(value) for value in event.values()}
    assert site.files() == first
    command = [sys.executable, "-m", "vcsproxy", "tags", "moved", "--data", str(site.server.data)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 4
    assert "v1.0.0" in told.stdout
    assert "1 tag has moved" in told.stdout


def test_T16_a_zip_that_was_lost_is_made_of_the_first_commit_or_not_at_all(site: Site) -> None:
    """The pinned hash is the authority: while the first commit can be had the same zip comes back, then none at all."""
    first = site.files()
    site.move()
    (directory,) = site.server.data.glob(f"store/**/{MODULE}/@v")
    zip_file = directory / "v1.0.0.zip"
    pinned = (directory / "v1.0.0.ziphash").read_text()
    zip_file.unlink()
    assert site.server.get(FILES[2]).data == first[2]

    zip_file.unlink()
    (directory / "v1.0.0.ziphash").write_text("h1:" + "A" * 43 + "=")  # as if other bytes had been served first
    answer = site.server.get(FILES[2])
    assert answer.status not in (200, 404, 410)
    text = answer.data.decode()
    assert pinned in text, text
    assert "h1:AAAA" in text, text
    assert not zip_file.exists()
