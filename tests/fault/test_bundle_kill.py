"""An import, of a directory and of a bundle, is killed at random moments; the next run completes it.

Real processes, kill -9, 50 times each at moments spread over the time that a whole import takes. After each kill the
store is sound as it is, but for `list` files that the next start of anything mends; after a second run it has all.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.killed import faults, finished, infos, kill_midway, moments, start
from tests.support.moduletree import Version, proxy_tree

pytestmark = pytest.mark.slow

KILLS = 50
VERSIONS = [
    Version(f"example.com/m{number % 4}", f"v1.{number}.0", files={"m.go": random.Random(number).randbytes(200_000)})
    for number in range(24)
]


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
    partly = 0
    for number, moment in enumerate(moments(what, whole * 0.6, KILLS)):
        data = f"data{number}"
        store = tmp_path / data / "store"
        kill_midway(tmp_path, store, moment, *sources[what], "--data", data)
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
