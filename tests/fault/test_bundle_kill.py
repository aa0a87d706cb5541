"""An import, of a directory and of a bundle, is killed at random moments; the next run completes it.

Real processes, kill -9, 50 times each at moments spread over the time that a whole import takes. After each kill the
store is sound as it is, but for `list` files that the next start of anything mends; after a second run it has all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.moduletree import Version, proxy_tree
from vcsproxy.store.check import check
from vcsproxy.store.survey import Finding

pytestmark = pytest.mark.slow

TOP = Path(__file__).resolve().parents[2]
KILLS = 50
VERSIONS = [
    Version(f"example.com/m{number % 4}", f"v1.{number}.0", files={"m.go": random.Random(number).randbytes(200_000)})
    for number in range(24)
]


def start(cwd: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vcsproxy", *args],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": os.defpath, "PYTHONPATH": str(TOP), "HOME": str(cwd)},
    )  # fmt: skip


def finished(cwd: Path, *args: str) -> str:
    with start(cwd, *args) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def faults(store: Path, *, lists: bool) -> list[Finding]:
    found: list[Finding] = []
    if store.is_dir():
        check(store, 100, found.append, lambda text: None, processes=0)
    return [each for each in found if each.is_fault and (lists or not each.name.endswith("/list"))]


def infos(store: Path) -> int:
    return len(list(store.rglob("*.info")))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """The arguments of an import from a directory, and from a bundle."""
    top = tmp_path_factory.mktemp("sources")
    proxy_tree(top / "tree", *VERSIONS, hashes=True)
    finished(top, "import", "tree", "--data", "data")
    finished(top, "bundle", "create", "-o", "b", "--data", "data")
    return {"import": ("import", str(top / "tree")), "bundle import": ("bundle", "import", str(top / "b"))}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", ["import", "bundle import"])
def test_killed_at_any_moment_the_next_run_completes(
    sources: dict[str, tuple[str, ...]], tmp_path: Path, what: str
) -> None:
    begun = time.monotonic()
    finished(tmp_path, *sources[what], "--data", "whole")
    whole = time.monotonic() - begun
    chance = random.Random(what)
    partly = 0
    for number in range(KILLS):
        data = f"data{number}"
        store = tmp_path / data / "store"
        process = start(tmp_path, *sources[what], "--data", data)
        while not store.is_dir() and process.poll() is None:  # so long nothing can go wrong
            time.sleep(0.001)
        time.sleep(chance.random() * whole * 0.6)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert faults(store, lists=False) == []
        partly += 0 < infos(store) < len(VERSIONS)
        finished(tmp_path, *sources[what], "--data", data)
        assert infos(store) == len(VERSIONS)
        assert faults(store, lists=True) == []
        assert list((tmp_path / data / "tmp").iterdir()) == []
    assert partly > KILLS // 5, "the moments were not spread over the import"


@pytest.mark.timeout(600)
def test_a_bundle_that_is_killed_while_it_is_written_leaves_the_old_one(
    sources: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    finished(tmp_path, *sources["import"], "--data", "data")
    create = ("bundle", "create", "-o", "b", "--data", "data")
    finished(tmp_path, *create)
    good = (tmp_path / "b").read_bytes()
    begun = time.monotonic()
    finished(tmp_path, *create)
    whole = time.monotonic() - begun
    for number in range(10):
        process = start(tmp_path, *create)
        time.sleep(whole * (0.3 + 0.07 * number))
        process.kill()
        process.communicate()
        assert (tmp_path / "b").read_bytes() == good
    finished(tmp_path, *create)
    assert (tmp_path / "b").read_bytes() == good
