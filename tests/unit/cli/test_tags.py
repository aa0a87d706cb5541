"""`vcsproxy tags`: what it lists, its exit codes, and asking again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.cli.conftest import Run, stored
from vcsproxy import errors
from vcsproxy.cli.main import main
from vcsproxy.config import Settings
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer
from vcsproxy.proxy.tagjournal import Journal, Moved
from vcsproxy.proxy.tagwatch import TagWatch
from vcsproxy.store import Artifacts
from vcsproxy.store import Kind as Artifact
from vcsproxy.store.disk import DiskStore
from vcsproxy.web.modules import FixedModules

A, B = "a" * 40, "b" * 40
NOON = 1709294400.0  # 2024-03-01T12:00:00Z
MOVED = Moved("example.test/long/M", "v1.0.0", A, B, NOON)
GONE = Moved("example.test/m", "v1.10.0-rc.1", B, "", NOON + 60)
NOTHING = "no tag of a served version has moved or is gone\n"
WARNING = "What was served stays: here they keep their first bytes. Ask their authors for new versions."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


def write(data: Path, *found: Moved) -> None:
    Journal(data / "tags-moved.jsonl").add(found)


def test_help_teaches(run: Run) -> None:
    for command in (("tags",), ("tags", "moved")):
        done = run(*command, "--help")
        assert done.exit_code == 0
        assert "Exit codes: 0 done" in done.stdout
        assert "    vcsproxy tags moved" in done.stdout
    assert "4 some have moved or are gone" in " ".join(done.stdout.split())
    assert "\n  tags " in run("--help").stdout


def test_nothing_moved(run: Run, data: Path) -> None:
    done = run("tags", "moved", "--data", data)
    assert (done.exit_code, done.stdout, done.stderr) == (0, NOTHING, "")
    done = run("tags", "moved", "--data", data, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    assert list(data.iterdir()) == []


def test_what_moved_is_listed_the_newest_first(run: Run, data: Path) -> None:
    write(data, MOVED, GONE, Moved("example.test/back", "v1.0.0", A, B, 1.0))
    write(data, Moved("example.test/back", "v1.0.0", A, A, 2.0))
    done = run("tags", "moved", "--data", data)
    assert (done.exit_code, done.stderr) == (4, "")
    assert done.stdout.splitlines() == [
        "MODULE               VERSION       SERVED        NOW           NOTICED",
        "example.test/m       v1.10.0-rc.1  bbbbbbbbbbbb  gone          2024-03-01T12:01:00Z",
        "example.test/long/M  v1.0.0        aaaaaaaaaaaa  bbbbbbbbbbbb  2024-03-01T12:00:00Z",
        "",
        "1 tag has moved and 1 tag is gone since these versions were first served.",
        WARNING,
    ]


def test_as_json_with_whole_commits(run: Run, data: Path) -> None:
    write(data, MOVED, GONE)
    done = run("tags", "moved", "--data", data, "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout) == [
        {
            "Path": "example.test/m",
            "Version": "v1.10.0-rc.1",
            "Served": B,
            "Now": "",
            "Noticed": "2024-03-01T12:01:00Z",
        },
        {"Path": "example.test/long/M", "Version": "v1.0.0", "Served": A, "Now": B, "Noticed": "2024-03-01T12:00:00Z"},
    ]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([MOVED], "1 tag has moved since"),
        ([GONE], "1 tag is gone since"),
        ([MOVED, Moved("a.b/c", "v1.0.0", A, B, 1.0), Moved("a.b/c", "v1.1.0", A, "", 1.0), GONE],
         "2 tags have moved and 2 tags are gone since"),
    ],
)  # fmt: skip
def test_the_sentence_counts(run: Run, data: Path, found: list[Moved], sentence: str) -> None:
    write(data, *found)
    assert run("tags", "moved", "--data", data).stdout.splitlines()[-2].startswith(sentence)


def test_t31_hostile_text_has_no_controls_on_the_terminal(run: Run, data: Path) -> None:
    write(data, Moved("m\x1b[31m\n", "v1.0.0\u202e", "\x07" * 40, "\u2028\udcff", 1.0))
    done = run("tags", "moved", "--data", data)
    assert done.exit_code == 4
    assert len(done.stdout.splitlines()) == 5
    assert all(c.isprintable() or c == "\n" for c in done.stdout)


def test_the_data_directory_of_the_configuration_is_the_one(run: Run, data: Path, tmp_path: Path) -> None:
    write(data, MOVED)
    (tmp_path / "c.toml").write_text('[server]\ndata = "data"\n')
    assert run("tags", "moved", "--config", tmp_path / "c.toml").exit_code == 4


@pytest.mark.parametrize("more", [[], ["--refresh"]])
def test_a_data_directory_that_is_not_there_is_a_failure(run: Run, tmp_path: Path, more: list[str]) -> None:
    done = run("tags", "moved", "--data", tmp_path / "nowhere", *more)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"vcsproxy: error: {tmp_path}/nowhere: no such directory",
        "hint: name the server's data directory with --data or server.data",
    ]
    assert not (tmp_path / "nowhere").exists()


def test_a_journal_that_cannot_be_read_is_a_failure(run: Run, data: Path) -> None:
    (data / "tags-moved.jsonl").symlink_to(data / "tags-moved.jsonl")
    done = run("tags", "moved", "--data", data)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"vcsproxy: error: {data}/tags-moved.jsonl: ")


# --- asking again ---


def publish(data: Path, *paths: str) -> None:
    async def published() -> None:
        store = DiskStore(data / "store", data / "tmp")
        for path in paths:
            origin = {"VCS": "git", "Hash": A, "Ref": "refs/tags/v1.0.0"}
            info = json.dumps({"Version": "v1.0.0", "Time": "2024-03-01T00:00:00Z", "Origin": origin}).encode()
            await store.publish(path, "v1.0.0", Artifacts(info, b"module m\n", None, ""))
        await store.close()

    asyncio.run(published())


def listed(stale: float = 0.0) -> Answer:
    return Answer(stored(Artifact.INFO, b"v1.0.0\n"), immutable=False, stale=stale)


def refresh(
    data: Path, modules: FixedModules, tags: list[tuple[str, str]], *more: str
) -> tuple[Result, list[Settings]]:
    """Run with --refresh; a module that can be listed has these tags now."""
    opened: list[Settings] = []

    @contextlib.asynccontextmanager
    async def open_modules(settings: Settings) -> AsyncIterator[Watched]:
        opened.append(settings)
        store = DiskStore(data / "store", data / "tmp")
        yield Watched(TagWatch(store, data / "tags-moved.jsonl", settle=0))
        await store.close()

    class Watched:
        def __init__(self, watch: TagWatch) -> None:
            self.watch = watch
            self.cached = modules.cached

        async def answer(self, request: ProxyRequest) -> Answer:
            answer = await modules.answer(request)
            if not answer.stale:
                await self.watch.look(request.path, tags)
            return answer

    args = ["tags", "moved", "--refresh", "--data", str(data), *more]
    return CliRunner().invoke(main, args, obj=open_modules), opened


def test_refresh_lists_every_module_of_the_store(data: Path) -> None:
    paths = [f"example.test/m{number:02}" for number in range(30)]
    publish(data, *paths)
    modules = FixedModules({ProxyRequest(Kind.LIST, path): listed() for path in paths})
    done, opened = refresh(data, modules, [("refs/tags/v1.0.0", A)])
    assert (done.exit_code, done.stdout, done.stderr) == (0, NOTHING, "")
    assert sorted(request.path for request in modules.asked) == paths
    assert [settings.freshness.refs for settings in opened] == [10.0]
    done, _ = refresh(data, modules, [("refs/tags/v1.0.0", B)], "--json")
    assert done.exit_code == 4
    assert sorted(each["Path"] for each in json.loads(done.stdout)) == paths
    assert done.stderr.count('"tag_moved"') == 30


def test_refresh_says_what_could_not_be_asked(data: Path) -> None:
    publish(data, "example.test/down", "example.test/gone", "example.test/good", "example.test/silent")
    modules = FixedModules(
        {
            ProxyRequest(Kind.LIST, "example.test/good"): listed(),
            ProxyRequest(Kind.LIST, "example.test/down"): errors.UpstreamFailed("git.test: \x1b[31mno connection"),
            ProxyRequest(Kind.LIST, "example.test/silent"): listed(stale=5.0),
        }
    )
    done, _ = refresh(data, modules, [("refs/tags/v1.0.0", A)])
    assert (done.exit_code, done.stdout) == (1, NOTHING)
    assert done.stderr.splitlines() == [
        "vcsproxy: not asked: example.test/down: git.test: \\x1b[31mno connection",
        "vcsproxy: not asked: example.test/gone: no such module",
        "vcsproxy: not asked: example.test/silent: its host does not answer",
    ]
    done, _ = refresh(data, modules, [])
    assert done.exit_code == 4


def test_refresh_of_an_empty_store(data: Path) -> None:
    done, _ = refresh(data, FixedModules({}), [])
    assert (done.exit_code, done.stdout, done.stderr) == (0, NOTHING, "")
