"""Secrets that somebody gives: asked for once for all who wait, in time, not too often, and again after a refusal."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.fakegithub import FakeGitHub
from tests.unit.proxy.test_keyring_urls import HOST, opened, written
from vcsproxy import errors
from vcsproxy.build.job import Access, Call, Called, Host
from vcsproxy.proxy.holders import Renewed
from vcsproxy.proxy.keyring import Keyring
from vcsproxy.secret import Secret
from vcsproxy.trace import Trace, tracing
from vcsproxy.vcs.https import call


class Giver:
    """Gives a new secret each time, for `seconds`, or the error in `trouble`."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds, self.now, self.asked = seconds, 1e6, 0
        self.trouble: errors.VCSProxyError | None = None
        self.forgotten: list[str] = []

    async def __call__(self) -> tuple[Access, float]:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.trouble is not None:
            raise self.trouble
        return Access("x", "", "basic", "u", Secret(f"secret-{self.asked}")), self.seconds

    async def forget(self, access: Access) -> None:
        await asyncio.sleep(0.01)
        self.forgotten.append(f"{access.secret.reveal()} before {self.asked + 1}")


def renewed(giver: Giver, early: float = 300.0) -> Renewed:
    return Renewed(giver, early=early, forget=giver.forget, clock=lambda: giver.now)


async def now(holder: Renewed) -> str:
    access = await holder.access("")
    assert access is not None
    return access.secret.reveal()


async def test_all_who_wait_get_the_one_that_was_asked_for() -> None:
    giver = Giver()
    holder = renewed(giver)
    assert await asyncio.gather(*(now(holder) for _ in range(50))) == ["secret-1"] * 50
    assert giver.asked == 1


async def test_it_is_renewed_before_its_end_and_not_sooner() -> None:
    giver = Giver(1000.0)
    holder = renewed(giver)
    began = giver.now
    for after, secret in (
        (0, "secret-1"),
        (699, "secret-1"),
        (700, "secret-2"),
        (1399, "secret-2"),
        (2000, "secret-3"),
    ):
        giver.now = began + after
        assert await now(holder) == secret, after


@pytest.mark.parametrize(
    ("seconds", "lasts"), [(240.0, 120.0), (30.0, 15.0), (5.0, 10.0), (0.0, 10.0), (-7200.0, 10.0)]
)
async def test_what_lives_shortly_is_not_asked_for_all_the_time(seconds: float, lasts: float) -> None:
    """Nor does a clock that is wrong by hours make every request ask."""
    giver = Giver(seconds)
    holder = renewed(giver)
    began = giver.now
    for after, asked in ((0, 1), (lasts - 1, 1), (lasts, 2)):
        giver.now = began + after
        await now(holder)
        assert giver.asked == asked


async def test_it_is_used_to_its_end_when_it_cannot_be_renewed() -> None:
    giver = Giver(1000.0)
    holder = renewed(giver)
    await now(holder)
    giver.trouble = errors.HostUnreachable("nobody answers", "wait")
    giver.now += 800
    with tracing(Trace()) as trace:
        assert await now(holder) == "secret-1"
    assert [step.text for step in trace.steps] == [
        "a secret is used to its end, because it cannot be renewed: nobody answers"
    ]
    giver.now += 200
    with pytest.raises(errors.HostUnreachable, match="nobody answers"):
        await now(holder)
    giver.trouble = None
    giver.now += 10
    assert await now(holder) == "secret-4"


async def test_a_failure_is_shared_for_a_moment_and_not_for_long() -> None:
    giver = Giver()
    holder = renewed(giver)
    giver.trouble = errors.HostBusy("not now", "wait", 7.0)
    outcomes = await asyncio.gather(*(now(holder) for _ in range(50)), return_exceptions=True)
    assert giver.asked == 1, "nobody waits for the failure of another one's question again"
    assert all(
        isinstance(each, errors.HostBusy) and (each.message, each.hint, each.retry_after) == ("not now", "wait", 7.0)
        for each in outcomes
    )
    assert len({id(each) for each in outcomes}) == 50, "each request notes its own steps in its error"
    giver.trouble = None
    giver.now += 9
    with pytest.raises(errors.HostBusy):
        await now(holder)
    giver.now += 1
    assert await now(holder) == "secret-2"


async def test_a_refusal_renews_once_a_minute() -> None:
    giver = Giver(math.inf)
    holder = renewed(giver)

    async def refuse() -> str:
        access = await holder.access("")
        assert access is not None
        holder.refused(access)
        return await now(holder)

    assert [await refuse(), await refuse(), await refuse()] == ["secret-2"] * 3
    giver.now += 59
    assert await refuse() == "secret-2"
    giver.now += 1
    assert await refuse() == "secret-3"
    await holder.close()


async def test_a_late_refusal_of_the_former_secret_does_not_count() -> None:
    giver = Giver(1000.0)
    holder = renewed(giver)
    former = await holder.access("")
    assert former is not None
    giver.now += 900
    assert await now(holder) == "secret-2"
    holder.refused(former)
    holder.refused(replace(former, secret=Secret("never given")))
    assert await now(holder) == "secret-2"
    assert giver.forgotten == []


async def test_the_giver_has_forgotten_before_it_is_asked_again() -> None:
    """Otherwise a helper with a cache would give the same again."""
    giver = Giver()
    holder = renewed(giver)
    access = await holder.access("")
    assert access is not None
    holder.refused(access)
    assert await now(holder) == "secret-2"
    assert giver.forgotten == ["secret-1 before 2"]


async def test_both_the_present_and_the_former_secret_are_kept_out_of_texts() -> None:
    """A job may still be on its way with the former one."""
    giver = Giver(1000.0)
    holder = renewed(giver)
    assert holder.secrets() == []
    seen = []
    for _ in range(3):
        await now(holder)
        seen.append([secret.reveal() for secret in holder.secrets()])
        giver.now += 900
    assert seen == [["secret-1"], ["secret-2", "secret-1"], ["secret-3", "secret-2"]]


async def test_one_who_gives_up_waiting_leaves_the_others_alone() -> None:
    giver = Giver()
    holder = renewed(giver)
    first, second = asyncio.create_task(now(holder)), asyncio.create_task(now(holder))
    await asyncio.sleep(0.001)
    first.cancel()
    assert await second == "secret-2"
    assert first.cancelled()


async def test_closing_ends_what_is_being_forgotten() -> None:
    ended = asyncio.Event()

    async def forever(access: Access) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    giver = Giver()
    holder = Renewed(giver, forget=forever, clock=lambda: giver.now)
    access = await holder.access("")
    assert access is not None
    holder.refused(access)
    await asyncio.sleep(0)
    await holder.close()
    assert ended.is_set()


# --- programs


def program(file: Path, text: str) -> str:
    file.write_text("#!/bin/sh\n" + text)
    file.chmod(0o700)
    return str(file)


async def test_a_program_that_fails_later_is_an_error_with_a_name_and_a_cure(tmp_path: Path) -> None:
    script = program(tmp_path / "give", f"test -e {tmp_path}/bad && echo secret-bad && exit 3\necho secret-good\n")
    table = {"name": "vault", "kind": "basic", "url": HOST, "password": f"cmd:{script} --token hunter2"}
    async with opened(table) as keyring:
        access = await keyring.for_url(HOST + "/x")
        assert access is not None
        assert access.secret.reveal() == "secret-good"
        (tmp_path / "bad").touch()
        keyring.denied(access)
        with pytest.raises(errors.UpstreamFailed, match=r"the credential vault cannot be had: .*exit code 3") as caught:
            await keyring.for_url(HOST + "/x")
        text = caught.value.message + caught.value.hint
        assert "password" in caught.value.hint
        assert "secret-" not in text
        assert "hunter2" not in text


HELPER = """
printf '%s\\n' "$1" >>{log}
cat >>{log}
env | sort >{log}.env
tr '\\0' '\\n' </proc/$$/cmdline >{log}.argv
case "$1" in
get) test -e {store} || exit 0; printf 'username=me\\npassword=%s\\n' "$(cat {store})" ;;
erase) rm -f {store}; echo second-secret >{store} ;;
esac
"""


async def test_a_helper_that_keeps_what_it_gives_is_told_to_forget_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T12: and it gets nothing of our environment but PATH and HOME."""
    monkeypatch.setenv("GITHUB_TOKEN", "canary-env")
    log, store = tmp_path / "log", tmp_path / "store"
    store.write_text("first-secret")
    script = program(tmp_path / "helper", HELPER.format(log=log, store=store))
    table = {"name": "h", "kind": "helper", "url": HOST + "/team", "command": [script], "user": "me"}
    async with opened(table) as keyring:
        access = await keyring.for_url(HOST + "/team/x")
        assert access is not None
        assert (access.user, access.secret.reveal()) == ("me", "first-secret")
        keyring.denied(access)
        again = await keyring.for_url(HOST + "/team/x")
        assert again is not None
        assert again.secret.reveal() == "second-secret"
        assert {secret.reveal() for secret in keyring.secrets()} == {"first-secret", "second-secret"}
    asked = "protocol=https\nhost=git.test\npath=team\nusername=me\n"
    assert log.read_text() == f"get\n{asked}\nerase\n{asked}password=first-secret\n\nget\n{asked}\n"
    names = {line.partition("=")[0] for line in (tmp_path / "log.env").read_text().splitlines()}
    assert names <= {"PATH", "HOME", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "secret" not in (tmp_path / "log.argv").read_text()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "no password"),
        ("username=me\\npassword=canary\\npassword_expiry_utc=1000\\n", "has expired"),
        ("quit=true\\npassword=canary\\n", "give up"),
        ("password=can\\rary\\n", "not KEY=VALUE"),
        ("canary\\n", "not KEY=VALUE"),
    ],
)
async def test_a_helper_without_a_password_is_an_error_that_names_the_credential(
    tmp_path: Path, answer: str, words: str
) -> None:
    script = program(tmp_path / "helper", f"cat >/dev/null; printf '{answer}'\n")
    async with opened({"name": "h", "kind": "helper", "url": HOST, "command": [script]}) as keyring:
        with pytest.raises(errors.UpstreamFailed, match=f"the credential h cannot be had: .*{words}") as caught:
            await keyring.for_url(HOST + "/x")
        assert "canary" not in caught.value.message + caught.value.hint


async def test_a_helper_is_asked_again_after_five_minutes_or_at_the_end_of_its_password(tmp_path: Path) -> None:
    clock = [1e6]
    count = tmp_path / "count"
    script = program(
        tmp_path / "helper",
        f"cat >/dev/null; echo x >>{count}; echo password=$(wc -l <{count})-secret; cat {tmp_path}/more\n",
    )
    table = {"name": "h", "kind": "helper", "url": HOST, "command": [script]}
    for more, lasts in (("", 270), (f"password_expiry_utc={int(time.time()) + 100}\n", 65)):
        (tmp_path / "more").write_text(more)
        count.unlink(missing_ok=True)
        async with opened(table, clock=lambda: clock[0]) as keyring:
            for seconds, asked in ((0, 1), (lasts - 1, 1), (10, 2)):
                clock[0] += seconds
                access = await keyring.for_url(HOST + "/x")
                assert access is not None
                assert access.secret.reveal() == f"{asked}-secret"


# --- a GitHub App, over real HTTPS

URL = "https://github.test/corp/x.git"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[FakeGitHub]:
    with FakeGitHub(tmp_path / "repos", Authority.create(tmp_path / "ca")).running() as fake:
        yield fake


def app(place: Path, hub: FakeGitHub, **more: object) -> dict[str, object]:
    key = written(place / "app.pem", hub.pem)
    return {
        "name": "app", "kind": "github-app", "url": "https://github.test/corp", "key": f"file:{key}",
        "app_id": int(hub.app_id), "installation_id": hub.installation_id, "api": hub.api, **more,
    }  # fmt: skip


def sender(hub: FakeGitHub) -> Callable[[Call], Awaitable[Called]]:
    """What a worker does with a call, in a thread."""
    hosts = (Host(hub.name, connect=hub.host.address, ca=str(hub.authority.pem)),)
    return lambda task: asyncio.to_thread(call, replace(task, hosts=hosts))


async def asked(keyring: Keyring) -> Access:
    access = await keyring.for_url(URL)
    assert access is not None
    return access


async def test_a_token_is_one_for_all_until_five_minutes_before_its_end(tmp_path: Path, hub: FakeGitHub) -> None:
    clock = [1e6]
    async with opened(app(tmp_path, hub), call=sender(hub), clock=lambda: clock[0]) as keyring:
        given = await asyncio.gather(*(asked(keyring) for _ in range(30)))
        assert {(access.user, access.secret.reveal()) for access in given} == {("x-access-token", hub.tokens[0])}
        clock[0] += 3290
        await asked(keyring)
        assert len(hub.tokens) == 1
        clock[0] += 20
        assert (await asked(keyring)).secret.reveal() == hub.tokens[1]
        assert (
            hub.host.requests == [f"POST {hub.name}:{hub.host.port}/api/v3/app/installations/67890/access_tokens"] * 2
        )
        assert hub.refused == []
        assert all(said.startswith("Bearer ey") for said in hub.host.seen)


async def test_a_token_that_was_taken_back_is_renewed_once(tmp_path: Path, hub: FakeGitHub) -> None:
    async with opened(app(tmp_path, hub), call=sender(hub)) as keyring:
        first = await asked(keyring)
        hub.revoke()
        for access in (first, first):
            keyring.denied(access)
            assert (await asked(keyring)).secret.reveal() == hub.tokens[1]
        keyring.denied(await asked(keyring))
        assert (await asked(keyring)).secret.reveal() == hub.tokens[1], "once a minute"


@pytest.mark.parametrize("skew", [-590.0, -30.0, 50.0])
async def test_clocks_may_differ(tmp_path: Path, hub: FakeGitHub, skew: float) -> None:
    hub.skew = skew
    async with opened(app(tmp_path, hub), call=sender(hub)) as keyring:
        if skew < -60:
            with pytest.raises(errors.AccessDenied) as caught:
                await asked(keyring)
            assert "the clock of this machine" in caught.value.hint
        else:
            assert (await asked(keyring)).secret.reveal() == hub.tokens[0]


@pytest.mark.parametrize(
    ("wrong", "error", "hint"),
    [
        ({"app_id": 999}, errors.AccessDenied, "app_id"),
        ({"installation_id": 999}, errors.AccessDenied, "installation_id"),
        ({"api": "https://github.test:1/api/v3"}, errors.HostUnreachable, ""),
    ],
)
async def test_what_is_wrong_in_the_configuration_is_said(
    tmp_path: Path, hub: FakeGitHub, wrong: dict[str, object], error: type[errors.VCSProxyError], hint: str
) -> None:
    send = (
        sender(hub)
        if "api" not in wrong
        else lambda task: asyncio.to_thread(call, replace(task, hosts=(Host(hub.name, connect="127.0.0.1:1"),)))
    )
    async with opened(app(tmp_path, hub, **wrong), call=send) as keyring:
        for _ in range(3):
            with pytest.raises(error) as caught:
                await asked(keyring)
            assert hint in caught.value.hint
        assert len(hub.host.requests) <= 1, "a failure is believed for a moment"


async def test_a_key_of_another_app_is_refused(tmp_path: Path, hub: FakeGitHub) -> None:
    table = app(tmp_path, hub)
    other = FakeGitHub(tmp_path, hub.authority)
    written(tmp_path / "app.pem", other.pem)
    async with opened(table, call=sender(hub)) as keyring:
        with pytest.raises(errors.AccessDenied, match="does not accept the app of the credential app") as caught:
            await asked(keyring)
        assert "private key" in caught.value.hint
    assert hub.refused == ["A JSON web token could not be decoded: InvalidSignatureError"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((502, {}, b"<html>bad gateway"), errors.HostUnreachable),
        ((403, {}, b'{"message": "suspended"}'), errors.AccessDenied),
        ((302, {"Location": "https://evil.test/"}, b""), errors.UpstreamFailed),
        ((201, {}, b"[" * 300_000), errors.UpstreamFailed),
        ((201, {}, b'{"token": "x"}'), errors.UpstreamFailed),
    ],
)
async def test_trouble_at_github_is_believed_for_a_moment_only(
    tmp_path: Path, hub: FakeGitHub, answer: tuple[int, dict[str, str], bytes], error: type[Exception]
) -> None:
    clock = [1e6]
    hub.answers.append(answer)
    async with opened(app(tmp_path, hub), call=sender(hub), clock=lambda: clock[0]) as keyring:
        for _ in range(3):
            with pytest.raises(error):
                await asked(keyring)
        clock[0] += 10
        assert (await asked(keyring)).secret.reveal() == hub.tokens[0]
        assert len(hub.host.requests) == 2


async def test_an_api_that_is_not_verified_gets_no_jwt(tmp_path: Path, hub: FakeGitHub) -> None:
    with pytest.raises(errors.ConfigError, match=r"credential\[0\]\.api: github\.test is insecure"):
        async with opened(app(tmp_path, hub), hosts=(Host("github.test", insecure=True),)):
            pass
    with pytest.raises(errors.UpstreamFailed, match="not trusted"):  # our authority is none of the system's
        await asyncio.to_thread(
            call, Call("POST", hub.api, Secret("jwt-canary"), hosts=(Host(hub.name, connect=hub.host.address),))
        )
    assert hub.host.requests == []
