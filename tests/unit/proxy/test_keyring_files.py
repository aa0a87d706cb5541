"""Where secrets are read from, what is wrong with such a place, and that a change of a file is seen, once."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.sshhost import agent, new_key, public_line
from tests.unit.proxy.test_keyring_urls import HOST, nobody, opened, private_key, token, written
from vcsproxy import errors
from vcsproxy.build.job import Access
from vcsproxy.config.credentials import Credential
from vcsproxy.proxy.keyring import Keyring
from vcsproxy.proxy.secrets import read_file, resolve, run

CANARY = "canary-66ab01"


async def faults(*tables: dict[str, Any]) -> list[str]:
    with pytest.raises(errors.ConfigError) as caught:
        async with opened(*tables):
            pass
    assert CANARY not in str(caught.value)
    return list(caught.value.faults)


# --- the three places


@pytest.mark.parametrize(
    ("text", "value", "whole"),
    [
        ("x y", "x y", "x y"), ("x\n", "x", "x\n"), ("x\r\n", "x", "x\r\n"), ("x\n\n", "x", "x\n\n"), (" x ", " x ", " x "),
        ("p\u00e9", "p\u00e9", "p\u00e9"), ("a\nb\n", None, "a\nb\n"), ("a\tb", None, "a\tb"), ("\n", None, None), ("  \n", None, None),
        ("", None, None), ("a\0b", None, "a\0b"),
    ],
)  # fmt: skip
async def test_a_token_loses_newlines_at_its_end_and_a_key_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str | None, whole: str | None
) -> None:
    file = tmp_path / "t"
    file.write_bytes(text.encode())
    file.chmod(0o600)
    sources = [f"file:{file}"]
    if "\0" not in text:
        monkeypatch.setenv("CANARY_VARIABLE", text)
        sources.append("env:CANARY_VARIABLE")
    for source in sources:
        for expected, all_of_it in ((value, False), (whole, True)):
            if expected is None:
                with pytest.raises(errors.VCSProxyError, match=r"is empty|not set|more than one line"):
                    await resolve(source, whole=all_of_it)
            else:
                assert (await resolve(source, whole=all_of_it)).reveal() == expected


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("echo one", "one"), ("printf 'one\\ntwo\\n'", "one"), ("printf 'one\\r\\ntwo'", "one"), ("echo 'a  b'", "a  b"),
        ("echo $HOME `id` ; echo x", "$HOME `id` ; echo x"), ("sh -c 'cat; echo end'", "end"), ("echo *", "*"),
    ],
)  # fmt: skip
async def test_a_program_gives_its_first_line_and_no_shell_reads_the_command(command: str, value: str) -> None:
    assert (await resolve(f"cmd:{command}")).reveal() == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("env:NOT_THERE_AT_ALL", "the environment variable NOT_THERE_AT_ALL is not set"),
        (f"cmd:sh -c 'echo {CANARY}; exit 7'", "sh failed with exit code 7"),
        (f"cmd:sh -c 'echo {CANARY} >&2; kill -9 $$'", "sh failed with exit code -9"),
        (f"cmd:echo '{CANARY}", "the command cannot be read: No closing quotation"),
        ("cmd:''", "names no program"),
        (f"cmd:/nonexistent/give {CANARY}", "cannot run /nonexistent/give: No such file"),
        ("cmd:true", "the output of true is empty"),
        (f"cmd:printf '\\n{CANARY}'", "the output of printf is empty"),
        (f"cmd:printf '{CANARY}\\tx'", "characters that cannot be sent"),
        ("cmd:printf '\\377\\n'", "printf prints what is not UTF-8"),
        ("cmd:head -c 70000 /dev/zero", "head prints more than 65536 bytes"),
        ("cmd:yes", "yes prints more than 65536 bytes"),
    ],
)
async def test_a_place_without_a_secret_says_why_and_not_what(source: str, words: str) -> None:
    with pytest.raises(errors.VCSProxyError, match=words) as caught:
        await resolve(source)
    assert CANARY not in caught.value.message + caught.value.hint
    assert caught.value.__context__ is None or caught.value.__suppress_context__


async def test_a_variable_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"CANARY_VARIABLE", b"x\xffy")
    with pytest.raises(errors.VCSProxyError, match="characters that cannot be sent"):
        await resolve("env:CANARY_VARIABLE")


@pytest.mark.slow
async def test_a_program_that_goes_on_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    """Ten seconds for all of it; a child that holds the pipe open is no way around that."""
    script = f"echo $$ >{tmp_path}/a; (echo $BASHPID; exec sleep 60) >{tmp_path}/b & exec sleep 61"
    started = time.monotonic()
    with pytest.raises(errors.VCSProxyError, match="took longer than 10 s"):
        await run(["bash", "-c", script])
    assert 9 < time.monotonic() - started < 15
    for name in ("a", "b"):
        pid = int((tmp_path / name).read_text())
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError(f"{name} is alive")


async def test_a_program_sees_no_more_of_the_environment_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", CANARY)
    said = (await run(["env"])).decode()
    assert {line.partition("=")[0] for line in said.splitlines()} <= {"PATH", "HOME", "LC_ALL"}


# --- files


@pytest.mark.parametrize(
    ("mode", "refused", "refused_if_private", "told"),
    [
        (0o400, "", "", False), (0o600, "", "", False), (0o640, "", "others than its owner", False),
        (0o660, "", "others than its owner", False), (0o604, "", "others than its owner", True), (0o644, "", "others than its owner", True),
        (0o602, "written by everybody", "written by everybody", False), (0o666, "written by everybody", "written by everybody", False),
    ],
)  # fmt: skip
def test_who_may_read_and_write_a_secret(
    tmp_path: Path, mode: int, refused: str, refused_if_private: str, told: bool
) -> None:
    file = written(tmp_path / "t", CANARY)
    file.chmod(mode)
    for private, words in ((False, refused), (True, refused_if_private)):
        with capture_logs() as lines:
            if words:
                with pytest.raises(errors.VCSProxyError, match=words) as caught:
                    read_file(file, private=private)
                assert "chmod 600" in caught.value.message
            else:
                assert read_file(file, private=private) == CANARY
        assert [line["event"] for line in lines] == (["secret_readable"] if told and not private else [])
        assert CANARY not in json.dumps(lines)
    if not refused:
        with capture_logs() as lines:
            read_file(file, public=True)
        assert lines == []


def test_what_is_no_file_for_a_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    written(tmp_path / "big", "x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "loop").symlink_to("loop")
    for name, words in {
        "pipe": "is no regular file", ".": "Is a directory", "big": "larger than 65536 bytes", "binary": "not UTF-8",
        "loop": "symbolic links", "missing": "No such file", "pipe/x": "Not a directory",
    }.items():  # fmt: skip
        with pytest.raises(errors.VCSProxyError, match=words):
            read_file(tmp_path / name)


# --- all faults at once


async def test_every_fault_of_every_kind_is_told_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine git.test\nlogin x {CANARY}\n")
    (tmp_path / "netrc").chmod(0o600)
    key = written(tmp_path / "key", private_key())
    (tmp_path / "id.pub").write_text(f"-----BEGIN {CANARY}\n")
    with agent() as socket:
        told = await faults(
            {"name": "a", "kind": "basic", "url": HOST, "password": "env:NOT_THERE_AT_ALL"},
            {"name": "b", "kind": "bearer", "url": HOST, "token": f"cmd:echo a {CANARY}"},
            {"name": "c", "kind": "ssh-key", "key": f"file:{tmp_path}/none", "passphrase": "env:NOT_THERE_AT_ALL"},
            {"name": "d", "kind": "ssh-key", "key": f"file:{key}", "passphrase": f"cmd:echo {CANARY}"},
            {"name": "e", "kind": "netrc", "file": tmp_path / "netrc"},
            {"name": "f", "kind": "github-app", "app_id": 1, "installation_id": 2, "key": f"file:{key}"},
            {"name": "g", "kind": "helper", "url": HOST, "command": ["/nonexistent/helper", CANARY]},
            {"name": "h", "kind": "ssh-agent", "socket": tmp_path / "netrc"},
            {"name": "i", "kind": "ssh-agent", "socket": socket, "public_key": tmp_path / "id.pub"},
            token(tmp_path, "good", HOST),
        )
    assert told == [
        "credential[0].password: the environment variable NOT_THERE_AT_ALL is not set or empty",
        "credential[1].token: the token has characters that no header can carry",
        f"credential[2].key: {tmp_path}/none: No such file or directory",
        "credential[2].passphrase: the environment variable NOT_THERE_AT_ALL is not set or empty",
        "credential[3].key: has no passphrase, and one is given",
        f"credential[4].file: {tmp_path}/netrc: line 2: expected machine, login or password",
        "credential[5].key: is no RSA key, and GitHub's apps have RSA keys",
        "credential[6].command: there is no program /nonexistent/helper",
        f"credential[7].socket: {tmp_path}/netrc is no socket",
        "credential[8].public_key: line 1 is not a public key such as ssh-ed25519 AAAA...",
    ]


async def test_a_netrc_without_what_is_wanted_of_it(tmp_path: Path) -> None:
    file = written(tmp_path / "netrc", "default password x\nmachine git.test login y\n")
    table = {"name": "n", "kind": "netrc", "file": file}
    assert await faults(table) == [f"credential[0].file: {file} has no machine with a password"]
    written(file, "machine other.test password x\n")
    told = await faults({**table, "url": HOST + "/team"})
    assert told == [f"credential[0].file: {file} has no machine git.test with a password"]


async def test_the_operators_agent_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [new_key(), new_key()]
    public = tmp_path / "id.pub"
    public.write_text(f"# deploy\n{public_line(keys[1])} comment\n")
    public.chmod(0o644)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    table = {"name": "a", "kind": "ssh-agent", "url": "ssh://git.test", "user": "git"}
    assert await faults(table) == ["credential[0].socket: is not given, and there is no SSH_AUTH_SOCK"]
    with agent(*keys) as socket:
        with capture_logs() as lines:
            async with opened({**table, "socket": socket, "public_key": public}) as keyring:
                access = await keyring.for_url("git@git.test:x")
        assert access == Access(
            "a", "ssh://git.test", "agent", "git", agent=socket, public_keys=(public_line(keys[1]),)
        )
        assert lines == [], "a public key may be read by everybody"
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        async with opened(table) as keyring:
            assert await keyring.for_url("git@git.test:x") == Access(
                "a", "ssh://git.test", "agent", "git", agent=socket
            )


async def test_programs_are_run_beside_each_other_when_a_keyring_opens() -> None:
    tables = [
        {"name": f"p{i}", "kind": "basic", "url": f"{HOST}/{i}", "password": "cmd:sh -c 'sleep 1; echo secret'"}
        for i in range(8)
    ]
    started = time.monotonic()
    async with opened(*tables):
        assert time.monotonic() - started < 5


# --- changes

Change = Callable[[Path], object]
CHANGES: dict[str, Change] = {
    "rewritten": lambda file: file.write_text("other"),
    "of equal length": lambda file: file.write_text(file.read_text()[::-1]),
    "replaced": lambda file: written(file.with_name("new"), "other").rename(file),
    "removed": lambda file: file.unlink(),
    "with an older time": lambda file: (file.write_text("other"), os.utime(file, (1, 1))),
    "with other rights": lambda file: file.chmod(0o400),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("kind", ["token", "key", "passphrase", "netrc", "app", "public key"])
async def test_every_change_of_every_file_is_told_once(tmp_path: Path, kind: str, change: Change) -> None:
    file = tmp_path / kind
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", tmp_path / "rsa"], check=True
    )
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", CANARY, "-a", "1", "-f", tmp_path / "locked"], check=True
    )
    with agent() as socket:
        content, table = {
            "token": (CANARY, {"kind": "bearer", "token": f"file:{file}"}),
            "key": (private_key(), {"kind": "ssh-key", "key": f"file:{file}"}),
            "passphrase": (CANARY, {"kind": "ssh-key", "key": f"file:{tmp_path}/locked", "passphrase": f"file:{file}"}),
            "netrc": ("machine git.test password x", {"kind": "netrc", "file": file}),
            "app": ((tmp_path / "rsa").read_text(),
                    {"kind": "github-app", "app_id": 1, "installation_id": 2, "key": f"file:{file}"}),
            "public key": (public_line(new_key()), {"kind": "ssh-agent", "socket": socket, "public_key": file}),
        }[kind]  # fmt: skip
        written(file, content)
        async with opened({"name": "x", **table}) as keyring:
            assert [keyring.changed(), keyring.changed()] == [False, False]
            change(file)
            assert [keyring.changed(), keyring.changed()] == [True, False]


async def test_a_volume_of_kubernetes_is_seen_through_its_links(tmp_path: Path) -> None:
    """token -> ..data/token, ..data -> ..2026_01, and the second link is replaced by a rename."""
    for name in ("..one", "..two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "token", f"secret{name}")
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "token").symlink_to("..data/token")
    async with opened({"name": "x", "kind": "bearer", "url": HOST, "token": f"file:{tmp_path}/token"}) as keyring:
        (tmp_path / "..tmp").symlink_to("..two")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        shutil.rmtree(tmp_path / "..one")
        assert keyring.changed()
        assert [secret.reveal() for secret in keyring.secrets()] == ["secret..one"], "a keyring itself never changes"


class Server:
    """What a server does with keyrings: a new one takes over if it opens."""

    def __init__(self, *tables: dict[str, Any]) -> None:
        self.tables, self.keyring, self.refusals = tables, Keyring([], nobody), list[str]()

    async def use(self) -> None:
        new = Keyring([Credential(**each) for each in self.tables], nobody)
        try:
            await new.open()
        except errors.ConfigError as err:
            self.refusals += err.faults
            return
        old, self.keyring = self.keyring, new
        await old.close(linger=60)

    async def look(self) -> str:
        if await asyncio.to_thread(self.keyring.changed):
            await self.use()
        access = await self.keyring.for_url(HOST + "/x")
        return access.secret.reveal() if access is not None else ""


async def test_a_changed_file_takes_over_and_a_faulty_one_does_not_until_it_is_mended(tmp_path: Path) -> None:
    file = written(tmp_path / "token", "one\n")
    server = Server({"name": "x", "kind": "bearer", "url": HOST, "token": f"file:{file}"})
    await server.use()
    assert await server.look() == "one"
    file.write_text("two\n")
    assert await server.look() == "two"
    file.write_text("")
    assert [await server.look() for _ in range(5)] == ["two"] * 5
    assert server.refusals == [f"credential[0].token: file:{file} is empty"], "told once, not at every look"
    file.write_text("three\n")
    assert await server.look() == "three"
    file.chmod(0o666)
    assert await server.look() == "three"
    file.chmod(0o600)
    assert await server.look() == "three"
    assert len(server.refusals) == 2
    file.unlink()
    assert await server.look() == "three"
    written(file, "four\n")
    assert await server.look() == "four"
    await server.keyring.close()


async def test_a_job_that_runs_keeps_the_agent_of_the_former_keyring(tmp_path: Path) -> None:
    key = written(tmp_path / "key", private_key())
    keyring = Keyring([Credential(name="k", kind="ssh-key", url="ssh://git.test", key=f"file:{key}")], nobody)
    await keyring.open()
    access = await keyring.for_url("git@git.test:x")
    assert access is not None
    await keyring.close(linger=0.3)

    def listed() -> str:
        return subprocess.run(
            ["ssh-add", "-L"], env={"SSH_AUTH_SOCK": access.agent}, capture_output=True, text=True, check=False
        ).stdout

    assert (await asyncio.to_thread(listed)).startswith(access.public_keys[0])
    assert await keyring.for_url("git@git.test:x") == access, "a request that began before the change gets its answer"
    for _ in range(100):
        if not Path(access.agent).parent.exists():
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the agent is still there")
    assert await asyncio.to_thread(listed) == ""


def test_the_end_of_the_loop_ends_an_agent_that_lingers(tmp_path: Path) -> None:
    key = written(tmp_path / "key", private_key())

    async def serve() -> str:
        keyring = Keyring([Credential(name="k", kind="ssh-key", url="ssh://git.test", key=f"file:{key}")], nobody)
        await keyring.open()
        access = await keyring.for_url("git@git.test:x")
        assert access is not None
        await keyring.close(linger=3600)
        return access.agent

    assert not Path(asyncio.run(serve())).parent.exists()


async def test_a_keyring_that_does_not_open_leaves_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = written(tmp_path / "key", private_key())
    good = {"name": "k", "kind": "ssh-key", "url": "ssh://git.test", "key": f"file:{key}"}
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setattr("tempfile.tempdir", place)
        async with opened(good):
            assert len(os.listdir(place)) == 1
        await faults(good, {"name": "x", "kind": "bearer", "token": "env:NOT_THERE_AT_ALL"})
        assert os.listdir(place) == []
