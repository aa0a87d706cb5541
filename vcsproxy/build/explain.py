"""Telling a person how an answer about a module came about: the work of the op `explain`, and causes behind absence.

It changes no answer: what it finds goes into the trace, and behind Go's words in the message of a NotFound.
"""

from __future__ import annotations

import contextlib

from vcsproxy import errors
from vcsproxy.build import hints
from vcsproxy.build.answers import packed
from vcsproxy.build.candidates import Candidates
from vcsproxy.build.coderepo import CodeRepo
from vcsproxy.build.directory import Place, join
from vcsproxy.build.job import Built, Job, Op
from vcsproxy.build.missing import Finding, Holds, Missing
from vcsproxy.mod import modfile
from vcsproxy.mod.reporoot import CodeRoot
from vcsproxy.trace import note, note_each
from vcsproxy.vcs.objects import MissingObject
from vcsproxy.vcs.refs import HEAD, HEADS, RefTable
from vcsproxy.vcs.repo import Repo, unknown_revision

_NOTHING = Finding("", "")


# ---- the op


def explain(job: Job, code: CodeRepo, repo: Repo) -> Built:
    """Answer a query as far as its zip, and note every step. Raises what any other question would have raised."""
    _tell_refs(repo.refs)
    _tell_tags(code, repo.refs)
    found = code.latest() if _is_latest(job) else code.stat(job.query)
    if found.version != job.query:
        note("revision", f"{job.query or 'latest'} is the version {found.version}")
    place = code.find_dir(found.version)
    note("directory", f"the module is in {place.directory or 'the root of the repository'}")
    built = packed(job, code, repo, found, place)
    note("answer", f"the zip's hash is {built.zip_h1}")
    _tell_declared(code, place)
    return built


def _is_latest(job: Job) -> bool:
    return job.op in (Op.LIST, Op.LATEST) or job.query in ("", "latest")


def _tell_refs(table: RefTable) -> None:
    branches = [name[len(HEADS) :] for name in table.refs if name.startswith(HEADS)]
    head = table.peeled(HEAD)
    where = f"HEAD is at {head[:12]}" if head else "HEAD leads nowhere"
    note("refs", f"branches: {len(branches)}, tags: {len(table.tags())}; {where}")
    note_each("refs", ((name, table.peeled(HEADS + name)[:12]) for name in branches), len(branches))


def _tell_tags(code: CodeRepo, table: RefTable) -> None:
    """Every tag's fate. That some tag is unreadable is no fault of the question."""
    tags = [name for name, _ in table.tags()]
    try:
        versions = frozenset(code.versions)
    except errors.NotFound as err:
        note("tags", f"which versions there are cannot be said: {err.message}")
        versions = frozenset()
    judged = Candidates(code.code_root, versions, code.is_retracted).judged(tags)
    if tags:
        note("tags", "what each tag is for this module:")
    note_each("tags", judged, len(tags))


def _tell_declared(code: CodeRepo, place: Place) -> None:
    """The one thing that go itself refuses where this server cannot: a module that calls itself otherwise."""
    path = code.code_root.module_path
    declared = modfile.module_path(place.gomod) if place.gomod is not None else path
    if declared != path:
        file = join(place.directory, "go.mod")
        note("cause", f"{file} declares the module path {declared}, and go refuses to use it as {path}")
        note("cure", hints.another_path(code.code_root, file, declared))


# ---- why it is absent


def explained(err: errors.NotFound, job: Job, code: CodeRepo, repo: Repo) -> errors.NotFound:
    """The same error, with the cause behind Go's words and a cure, where facts at hand can tell.

    The words for the query "latest" stay as they are; their cause is in the trace alone.
    """
    finding = _NOTHING
    with contextlib.suppress(errors.VCSProxyError, MissingObject):  # a guess that fails must not hide what is known
        finding = _finding(err, job, code, repo)
    cause = finding.cause
    message = f"{err.message}; {cause}" if cause and not _is_latest(job) else err.message
    hint = err.hint or finding.cure
    for topic, text in (("cause", cause), ("cure", hint)):
        if text:
            note(topic, text)
    return type(err)(message, hint)


def _finding(err: errors.NotFound, job: Job, code: CodeRepo, repo: Repo) -> Finding:
    if isinstance(err, errors.RepositoryNotFound):
        return _NOTHING
    if _is_latest(job):
        return _no_version(code) if err.message == code.no_matching_versions().message else _NOTHING
    revision = code.revision(job.query)
    if not err.message.endswith(unknown_revision(revision).message):
        return _NOTHING
    return Missing(code.code_root, job.query, revision, repo.refs, lambda at: _holds(repo, at, code.code_root)).find()


def _holds(repo: Repo, commit: str, code: CodeRoot) -> Holds:
    """What a commit has where the module should be, as far as it is here."""
    try:
        if repo.has_file(commit, join(code.code_dir, "go.mod")):
            return Holds.MODULE
        return Holds.DIRECTORY if repo.has_directory(commit, code.code_dir) else Holds.NOTHING
    except MissingObject:
        return Holds.UNKNOWN


def _no_version(code: CodeRepo) -> Finding:
    why = code.why_head_is_none
    tags = "every version is retracted" if code.versions else "no tag names a version of it"
    if why is None:
        return Finding(f"{tags}, and so is HEAD", "ask for a version by its number, or tag a newer one")
    reason = why.message.rpartition("invalid version: ")[2]
    cure = why.hint or "push a commit, or choose the default branch at the host"
    return Finding(f"{tags}, and HEAD is none: {reason}", cure)
