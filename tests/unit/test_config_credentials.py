"""The table [[credential]]: which keys each kind has, where it may go, and that a fault repeats no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcsproxy.config import load
from vcsproxy.config.credentials import KEYS, Credential, credential_faults
from vcsproxy.errors import ConfigError

GOOD = {
    "basic": 'url = "https://git.test/team"\npassword = "env:T"\nuser = "me"',
    "bearer": 'url = "https://git.test:8443"\ntoken = "file:t"',
    "ssh-key": 'url = "ssh://git@git.test:2222/team"\nkey = "cmd:pass show key"\npassphrase = "env:P"\nuser = "git"',
    "ssh-agent": 'url = "git@git.test:team"\nsocket = "/run/agent"\npublic_key = "id.pub"',
    "netrc": 'file = "netrc"',
    "github-app": 'url = "https://github.com/corp"\napp_id = 12\ninstallation_id = "34"\nkey = "file:k"',
    "helper": 'url = "https://git.test"\ncommand = ["git", "credential-cache"]\nuser = "me"',
}


def parse(tmp_path: Path, kind: str, text: str, name: str = "c-1") -> Credential:
    for file in ("netrc", "id.pub"):
        (tmp_path / file).touch()
    file = tmp_path / "vcsproxy.toml"
    file.write_text(f'[[credential]]\nname = "{name}"\nkind = "{kind}"\n{text}\n')
    return load(file).credential[0]


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_can_be_written(tmp_path: Path, kind: str) -> None:
    found = parse(tmp_path, kind, GOOD[kind])
    assert found.kind == kind


def test_files_start_at_the_configuration_and_sockets_in_the_home_directory(tmp_path: Path) -> None:
    assert parse(tmp_path, "bearer", GOOD["bearer"]).token == f"file:{tmp_path}/t"
    assert parse(tmp_path, "netrc", GOOD["netrc"]).file == tmp_path / "netrc"
    assert parse(tmp_path, "ssh-agent", GOOD["ssh-agent"]).public_key == tmp_path / "id.pub"
    found = parse(tmp_path, "ssh-agent", 'url = "ssh://git.test"\nsocket = "~/agent"')
    assert found.socket == Path.home() / "agent"


def test_it_names_the_hosts_that_it_leads_to(tmp_path: Path) -> None:
    assert parse(tmp_path, "basic", GOOD["basic"]).urls == ("https://git.test/team",)
    assert parse(tmp_path, "netrc", GOOD["netrc"]).urls == ()
    assert parse(tmp_path, "github-app", GOOD["github-app"]).urls == (
        "https://github.com/corp",
        "https://api.github.com",
    )


APP = GOOD["github-app"]
FAULTS = {
    "a user in an https URL": ("basic", GOOD["basic"].replace("git.test", "me@git.test"), "url: must not contain a user"),
    "a password": ("basic", GOOD["basic"].replace("git.test", "me:hunter2@git.test"), "url: must not contain a password"),
    "a password for ssh": ("ssh-key", GOOD["ssh-key"].replace("git@", "git:hunter2@"), "url: must not contain a password"),
    "a port that is none": ("basic", GOOD["basic"].replace("git.test", "me:hunter2"), "url: has a host or a port that cannot be"),
    "a query": ("basic", GOOD["basic"].replace("/team", "/team?token=hunter2"), "url: must not have a query"),
    "an empty query": ("basic", GOOD["basic"].replace("/team", "/team?"), "url: must not have a query"),
    "a fragment": ("basic", GOOD["basic"].replace("/team", "#hunter2"), "url: must not have a query or a fragment"),
    "dots": ("basic", GOOD["basic"].replace("/team", "/x/../team"), "url: must have a plain path"),
    "an empty element": ("basic", GOOD["basic"].replace("/team", "//team"), "url: must have a plain path"),
    "an encoded letter": ("basic", GOOD["basic"].replace("/team", "/te%61m"), "url: must have a plain path"),
    "a placeholder": ("basic", GOOD["basic"].replace("/team", "/{owner}"), "url: must not contain .*placeholders"),
    "a space": ("basic", GOOD["basic"].replace("/team", "/a b"), "url: must not contain spaces"),
    "a wildcard": ("basic", GOOD["basic"].replace("git.test", "*.test"), "url: must name one host"),
    "no URL": ("basic", GOOD["basic"].replace("https://", ""), "url: must be a URL"),
    "no scheme that we speak": ("basic", GOOD["basic"].replace("https:", "ftp:"), "url: must be a URL"),
    "ssh for a token": ("bearer", GOOD["bearer"].replace("https:", "ssh:"), "url: must begin with https://"),
    "a user with a colon": ("basic", GOOD["basic"].replace('"me"', '"me:hunter2"'), "user: must not contain colons"),
    "a user with a newline": ("helper", GOOD["helper"].replace('"me"', r'"me\nhunter2"'), "user: must not contain"),
    "a login that is an option": ("ssh-key", GOOD["ssh-key"].replace('"git"', '"-oProxyCommand=x"'), "user: is not a login"),
    "no command": ("helper", 'url = "https://git.test"\ncommand = []', "command: is required"),
    "an empty program": ("helper", 'url = "https://git.test"\ncommand = [""]', "command: must be a program"),
    "a relative socket": ("ssh-agent", 'url = "ssh://git.test"\nsocket = "agent"', "socket: must be an absolute path"),
    "an installation that walks": ("github-app", APP.replace('"34"', '"34/../../x"'), "installation_id: must be the number"),
    "an app that is none": ("github-app", APP.replace("12", '"my app"'), "app_id: must be the number .* or the client ID"),
    "an app that is true": ("github-app", APP.replace("12", "true"), "app_id"),
    "an api with a user": ("github-app", APP + '\napi = "https://me:hunter2@api.test"', "api: must not contain a password"),
    "an api in the clear": ("github-app", APP + '\napi = "http://api.test"', "api: must begin with https://"),
    "an api elsewhere": ("basic", GOOD["basic"] + '\napi = "https://api.test"', "api: has no meaning"),
    "the key itself": ("ssh-key", 'url = "ssh://git.test"\nkey = """-----BEGIN hunter2"""', "key: must say where the secret is"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_say_the_key_and_repeat_nothing(tmp_path: Path, kind: str, text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"credential\[0\]\.{fault}") as caught:
        parse(tmp_path, kind, text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\\nb", "x" * 65, "t\u00e9am", "a/b"])
def test_a_name_is_short_and_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"credential\[0\]\.name: must be a short name"):
        parse(tmp_path, "basic", GOOD["basic"], name)


def test_all_faults_of_a_table_at_once() -> None:
    faults = credential_faults({"name": "?", "kind": "helper", "user": "a:b", "api": "http://x", "command": [""]})
    assert {key for key, _ in faults} == {"name", "url", "user", "api", "command"}


@pytest.mark.parametrize("kind", KEYS)
def test_each_kind_refuses_the_keys_of_the_others(kind: str) -> None:
    needed, allowed = KEYS[kind]
    others = {key for keys in KEYS.values() for each in keys for key in each} - {*needed, *allowed}
    faults = credential_faults({"name": "x", "kind": kind, **dict.fromkeys(others, "")})
    assert {key for key, why in faults if "no meaning" in why} == others
