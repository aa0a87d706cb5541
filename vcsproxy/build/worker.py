"""What a worker does besides its jobs: it gets ready, and keeps a conversation from one job to the next.

To get ready is to do a job over a repository of three files, so that the next one finds everything loaded, compiled and
cached. The fork server does it once, for all its children to share; a waiting worker does it again, to have pages of
its own for what every job writes to. What comes of it is thrown away.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from dulwich.objects import Blob, Commit, ShaFile, Tree
from dulwich.repo import Repo

from vcsproxy.build.job import Job, Op
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.vcs import talks

__all__ = ["begin", "rehearse", "run"]

_PATH = "example.com/rehearsal"
_FILES = {b".gitattributes": b"*.txt text\n", b"a.txt": b"a\r\n", b"go.mod": b"module example.com/rehearsal\n"}
_place = ""


def begin() -> None:
    """Called by a worker before its first job."""
    rehearse()
    talks.keep()


def rehearse() -> None:
    """List a module, stat a version, build its zip. A disk that cannot be written costs the rehearsal only."""
    global _place  # noqa: PLW0603 - made once by the fork server; its children inherit it
    directory = ""
    try:
        if not _place:
            _place = tempfile.mkdtemp(prefix="rehearsal-")
            _make(_place)
        directory = tempfile.mkdtemp(prefix="rehearsal-")
        for op in (Op.LIST, Op.INFO, Op.ZIP):
            query = "" if op is Op.LIST else "v1.0.0"
            run(Job(op, _PATH, query, RepoRoot(_PATH, f"file://{_place}"), directory, directory))
    except OSError:
        return
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)


def _make(place: str) -> None:
    """A bare repository with one commit and its tag."""
    tree = Tree()
    blobs = {name: Blob.from_string(data) for name, data in _FILES.items()}
    for name, blob in blobs.items():
        tree.add(name, 0o100644, blob.id)
    commit = Commit()
    commit.tree = tree.id
    commit.author = commit.committer = b"A <a@example.com>"
    commit.author_time = commit.commit_time = 1709251200
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = b"m"
    made: list[ShaFile] = [*blobs.values(), tree, commit]
    with Repo.init_bare(place) as repo:
        for each in made:
            repo.object_store.add_object(each)
    os.makedirs(os.path.join(place, "refs", "tags"), exist_ok=True)
    for ref in ("heads/master", "tags/v1.0.0"):
        with open(os.path.join(place, "refs", ref), "w", encoding="ascii") as file:
            file.write(commit.id.decode() + "\n")
