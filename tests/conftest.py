"""Fixtures that every test directory shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gitrepo import GitRepo
from tests.support.gotool import GoTool


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> GoTool:
    """The real go command with caches of its own."""
    home = tmp_path_factory.mktemp("go") / "home"
    home.mkdir()
    return GoTool(home)


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., GitRepo]:
    """Make a bare repository: make_repo("name", object_format="sha256")."""

    def make(name: str = "repo", object_format: str = "sha1") -> GitRepo:
        return GitRepo(tmp_path / "repos" / name, object_format)

    return make
