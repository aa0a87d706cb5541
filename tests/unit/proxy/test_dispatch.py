"""Which repository is asked, with which credential, how often, and what happens when its host cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vcsproxy import errors
from vcsproxy.build.job import Access, Built, Call, Called, Host, Job, Limits, Listed, Located, Op, Task
from vcsproxy.mod.reporoot import Discover, RepoRoot, SourceRule
from vcsproxy.proxy.dispatch import Dispatch
from vcsproxy.proxy.hosts import Hosts
from vcsproxy.proxy.wiring import Wiring
from vcsproxy.secret import Secret
from vcsproxy.trace import Step, Trace

PATH, URL = "git.test/team/x", "https://git.test/team/x.git"
RULE = SourceRule("git.test/{group}/{repo}", "https://git.test/{group}/{repo}.git")
LISTED = Listed(("v1.0.0",))
Answer = Callable[[Task], Located | Listed | Built | Called]


class Script:
    """Runs tasks by a function and notes them."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.tasks, self.limits = answer, list[Task](), Limits()

    async def run(self, job: Task) -> Located | Listed | Built | Called:
        self.tasks.append(job)
        await asyncio.sleep(0)
        return self.answer(job)

    @property
    def jobs(self) -> list[Job]:
        return [task for task in self.tasks if isinstance(task, Job)]


class Ring:
    """Credentials by URL; a denied one is renewed."""

    def __init__(self, *access: Access) -> None:
        self.access, self.asked, self.refused = list(access), list[tuple[str, str]](), list[str]()
        self.renewals = True

    async def for_url(self, url: str, name: str = "") -> Access | None:
        self.asked.append((url, name))
        return next((each for each in self.access if url.startswith(each.url)), None)

    async def for_page(self, url: str) -> tuple[Access, ...]:
        return tuple(each for each in self.access if url.startswith(each.url))

    async def for_way(self, url: str) -> tuple[Access, ...]:
        return tuple(each for each in self.access if each.name == "way")

    def denied(self, access: Access) -> None:
        self.refused.append(access.name)
        if self.renewals:
            self.access = [replace(each, secret=Secret("renewed-secret")) for each in self.access]


TOKEN = Access("team", "https://git.test/team", "basic", "u", Secret("old-secret"))


def dispatch(script: Script, **more: object) -> Dispatch:
    wiring = Wiring(Path("/nonexistent"), sources=(RULE,))
    return Dispatch(script, Hosts(4, 4), replace(wiring, **more))  # type: ignore[arg-type]


async def ask(to: Dispatch, path: str = PATH, op: Op = Op.LIST, query: str = "") -> Listed | Built:
    return await to.ask(op, path, query, trace=Trace())


async def test_a_source_decides_and_its_own_credential_goes_along() -> None:
    script, ring = Script(lambda _: LISTED), Ring(TOKEN, replace(TOKEN, name="other", url="https://other.test"))
    assert await ask(dispatch(script, credentials=ring)) == LISTED
    (job,) = script.jobs
    assert isinstance(job.target, RepoRoot)
    assert (job.target.url, job.access, job.offline) == (URL, (TOKEN,), False)


async def test_the_credential_that_a_source_names_is_the_one_asked_for() -> None:
    ring = Ring(TOKEN)
    await ask(dispatch(Script(lambda _: LISTED), credentials=ring, sources=(replace(RULE, credential="team"),)))
    assert ring.asked == [(URL, "team")]


async def test_finding_the_repository_is_a_job_of_its_own_that_is_believed_for_a_while() -> None:
    found = RepoRoot("meta.test/x", "https://git.test/team/x.git")
    script = Script(lambda task: Located(found) if isinstance(task, Job) and task.op is Op.LOCATE else LISTED)
    page = replace(TOKEN, name="page", url="https://meta.test")
    to = dispatch(script, credentials=Ring(TOKEN, page))
    await ask(to, "meta.test/x")
    await ask(to, "meta.test/x")
    assert [(job.op, [a.name for a in job.access]) for job in script.jobs] == [
        (Op.LOCATE, ["page"]),
        (Op.LIST, ["team"]),
        (Op.LIST, ["team"]),
    ]
    assert script.jobs[0].target == Discover("meta.test/x")


@pytest.mark.parametrize("url", ["file:///etc", "ssh://git.test/x", "http://git.test/x", "ext::sh -c id"])
async def test_a_worker_names_no_file_no_command_and_no_credential(url: str) -> None:
    """The worker has read hostile bytes."""
    lie = RepoRoot("meta.test/x", url)
    with pytest.raises(errors.Corrupt):
        await ask(dispatch(Script(lambda _: Located(lie))), "meta.test/x")
    lie = RepoRoot("meta.test/x", "https://h.test/x", source="x", credential="team", engine="git", tag_prefix="a")
    script = Script(lambda task: Located(lie) if isinstance(task, Job) and task.op is Op.LOCATE else LISTED)
    await ask(dispatch(script), "meta.test/x")
    assert script.jobs[1].target == RepoRoot("meta.test/x", "https://h.test/x")


async def test_a_broken_connection_is_tried_once_more() -> None:
    def answer(task: Task) -> Listed:
        if len(script.tasks) == 1:
            raise errors.HostUnreachable("reset")
        return LISTED

    script = Script(answer)
    assert await ask(dispatch(script)) == LISTED
    assert [job.offline for job in script.jobs] == [False, False]


@pytest.mark.parametrize(
    "trouble", [errors.HostUnreachable("down"), errors.HostSilent("hangs"), errors.HostBusy("429", retry_after=60)]
)
async def test_what_the_mirror_has_answers_for_a_host_that_cannot_be_asked(trouble: errors.VCSProxyError) -> None:
    stale = replace(LISTED, stale=100.0)

    def answer(task: Task) -> Listed:
        if isinstance(task, Job) and task.offline:
            return stale
        raise trouble

    assert await ask(dispatch(Script(answer))) == stale


@pytest.mark.parametrize("inner", [errors.NotFound("no tag"), errors.HostUnreachable("no refs here")])
async def test_old_refs_prove_no_absence(inner: errors.VCSProxyError) -> None:
    def answer(task: Task) -> Listed:
        raise inner if isinstance(task, Job) and task.offline else errors.HostSilent("hangs")

    with pytest.raises(errors.HostSilent):
        await ask(dispatch(Script(answer)))


@pytest.mark.parametrize("error", [errors.AccessDenied, errors.RepositoryNotFound, errors.UpstreamFailed])
async def test_a_host_that_says_no_is_neither_asked_again_nor_replaced_by_old_refs(
    error: type[errors.VCSProxyError],
) -> None:
    def answer(task: Task) -> Listed:
        raise error("no")

    script = Script(answer)
    with pytest.raises(error):
        await ask(dispatch(script))
    assert len(script.tasks) == 1


async def test_a_paused_host_is_not_asked_at_all() -> None:
    def answer(task: Task) -> Listed:
        raise errors.HostBusy("429", retry_after=60)

    script = Script(answer)
    to = dispatch(script)
    for _ in range(3):
        with pytest.raises(errors.HostBusy):
            await ask(to)
    assert [job.offline for job in script.jobs] == [False, True, True, True]


async def test_a_refused_credential_is_renewed_once() -> None:
    def answer(task: Task) -> Listed:
        if isinstance(task, Job) and task.access[0].secret == Secret("old-secret"):
            raise errors.AccessDenied("401")
        return LISTED

    script, ring = Script(answer), Ring(TOKEN)
    assert await ask(dispatch(script, credentials=ring)) == LISTED
    assert (ring.refused, len(script.tasks)) == (["team"], 2)
    script, ring = Script(answer), Ring(TOKEN)
    ring.renewals = False
    with pytest.raises(errors.AccessDenied):
        await ask(dispatch(script, credentials=ring))
    assert len(script.tasks) == 1


async def test_one_repository_has_one_job_at_a_time_and_a_hung_one_holds_no_other() -> None:
    hang = asyncio.Event()

    class Slow(Script):
        async def run(self, job: Task) -> Listed:
            self.tasks.append(job)
            if isinstance(job, Job) and isinstance(job.target, RepoRoot) and job.target.url == URL:
                await hang.wait()
            return LISTED

    script = Slow(lambda _: LISTED)
    to = dispatch(script)
    hung = [asyncio.create_task(ask(to)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert len(script.tasks) == 1
    assert await asyncio.wait_for(ask(to, "git.test/team/y"), 1) == LISTED
    assert await asyncio.wait_for(ask(to, "git.test/team/z"), 1) == LISTED
    hang.set()
    await asyncio.gather(*hung)


async def test_private_paths_are_looked_for_on_named_hosts_only() -> None:
    script = Script(lambda _: Located(RepoRoot("meta.test/x", "https://public.test/x")))
    with pytest.raises(errors.Forbidden, match="private"):
        await ask(dispatch(script, private=("meta.test/*",)), "meta.test/x")
    assert script.tasks == []
    with pytest.raises(errors.Forbidden, match=r"public\.test is not a host of the configuration"):
        await ask(dispatch(script, private=("meta.test/*",), hosts=(Host("meta.test"),)), "meta.test/x")


async def test_around_a_private_source_nobody_is_asked() -> None:
    script = Script(lambda _: LISTED)
    to = dispatch(script, sources=(replace(RULE, private=True),))
    with pytest.raises(errors.NotFound, match="private source"):
        await ask(to, "git.test/team")
    assert script.tasks == []


async def test_an_error_brings_every_step_along() -> None:
    def answer(task: Task) -> Listed:
        error = errors.NotFound("no")
        error.steps = (Step(0.5, "refs", "3 tags"),)
        raise error

    with pytest.raises(errors.NotFound) as caught:
        await ask(dispatch(Script(answer)))
    assert [step.topic for step in caught.value.steps] == ["rule", "credential", "refs"]
    assert caught.value.steps[-1].at >= 0.5


async def test_a_call_goes_through_a_worker_with_the_hosts_of_the_configuration() -> None:
    script = Script(lambda _: Called(200, b"{}"))
    to = dispatch(script, hosts=(Host("api.test", ca="/ca.pem"),))
    assert (await to.call(Call("POST", "https://api.test/x", Secret("jwt-secret")))).status == 200
    assert Host("api.test", ca="/ca.pem") in script.tasks[0].hosts


async def test_what_goes_to_a_jump_host_or_proxy_goes_along() -> None:
    way = Access("way", "ssh://jump.test:2222", "agent", agent="/b")
    script = Script(lambda _: LISTED)
    to = dispatch(script, credentials=Ring(TOKEN, way), hosts=(Host("git.test", jump="me@jump.test:2222"),))
    await ask(to)
    assert [each.name for each in script.jobs[0].access] == ["team", "way"]
    assert "jump.test" in {host.name for host in script.jobs[0].hosts}


async def test_a_repository_that_is_not_there_is_not_asked_for_again_at_once() -> None:
    """T35: every path below it would ask for it."""

    def answer(task: Task) -> Listed:
        raise errors.RepositoryNotFound("no such repository")

    script = Script(answer)
    to = dispatch(script, negative_ttl=60.0)
    for number in range(5):
        with pytest.raises(errors.RepositoryNotFound):
            await ask(to, f"{PATH}/sub{number}")
    assert len(script.tasks) == 1
    to.configure(replace(to.wiring, negative_ttl=0.0))
    for _ in range(2):
        with pytest.raises(errors.RepositoryNotFound):
            await ask(to)
    assert len(script.tasks) == 3
