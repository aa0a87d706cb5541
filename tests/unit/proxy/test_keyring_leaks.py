"""T32: a canary in every kind of credential, searched in everything that anybody can see of a keyring."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import os
import pickle
import subprocess
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from pprint import pformat
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from tests.support.authority import Authority
from tests.support.fakegithub import FakeGitHub
from tests.unit.proxy.test_keyring_renewal import app, program, sender
from tests.unit.proxy.test_keyring_urls import opened, written
from vcsproxy import errors, logs
from vcsproxy.build.job import TASK, Access, Job, Op
from vcsproxy.config.credentials import Credential
from vcsproxy.mod.reporoot import Discover
from vcsproxy.proxy.keyring import Keyring
from vcsproxy.secret import Redactor
from vcsproxy.trace import Trace, tracing

CANARY = "canary-f00d51"
URLS = {
    "basic": "https://basic.test/x", "bearer": "https://bearer.test/x", "cmd": "https://cmd.test/x", "netrc": "https://netrc.test/x",
    "helper": "https://helper.test/x", "app": "https://github.test/corp/x", "ssh": "git@ssh.test:x",
}  # fmt: skip


def tables(place: Path, hub: FakeGitHub) -> list[dict[str, Any]]:
    """Every kind, each secret with the canary and the name of its kind; the app's token is GitHub's."""
    key = place / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", f"{CANARY}-phrase", "-a", "1", "-C", "", "-f", key], check=True
    )
    helper = program(place / "helper", f"cat >/dev/null; echo username=me; echo password={CANARY}-helper\n")
    netrc = written(place / "netrc", f"machine netrc.test login me password {CANARY}-netrc\n")
    give = program(place / "give", f"echo {CANARY}-cmd\n")
    return [
        {"name": "basic", "kind": "basic", "url": "https://basic.test", "password": "env:CANARY_BASIC"},
        {"name": "bearer", "kind": "bearer", "url": "https://bearer.test", "token": f"file:{written(place / 't', CANARY + '-bearer')}"},
        {"name": "cmd", "kind": "basic", "url": "https://cmd.test", "password": f"cmd:{give} --item nobodys-business"},
        {"name": "netrc", "kind": "netrc", "file": netrc},
        {"name": "helper", "kind": "helper", "url": "https://helper.test", "command": [helper]},
        {"name": "ssh", "kind": "ssh-key", "url": "ssh://ssh.test", "key": f"file:{key}", "passphrase": "env:CANARY_PHRASE"},
        app(place, hub),
    ]  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path / "repos", Authority.create(tmp_path / "ca")).running() as fake:
        yield fake


@pytest.fixture
async def ring(tmp_path: Path, hub: FakeGitHub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keyring]:
    monkeypatch.setenv("CANARY_BASIC", CANARY + "-basic")
    monkeypatch.setenv("CANARY_PHRASE", CANARY + "-phrase")
    async with opened(*tables(tmp_path, hub), call=sender(hub)) as keyring:
        yield keyring


async def everything(keyring: Keyring) -> list[Access]:
    found = [await keyring.for_url(url) for url in URLS.values()]
    assert all(found)
    return [access for access in found if access is not None]


def secret_texts(keyring: Keyring, hub: FakeGitHub) -> list[str]:
    """What may be seen nowhere: the canary in its usual forms, the token, the private key's lines."""
    values = [CANARY, *hub.tokens, *hub.pem.splitlines()[1:-1]]
    return [
        form
        for value in values
        for form in (value, quote(value, safe=""), base64.b64encode(value.encode()).decode().rstrip("="))
    ]


async def test_every_kind_gives_its_secret_to_the_worker_alone(ring: Keyring, hub: FakeGitHub) -> None:
    given = {access.name: access for access in await everything(ring)}
    assert {name: access.secret.reveal() for name, access in given.items()} == {
        "basic": CANARY + "-basic", "bearer": CANARY + "-bearer", "cmd": CANARY + "-cmd", "netrc": CANARY + "-netrc",
        "helper": CANARY + "-helper", "app": hub.tokens[0], "ssh": "",
    }  # fmt: skip
    job = Job(Op.LIST, "p", "", Discover("p"), "/m", access=tuple(given.values()))
    again = TASK.validate_json(TASK.dump_json(job))
    assert again == job
    for text in secret_texts(ring, hub):
        assert text not in repr(job) + str(again) + pformat(job)


async def test_nothing_of_it_shows_in_any_object(ring: Keyring, hub: FakeGitHub) -> None:
    given = await everything(ring)
    seen = io.StringIO()
    for subject in (ring, given, ring.secrets(), *vars(ring).values(), *ring._holders.values(), vars(ring._opener)):
        for show in (repr, str, format, pformat, lambda each: f"{each!a}"):
            seen.write(show(subject))
    seen.write(repr([vars(holder) for holder in ring._holders.values() if hasattr(holder, "__dict__")]))
    for text in secret_texts(ring, hub):
        assert text not in seen.getvalue()


@pytest.mark.parametrize(
    "work", [pickle.dumps, copy.deepcopy, json.dumps, dataclasses.asdict], ids=lambda work: work.__name__
)
async def test_nothing_of_it_is_copied_or_written(ring: Keyring, work: Any) -> None:
    for access in await everything(ring):
        if access.secret:
            with pytest.raises(TypeError) as caught:
                work(access)
            assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_everything_that_it_gave_is_taken_out_of_texts(ring: Keyring, hub: FakeGitHub) -> None:
    await everything(ring)
    hide = Redactor(ring.secrets())
    for value in (*(f"{CANARY}-{kind}" for kind in ("basic", "bearer", "cmd", "netrc", "helper")), *hub.tokens):
        assert value not in hide(f"x {value} y")
    assert ring.secrets() is ring.secrets()
    hub.revoke()
    access = await ring.for_url(URLS["app"])
    assert access is not None
    ring.denied(access)
    await ring.for_url(URLS["app"])
    assert len(hub.tokens) == 2
    again = Redactor(ring.secrets())
    assert not any(token in again(f"old {hub.tokens[0]} new {hub.tokens[1]}") for token in hub.tokens)


async def test_nothing_of_it_is_logged_noted_or_raised(
    tmp_path: Path, hub: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even by asyncio's own debugging, nor when everything fails."""
    monkeypatch.setenv("CANARY_BASIC", CANARY + "-basic")
    monkeypatch.setenv("CANARY_PHRASE", CANARY + "-phrase")
    out = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure("json", "debug", out)
    try:
        with tracing(Trace(detailed=True)) as trace:
            given = tables(tmp_path, hub)
            (tmp_path / "t").chmod(0o644)
            async with opened(*given, call=sender(hub)) as keyring:
                structlog.get_logger().info("given", access=await everything(keyring), ring=keyring)
                (tmp_path / "give").write_text(f"#!/bin/sh\necho {CANARY}; exit 1\n")
                (tmp_path / "helper").write_text(f"#!/bin/sh\necho {CANARY}\n")
                hub.answers += [(500, {}, CANARY.encode())] * 2
                said = [await failed(keyring, URLS[name]) for name in ("cmd", "helper", "app")]
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
    notes = [step.text for step in trace.steps]
    assert "the program of cmd is run for a new secret" in notes
    assert "the helper of helper is asked for a password" in notes
    assert "a token for app is asked for at github.test" in notes
    assert "secret_readable" in out.getvalue()
    for text in secret_texts(keyring, hub):
        assert text not in out.getvalue() + "".join(notes) + "".join(said)
    assert "nobodys-business" not in out.getvalue() + "".join(notes) + "".join(said)


async def failed(keyring: Keyring, url: str) -> str:
    """All that an error says after the secret was refused."""
    access = await keyring.for_url(url)
    assert access is not None
    keyring.denied(access)
    with pytest.raises(errors.UpstreamFailed) as caught:
        await keyring.for_url(url)
    return "".join(traceback.format_exception(caught.value)) + caught.value.hint


async def test_nothing_of_it_is_in_a_command_line_or_left_in_the_temporary_directory(
    ring: Keyring, hub: FakeGitHub, tmp_path: Path
) -> None:
    given = await everything(ring)
    (agent,) = [access.agent for access in given if access.agent]
    for file in Path(agent).parent.iterdir():
        assert file.is_socket()
    inherited = Path(f"/proc/{os.getpid()}/cmdline").read_bytes()
    for text in secret_texts(ring, hub):
        assert text.encode() not in inherited


def test_a_table_that_is_wrong_repeats_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (
        {"name": "x", "kind": "basic", "url": "https://git.test", "password": CANARY},
        {"name": "x", "kind": "basic", "url": f"https://me:{CANARY}@git.test", "password": "env:X"},
        {"name": "x", "kind": "bearer", "url": "https://git.test", "token": f"token:{CANARY}"},
        {"name": "x", "kind": "ssh-key", "key": f"-----BEGIN {CANARY}"},
    ):
        with pytest.raises(ValueError) as caught:
            Credential(**table)
        faults = [
            fault
            for detail in caught.value.errors(include_input=False)
            for fault in detail.get("ctx", {}).get("faults", [detail["msg"]])
        ]  # type: ignore[attr-defined]
        assert faults
        assert CANARY not in repr(faults)
