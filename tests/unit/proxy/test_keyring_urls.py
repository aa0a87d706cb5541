"""I5: which credential goes to which URL, for every kind of credential and every way to write a URL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from vcsproxy import errors
from vcsproxy.build.job import Access, Call, Called, Host
from vcsproxy.config.credentials import Credential
from vcsproxy.proxy.keyring import Keyring

HOST = "https://git.test"


async def nobody(task: Call) -> Called:
    raise errors.HostUnreachable(f"nobody answers at {task.url}")


@contextlib.asynccontextmanager
async def opened(*credentials: dict[str, Any], call: Any = nobody, **more: Any) -> AsyncIterator[Keyring]:
    """A keyring of these tables, open."""
    keyring = Keyring([Credential(**each) for each in credentials], call, **more)
    await keyring.open()
    try:
        yield keyring
    finally:
        await keyring.close()


def written(file: Path, text: str) -> Path:
    """A file that only we may read."""
    file.write_text(text)
    file.chmod(0o600)
    return file


def private_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def token(place: Path, name: str, url: str = "", kind: str = "bearer") -> dict[str, Any]:
    file = written(place / name, f"secret-of-{name}\n")
    key = "token" if kind == "bearer" else "password"
    return {"name": name, "kind": kind, key: f"file:{file}", **({"url": url} if url else {})}


async def found(keyring: Keyring, url: str, name: str = "") -> tuple[str, str]:
    """(name, prefix) of what goes to a URL, empty for nothing."""
    access = await keyring.for_url(url, name)
    return (access.name, access.url) if access is not None else ("", "")


# --- by URL


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/x", "host"), ("/a", "a"), ("/a/x", "a"), ("/a/b", "ab"), ("/a/b/c/d.git", "ab"), ("/a/bc", "a"), ("/ab/x", "host"),
        ("/A/x", "host"), ("/a/b?x=/../../..", "ab"), ("/a/b/..", ""), ("/a/b/../c", ""), ("/a/%2e%2e/x", ""), ("/a%2fb/x", "host"),
        (":443/a/x", "a"), (":8443/a/x", "port"), (":8444/a/x", ""), (":80/a", ""), ("@evil.test/a", ""), (".evil.test/a", ""),
    ],
)  # fmt: skip
async def test_of_many_on_one_host_the_longest_goes(tmp_path: Path, url: str, name: str) -> None:
    tables = [
        token(tmp_path, "ab", HOST + "/a/b/"), token(tmp_path, "host", HOST), token(tmp_path, "a", HOST + "/a"),
        token(tmp_path, "port", HOST + ":8443"), token(tmp_path, "free"),
    ]  # fmt: skip
    for order in (tables, tables[::-1]):
        async with opened(*order) as keyring:
            access = await keyring.for_url(HOST + url)
            assert (access.name if access else "") == name
            assert access is None or access.secret.reveal() == f"secret-of-{name}"


async def test_what_is_bound_covers_the_requests_of_git(tmp_path: Path) -> None:
    """The worker compares each request with the prefix again."""
    async with opened(token(tmp_path, "a", HOST + "/a/"), token(tmp_path, "free")) as keyring:
        assert await found(keyring, HOST + "/a/x.git") == ("a", HOST + "/a")
        assert await found(keyring, HOST + "/b/x.git/", "free") == ("free", HOST + "/b/x.git")
        assert await found(keyring, "https://me@GIT.test:443/b/x.git", "free") == ("free", HOST + "/b/x.git")


@pytest.mark.parametrize(
    "scheme",
    ["http://git.test", "file://git.test", "git://git.test", "HTTP://git.test", "ext::git.test", "", "/git.test"],
)
async def test_nothing_is_sent_in_the_clear_or_to_no_host(tmp_path: Path, scheme: str) -> None:
    async with opened(token(tmp_path, "a", HOST), token(tmp_path, "free")) as keyring:
        for name in ("", "free", "a"):
            assert await keyring.for_url(scheme + "/x", name) is None
        assert await keyring.for_page(scheme + "/x") == ()


async def test_nothing_is_sent_to_a_host_that_is_not_verified(tmp_path: Path) -> None:
    netrc = written(tmp_path / "netrc", "machine git.test password p4ssword")
    tables = [token(tmp_path, "a", HOST), token(tmp_path, "free"), {"name": "n", "kind": "netrc", "file": netrc}]
    async with opened(*tables, hosts=(Host("git.test", insecure=True), Host("other.test"))) as keyring:
        for name in ("", "a", "free", "n"):
            for url in (HOST + "/x", "https://GIT.TEST/x", "ssh://git.test/x", "git@git.test:x"):
                assert await keyring.for_url(url, name) is None
        assert await keyring.for_page(HOST + "/x") == ()
        assert await found(keyring, "https://other.test/x", "free") == ("free", "https://other.test/x")


# --- by name


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/a/x",
        HOST + "/b/x",
        HOST + ":8443/a/x",
        HOST + "/a/../b",
        "ssh://git.test/a/x",
        "https://git.test.evil.test/a",
    ],
)
async def test_a_named_credential_with_a_url_goes_nowhere_else(tmp_path: Path, url: str) -> None:
    async with opened(token(tmp_path, "a", HOST + "/a"), token(tmp_path, "all", HOST)) as keyring:
        with pytest.raises(errors.Forbidden, match="the credential a may not go") as caught:
            await keyring.for_url(url, "a")
        assert HOST + "/a" in caught.value.hint
        assert await found(keyring, HOST + "/a/x", "all") == ("all", HOST), "the name decides, not the length"


async def test_a_named_credential_without_a_url_is_bound_to_one_repository(tmp_path: Path) -> None:
    async with opened(token(tmp_path, "free")) as keyring:
        assert await keyring.for_url(HOST + "/a/x") is None, "without being named it goes nowhere"
        access = await keyring.for_url(HOST + "/a/x", "free")
        assert access is not None
        assert access.url == HOST + "/a/x"
        for url in ("ssh://git.test/a/x", "git@git.test:a/x"):
            with pytest.raises(errors.Forbidden, match="the credential free may not go"):
                await keyring.for_url(url, "free")


async def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    async with opened(token(tmp_path, "a", HOST)) as keyring:
        with pytest.raises(errors.Forbidden, match="no credential named b"):
            await keyring.for_url(HOST + "/x", "b")


# --- SSH


async def test_an_ssh_credential_goes_to_both_forms_of_url(tmp_path: Path) -> None:
    key = written(tmp_path / "key", private_key())
    tables = [
        {"name": "team", "kind": "ssh-key", "url": "ssh://git.test/team", "key": f"file:{key}", "user": "git"},
        {"name": "port", "kind": "ssh-key", "url": "ssh://git@git.test:2222", "key": f"file:{key}"},
        {"name": "free", "kind": "ssh-key", "key": f"file:{key}"},
    ]
    async with opened(*tables) as keyring:
        for url in (
            "ssh://git.test/team/x",
            "ssh://you@git.test:22/team/x",
            "git@git.test:team/x.git",
            "git.test:/team/x",
        ):
            assert await found(keyring, url) == ("team", "ssh://git.test/team")
        assert await found(keyring, "ssh://git.test:2222/x") == ("port", "ssh://git.test:2222")
        for url in (
            "ssh://git.test/teams/x",
            "git@git.test:team/../x",
            "git@git.test.evil.test:team/x",
            HOST + "/team/x",
        ):
            assert await found(keyring, url) == ("", "")
        assert await found(keyring, "git@other.test:x.git", "free") == ("free", "ssh://other.test/x.git")
        with pytest.raises(errors.Forbidden, match="may not go"):
            await keyring.for_url(HOST + "/x", "free")
        access = await keyring.for_url("git@git.test:team/x.git")
        assert access is not None
        assert (access.kind, access.user, access.secret.reveal(), len(access.public_keys)) == ("agent", "git", "", 1)
        assert await keyring.for_page(HOST + "/team/x") == ()


# --- netrc

NETRC = "machine git.test login me password one\nmachine other.test password two\nmachine git.test password three\ndefault password four"


async def test_a_netrc_goes_to_its_machines_on_the_port_of_https(tmp_path: Path) -> None:
    async with opened({"name": "n", "kind": "netrc", "file": written(tmp_path / "netrc", NETRC)}) as keyring:
        for url, user, password in (
            (HOST + "/x", "me", "one"),
            ("https://GIT.test:443/x", "me", "one"),
            ("https://other.test", "git", "two"),
        ):
            access = await keyring.for_url(url)
            assert access is not None
            assert (access.user, access.secret.reveal(), access.kind) == (user, password, "basic")
        for url in (
            HOST + ":8443/x",
            "https://sub.git.test/x",
            "https://default/x",
            "ssh://git.test/x",
            "http://git.test/x",
        ):
            assert await keyring.for_url(url) is None, url


async def test_a_netrc_that_is_named_or_has_a_url_goes_to_the_machine_there(tmp_path: Path) -> None:
    file = written(tmp_path / "netrc", NETRC)
    async with opened({"name": "n", "kind": "netrc", "file": file}) as keyring:
        assert await found(keyring, HOST + ":8443/x", "n") == ("n", HOST + ":8443/x")
        assert await found(keyring, HOST + "/x", "n") == ("n", HOST)
        with pytest.raises(errors.Forbidden, match=r"has nothing for evil\.test"):
            await keyring.for_url("https://evil.test/x", "n")
    async with opened({"name": "n", "kind": "netrc", "file": file, "url": HOST + ":8443/team"}) as keyring:
        access = await keyring.for_url(HOST + ":8443/team/x")
        assert access is not None
        assert (access.secret.reveal(), access.url) == ("one", HOST + ":8443/team")
        assert await keyring.for_url("https://other.test/x") is None, "its url says where it goes"
        with pytest.raises(errors.Forbidden):
            await keyring.for_url("https://other.test/x", "n")


# --- pages, and what lies on the way


def names(given: tuple[Access, ...]) -> set[tuple[str, str]]:
    return {(access.name, access.url) for access in given}


async def test_a_page_gets_all_of_its_origin_and_no_key(tmp_path: Path) -> None:
    key = written(tmp_path / "key", private_key())
    tables = [
        token(tmp_path, "a", HOST + "/a"), token(tmp_path, "b", HOST + "/b"), token(tmp_path, "free"),
        token(tmp_path, "port", HOST + ":8443/a"), token(tmp_path, "other", "https://other.test/a"),
        {"name": "ssh", "kind": "ssh-key", "url": "ssh://git.test/a", "key": f"file:{key}"},
        {"name": "n", "kind": "netrc", "file": written(tmp_path / "netrc", NETRC)},
    ]  # fmt: skip
    async with opened(*tables) as keyring:
        expected = {("a", HOST + "/a"), ("b", HOST + "/b"), ("n", HOST)}
        assert names(await keyring.for_page(HOST + "/a/x?go-get=1")) == expected
        assert names(await keyring.for_page(HOST + ":8443/z")) == {("port", HOST + ":8443/a")}
        assert await keyring.for_page("https://unknown.test/a") == ()
        assert await keyring.for_page("git@git.test:a/x") == ()


async def test_a_page_does_not_wait_for_credentials_of_others_that_cannot_be_had(tmp_path: Path) -> None:
    tables = [
        token(tmp_path, "a", HOST + "/a"),
        {"name": "broken", "kind": "helper", "url": HOST + "/b", "command": ["false"]},
    ]
    async with opened(*tables) as keyring:
        assert names(await keyring.for_page(HOST + "/a/x")) == {("a", HOST + "/a")}
        with pytest.raises(errors.UpstreamFailed, match="the credential broken cannot be had"):
            await keyring.for_page(HOST + "/b/x")


async def test_a_proxy_and_a_jump_host_have_credentials_of_their_own(tmp_path: Path) -> None:
    key = written(tmp_path / "key", private_key())
    tables = [
        token(tmp_path, "a", HOST), token(tmp_path, "proxy", "https://proxy.test:3128", "basic"),
        {"name": "jump", "kind": "ssh-key", "url": "ssh://jump.test:2222", "key": f"file:{key}"},
    ]  # fmt: skip
    hosts = (Host("git.test", proxy="http://proxy.test:3128", jump="me@jump.test:2222"), Host("other.test"))
    async with opened(*tables, hosts=hosts) as keyring:
        assert names(await keyring.for_way(HOST + "/x")) == {("proxy", "https://proxy.test:3128")}
        for url in ("ssh://git.test/x", "git@git.test:x"):
            assert names(await keyring.for_way(url)) == {("jump", "ssh://jump.test:2222")}
        for url in ("https://other.test/x", "https://unknown.test", "file:///x", "nonsense"):
            assert await keyring.for_way(url) == ()
