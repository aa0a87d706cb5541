"""Secrets and configuration change while requests are served; what cannot be used changes nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.githost import GitHost
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.standin import wants_password

LIST = "/corp.test/team/x/@v/list"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[ProxyServer, Path, str]]:
    """A server whose token is right, the file of that token, and its configuration."""
    build(tmp_path / "repos/team/x", [Step({"go.mod": "module corp.test/team/x\n"}, tags=["v1.0.0"])])
    authority = Authority.create(tmp_path / "ca")
    token = tmp_path / "token"
    token.write_text("first-token-value")
    token.chmod(0o600)
    script = wants_password({"team": "first-token-value"})
    with GitHost(tmp_path / "repos", authority.server_context("corp.test"), script=script).running() as host:
        config = f"""
            [[source]]
            root = "corp.test/{{team}}/{{repo}}"
            url = "https://corp.test/{{team}}/{{repo}}"
            [[host]]
            name = "corp.test"
            connect = "{host.address}"
            ca = "{authority.pem}"
            [[credential]]
            name = "team"
            url = "https://corp.test/team"
            kind = "basic"
            password = "file:{token}"
            [freshness]
            refs = "0s"
            [log]
            format = "json"
        """
        with serving(tmp_path / "server", config) as server:
            yield server, token, config


def wait(server: ProxyServer, event: str, number: int = 1) -> dict[str, object]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = [each for each in server.events() if each["event"] == event]
        if len(found) >= number:
            return found[number - 1]
        time.sleep(0.05)
    raise AssertionError(server.log.read_text())


def test_a_token_that_changes_is_used_without_a_restart(place: tuple[ProxyServer, Path, str]) -> None:
    server, token, _ = place
    assert server.get(LIST).status == 200
    token.write_text("second-token-value")
    wait(server, "reloaded")
    assert server.get(LIST).status == 502
    token.write_text("first-token-value")
    wait(server, "reloaded", 2)
    assert server.get(LIST).status == 200
    text = server.log.read_text()
    assert "first-token-value" not in text
    assert "second-token-value" not in text


def test_a_token_that_is_gone_changes_nothing_and_is_told_once(place: tuple[ProxyServer, Path, str]) -> None:
    server, token, _ = place
    os.rename(token, token.with_suffix(".away"))
    assert "No such file" in str(wait(server, "not_reloaded")["reason"])
    assert server.get(LIST).status == 200
    time.sleep(5)
    assert sum(event["event"] == "not_reloaded" for event in server.events()) == 1
    os.rename(token.with_suffix(".away"), token)
    assert server.get(LIST).status == 200


def test_sighup_reads_the_configuration_and_refuses_a_faulty_one(place: tuple[ProxyServer, Path, str]) -> None:
    server, _, config = place
    file = server.log.parent / "vcsproxy.toml"
    file.write_text(config + '\n[modules]\ndeny = "corp.test/team"\nallow = 7\n')
    server.process.send_signal(signal.SIGHUP)
    assert "modules.allow" in str(wait(server, "not_reloaded")["reason"])
    assert server.get(LIST).status == 200
    assert server.get("/corp.test/team/x/@v/v1.0.0.info").status == 200
    file.write_text(config + '\n[modules]\ndeny = "corp.test/team"\n[server]\nshutdown_seconds = 7\n')
    server.process.send_signal(signal.SIGHUP)
    wait(server, "reloaded")
    assert wait(server, "restart_needed")["tables"] == ["server"]
    for path in (LIST, "/corp.test/team/x/@v/v1.0.0.info"):
        assert server.get(path).status == 403
    file.write_text(config)
    server.process.send_signal(signal.SIGHUP)
    wait(server, "reloaded", 2)
    assert server.get("/corp.test/team/x/@v/v1.0.0.info").status == 200
