"""The service alone: what is a hit, what is remembered, whose bytes win. Jobs are answered by a script."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vcsproxy import errors
from vcsproxy.build.job import Built, Job, Limits, Listed, Op, Task
from vcsproxy.mirror.sums import parse
from vcsproxy.mirror.verify import Result, Verifier
from vcsproxy.mod import dirhash
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.mod.reporoot import SourceRule
from vcsproxy.proxy.dispatch import Dispatch
from vcsproxy.proxy.flight import Flight
from vcsproxy.proxy.hosts import Hosts
from vcsproxy.proxy.service import Service
from vcsproxy.proxy.tagwatch import TagWatch
from vcsproxy.proxy.wiring import Wiring
from vcsproxy.store.memory import MemoryStore

PATH = "git.test/x"
RULE = SourceRule("git.test/{repo}", "https://git.test/{repo}.git")
ONE, TWO = "1" * 40, "2" * 40


def info(version: str, commit: str, ref: str = "") -> bytes:
    origin = {"VCS": "git", "Hash": commit, **({"Ref": ref} if ref else {})}
    return json.dumps({"Version": version, "Time": "2024-03-01T00:00:00Z", "Origin": origin}).encode()


def built(version: str = "v1.0.0", commit: str = ONE, *, stale: float = 0.0, tagged: bool = False) -> Built:
    data = info(version, commit, f"refs/tags/{version}" if tagged else "")
    return Built(version, data, data, b"module git.test/x\n", stale=stale)


class Script:
    """Runs jobs by a function and notes them."""

    def __init__(self, answer: Callable[[Job], Built | Listed]) -> None:
        self.answer, self.jobs, self.limits = answer, list[Job](), Limits()

    async def run(self, job: Task) -> Built | Listed:
        assert isinstance(job, Job)
        self.jobs.append(job)
        await asyncio.sleep(0)
        return self.answer(job)


Make = Callable[..., Service]


@pytest.fixture
def service(tmp_path: Path) -> Make:
    """Makes a service for PATH, which a source maps; more: fields of its wiring."""

    def make(script: Script, **more: object) -> Service:
        store = MemoryStore()
        wiring = Wiring(Path("/nonexistent"), sources=(RULE,), **more)  # type: ignore[arg-type]
        dispatch = Dispatch(script, Hosts(4, 4), wiring)
        return Service(store=store, dispatch=dispatch, watch=TagWatch(store, tmp_path / "moved.jsonl"))

    return make


def request(kind: Kind, version: str = "") -> ProxyRequest:
    return ProxyRequest(kind, PATH, version)


async def test_a_hit_runs_no_job(service: Make) -> None:
    script = Script(lambda _: built())
    modules = service(script)
    first = await modules.answer(request(Kind.INFO, "v1.0.0"))
    again = await modules.answer(request(Kind.INFO, "v1.0.0"))
    assert (first.hit, again.hit, again.immutable, len(script.jobs)) == (False, True, True, 1)
    assert (await modules.answer(request(Kind.MOD, "v1.0.0"))).stored.data == b"module git.test/x\n"
    assert len(script.jobs) == 1


async def test_many_who_ask_at_once_are_one_job_and_one_who_leaves_ends_nothing(service: Make) -> None:
    script = Script(lambda _: built())
    modules = service(script)
    waiters = [asyncio.create_task(modules.answer(request(Kind.INFO, "v1.0.0"))) for _ in range(50)]
    while not script.jobs:
        await asyncio.sleep(0)
    waiters[0].cancel()
    answers = await asyncio.gather(*waiters[1:])
    assert len(script.jobs) == 1
    assert len({answer.stored.data for answer in answers}) == 1


async def test_what_was_published_first_is_served_whatever_comes_later(service: Make) -> None:
    commits = [ONE, TWO, TWO]
    script = Script(lambda job: built(commit=commits[len(script.jobs) - 1]))
    modules = service(script)
    await modules.answer(request(Kind.INFO, "v1.0.0"))
    branch = await modules.answer(request(Kind.INFO, "main"))
    assert json.loads(branch.stored.data or b"")["Origin"]["Hash"] == ONE
    assert not branch.immutable


async def test_the_zip_is_asked_for_by_the_commit_of_its_info(service: Make, tmp_path: Path) -> None:
    script = Script(lambda job: built())
    modules = service(script)
    await modules.answer(request(Kind.INFO, "v1.0.0"))
    with pytest.raises(errors.Corrupt):  # the script makes no zip
        await modules.answer(request(Kind.ZIP, "v1.0.0"))
    assert (script.jobs[-1].op, script.jobs[-1].pinned) == (Op.ZIP, ONE)


async def test_absence_is_remembered_briefly_and_trouble_never(service: Make) -> None:
    def answer(job: Job) -> Built:
        raise {"v1.0.0": errors.NotFound, "v2.0.0": errors.UpstreamFailed, "v3.0.0": errors.Refused}[job.query]("no")

    script = Script(answer)
    modules = service(script, negative_ttl=60.0)
    for version, error, jobs in (
        ("v1.0.0", errors.NotFound, 1),
        ("v2.0.0", errors.UpstreamFailed, 3),
        ("v3.0.0", errors.Refused, 4),
    ):
        for _ in range(2):
            with pytest.raises(error):
                await modules.answer(request(Kind.INFO, version))
        assert len(script.jobs) == jobs, version


@pytest.mark.parametrize("version", ["upgrade", "patch", "none"])
async def test_queries_of_the_client_are_not_revisions(service: Make, version: str) -> None:
    script = Script(lambda _: built())
    with pytest.raises(errors.NotFound, match="resolves by itself"):
        await service(script).answer(request(Kind.INFO, version))
    assert script.jobs == []


@pytest.mark.parametrize("kind", [Kind.MOD, Kind.ZIP])
async def test_only_versions_have_files(service: Make, kind: Kind) -> None:
    with pytest.raises(errors.NotFound, match="not canonical"):
        await service(Script(lambda _: built())).answer(request(kind, "main"))


async def test_the_go_mod_of_a_version_that_resolves_to_another_is_refused(service: Make) -> None:
    script = Script(lambda _: built("v2.0.0+incompatible"))
    with pytest.raises(errors.NotFound, match=r"resolves to version v2\.0\.0\+incompatible"):
        await service(script).answer(request(Kind.MOD, "v2.0.0"))


async def test_a_list_is_one_version_a_line(service: Make) -> None:
    script = Script(lambda _: Listed(("v1.0.0", "v1.1.0")))
    answer = await service(script).answer(request(Kind.LIST))
    assert (answer.stored.data, answer.immutable) == (b"v1.0.0\nv1.1.0\n", False)


async def test_closing_a_flight_waits_and_then_cancels() -> None:
    flight: Flight[int] = Flight()
    stuck = asyncio.Event()
    waiter = asyncio.create_task(flight.once("k", lambda: asyncio.wait_for(stuck.wait(), 60)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert flight.count == 1
    await flight.close(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert flight.count == 0


REFS_DOWN = [errors.HostUnreachable("down"), errors.HostSilent("hangs"), errors.UpstreamFailed("bad certificate")]


@pytest.mark.parametrize("trouble", REFS_DOWN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("kind", "version"), [(Kind.LIST, ""), (Kind.LATEST, ""), (Kind.INFO, "main"), (Kind.INFO, "latest")]
)
async def test_the_last_answer_stands_in_for_a_host_that_is_down(
    service: Make, kind: Kind, version: str, trouble: errors.VCSProxyError
) -> None:
    up = True

    def answer(job: Job) -> Built | Listed:
        if up:
            return Listed(("v1.0.0",)) if job.op is Op.LIST else built()
        raise trouble

    modules = service(Script(answer))
    first = await modules.answer(request(kind, version))
    up = False
    again = await modules.answer(request(kind, version))
    assert again.stored.data == first.stored.data
    assert (first.stale, again.immutable) == (0.0, False)
    assert again.stale > 0


@pytest.mark.parametrize("error", [errors.AccessDenied, errors.RepositoryNotFound, errors.Refused, errors.Overloaded])
async def test_nothing_stands_in_for_a_no(service: Make, error: type[errors.VCSProxyError]) -> None:
    up = True

    def answer(job: Job) -> Built | Listed:
        if up:
            return Listed(("v1.0.0",))
        raise error("no")

    modules = service(Script(answer))
    await modules.answer(request(Kind.LIST))
    up = False
    with pytest.raises(error):
        await modules.answer(request(Kind.LIST))


async def test_old_refs_are_told_apart_and_not_remembered_as_new(service: Make) -> None:
    answers: list[Built | Listed] = [Listed(("v1.0.0",)), Listed(("v0.9.0",), stale=50.0)]

    def answer(job: Job) -> Built | Listed:
        if not answers:
            raise errors.HostUnreachable("down")
        return answers.pop(0)

    modules = service(Script(answer))
    await modules.answer(request(Kind.LIST))
    assert (await modules.answer(request(Kind.LIST))).stale == 50.0
    assert (await modules.answer(request(Kind.LIST))).stored.data == b"v1.0.0\n"


async def test_a_tag_that_moved_since_its_version_was_served_raises_an_alarm(service: Make, tmp_path: Path) -> None:
    script = Script(
        lambda job: Listed(("v1.0.0",), (("refs/tags/v1.0.0", TWO),)) if job.op is Op.LIST else built(tagged=True)
    )
    modules = service(script)
    first = await modules.answer(request(Kind.INFO, "v1.0.0"))
    await modules.answer(request(Kind.LIST))
    (line,) = (tmp_path / "moved.jsonl").read_text().splitlines()
    assert ONE in line
    assert TWO in line
    assert (await modules.answer(request(Kind.INFO, "v1.0.0"))).stored.data == first.stored.data


@pytest.mark.parametrize("kind", [Kind.LIST, Kind.LATEST, Kind.INFO, Kind.MOD, Kind.ZIP])
async def test_a_denied_module_is_denied_before_anything_is_looked_at(service: Make, kind: Kind) -> None:
    script = Script(lambda _: built())
    modules = service(script)
    await modules.answer(request(Kind.INFO, "v1.0.0"))
    modules.configure(Wiring(Path("/nonexistent"), sources=(RULE,), deny=("git.test",)))
    with pytest.raises(errors.Forbidden):
        await modules.answer(request(kind, "v1.0.0"))
    with pytest.raises(errors.Forbidden):
        await modules.cached(request(kind, "v1.0.0"))
    assert len(script.jobs) == 1


async def test_a_new_configuration_forgets_old_failures(service: Make) -> None:
    def answer(job: Job) -> Built:
        if job.refs_ttl == 60.0:
            raise errors.NotFound("no")
        return built()

    modules = service(Script(answer), negative_ttl=600.0)
    with pytest.raises(errors.NotFound):
        await modules.answer(request(Kind.INFO, "v1.0.0"))
    modules.configure(Wiring(Path("/nonexistent"), sources=(RULE,), refs_ttl=1.0))
    await modules.answer(request(Kind.INFO, "v1.0.0"))


async def test_explaining_tells_the_steps_publishes_nothing_and_believes_no_old_failure(service: Make) -> None:
    script = Script(lambda _: built())
    modules = service(script)
    told = await modules.explain(PATH, "v1.0.0")
    assert (told.version, told.error) == ("v1.0.0", None)
    assert {"store", "rule", "credential"} <= {step.topic for step in told.steps}
    assert script.jobs[0].op is Op.EXPLAIN
    assert await modules.cached(request(Kind.INFO, "v1.0.0")) is None


async def test_explaining_a_failure_gives_it_with_its_steps(service: Make) -> None:
    def answer(job: Job) -> Built:
        raise errors.AccessDenied("refused", "another token")

    told = await service(Script(answer)).explain(PATH, "v1.0.0")
    assert isinstance(told.error, errors.AccessDenied)
    assert told.version == ""
    assert told.steps


async def ask_all(asked: Service, version: str, *kinds: Kind) -> None:
    for kind in kinds:
        await asked.answer(ProxyRequest(kind, PATH, version))


def zipping(tmp_path: Path) -> Callable[[Job], Built]:
    """Answers as a worker does: the zip of a version is a file in the job's workspace."""

    def answer(job: Job) -> Built:
        made = built(job.query)
        if job.op is not Op.ZIP:
            return made
        file = Path(job.workspace) / "module.zip"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"{PATH}@{job.query}/go.mod", made.gomod)
        with file.open("rb") as stream:
            return replace(made, zip=str(file), zip_h1=dirhash.hash_zip(stream))

    return answer


async def test_a_zip_is_made_ahead_where_that_was_right_before(service: Make, tmp_path: Path) -> None:
    script = Script(zipping(tmp_path))
    asked = service(script)
    await ask_all(asked, "v1.0.0", Kind.INFO, Kind.MOD)
    await asyncio.sleep(0.1)
    assert [job.op for job in script.jobs] == [Op.INFO]
    await ask_all(asked, "v1.0.0", Kind.ZIP)
    await ask_all(asked, "v1.1.0", Kind.INFO, Kind.MOD)
    for _ in range(100):
        if len(script.jobs) == 4:
            break
        await asyncio.sleep(0.01)
    assert [(job.op, job.query) for job in script.jobs[2:]] == [(Op.INFO, "v1.1.0"), (Op.ZIP, "v1.1.0")]
    await ask_all(asked, "v1.1.0", Kind.ZIP, Kind.MOD)
    assert len(script.jobs) == 4
    await asked.close(1)


async def test_what_has_another_hash_than_expected_is_not_published(service: Make, tmp_path: Path) -> None:
    asked = service(Script(zipping(tmp_path)))
    gomod = dirhash.hash_gomod(b"module git.test/x\n")
    asked.expect({f"{PATH} v1.0.0": "h1:other", f"{PATH} v1.0.0/go.mod": gomod, f"{PATH} v1.1.0/go.mod": "h1:other"})
    await ask_all(asked, "v1.0.0", Kind.INFO, Kind.MOD)
    with pytest.raises(errors.SumMismatch, match="expected h1:other"):
        await ask_all(asked, "v1.0.0", Kind.ZIP)
    with pytest.raises(errors.SumMismatch, match=r"v1\.1\.0/go\.mod"):
        await ask_all(asked, "v1.1.0", Kind.INFO)
    assert await asked.cached(ProxyRequest(Kind.ZIP, PATH, "v1.0.0")) is None
    assert await asked.cached(ProxyRequest(Kind.INFO, PATH, "v1.1.0")) is None
    await ask_all(asked, "v1.2.0", Kind.ZIP)


async def test_offline_nobody_is_asked_whatever_the_question(service: Make) -> None:
    script = Script(lambda _: built())
    asked = service(script, offline=True)
    for question in (asked.variants(PATH, "v1.0.0"), asked.modules(PATH)):
        with pytest.raises(errors.Unavailable, match="offline"):
            await question
    assert isinstance((await asked.explain(PATH, "v1.0.0")).error, errors.Unavailable)
    with pytest.raises(errors.NotFound, match="offline"):
        await asked.answer(request(Kind.INFO, "v1.0.0"))
    assert script.jobs == []


async def test_what_is_not_seeded_is_not_called_absent_by_verify(service: Make) -> None:
    asked = service(Script(lambda _: built()), offline=True)
    lines = parse(f"{PATH} v1.0.0 h1:{'A' * 43}=\n", "go.sum")
    assert [finding.result async for finding in Verifier(asked).check(lines)] == [Result.UNREACHABLE]
