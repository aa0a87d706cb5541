"""One job from start to end, inside the worker: resolve, open the repository, answer.

Nothing is raised to the caller: whatever happens becomes a Failed. Files of an unfinished answer stay in the job's
workspace, which the serving process throws away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from vcsproxy import errors
from vcsproxy.build import answers
from vcsproxy.build.coderepo import CodeRepo
from vcsproxy.build.explain import explain, explained
from vcsproxy.build.inventory import modules
from vcsproxy.build.job import Answered, Built, Call, Failed, Job, Listed, Located, Op, Result, Task
from vcsproxy.build.variants import variants
from vcsproxy.mod.reporoot import CodeRoot, RepoRoot, code_root, without_userinfo
from vcsproxy.secret import Redactor, Secret
from vcsproxy.trace import Trace, note, tracing
from vcsproxy.vcs.https import call
from vcsproxy.vcs.local import LocalSource
from vcsproxy.vcs.mirror import Mirror, Moved
from vcsproxy.vcs.objects import MissingObject
from vcsproxy.vcs.packs import Damaged
from vcsproxy.vcs.repo import Repo
from vcsproxy.vcs.reporoot import resolve


def run(task: Task) -> Result:
    """Answer a task; every error comes back as a Failed, every answer with the steps that led to it."""
    wanted = isinstance(task, Job) and task.op is Op.EXPLAIN
    with tracing(Trace(detailed=wanted, hide=Redactor(_secrets(task)))) as trace:
        try:
            answer = call(task) if isinstance(task, Call) else _run(task)
        except Exception as err:
            return Failed.of(_expected(err, task), _secrets(task), tuple(trace.steps))
        except BaseException as err:
            # dulwich's Rust parts panic where an allocation fails; the panic is no Exception, its name is not public.
            if type(err).__name__ != "PanicException":
                raise
            return Failed.of(_too_big(task), _secrets(task), tuple(trace.steps))
        return replace(answer, steps=tuple(trace.steps))


def _expected(err: Exception, task: Task) -> errors.VCSProxyError:
    """What went wrong, in our terms. Raises what is a fault in this program."""
    if isinstance(err, errors.VCSProxyError):
        return err
    if isinstance(err, MissingObject):
        return errors.UpstreamFailed(f"object {err} is missing from the repository", "is it a partial clone?")
    if isinstance(err, MemoryError):
        return _too_big(task)
    if isinstance(err, OSError):
        return errors.Unavailable(f"{_subject(task)} failed: {err.strerror or err}")
    raise err


def _subject(task: Task) -> str:
    return f"building {task.path}" if isinstance(task, Job) else f"asking {task.url}"


def _secrets(task: Task) -> tuple[Secret, ...]:
    if isinstance(task, Call):
        return (task.bearer,)
    return tuple(access.secret for access in task.access)


def _too_big(task: Task) -> errors.Refused:
    mib = task.limits.memory >> 20
    return errors.Refused(f"{_subject(task)} needs more than {mib} MiB of memory", "limits.memory bounds it")


def _run(job: Job) -> Located | Answered:
    if isinstance(job.target, RepoRoot):
        return _ask(job, job.target)
    return Located(resolve(job.target, job.hosts, job.limits, job.access))


def _ask(job: Job, root: RepoRoot) -> Answered:
    code = code_root(job.path, root)
    where = f"is in its directory {code.code_dir}" if code.code_dir else "is at its root"
    tags = f", its tags begin with {code.tag_prefix}" if code.tag_prefix else ""
    note("repository", f"{without_userinfo(root.url)} is that of {root.root}; the module {where}{tags}")
    try:
        return _answered(job, root, code)
    except Moved as err:
        note("refs", f"{err.message}; they are read once more")
    except Damaged as err:
        note("fetch", f"the copy of the repository is damaged ({err}) and begins anew")
    try:
        return _answered(job, root, code)
    except Damaged as err:
        message = f"the copy of {root.origin or root.root} is damaged again and again: {err}"
        hint = "is the repository whole at its host? if so, check the disk of the data directory"
        raise errors.UpstreamFailed(message, hint) from err


def _answered(job: Job, root: RepoRoot, code: CodeRoot) -> Answered:
    with _open(job, root) as source:
        try:
            answer = _attempt(job, root, code, source, again=True)
            if isinstance(answer, Listed | Built):
                return replace(answer, stale=source.stale, read=source.read_at)
            return answer
        except (Damaged, MissingObject) as err:
            if not isinstance(source, Mirror) or job.offline:
                raise
            source.begin_anew()
            raise Damaged(f"object {err} is missing" if isinstance(err, MissingObject) else str(err)) from err


def _attempt(job: Job, root: RepoRoot, code: CodeRoot, source: LocalSource | Mirror, *, again: bool) -> Answered:
    """Answer from the refs that are at hand, once more from new ones if nothing is found; facts are read anew then."""
    repo = Repo(source, job.limits)
    asked = CodeRepo(repo, root, code)
    try:
        return _ANSWERS[job.op](job, asked, repo)
    except errors.NotFound as err:
        # The refs may be those of a minute ago: a version just tagged is worth one more look.
        if not (again and isinstance(source, Mirror) and source.refresh()):
            raise explained(err, job, asked, repo) from err
    note("refs", "the refs have changed meanwhile, and it is looked for once more")
    return _attempt(job, root, code, source, again=False)


@contextmanager
def _open(job: Job, root: RepoRoot) -> Iterator[LocalSource | Mirror]:
    url = urlsplit(root.url)
    if url.scheme == "file":
        source: LocalSource | Mirror = LocalSource(unquote(url.path), root.origin or root.root, job.limits)
    else:
        source = Mirror.open(root, job)
    try:
        yield source
    finally:
        source.close()


_ANSWERS: dict[Op, Callable[[Job, CodeRepo, Repo], Answered]] = {
    Op.LIST: answers.listed,
    Op.LATEST: answers.latest,
    Op.INFO: answers.info,
    Op.ZIP: answers.zipped,
    Op.EXPLAIN: explain,
    Op.VARIANTS: variants,
    Op.MODULES: modules,
}
