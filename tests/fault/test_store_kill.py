"""A publish is killed, or gets EIO or ENOSPC, at each of its system calls in turn; afterwards the store must be right.

strace attaches to a real process that is about to publish, and injects the fault at the n-th call of one kind, for all
n until the publish gets through. After each run a new store is opened on what is left:

- a version is there as a whole or not at all, and what is there has the bytes that were published;
- after an error was reported it is not there;
- leftovers are swept, publishing again succeeds, and `list` is right.

The same for remembering an answer: the new one is there as a whole, or the one before it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.test_store import COMMIT, ESCAPED, GOMOD, PATH, content, info, zip_bytes
from vcsproxy.store import Artifacts, Kind
from vcsproxy.store.disk import DiskStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (apt-get install strace)"),
]

TOP = Path(__file__).resolve().parents[2]
VERSION = "v1.0.0"
MAX_CALLS = 100

DONE, OVERLOADED, CORRUPT, OTHER = 0, 10, 11, 12
KILLED = -signal.SIGKILL

CALLS = ["openat", "write", "fsync", "fchmod", "linkat", "mkdirat", "?mkdir", "renameat", "unlinkat", "flock"]
ALWAYS = {"openat": 10, "write": 2, "fsync": 6, "linkat": 3, "mkdirat": 0, "flock": 2}

CHILD = """
import asyncio, ctypes, os, sys
from pathlib import Path
from vcsproxy import errors
from vcsproxy.store import Artifacts
from vcsproxy.store.disk import DiskStore
from tests.contract.test_store import GOMOD, PATH, info, zip_bytes

ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER_ANY, where Yama asks for it

async def artifacts(store, version):
    data, h1 = zip_bytes(version)
    workspace = await store.workspace()
    (workspace / "module.zip").write_bytes(data)
    return Artifacts(info(version), GOMOD, workspace / "module.zip", h1)

async def main(top, version):
    store = DiskStore(top / "store", top / "tmp")
    await store.publish("warm.example/up", version, await artifacts(store, version))
    new = await artifacts(store, version)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        await store.publish(PATH, version, new)
    except errors.VCSProxyError as err:
        os._exit({"Overloaded": 10, "Corrupt": 11}.get(type(err).__name__, 12))
    except BaseException:
        os._exit(13)
    os._exit(0)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def publish_under(top: Path, *options: str, script: str = CHILD, about: str = VERSION) -> int:
    """Publish in another process under strace with these options; its exit status."""
    command = [sys.executable, "-c", script, str(top), about]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        tracer = ["strace", "-f", "-o", str(top / "trace"), *options, "-p", str(process.pid)]
        with subprocess.Popen(tracer, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            first = strace.stderr.readline()
            if "attached" not in first:
                process.kill()
                pytest.skip(f"strace cannot attach here: {first.strip()}")
            try:
                process.stdin.write("\n")
                process.stdin.flush()
                return process.wait(timeout=60)
            finally:
                process.kill()
                strace.stderr.read()


@pytest.fixture(params=["new version", "zip added", "zip put back"])
def before(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def prepare(top: Path, before: str) -> None:
    store = DiskStore(top / "store", top / "tmp")
    if before == "zip added":
        await store.publish(PATH, VERSION, Artifacts(info(VERSION), GOMOD, None, ""))
    if before == "zip put back":
        await store.publish(PATH, VERSION, await whole(store))
        (top / "store" / ESCAPED / "@v" / f"{VERSION}.zip").unlink()
    await store.close()


async def whole(store: DiskStore) -> Artifacts:
    data, h1 = zip_bytes(VERSION)
    file = await store.workspace() / "module.zip"
    file.write_bytes(data)
    return Artifacts(info(VERSION), GOMOD, file, h1)


async def check(top: Path, before: str, status: int) -> None:
    """All that must hold after a publish that ended in any way."""
    directory = top / "store" / ESCAPED / "@v"
    names = {file.name for file in directory.iterdir()} if directory.is_dir() else set()
    assert f"{VERSION}.info" not in names or f"{VERSION}.mod" in names
    store = DiskStore(top / "store", top / "tmp")
    await store.sweep()
    assert len(list((top / "tmp").iterdir())) == 1, "leftovers of the dead process"
    seen = [await store.find(PATH, VERSION, kind) for kind in Kind]
    expected = [info(VERSION), GOMOD, zip_bytes(VERSION)[0]]
    assert all(found is None or content(found) == data for found, data in zip(seen, expected, strict=True))
    there = [found is not None for found in seen]
    assert there[0] == there[1]
    if before != "new version":
        assert there[0]
    if status == DONE:
        assert there == [True, True, True]
    if status in (OVERLOADED, CORRUPT):
        assert there == [before != "new version", before != "new version", False]
    assert await store.versions(PATH) == ([VERSION] if there[0] else [])
    if directory.is_dir() and status == KILLED:
        assert (directory / "list").read_text() == (f"{VERSION}\n" if there[0] else "")
    await store.publish(PATH, VERSION, await whole(store))
    seen = [await store.find(PATH, VERSION, kind) for kind in Kind]
    assert [content(found) for found in seen] == expected
    zipped = seen[2]
    assert zipped is not None
    assert zipped.h1 == zip_bytes(VERSION)[1]
    await store.publish(PATH, "v1.1.0", Artifacts(info("v1.1.0", COMMIT), GOMOD, None, ""))
    assert (directory / "list").read_text() == f"{VERSION}\nv1.1.0\n"
    await store.close()


async def every_call(tmp_path: Path, before: str, call: str, fault: str) -> list[int]:
    """The status of each run, the last of which was not touched by the fault."""
    ends: list[int] = []
    while len(ends) < MAX_CALLS:
        top = tmp_path / str(len(ends))
        top.mkdir()
        await prepare(top, before)
        inject = f"inject={call}:{fault}:when={len(ends) + 1}"
        ends.append(publish_under(top, "-e", f"trace={call}", "-e", inject))
        trace = (top / "trace").read_text()
        await check(top, before, ends[-1])
        shutil.rmtree(top)
        if "INJECTED" not in trace and ends[-1] != KILLED:
            return ends
    raise AssertionError(f"more than {MAX_CALLS} calls of {call}")


@pytest.mark.parametrize("call", CALLS)
async def test_killed_at_every_system_call(tmp_path: Path, before: str, call: str) -> None:
    *faulty, last = await every_call(tmp_path, before, call, "signal=KILL")
    assert last == DONE
    assert set(faulty) <= {KILLED}
    if before == "new version":
        assert len(faulty) >= ALWAYS.get(call, 0)


@pytest.mark.parametrize(("error", "status"), [("EIO", CORRUPT), ("ENOSPC", OVERLOADED)])
@pytest.mark.parametrize("call", CALLS)
async def test_error_at_every_system_call(tmp_path: Path, before: str, call: str, error: str, status: int) -> None:
    *faulty, last = await every_call(tmp_path, before, call, f"error={error}")
    assert last == DONE
    assert set(faulty) <= {status, DONE}  # DONE: only `list` or the removal of private files was hit
    if before == "new version" and call in ("write", "fsync", "linkat"):
        assert status in faulty


async def test_i1_everything_is_durable_before_the_name_that_stands_for_it(tmp_path: Path) -> None:
    """The order of one publish, from its trace: files are synced, then linked; the directory before each manifest."""
    await prepare(tmp_path, "new version")
    calls = "trace=write,fsync,linkat,mkdirat,?rename,?renameat,?renameat2"
    assert publish_under(tmp_path, "-y", "-e", calls) == DONE
    steps = [step for line in (tmp_path / "trace").read_text().splitlines() if (step := step_of(line))]
    links = [name for verb, name in steps if verb == "link" and name.startswith("@v/")]
    assert links == [f"@v/{VERSION}{suffix}" for suffix in (".zip", ".ziphash", ".mod", ".info")]
    for suffix, staged in ((".zip", "module.zip"), (".ziphash", ".ziphash"), (".mod", ".mod"), (".info", ".info")):
        linked = steps.index(("link", f"@v/{VERSION}{suffix}"))
        assert ("fsync", staged) in steps[:linked]
        assert ("write", staged) not in steps[steps.index(("fsync", staged)) :]
        if suffix in (".ziphash", ".info"):
            assert steps[linked - 1] == ("fsync", "@v")
    assert ("fsync", "@v") in steps[steps.index(("link", f"@v/{VERSION}.info")) :]
    assert steps[-2:] == [("rename", "@v/list"), ("fsync", "@v")]
    for parent, made in (("store", "github.com"), ("github.com", "!azure"), ("!azure", "x"), ("x", "@v")):
        assert ("fsync", parent) in steps[steps.index(("mkdir", f"{parent}/{made}")) :]


def step_of(line: str) -> tuple[str, str] | None:
    """One line of the trace as (verb, last name or two of what it is about)."""
    if found := re.search(r" (fsync|write)\(\d+<([^>]*)>.*= \d+$", line):
        return found[1], os.path.basename(found[2])
    if found := re.search(r" mkdirat\(\d+<([^>]*)>, \"([^\"]*)\".*= 0$", line):
        return "mkdir", f"{os.path.basename(found[1])}/{found[2]}"
    if found := re.search(r" (link|rename)(?:at2?)?\(.*, \d+<([^>]*)>, \"([^\"]*)\".*= 0$", line):
        return found[1], f"{os.path.basename(found[2])}/{found[3]}"
    return None


# ---- remembering

REMEMBERING = """
import asyncio, ctypes, os, sys
from pathlib import Path
from vcsproxy import errors
from vcsproxy.store.disk import DiskStore
from tests.contract.test_store import PATH, info

ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)

async def main(top, name):
    store = DiskStore(top / "store", top / "tmp")
    await store.remember("warm.example/up", "main", info())
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        await store.remember(PATH, name, info("v1.1.0"))
    except errors.VCSProxyError as err:
        os._exit({"Overloaded": 10, "Corrupt": 11}.get(type(err).__name__, 12))
    except BaseException:
        os._exit(13)
    os._exit(0)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""
OLD, NEW = info(VERSION), info("v1.1.0")
MEMORIES = {
    "first": ("latest", None, 0),
    "branch": ("main", OLD, 0),
    "full": ("main", None, 200),
}


async def prepare_memory(top: Path, name: str, old: bytes | None, others: int) -> None:
    store = DiskStore(top / "store", top / "tmp")
    if old is not None:
        await store.publish(PATH, VERSION, Artifacts(info(VERSION), GOMOD, None, ""))
        await store.remember(PATH, name, old)
    for number in range(others):
        await store.remember(PATH, f"branch-{number}", OLD)
    await store.close()


async def check_memory(top: Path, memory: tuple[str, bytes | None, int], status: int) -> None:
    name, old, others = memory
    store = DiskStore(top / "store", top / "tmp")
    await store.sweep()
    assert len(list((top / "tmp").iterdir())) == 1, "leftovers of the dead process"
    last = await store.recall(PATH, name)
    assert (last and last.data) in ([NEW] if status == DONE else [old, NEW])
    assert await store.versions(PATH) == ([] if old is None else [VERSION])
    await store.remember(PATH, name, NEW)
    last = await store.recall(PATH, name)
    assert last is not None
    assert last.data == NEW
    await store.remember(PATH, "another", NEW)
    if others:
        files = [file.name for file in (top / "store" / ESCAPED / "@v").iterdir() if file.suffix == ".info"]
        assert len(files) == 200
        assert {"main.info", "another.info"} <= set(files)
    await store.close()


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(("fault", "status"), [("signal=KILL", KILLED), ("error=EIO", CORRUPT)])
@pytest.mark.parametrize("call", ["openat", "write", "fsync", "fchmod", "mkdirat", "renameat", "unlinkat"])
async def test_remembering_is_hit_at_every_system_call(
    tmp_path: Path, memory: str, call: str, fault: str, status: int
) -> None:
    ends: list[int] = []
    while len(ends) < MAX_CALLS:
        top = tmp_path / str(len(ends))
        top.mkdir()
        await prepare_memory(top, *MEMORIES[memory])
        inject = f"inject={call}:{fault}:when={len(ends) + 1}"
        options = ("-e", f"trace={call}", "-e", inject)
        ends.append(publish_under(top, *options, script=REMEMBERING, about=MEMORIES[memory][0]))
        await check_memory(top, MEMORIES[memory], ends[-1])
        if "INJECTED" not in (top / "trace").read_text() and ends[-1] != KILLED:
            break
        shutil.rmtree(top)
    assert ends[-1] == DONE
    assert set(ends) <= {status, DONE}
    if call in ("write", "fsync", "fchmod", "renameat"):
        assert status in ends
