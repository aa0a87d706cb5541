"""A key that is never on the disk signs in: with OpenSSH's own programs, at a real SSH server, through our agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.support.history import Step, build
from tests.support.sshhost import SshHost
from vcsproxy.access.agentwire import MAX_MESSAGE, Key
from vcsproxy.access.privatekey import ssh_key
from vcsproxy.proxy.sshagent import SshAgent
from vcsproxy.secret import Secret

PASSPHRASE = "canary-0c44e1"
KINDS = [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")]


def keygen(place: Path, kind: str = "ed25519", bits: str = "256") -> tuple[Key, asyncssh.SSHKey]:
    """A key with a passphrase, made by ssh-keygen: as we hold it, and as the server knows it."""
    words = ["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", PASSPHRASE, "-a", "1", "-f", str(place / "key")]
    subprocess.run(words, check=True, capture_output=True)
    key = ssh_key(Secret((place / "key").read_text()), Secret(PASSPHRASE))
    (place / "key").unlink()
    return key, asyncssh.read_public_key(place / "key.pub")


@contextlib.asynccontextmanager
async def running(key: Key) -> AsyncIterator[SshAgent]:
    agent = SshAgent(key)
    await agent.start()
    try:
        yield agent
    finally:
        await agent.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SshHost]:
    build(tmp_path / "repos/x", [Step({"go.mod": "module x.test/x\n"}, tags=["v1.0.0"])])
    with SshHost(tmp_path / "repos").running() as running:
        (tmp_path / "known_hosts").write_text(running.known_hosts())
        yield running


async def ssh(place: Path, host: SshHost, agent: SshAgent, *command: str) -> subprocess.CompletedProcess[bytes]:
    """The real ssh, with nothing but the agent and the public half of its key."""
    public = place / "offer.pub"
    public.write_text(agent.key.line + "\n")
    options = [
        f"IdentityAgent={agent.socket}", "IdentitiesOnly=yes", f"IdentityFile={public}", "BatchMode=yes",
        f"UserKnownHostsFile={place}/known_hosts", "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes",
        "PreferredAuthentications=publickey",
    ]  # fmt: skip
    words = [
        "ssh",
        "-F",
        "/dev/null",
        *(f"-o{option}" for option in options),
        "-p",
        str(host.port),
        "git@127.0.0.1",
        *command,
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(place)}
    return await asyncio.to_thread(
        subprocess.run, words, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )


@pytest.mark.parametrize(("kind", "bits"), KINDS)
async def test_every_kind_of_key_signs_in_with_openssh(tmp_path: Path, host: SshHost, kind: str, bits: str) -> None:
    key, public = keygen(tmp_path, kind, bits)
    host.allowed = [public]
    async with running(key) as agent:
        done = await ssh(tmp_path, host, agent, "git-upload-pack", "/x")
    assert b"refs/tags/v1.0.0" in done.stdout, done.stderr
    assert {note for note in host.log if note.startswith("key ")} == {f"key git {public.get_fingerprint()}"}


@pytest.mark.parametrize(("kind", "bits"), KINDS)
async def test_every_kind_of_key_signs_in_with_another_client(
    tmp_path: Path, host: SshHost, kind: str, bits: str
) -> None:
    key, public = keygen(tmp_path, kind, bits)
    host.allowed = [public]
    async with (
        running(key) as agent,
        asyncssh.connect(
            "127.0.0.1",
            host.port,
            username="git",
            agent_path=agent.socket,
            known_hosts=None,
            config=None,
        ) as client,
    ):
        assert client.get_extra_info("username") == "git"


async def test_another_key_does_not_sign_in(tmp_path: Path, host: SshHost) -> None:
    key, _ = keygen(tmp_path)
    (tmp_path / "other").mkdir()
    host.allowed = [keygen(tmp_path / "other")[1]]
    async with running(key) as agent:
        done = await ssh(tmp_path, host, agent, "git-upload-pack", "/x")
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


async def tool(agent: SshAgent, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": agent.socket}
    return await asyncio.to_thread(
        subprocess.run, words, env=env, input=stdin, capture_output=True, timeout=30, check=False
    )


async def test_it_lists_one_key_and_can_neither_be_filled_nor_emptied_nor_locked(tmp_path: Path) -> None:
    key, public = keygen(tmp_path)
    private = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")
    async with running(key) as agent:
        for words, stdin in (
            (("-D",), b""),
            (("-",), private),
            (("-x",), b"p\np\n"),
            (("-d", f"{tmp_path}/key.pub"), b""),
            (("-e", "x.so"), b""),
        ):
            done = await tool(agent, "ssh-add", *words, stdin=stdin)
            assert done.returncode != 0, words
        listed = await tool(agent, "ssh-add", "-L")
        assert listed.stdout.decode() == f"{key.line} vcsproxy\n"
        tested = await tool(agent, "ssh-add", "-T", f"{tmp_path}/key.pub")
        assert tested.returncode == 0, tested.stderr
        shown = await tool(agent, "ssh-add", "-l")
        assert public.get_fingerprint() in shown.stdout.decode()


async def test_only_this_user_can_reach_it_and_nothing_of_it_stays(tmp_path: Path) -> None:
    key, _ = keygen(tmp_path)
    async with running(key) as agent:
        place = Path(agent.socket)
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert [file.name for file in place.parent.iterdir()] == ["a"]
        assert len(os.fsencode(place)) < 104
    assert not place.parent.exists()


@pytest.mark.parametrize("length", [60, 120])
async def test_a_long_name_of_the_temporary_directory_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    key, _ = keygen(tmp_path)
    with tempfile.TemporaryDirectory(prefix="x" * length, dir="/tmp") as long:
        monkeypatch.setattr("tempfile.tempdir", long)
        async with running(key) as agent:
            assert (await tool(agent, "ssh-add", "-L")).stdout.decode().startswith(key.line)
            assert agent.socket.startswith(long) is (length == 60)


def message(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


async def answers(agent: SshAgent, sent: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(agent.socket)
    try:
        writer.write(sent)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


FAILURE = message(b"\x05")


async def test_messages_of_a_wrong_length_end_the_conversation(tmp_path: Path) -> None:
    key, _ = keygen(tmp_path)
    async with running(key) as agent:
        for sent in (struct.pack(">I", 0), struct.pack(">I", MAX_MESSAGE + 1), b"\xff" * 4):
            assert await answers(agent, sent, end=False) == b"", "without waiting for so many bytes"
        for sent in (b"", b"\0\0", struct.pack(">I", 9) + b"abc"):
            assert await answers(agent, sent) == b""
        assert await answers(agent, message(b"\x0d" + b"\xff" * (MAX_MESSAGE - 1))) == FAILURE
        assert await answers(agent, FAILURE * 3 + message(b"\x00")) == FAILURE * 4
        assert (await tool(agent, "ssh-add", "-L")).returncode == 0


async def test_many_clients_at_once_and_some_that_say_nothing(tmp_path: Path) -> None:
    key, _ = keygen(tmp_path, "rsa", "2048")
    async with running(key) as agent:
        silent = []
        for _ in range(50):
            silent.append(socket.socket(socket.AF_UNIX))
            silent[-1].connect(agent.socket)
        request = message(b"\x0d" + message(key.blob) + message(b"data") + struct.pack(">I", 4))
        said = await asyncio.gather(*(answers(agent, request * 3) for _ in range(30)))
        assert {len(each) for each in said} == {
            3 * len(message(b"\x0e" + message(message(b"rsa-sha2-512") + message(b"x" * 256))))
        }
        for each in silent:
            each.close()


async def test_closing_ends_conversations(tmp_path: Path) -> None:
    key, _ = keygen(tmp_path)
    async with running(key) as agent:
        reader, writer = await asyncio.open_unix_connection(agent.socket)
        writer.write(message(b"\x0b"))
        await reader.readexactly(4)
    assert await asyncio.wait_for(reader.read(), 5)
    writer.close()
