"""One job from start to end, inside the worker: resolve, open the repository, answer.

Nothing is raised to the caller: whatever happens becomes a Failed. Files of an unfinished answer stay in the job's
workspace, which the serving process throws away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from vcsproxy import errors
from vcsproxy.build.assemble import Assembly
from vcsproxy.build.coderepo import CodeRepo, Place, Version
from vcsproxy.build.job import Built, Failed, Job, Listed, Op, Result
from vcsproxy.mod import gover, modfile, module
from vcsproxy.mod.reporoot import RepoRoot, code_root
from vcsproxy.vcs.local import LocalSource
from vcsproxy.vcs.mirror import Mirror
from vcsproxy.vcs.objects import MissingObject
from vcsproxy.vcs.repo import Repo, RevInfo
from vcsproxy.vcs.reporoot import resolve

ZIP_NAME = "module.zip"


def run(job: Job) -> Result:
    """Answer a job; every error comes back as a Failed."""
    try:
        return _run(job)
    except errors.VCSProxyError as err:
        return Failed.of(err)
    except MissingObject as err:
        return Failed.of(
            errors.UpstreamFailed(f"object {err} is missing from the repository", "is it a partial clone?")
        )
    except MemoryError:
        return _too_big(job)
    except OSError as err:
        return Failed.of(errors.Unavailable(f"building {job.path} failed: {err.strerror or err}"))
    except BaseException as err:
        # dulwich's Rust parts panic where an allocation fails; the panic is no Exception and has no importable name.
        if type(err).__name__ == "PanicException":
            return _too_big(job)
        raise


def _too_big(job: Job) -> Failed:
    mib = job.limits.memory >> 20
    return Failed.of(
        errors.Refused(f"building {job.path} needs more than {mib} MiB of memory", "limits.memory bounds it")
    )


def _run(job: Job) -> Result:
    if isinstance(job.target, RepoRoot):
        return _ask(job, job.target)
    root = resolve(job.target, job.hosts, job.limits)
    return replace(_ask(job, root), root=root)


def _ask(job: Job, root: RepoRoot) -> Built | Listed:
    code = code_root(job.path, root)
    with _open(job, root) as source:
        answer = _ANSWERS[job.op]

        def attempt() -> Built | Listed:
            return answer(job, CodeRepo(Repo(source, job.limits), root, code), Repo(source, job.limits))

        try:
            return attempt()
        except errors.NotFound:
            # The refs may be those of a minute ago: a version just tagged is worth one more look.
            if not (isinstance(source, Mirror) and source.refresh()):
                raise
            return attempt()


@contextmanager
def _open(job: Job, root: RepoRoot) -> Iterator[LocalSource | Mirror]:
    url = urlsplit(root.url)
    if url.scheme == "file":
        source: LocalSource | Mirror = LocalSource(unquote(url.path), root.origin or root.root, job.limits)
    else:
        source = Mirror.open(root.url, job.mirrors, job.hosts, job.limits, job.refs_ttl)
    try:
        yield source
    finally:
        source.close()


def _list(job: Job, code: CodeRepo, repo: Repo) -> Built | Listed:
    if not code.exists():
        raise code.no_matching_versions()
    return Listed(tuple(code.versions))


def _latest(job: Job, code: CodeRepo, repo: Repo) -> Built | Listed:
    return _built(code, code.latest())


def _info(job: Job, code: CodeRepo, repo: Repo) -> Built | Listed:
    found = code.stat(job.query)
    built = _built(code, found)
    return built if found.version == job.query else replace(built, answer=code.info(found, asked=True))


def _built(code: CodeRepo, found: Version) -> Built:
    info = code.info(found)
    return Built(found.version, info, info, code.gomod(found.version))


def _zip(job: Job, code: CodeRepo, repo: Repo) -> Built | Listed:
    if job.pinned:
        found = Version(job.query, _pinned(job, repo))
        place = code.find_dir_at(job.pinned, job.pinned, job.query)
    else:
        found = code.stat(job.query)
        if found.version != job.query:
            raise errors.NotFound(f"{job.path}@{job.query}: invalid version: resolves to version {found.version}")
        place = code.find_dir(job.query)
    module.check(job.path, job.query)
    _check_go_limit(job, place)
    target = os.path.join(job.workspace, ZIP_NAME)
    with open(target, "xb") as out:
        zipped = Assembly(repo, place).write(job.path, job.query, out)
    info = code.info(found)
    return Built(job.query, info, info, code.gomod_at(place), target, zipped.h1, zipped.omitted)


def _pinned(job: Job, repo: Repo) -> RevInfo:
    """The commit that the version was first served from. That its repository is gone does not make it absent."""
    try:
        return repo.commit_at(job.pinned, "")
    except errors.NotFound as err:
        raise errors.Refused(f"{job.path}@{job.query} can no longer be built: {err}", err.hint) from err


def _check_go_limit(job: Job, place: Place) -> None:
    needed = modfile.go_mod_lookup_go(place.gomod or b"")
    if job.go_limit and gover.compare(needed, job.go_limit) > 0:
        raise errors.NotFound(f"{job.path}@{job.query} requires go >= {needed} (running go {job.go_limit})")


_ANSWERS: dict[Op, Callable[[Job, CodeRepo, Repo], Built | Listed]] = {
    Op.LIST: _list,
    Op.LATEST: _latest,
    Op.INFO: _info,
    Op.ZIP: _zip,
}
