"""Credentials of the configuration become what a worker may use, for its own URLs alone; no secret shows anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from vcsproxy import errors
from vcsproxy.build.job import Access, Call, Called, Host
from vcsproxy.config.credentials import Credential
from vcsproxy.proxy.keyring import Keyring
from vcsproxy.secret import Secret

CANARY = "canary-7f3a9c"
HOST = "https://git.test"


async def no_calls(task: Call) -> Called:
    raise AssertionError(task.url)


Make = Callable[..., Awaitable[Keyring]]


@pytest.fixture
async def ring() -> AsyncIterator[Make]:
    """Opens keyrings; all are closed at the end."""
    opened: list[Keyring] = []

    async def make(*credentials: dict[str, Any], call: Any = no_calls, hosts: tuple[Host, ...] = ()) -> Keyring:
        keyring = Keyring([Credential(**each) for each in credentials], call, hosts)
        opened.append(keyring)
        await keyring.open()
        return keyring

    yield make
    for keyring in opened:
        await keyring.close()


def token(file: Path, value: str = CANARY) -> str:
    """A file with a secret, as a configuration names it."""
    file.write_text(value + "\n")
    file.chmod(0o600)
    return f"file:{file}"


def basic(name: str, url: str, source: str) -> dict[str, Any]:
    return {"name": name, "kind": "basic", "url": url, "password": source}


async def test_two_organisations_on_one_host_use_two_tokens(ring: Make, tmp_path: Path) -> None:
    keyring = await ring(
        basic("all", HOST, token(tmp_path / "0", "token-all")),
        basic("core", HOST + "/core", token(tmp_path / "1", "token-core")),
        basic("apps", HOST + "/apps/", token(tmp_path / "2", "token-apps")),
    )
    for url, name in (
        ("/core/x.git", "core"),
        ("/core", "core"),
        ("/apps/y", "apps"),
        ("/corelli/x", "all"),
        ("/CORE/x", "all"),
        ("", "all"),
    ):
        access = await keyring.for_url(HOST + url)
        assert access is not None
        assert (access.name, access.secret.reveal()) == (name, f"token-{name}"), url


@pytest.mark.parametrize(
    "url",
    [
        "http://git.test/core/x", "https://git.test:8443/core/x", "https://git.test.evil.example/core/x",
        "https://evil.example/git.test/core/x", "ssh://git.test/core/x", "git@git.test:core/x", "file:///core/x",
        "https://git.test/core/../other", "https://git.test/core/%2e%2e/other", "https://git.test/core/..%2fother",
        "https://git.test/other", "https://git.test/core2", "https://git.test%2fcore", "not a url", "",
    ],
)  # fmt: skip
async def test_it_goes_nowhere_else(ring: Make, tmp_path: Path, url: str) -> None:
    """I5: scheme, host, port and path."""
    keyring = await ring(basic("core", HOST + "/core", token(tmp_path / "t")))
    assert await keyring.for_url(url) is None


async def test_a_name_does_not_open_another_origin(ring: Make, tmp_path: Path) -> None:
    keyring = await ring(
        basic("core", HOST + "/core", token(tmp_path / "t")),
        {"name": "free", "kind": "basic", "password": token(tmp_path / "u")},
    )
    with pytest.raises(errors.Forbidden):
        await keyring.for_url("https://evil.test/core/x", "core")
    access = await keyring.for_url("https://other.test/x.git", "free")
    assert access is not None
    assert access.url == "https://other.test/x.git"
    assert await keyring.for_url("https://other.test/x.git") is None


async def test_nothing_is_sent_to_a_host_that_is_not_verified(ring: Make, tmp_path: Path) -> None:
    keyring = await ring(basic("all", HOST, token(tmp_path / "t")), hosts=(Host("git.test", insecure=True),))
    assert await keyring.for_url(HOST + "/x") is None
    assert await keyring.for_page(HOST + "/x") == ()


async def test_a_page_gets_what_its_origin_has(ring: Make, tmp_path: Path) -> None:
    keyring = await ring(
        basic("core", HOST + "/core", token(tmp_path / "1")),
        basic("apps", HOST + "/apps", token(tmp_path / "2")),
        basic("other", "https://other.test", token(tmp_path / "3")),
    )
    assert {access.name for access in await keyring.for_page(HOST + "/core/x?go-get=1")} == {"core", "apps"}


# --- where secrets come from


@pytest.mark.parametrize(
    "source", ["env:CANARY", "cmd:printf '%s\\nsecond line\\n' canary-7f3a9c", "cmd:sh -c 'echo $0' canary-7f3a9c"]
)
async def test_a_variable_or_a_program(ring: Make, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    keyring = await ring(basic("x", HOST, source))
    access = await keyring.for_url(HOST)
    assert access is not None
    assert access.secret.reveal() == CANARY


async def test_a_program_is_asked_again_after_a_refusal(ring: Make, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = tmp_path / "give"
    script.write_text(f'#!/bin/sh\necho x >> {count}\nwc -l < {count} | tr -d " "\n')
    script.chmod(0o700)
    keyring = await ring(basic("x", HOST, f"cmd:{script}"))

    async def now() -> str:
        access = await keyring.for_url(HOST)
        assert access is not None
        return access.secret.reveal()

    assert [await now(), await now()] == ["1", "1"]
    access = await keyring.for_url(HOST)
    assert access is not None
    keyring.denied(access)
    assert await now() == "2"
    keyring.denied(access)
    assert await now() == "2", "not more than once a minute"


BAD = {
    "missing file": ({"password": "file:/nonexistent/x"}, "password: .*No such file"),
    "missing variable": ({"password": "env:NOT_THERE"}, "password: .*NOT_THERE is not set"),
    "failing program": ({"password": "cmd:sh -c 'echo canary-7f3a9c; exit 3'"}, "exit code 3"),
    "silent program": ({"password": "cmd:true"}, "is empty"),
    "no program": ({"password": "cmd:/nonexistent/program canary-7f3a9c"}, "cannot run"),
}


@pytest.mark.parametrize(("fields", "reason"), BAD.values(), ids=BAD.keys())
async def test_faults_name_the_key_and_no_secret(ring: Make, fields: dict[str, str], reason: str) -> None:
    with pytest.raises(errors.ConfigError, match=reason) as caught:
        await ring({"name": "x", "kind": "basic", "url": HOST, **fields})
    assert caught.value.faults[0].startswith("credential[0].password: ")
    assert CANARY not in str(caught.value)


async def test_all_faults_at_once_and_nothing_stays_open(ring: Make, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    with pytest.raises(errors.ConfigError) as caught:
        await ring(
            basic("a", HOST, "env:NOT_THERE"),
            {"name": "b", "kind": "ssh-key", "url": "ssh://git.test", "key": f"file:{tmp_path}/key"},
            {"name": "c", "kind": "ssh-agent", "url": "ssh://git.test", "socket": "/nonexistent"},
        )
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "credential[0].password", "credential[1].key", "credential[2].socket",
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, True), (0o604, True)])
async def test_a_netrc_is_for_its_owner_alone(ring: Make, tmp_path: Path, mode: int, refused: bool) -> None:
    """T12"""
    file = tmp_path / "netrc"
    file.write_text(f"machine git.test login me password {CANARY}\ndefault login a password {CANARY}2\n")
    file.chmod(mode)
    given = {"name": "n", "kind": "netrc", "file": file}
    if refused:
        with pytest.raises(errors.ConfigError, match="may be read by others"):
            await ring(given)
        return
    keyring = await ring(given)
    access = await keyring.for_url("https://git.test/x")
    assert access is not None
    assert (access.user, access.secret.reveal(), access.url) == ("me", CANARY, "https://git.test")
    assert await keyring.for_url("https://sub.git.test/x") is None
    assert await keyring.for_url("https://other.test/x") is None, "`default` is for nobody"


# --- helper


async def test_a_helper_is_asked_in_gits_protocol_and_told_of_a_refusal(ring: Make, tmp_path: Path) -> None:
    script, log = tmp_path / "helper", tmp_path / "log"
    answer = f"username=me\\npassword={CANARY}\\n"
    script.write_text(f'#!/bin/sh\n(echo "$1"; cat) >> {log}\n[ "$1" = get ] && printf "{answer}"\nexit 0\n')
    script.chmod(0o700)
    keyring = await ring({"name": "h", "kind": "helper", "url": HOST + "/team", "command": [str(script)]})
    for _ in range(3):
        access = await keyring.for_url(HOST + "/team/x.git")
        assert access is not None
        assert (access.user, access.secret.reveal()) == ("me", CANARY)
    assert log.read_text() == "get\nprotocol=https\nhost=git.test\npath=team\n\n"
    keyring.denied(access)
    for _ in range(100):
        if "erase" in log.read_text():
            break
        await asyncio.sleep(0.02)
    assert f"erase\nprotocol=https\nhost=git.test\npath=team\nusername=me\npassword={CANARY}\n" in log.read_text()


async def test_a_helper_that_gives_nothing_is_an_error_and_no_anonymous_request(ring: Make) -> None:
    keyring = await ring({"name": "h", "kind": "helper", "url": HOST, "command": ["true"]})
    with pytest.raises(errors.UpstreamFailed, match="no password"):
        await keyring.for_url(HOST + "/x")


# --- GitHub App


class GitHub:
    """The API's answers, and what was asked of it."""

    def __init__(self, *answers: Called) -> None:
        self.answers, self.calls = list(answers), list[Call]()

    async def __call__(self, task: Call) -> Called:
        self.calls.append(task)
        await asyncio.sleep(0)
        return self.answers.pop(0)


def given(value: str, seconds: float) -> Called:
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    return Called(201, json.dumps({"token": value, "expires_at": ends}).encode())


@pytest.fixture(scope="module")
def app_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def app(file: Path, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return {
        "name": "app", "kind": "github-app", "url": "https://github.test/corp", "app_id": 12, "installation_id": 34,
        "key": token(file, pem.decode()), "api": "https://api.test/",
    }  # fmt: skip


async def test_a_github_app_asks_for_a_token_once_and_again_before_it_ends(
    ring: Make, tmp_path: Path, app_key: rsa.RSAPrivateKey
) -> None:
    hub = GitHub(given("ghs_first1", 400), given("ghs_second", 3600))
    keyring = await ring(app(tmp_path / "k", app_key), call=hub)
    found = await asyncio.gather(*(keyring.for_url("https://github.test/corp/x") for _ in range(20)))
    assert {access.secret.reveal() for access in found if access} == {"ghs_first1"}
    assert len(hub.calls) == 1
    (call,) = hub.calls
    assert (call.method, call.url) == ("POST", "https://api.test/app/installations/34/access_tokens")
    claims = jwt.decode(call.bearer.reveal(), app_key.public_key(), algorithms=["RS256"], issuer="12")
    assert claims["exp"] - claims["iat"] <= 600
    access = found[0]
    assert access is not None
    keyring.denied(access)
    renewed = await keyring.for_url("https://github.test/corp/x")
    assert renewed is not None
    assert (renewed.user, renewed.secret.reveal()) == ("x-access-token", "ghs_second")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Called(401, b""), errors.AccessDenied, "does not accept the app"),
        (Called(404, b""), errors.AccessDenied, "no such installation"),
        (Called(403, b""), errors.AccessDenied, "gives no token"),
        (Called(502, b""), errors.HostUnreachable, "HTTP 502"),
        (Called(201, b'{"token": 1'), errors.UpstreamFailed, "has no token"),
        (Called(201, b'{"token": "x"}'), errors.UpstreamFailed, "has no token"),
    ],
)
async def test_what_github_may_say(
    ring: Make, tmp_path: Path, app_key: rsa.RSAPrivateKey, answer: Called, error: type[Exception], words: str
) -> None:
    keyring = await ring(app(tmp_path / "k", app_key), call=GitHub(answer))
    with pytest.raises(error, match=words):
        await keyring.for_url("https://github.test/corp/x")


# --- SSH keys


KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa 521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("passphrase", ["", CANARY])
@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
@pytest.mark.parametrize("kind", KEYS)
async def test_an_ssh_key_is_offered_by_an_agent_and_signs_as_ssh_wants_it(
    ring: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, form: PrivateFormat, passphrase: str
) -> None:
    """The real ssh-keygen signs through our agent, and checks what it signed."""
    monkeypatch.setenv("PASS", passphrase or "unused")
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    pem = KEYS[kind]().private_bytes(Encoding.PEM, form, how)
    config = {"name": "k", "kind": "ssh-key", "url": "ssh://git.test", "key": token(tmp_path / "key", pem.decode())}
    keyring = await ring({**config, **({"passphrase": "env:PASS"} if passphrase else {})})
    access = await keyring.for_url("git@git.test:x.git")
    assert access is not None
    assert access.kind == "agent"
    (tmp_path / "key.pub").write_text(access.public_keys[0] + "\n")
    (tmp_path / "signers").write_text(f"me {access.public_keys[0]}\n")
    (tmp_path / "message").write_text("hello")
    env = {"PATH": "/usr/bin:/bin", "SSH_AUTH_SOCK": access.agent}

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        with (tmp_path / "message").open("rb") as message:
            return subprocess.run(words, env=env, stdin=message, capture_output=True, timeout=20, check=False)

    listed = await asyncio.to_thread(run, "ssh-add", "-L")
    assert listed.stdout.decode().startswith(access.public_keys[0])
    public, message = str(tmp_path / "key.pub"), str(tmp_path / "message")
    signed = await asyncio.to_thread(run, "ssh-keygen", "-Y", "sign", "-n", "test", "-f", public, message)
    assert signed.returncode == 0, signed.stderr
    verify = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-n",
        "test",
        "-I",
        "me",
        "-f",
        str(tmp_path / "signers"),
        "-s",
        message + ".sig",
    ]
    checked = await asyncio.to_thread(run, *verify)
    assert checked.returncode == 0, checked.stderr


async def test_keys_that_cannot_be_used_say_why(ring: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "wrong-passphrase")
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"right")
    )
    weak = rsa.generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    source = {"name": "k", "kind": "ssh-key", "url": "ssh://git.test"}
    for key, more, reason in (
        (locked, {}, "needs a passphrase"),
        (locked, {"passphrase": "env:WRONG"}, "is the passphrase right"),
        (weak, {}, "less than 2048 bits"),
    ):
        with pytest.raises(errors.ConfigError, match=reason):
            await ring({**source, **more, "key": token(tmp_path / "key", key.decode())})


# --- nothing shows


async def test_no_secret_shows_in_what_is_printed_dumped_or_pickled(ring: Make, tmp_path: Path) -> None:
    keyring = await ring(basic("x", HOST, token(tmp_path / "t")))
    access = await keyring.for_url(HOST)
    assert access is not None
    for text in (repr(access), str(access), f"{access.secret}", f"{access.secret:>20}", repr(keyring), repr([access])):
        assert CANARY not in text
    with pytest.raises(TypeError):
        pickle.dumps(access.secret)
    assert keyring.secrets() == (Secret(CANARY),)
    assert keyring.secrets() is keyring.secrets()


async def test_a_changed_file_is_noticed(ring: Make, tmp_path: Path) -> None:
    """As Kubernetes changes them: a link to a directory that is replaced."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    token(tmp_path / "one/t", "token-one")
    token(tmp_path / "two/t", "token-two")
    (tmp_path / "now").symlink_to("one")
    keyring = await ring(basic("x", HOST, f"file:{tmp_path}/now/t"))
    assert not keyring.changed()
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "now")
    assert keyring.changed()


def test_the_header_of_a_basic_credential_is_hidden_too() -> None:
    from vcsproxy.secret import Redactor  # noqa: PLC0415 - one use

    hide = Redactor([Secret(CANARY)])
    assert CANARY not in hide(f"password {CANARY}!")
    encoded = base64.b64encode(CANARY.encode()).decode()
    assert encoded.rstrip("=") not in hide(f"Authorization: Basic {encoded}")


def test_access_is_a_value() -> None:
    assert Access("a", HOST, "basic", "u", Secret("x")) == Access("a", HOST, "basic", "u", Secret("x"))
