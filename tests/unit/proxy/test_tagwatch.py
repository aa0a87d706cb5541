"""The tag watch over a real store and a real journal: what is said, once, and what is left after a crash."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from vcsproxy.proxy import tagjournal
from vcsproxy.proxy.tagjournal import Journal, read_journal
from vcsproxy.proxy.tagwatch import Moved, TagWatch
from vcsproxy.store import Artifacts
from vcsproxy.store.disk import DiskStore
from vcsproxy.trace import Trace, tracing

PATH = "example.test/m"
A, B, C = "a" * 40, "b" * 40, "c" * 40
Tags = list[tuple[str, str]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskStore]:
    """v1.0.0 and v1.1.0 from tags, and a pseudo-version."""
    disk = DiskStore(tmp_path / "store", tmp_path / "tmp")
    await publish(disk, "v1.0.0", A)
    await publish(disk, "v1.1.0", B)
    await publish(disk, "v0.0.0-20240301000000-cccccccccccc", C, ref="")
    yield disk
    await disk.close()


async def publish(store: DiskStore, version: str, commit: str, ref: str | None = None, path: str = PATH) -> None:
    origin = {"VCS": "git", "Hash": commit, "Ref": f"refs/tags/{version}" if ref is None else ref}
    info = json.dumps({"Version": version, "Time": "2024-03-01T00:00:00Z", "Origin": origin}).encode()
    await store.publish(path, version, Artifacts(info, b"module m\n", None, ""))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "tags-moved.jsonl"


def tags(first: str = A, second: str = B) -> Tags:
    """What the host says now; "" for a tag that is gone."""
    named = {"refs/tags/v1.0.0": first, "refs/tags/v1.1.0": second, "refs/tags/v1.9.0": C}
    return [(ref, commit) for ref, commit in named.items() if commit]


def watch(store: DiskStore, journal: Path) -> TagWatch:
    return TagWatch(store, journal, settle=0)


def short(found: list[Moved]) -> list[tuple[str, str, str]]:
    return [(each.version, each.served, each.now) for each in found]


async def look(watching: TagWatch, now: Tags) -> tuple[list[tuple[str, str, str]], list[dict[str, Any]]]:
    with capture_logs() as logs:
        found = await watching.look(PATH, now)
    return short(found), [dict(event) for event in logs]


MOVED = {"module": PATH, "version": "v1.0.0", "served": A, "now": C}


async def test_tags_that_stay_are_nothing_to_talk_of(store: DiskStore, journal: Path) -> None:
    watching = watch(store, journal)
    assert await look(watching, tags()) == ([], [])
    assert not journal.exists()
    assert (watching.moved_total, watching.gone_total) == (0, 0)


async def test_a_moved_tag_is_an_alarm_once(store: DiskStore, journal: Path) -> None:
    watching, before = watch(store, journal), time.time()
    found, logs = await look(watching, tags(first=C))
    assert found == [("v1.0.0", A, C)]
    assert logs == [{"event": "tag_moved", "log_level": "error", "alarm": True, **MOVED}]
    assert await look(watching, tags(first=C)) == (found, [])
    assert await look(watch(store, journal), tags(first=C)) == (found, [])  # as after a restart
    assert (watching.moved_total, watching.gone_total) == (1, 0)
    (line,) = journal.read_text().splitlines()
    assert {key: value for key, value in json.loads(line).items() if key != "time"} == MOVED
    (noted,) = read_journal(journal)
    assert (noted.path, noted.version, noted.served, noted.now) == tuple(MOVED.values())
    assert before - 1 < noted.time < time.time() + 1


async def test_each_further_move_is_an_alarm(store: DiskStore, journal: Path) -> None:
    watching = watch(store, journal)
    for commit in (C, B, C):
        found, logs = await look(watching, tags(first=commit))
        assert found == [("v1.0.0", A, commit)]
        assert [event["now"] for event in logs] == [commit]
    assert watching.moved_total == 3
    assert short(read_journal(journal)) == [("v1.0.0", A, C)]


async def test_a_tag_that_is_gone_is_a_warning_once(store: DiskStore, journal: Path) -> None:
    watching = watch(store, journal)
    found, logs = await look(watching, tags(second=""))
    assert found == [("v1.1.0", B, "")]
    assert logs == [
        {"event": "tag_gone", "log_level": "warning", "module": PATH, "version": "v1.1.0", "served": B, "now": ""}
    ]
    assert await look(watching, tags(second="")) == (found, [])
    assert (watching.moved_total, watching.gone_total) == (0, 1)


async def test_a_tag_that_comes_back_is_journalled_and_no_longer_listed(store: DiskStore, journal: Path) -> None:
    await look(watch(store, journal), tags(first=C, second=""))
    again = watch(store, journal)
    found, logs = await look(again, tags(second=""))
    assert found == [("v1.1.0", B, "")]
    assert [(event["event"], event["log_level"], event["version"]) for event in logs] == [
        ("tag_back", "info", "v1.0.0")
    ]
    assert await look(again, tags(second="")) == (found, [])
    assert short(read_journal(journal)) == found
    assert json.loads(journal.read_text().splitlines()[-1])["now"] == A
    _, logs = await look(again, tags(first=C, second=""))
    assert [event["event"] for event in logs] == ["tag_moved"]


async def test_only_versions_that_were_served_from_tags_count(store: DiskStore, journal: Path) -> None:
    await publish(store, "v3.0.0+incompatible", C, ref="refs/tags/sub/v3.0.0")
    now = [*tags(), ("refs/tags/sub/v3.0.0", C), ("refs/tags/v7.0.0", A)]
    assert await look(watch(store, journal), now) == ([], [])
    assert (await watch(store, journal).look("example.test/other", [])) == []
    found, _ = await look(watch(store, journal), [*tags(), ("refs/tags/sub/v3.0.0", A)])
    assert found == [("v3.0.0+incompatible", C, A)]


async def test_the_tag_of_a_version_just_published_is_not_said_to_be_gone(store: DiskStore, journal: Path) -> None:
    """The list may have been read before the tag was pushed that the version was then built from."""
    careful = TagWatch(store, journal)
    assert await look(careful, tags(second="")) == ([], [])
    found, _ = await look(careful, tags(first=C, second=""))
    assert found == [("v1.0.0", A, C)]
    info = Path(journal.parent / "store" / PATH / "@v" / "v1.1.0.info")
    os.utime(info, (time.time() - 1000, time.time() - 1000))
    again = DiskStore(journal.parent / "store", journal.parent / "tmp")  # the other keeps the time in memory
    found, logs = await look(TagWatch(again, journal), tags(first=C, second=""))
    assert found == [("v1.0.0", A, C), ("v1.1.0", B, "")]
    assert [event["event"] for event in logs] == ["tag_gone"]
    await again.close()


async def test_findings_are_told_to_whoever_wants_an_explanation(store: DiskStore, journal: Path) -> None:
    with tracing(Trace()) as trace:
        await watch(store, journal).look(PATH, tags(first=C, second=""))
    (step,) = trace.steps
    assert step.topic == "tags"
    assert step.text.endswith("v1.0.0 (moved), v1.1.0 (gone)")


async def test_looks_at_the_same_time_are_one_alarm(store: DiskStore, journal: Path) -> None:
    watchers = [watch(store, journal) for _ in range(4)]
    with capture_logs() as logs:
        found = await asyncio.gather(*(each.look(PATH, tags(first=C)) for each in watchers * 5))
    assert [short(each) for each in found] == [[("v1.0.0", A, C)]] * 20
    assert [event["event"] for event in logs] == ["tag_moved"]
    assert sum(each.moved_total for each in watchers) == 1
    assert len(journal.read_text().splitlines()) == 1


async def test_what_another_process_has_noticed_is_known(store: DiskStore, journal: Path) -> None:
    first, second = watch(store, journal), watch(store, journal)
    await look(first, tags())
    await look(second, tags(first=C))
    assert (await look(first, tags(first=C)))[1] == []
    _, logs = await look(first, tags())
    assert [event["event"] for event in logs] == ["tag_back"]
    assert (await look(second, tags()))[1] == []


@pytest.mark.parametrize("trouble", ["directory", "link", "no directory"])
async def test_a_journal_that_cannot_be_written_costs_no_alarm_and_no_list(
    store: DiskStore, tmp_path: Path, trouble: str
) -> None:
    journal = tmp_path / "there" / "tags-moved.jsonl"
    if trouble != "no directory":
        journal.parent.mkdir()
    if trouble == "directory":
        journal.mkdir()
    if trouble == "link":
        (tmp_path / "victim").write_text("kept\n")
        journal.symlink_to(tmp_path / "victim")
    watching = watch(store, journal)
    for number in range(3):
        found, logs = await look(watching, tags(first=C))
        assert found == [("v1.0.0", A, C)]
        assert [event["event"] for event in logs] == ["tag_journal_failed", "tag_moved"][: 2 if not number else 1]
    assert watching.moved_total == 1
    if trouble == "link":
        assert (tmp_path / "victim").read_text() == "kept\n"
        journal.unlink()
    journal.parent.mkdir(exist_ok=True)
    if trouble == "directory":
        journal.rmdir()
    assert await look(watching, tags(first=C)) == (found, [])
    assert short(read_journal(journal)) == found


async def test_trouble_with_the_store_costs_no_list(store: DiskStore, journal: Path, tmp_path: Path) -> None:
    directory = (tmp_path / "store" / PATH).parent
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(directory)
    _, logs = await look(watch(store, journal), tags(first=C))
    assert [event["event"] for event in logs] == ["tag_watch_failed"]


async def test_a_cancelled_look_swallows_no_alarm(store: DiskStore, journal: Path) -> None:
    watching = watch(store, journal)
    with capture_logs() as logs:
        task = asyncio.create_task(watching.look(PATH, tags(first=C)))
        while not journal.exists():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(500):
            if logs:
                break
            await asyncio.sleep(0.01)
    assert [event["event"] for event in logs] == ["tag_moved"]


# ---- the journal


def moved(version: str, now: str = C, when: float = 1_700_000_000.0) -> Moved:
    return Moved(PATH, version, A, now, when)


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none") == []
    assert read_journal(tmp_path / "no" / "directory") == []


def test_the_last_line_of_a_version_wins_and_the_newest_comes_first(journal: Path) -> None:
    writer = Journal(journal)
    writer.add([moved("v1.0.0", when=10.0), moved("v1.1.0", when=20.5)])
    writer.add([moved("v1.0.0", now="", when=30.0), moved("v1.2.0", when=5.0)])
    writer.add([moved("v1.1.0", now=A, when=40.0)])
    assert read_journal(journal) == [moved("v1.0.0", now="", when=30.0), moved("v1.2.0", when=5.0)]
    assert len(journal.read_text().splitlines()) == 5


def test_what_is_journalled_is_not_new(journal: Path) -> None:
    assert Journal(journal).add([moved("v1.0.0")]) == [moved("v1.0.0")]
    assert Journal(journal).add([moved("v1.0.0", when=5.0), moved("v1.1.0", now=A)]) == []
    assert len(journal.read_text().splitlines()) == 1


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_journal_is_private(journal: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Journal(journal).add([moved("v1.0.0")])
    finally:
        os.umask(before)
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_a_torn_last_line_is_skipped_and_does_not_tear_the_next(journal: Path) -> None:
    Journal(journal).add([moved("v1.0.0"), moved("v1.1.0")])
    whole = journal.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) - 1):
        journal.write_bytes(whole[:length])
        assert read_journal(journal) == [moved("v1.0.0")]
        assert Journal(journal).add([moved("v1.0.0"), moved("v1.2.0", when=1.0)]) == [moved("v1.2.0", when=1.0)]
        assert read_journal(journal) == [moved("v1.0.0"), moved("v1.2.0", when=1.0)]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"null", b"5", b"\xff\xfe", b"[" * 100_000, b'{"module": "x"}',
        b'{"time": "x", "module": "m", "version": "v1.0.0", "served": "a", "now": "b"}',
        b'{"time": 5, "module": "m", "version": "v1.0.0", "served": "a", "now": "b"}',
        b'{"time": "2024-03-01T00:00:00Z", "module": "m", "version": ["v1.0.0"], "served": "a", "now": "b"}',
    ],
    ids=range(11),
)  # fmt: skip
def test_lines_that_are_no_findings_are_skipped(journal: Path, line: bytes) -> None:
    Journal(journal).add([moved("v1.0.0")])
    journal.write_bytes(line + b"\n" + journal.read_bytes() + line + b"\n")
    assert read_journal(journal) == [moved("v1.0.0")]


def test_any_text_goes_through_the_journal_on_one_line(journal: Path) -> None:
    odd = Moved("m\n\x1b[31m", "v1.0.0\u2028", "\udcff", "\u202e", 5.0)
    Journal(journal).add([odd])
    assert read_journal(journal) == [odd]
    assert len(journal.read_bytes().splitlines()) == 1


def test_a_long_journal_keeps_the_present_states_only(journal: Path) -> None:
    writer, other = Journal(journal, limit=2000), Journal(journal, limit=2000)
    other.add([moved("v1.0.0", when=1.0)])
    for number in range(100):
        writer.add([moved("v1.0.0", now=f"{number:040x}", when=float(number)), moved(f"v2.{number % 3}.0", now="")])
        assert journal.stat().st_size < 2500
    kept = read_journal(journal)
    assert kept[-1] == moved("v1.0.0", now=f"{99:040x}", when=99.0)
    assert len(kept) == 4
    other.refresh()
    assert other.present() == kept
    assert other.add([moved("v1.0.0", now=f"{99:040x}"), moved("v5.0.0")]) == [moved("v5.0.0")]
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert sorted(file.name for file in journal.parent.iterdir()) == [journal.name, f"{journal.name}.1"]


def test_a_journal_of_many_present_states_is_not_written_again_and_again(journal: Path) -> None:
    writer = Journal(journal, limit=1000)
    inodes = set()
    for number in range(64):
        writer.add([moved(f"v1.{number}.0")])
        inodes.add(journal.stat().st_ino)
    assert len(read_journal(journal)) == 64
    assert len(inodes) < 10


def test_a_lock_that_others_keep_ends_in_an_error(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagjournal, "_LOCK_SECONDS", 0.05)
    holding = Journal(journal)
    with holding._locked(), pytest.raises(TimeoutError):
        Journal(journal).add([moved("v1.0.0")])
    assert Journal(journal).add([moved("v1.0.0")]) == [moved("v1.0.0")]


WRITER = """
import sys
from pathlib import Path
from vcsproxy.proxy.tagjournal import Journal, Moved
journal = Journal(Path(sys.argv[1]), limit=int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(sum(len(journal.add([Moved("m", f"v1.{n}.0", "a", "b", 1.0)])) for n in range(60)))
"""


@pytest.mark.parametrize("limit", [1 << 20, 1500])
def test_several_processes_journal_each_finding_once(journal: Path, limit: int) -> None:
    command = [sys.executable, "-c", WRITER, str(journal), str(limit)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 4
    threads = [threading.Thread(target=writer.stdin.close) for writer in writers]
    for thread in threads:
        thread.start()
    counts = [int(writer.stdout.read()) for writer in writers]
    for writer, thread in zip(writers, threads, strict=True):
        thread.join()
        assert writer.wait() == 0
        writer.stdout.close()
    assert sum(counts) == 60
    assert sorted(each.version for each in read_journal(journal)) == sorted(f"v1.{n}.0" for n in range(60))
