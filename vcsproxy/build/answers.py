"""What a worker answers to each question about a module whose repository is open: list, latest, one version, its zip.

It raises what `coderepo` and `assemble` raise; files are written to the job's workspace.
"""

from __future__ import annotations

import os
from dataclasses import replace

from vcsproxy import errors
from vcsproxy.build.assemble import Assembly
from vcsproxy.build.coderepo import CodeRepo, Version
from vcsproxy.build.directory import Place
from vcsproxy.build.job import Built, Job, Listed
from vcsproxy.mod import gover, modfile, module
from vcsproxy.vcs.repo import Repo, RevInfo

ZIP_NAME = "module.zip"


def listed(job: Job, code: CodeRepo, repo: Repo) -> Listed:
    """Every version, and every tag that names one."""
    if not code.exists():
        raise code.no_matching_versions()
    return Listed(tuple(code.versions), code.tagged())


def latest(job: Job, code: CodeRepo, repo: Repo) -> Built:
    return _built(code, code.latest())


def info(job: Job, code: CodeRepo, repo: Repo) -> Built:
    """The version that a query stands for."""
    found = code.stat(job.query)
    built = _built(code, found)
    return built if found.version == job.query else replace(built, answer=code.info(found, asked=True))


def _built(code: CodeRepo, found: Version) -> Built:
    data = code.info(found)
    return Built(found.version, data, data, code.gomod(found.version))


def zipped(job: Job, code: CodeRepo, repo: Repo) -> Built:
    """The zip of a version, of the commit that was promised for it if one was."""
    if job.pinned:
        found = Version(job.query, _pinned(job, repo))
        place = code.find_dir_at(job.pinned, job.pinned, job.query)
    else:
        found = code.stat(job.query)
        if found.version != job.query:
            raise errors.NotFound(f"{job.path}@{job.query}: invalid version: resolves to version {found.version}")
        place = code.find_dir(job.query)
    return packed(job, code, repo, found, place)


def packed(job: Job, code: CodeRepo, repo: Repo, found: Version, place: Place) -> Built:
    """The zip of a version whose place is known."""
    module.check(job.path, found.version)
    _check_go_limit(job, found.version, place)
    target = os.path.join(job.workspace, ZIP_NAME)
    with open(target, "wb") as out:
        written = Assembly(repo, place).write(job.path, found.version, out)
    data = code.info(found)
    return Built(found.version, data, data, code.gomod_at(place), target, written.h1, written.omitted)


def _pinned(job: Job, repo: Repo) -> RevInfo:
    """The commit that the version was first served from. That its repository is gone does not make it absent."""
    try:
        return repo.commit_at(job.pinned, "")
    except errors.NotFound as err:
        raise errors.Refused(f"{job.path}@{job.query} can no longer be built: {err}", err.hint) from err


def _check_go_limit(job: Job, version: str, place: Place) -> None:
    needed = modfile.go_mod_lookup_go(place.gomod or b"")
    if job.go_limit and gover.compare(needed, job.go_limit) > 0:
        why = f"{job.path}@{version} requires go >= {needed} (running go {job.go_limit})"
        raise errors.NotFound(why, "the server's configuration says so: go.refuse_newer_than")
