"""A look into the repository that a file of the user's lies in: what the file was at some commit."""

from __future__ import annotations

from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.object_store import tree_lookup_path
from dulwich.objects import Blob, Commit, Tag
from dulwich.objectspec import parse_object
from dulwich.repo import Repo

from vcsproxy import errors


def file_at(file: Path, revision: str) -> str:
    """The text of a file at a commit of its repository, "" if it was not there then. Raises VCSProxyError."""
    path = file.resolve()
    try:
        with Repo.discover(str(path.parent)) as repo:
            return _text(repo, path, revision)
    except NotGitRepository as err:
        raise errors.VCSProxyError(f"{file} is in no Git repository", "leave out --since-commit") from err


def _text(repo: Repo, path: Path, revision: str) -> str:
    commit = _commit(repo, revision)
    name = path.relative_to(Path(repo.path).resolve()).as_posix().encode("utf-8", "surrogateescape")
    try:
        _, oid = tree_lookup_path(repo.__getitem__, commit.tree, name)
    except KeyError:
        return ""
    blob = repo[oid]
    return blob.data.decode("utf-8", "replace") if isinstance(blob, Blob) else ""


def _commit(repo: Repo, revision: str) -> Commit:
    try:
        found = parse_object(repo, revision)
    except (KeyError, ValueError) as err:
        hint = "fetch it first, in CI with the whole history or at least that commit"
        raise errors.VCSProxyError(f"there is no commit {revision} in {repo.path}", hint) from err
    while isinstance(found, Tag):
        found = repo[found.object[1]]
    if not isinstance(found, Commit):
        raise errors.VCSProxyError(f"{revision} is no commit")
    return found
