"""What may be written of sources, hosts and credentials, and that no secret can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcsproxy import config, live
from vcsproxy.errors import ConfigError

SOURCE = '[[source]]\nroot = "corp.test/{r}"\nurl = "https://git.test/{r}"\n'
BASIC = '[[credential]]\nname = "team"\nkind = "basic"\nurl = "https://git.test"\npassword = "env:TOKEN"\n'


def load(tmp_path: Path, text: str) -> config.Settings:
    file = tmp_path / "vcsproxy.toml"
    file.write_text(text)
    return config.load(file)


FAULTS = {
    "the secret itself": (BASIC.replace("env:TOKEN", "hunter2"), r"credential\[0\]\.password: .*never the secret"),
    "a secret in a URL": (SOURCE.replace("https://git", "https://me:hunter2@git"), "must not contain a password"),
    "no such kind": (BASIC.replace('"basic"', '"magic"'), r"credential\[0\]\.kind"),
    "a key of another kind": (BASIC + 'token = "env:X"\n', r"token: has no meaning for kind = \"basic\""),
    "a missing key": (BASIC.replace("password", "#"), r"password: is required for kind = \"basic\""),
    "in the clear": (BASIC.replace("https:", "http:"), "must begin with https://"),
    "an ssh credential for https": ('[[credential]]\nname="k"\nkind="ssh-key"\nkey="env:K"\nurl="https://git.test"\n',
                                    "must begin with ssh://"),
    "two of a name": (BASIC + BASIC, r"credential\[1\]\.name: team is named twice"),
    "a source without its credential": (SOURCE + 'credential = "team"\n', "there is no .*credential.* named 'team'"),
    "a credential for another host": (
        SOURCE + 'credential = "team"\n' + BASIC.replace("git.test", "other.test"), "may only go to https://other.test"),
    "a credential of another scheme": (
        SOURCE.replace("https:", "ssh:") + 'credential = "team"\n' + BASIC, "team is for https://"),
    "http without leave": (SOURCE.replace("https:", "http:"), "insecure = true"),
    "insecure with a credential": (BASIC + '[[host]]\nname = "git.test"\ninsecure = true\n', "must be verified then"),
    "no engine": (SOURCE + 'engine = "hg"\n', r"source\[0\]\.engine"),
    "git in place": (SOURCE.replace("https://git.test", "file:///srv") + 'engine = "git"\n', "read in place"),
    "a prefix like an option": (SOURCE + 'tag_prefix = "-x"\n', "must not begin with a slash or hyphen"),
    "a prefix with another name": (SOURCE + 'tag_prefix = "{x}/"\n', "which root does not define"),
    "a proxy with a password": ('[[host]]\nname = "git.test"\nproxy = "http://me:pw@proxy:1"\n', "is not http://HOST:PORT"),
    "a jump that is an option": ('[[host]]\nname = "git.test"\njump = "-oProxyCommand=x"\n', "is not .USER@.HOST"),
    "a missing certificate": ('[[host]]\nname = "git.test"\nclient_cert = "/nowhere/c.pem"\n', "No such file"),
    "a key without a certificate": ('[[host]]\nname = "git.test"\nclient_key = "/etc/hostname"\n', "without client_cert"),
    "a helper without a host": ('[[credential]]\nname = "h"\nkind = "helper"\ncommand = ["x"]\n', r"url: is required"),
    "an api in the clear": (
        '[[credential]]\nname="a"\nkind="github-app"\napp_id=1\ninstallation_id=2\nkey="env:K"\napi="http://x"\n', "https://"),
    "a missing netrc": ('[[credential]]\nname="n"\nkind="netrc"\nfile="/nowhere/netrc"\n', "no such file"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load(tmp_path, text)
    assert "hunter2" not in str(caught.value)


def test_plain_http_is_for_this_machine_or_by_leave(tmp_path: Path) -> None:
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
        load(tmp_path, SOURCE.replace("https://git.test", f"http://{host}"))
    load(tmp_path, SOURCE.replace("https:", "http:") + '[[host]]\nname = "git.test"\ninsecure = true\n')


def test_files_start_at_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "netrc").touch()
    settings = load(
        tmp_path,
        BASIC.replace("env:TOKEN", "file:secrets/token")
        + '[[credential]]\nname = "n"\nkind = "netrc"\nfile = "netrc"\n'
        + '[[host]]\nname = "git.test"\nknown_hosts = "hosts"\nclient_key_password = "env:X"\n',
    )
    assert settings.credential[0].password == f"file:{tmp_path}/secrets/token"
    assert settings.credential[1].file == tmp_path / "netrc"
    assert settings.host[0].known_hosts == tmp_path / "hosts"


def test_private_sources_do_not_believe_in_absence_unless_told(tmp_path: Path) -> None:
    def trusts(more: str) -> bool:
        return load(tmp_path, SOURCE + more).source[0].rule().trust_not_found

    assert trusts("")
    assert not trusts("private = true\n")
    assert trusts("private = true\ntrust_not_found = true\n")


@pytest.mark.parametrize("text", ['"a.test/*, b.test"', '["a.test/*", "b.test"]'])
def test_patterns_are_text_or_a_list(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"[modules]\nprivate = {text}\n").modules.private == ("a.test/*", "b.test")


def test_a_program_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        tmp_path,
        '[[source]]\nroot = "s.test/{r}"\nurl = "git@git.test:{r}"\n' + SOURCE + 'engine = "git"\n',
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert live.missing_programs(settings) == [
        "no program ssh is installed, and the source s.test/{r} needs it",
        "no program git is installed, and the source corp.test/{r} needs it",
    ]
    monkeypatch.undo()
    assert live.missing_programs(settings) == []
