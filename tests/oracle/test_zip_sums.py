"""Zips of public modules have the hashes that Go's own tests record for them.

The repositories are not fetched: VCSPROXY_MIRRORS names a directory that holds clones as OWNER+NAME/repo. Recorded
versions whose objects a clone lacks are skipped.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gotool import find_go
from vcsproxy.build.job import Built, Failed, Job, Op
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import RepoRoot

MIRRORS = os.environ.get("VCSPROXY_MIRRORS", "")
SUMS = "src/cmd/go/internal/modfetch/zip_sum_test/testdata/zip_sums.csv"

# (pattern of the repository's root path, OWNER+NAME); a path is matched from its beginning
PLACES = [
    (r"github\.com/([^/]+)/([^/]+)", r"\1+\2"),
    (r"golang\.org/x/([^/]+)", r"golang+\1"),
    (r"gopkg\.in/([^/.]+)\.v\d+", r"go-\1+\1"),
    (r"gopkg\.in/([^/]+)/([^/.]+)\.v\d+", r"\1+\2"),
    (r"go\.uber\.org/([^/]+)", r"uber-go+\1"),
    (r"k8s\.io/([^/]+)", r"kubernetes+\1"),
    (r"sigs\.k8s\.io/([^/]+)", r"kubernetes-sigs+\1"),
    (r"go\.etcd\.io/([^/]+)", r"etcd-io+\1"),
    (r"honnef\.co/go/tools", "dominikh+go-tools"),
    (r"google\.golang\.org/grpc", "grpc+grpc-go"),
    (r"google\.golang\.org/genproto", "googleapis+go-genproto"),
    (r"mvdan\.cc/([^/]+)", r"mvdan+\1"),
]


def mirror(path: str) -> RepoRoot | None:
    """The clone of a module's repository, None if there is none."""
    for pattern, place in PLACES:
        found = re.match(rf"{pattern}(?=/|\Z)", path)
        directory = Path(MIRRORS, found.expand(place), "repo") if found else None
        if found and directory and directory.is_dir():
            return RepoRoot(found[0], f"file://{directory}")
    return None


def rows() -> Iterator[object]:
    if not MIRRORS:
        reason = "VCSPROXY_MIRRORS names no directory with clones of public repositories (OWNER+NAME/repo)"
        yield pytest.param("", "", "", marks=pytest.mark.skip(reason=reason), id="no mirrors")
        return
    env = {"PATH": os.defpath, "GOTOOLCHAIN": "local", "GOENV": "off", "GOTELEMETRY": "off", "HOME": "/nonexistent"}
    root = subprocess.run(
        [find_go(), "env", "GOROOT"], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()
    with Path(root, SUMS).open(newline="") as file:
        for path, version, h1, _ in csv.reader(file):
            if mirror(path):
                yield pytest.param(path, version, h1, id=f"{path}@{version}")


@pytest.mark.parametrize(("path", "version", "h1"), list(rows()))
def test_a_public_modules_zip_has_its_recorded_hash(path: str, version: str, h1: str, tmp_path: Path) -> None:
    """(case 101)"""
    root = mirror(path)
    assert root is not None
    result = run(Job(Op.ZIP, path, version, root, str(tmp_path / "mirrors"), str(tmp_path)))
    if isinstance(result, Failed) and "is missing from the repository" in result.message:
        pytest.skip(f"not all of it is in the clone: {result.message}")
    assert isinstance(result, Built), result
    assert result.zip_h1 == h1
