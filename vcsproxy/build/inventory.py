"""Which modules a repository has: the work of the op `modules`.

A directory is a module if its go.mod file at HEAD declares the path that the directory has below the repository's root,
with or without a major version at its end; or if tags name versions of it and the newest of them has a go.mod there.
"""

from __future__ import annotations

from collections.abc import Iterator

from vcsproxy import errors
from vcsproxy.build.coderepo import CodeRepo
from vcsproxy.build.job import Job, Modules
from vcsproxy.mod import modfile, module, semver
from vcsproxy.mod.reporoot import RepoRoot, code_root
from vcsproxy.trace import note
from vcsproxy.vcs.repo import Repo

_GO_MOD = b"go.mod"
_IGNORED = ("vendor", "testdata")


def modules(job: Job, code: CodeRepo, repo: Repo) -> Modules:
    """Every module of the job's repository, sorted by path."""
    assert isinstance(job.target, RepoRoot)
    found = {*_at_head(job.target, repo), *_tagged(job.target, repo)}
    if code.versions or code.exists():
        found.add(job.path)
    note("modules", f"the repository has {len(found)} modules")
    return Modules(tuple(sorted(found)))


def _at_head(root: RepoRoot, repo: Repo) -> Iterator[str]:
    """Modules by the go.mod files of HEAD; those in vendor and testdata directories are nobody's dependency."""
    try:
        commit = repo.latest().name
    except errors.NotFound:
        return
    files = [file for file in repo.files(commit, root.subdir) if file.path.rpartition(b"/")[2] == _GO_MOD]
    files = [file for file in files if not file.entry.is_symlink]
    repo.bring(commit, (file.entry.oid for file in files))
    for file in files:
        directory = file.path.rpartition(b"/")[0].decode("utf-8", "surrogateescape")
        if set(directory.split("/")).intersection(_IGNORED):
            continue
        data = repo.read_at(commit, f"{directory}/go.mod" if directory else "go.mod")
        path = modfile.module_path(data or b"")
        if path and _fits(path, root, directory):
            yield path


def _fits(path: str, root: RepoRoot, directory: str) -> bool:
    """Whether a module of this path would be looked for in this directory, or with its major version below it."""
    if path != root.root and not path.startswith(root.root + "/"):
        return False
    try:
        code = code_root(path, root)
    except errors.VCSProxyError:
        return False
    return directory in (code.code_dir, f"{code.code_dir}{code.path_major}".lstrip("/"))


def _tagged(root: RepoRoot, repo: Repo) -> Iterator[str]:
    """Modules by the directories that tags name before a version, in each of the major versions that they name."""
    newest: dict[str, tuple[str, str]] = {}
    for tag, commit in repo.refs.tags():
        directory, _, version = tag.rpartition("/")
        if not semver.is_valid(version) or version != semver.canonical(version):
            continue
        path = _path_of(root, directory, version)
        if path and semver.compare(version, newest.get(path, ("", ""))[0]) > 0:
            newest[path] = version, commit
    yield from (path for path, (_, commit) in newest.items() if _declares(repo, commit, root, path))


def _path_of(root: RepoRoot, directory: str, version: str) -> str:
    inside = directory.removeprefix(root.subdir).strip("/") if root.subdir else directory
    path = f"{root.root}/{inside}" if inside else root.root
    major = semver.major(version)
    path = path if major in ("v0", "v1") or path.startswith("gopkg.in/") else f"{path}/{major}"
    try:
        module.check_path(path)
    except errors.InvalidRequest:
        return ""
    return path


def _declares(repo: Repo, commit: str, root: RepoRoot, path: str) -> bool:
    """Whether the go.mod where a module would be declares it, as far as one look can tell."""
    code = code_root(path, root)
    places = [code.code_dir, f"{code.code_dir}{code.path_major}".lstrip("/")]
    files = [f"{place}/go.mod" if place else "go.mod" for place in dict.fromkeys(places)]
    try:
        return any(modfile.module_path(repo.read_at(commit, file) or b"") == path for file in files)
    except errors.VCSProxyError:
        return False
