"""T13: a host that shows another SSH key than the one that is known is not spoken to, whatever the user's own settings say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.sshhost import SshHost, new_key
from tests.support.toxgit import Bystander, bystander

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh", "ssh-agent", "ssh-add"))), reason="needs OpenSSH: ssh, ssh-agent, ssh-add"
)


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    host: SshHost
    known: Path
    inside: Bystander


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A home directory whose ssh configuration would trust anybody, and go by way of somebody else."""
    build(tmp_path / "repos" / "x", [Step({"x.go": "package x\n"}, tags=["v1.0.0"])])
    key = new_key()
    (tmp_path / "key").write_bytes(key.export_private_key("openssh"))
    (tmp_path / "key").chmod(0o600)
    with bystander("127.0.0.1") as inside, SshHost(tmp_path / "repos", [key]).running() as host:
        trusting = f"Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  ProxyCommand touch {tmp_path}/PWN\n  ForwardAgent yes\n"
        (tmp_path / "home" / ".ssh").mkdir(parents=True)
        (tmp_path / "home" / ".ssh" / "config").write_text(trusting)
        (tmp_path / "home" / ".ssh" / "known_hosts").write_text("")
        known = tmp_path / "known_hosts"
        known.write_text(host.known_hosts())
        config = f"""
            [[host]]
            name = "127.0.0.1"
            known_hosts = "{known}"
            [[source]]
            root = "git.test/{{repo}}"
            url = "ssh://git@127.0.0.1:{host.port}/{{repo}}"
            [[credential]]
            name = "deploy"
            kind = "ssh-key"
            url = "ssh://127.0.0.1:{host.port}"
            key = "file:{tmp_path}/key"
            [freshness]
            refs = "0s"
            negative = "0s"
        """
        with serving(
            tmp_path / "s", config, HOME=str(tmp_path / "home"), SSH_AUTH_SOCK=str(tmp_path / "none")
        ) as server:
            yield Site(server, host, known, inside)
        assert not (tmp_path / "PWN").exists()
        assert (tmp_path / "home" / ".ssh" / "known_hosts").read_text() == ""


def test_T13_a_host_key_that_has_changed(site: Site) -> None:
    """502 in words that say so, no login, no data; what was served stays served."""
    assert site.server.get("/git.test/x/@v/v1.0.0.zip").status == 200
    site.host.change_key()
    site.host.log.clear()
    for path in ("/git.test/x/@v/v1.9.0.info", "/git.test/other/@v/list"):
        got = site.server.get(path)
        assert (got.status, b"host key" in got.data.lower()) == (502, True), got.data
    assert site.host.log == [], "nobody has signed in or asked for anything"
    assert site.server.get("/git.test/x/@v/v1.0.0.zip").status == 200


def test_T13_a_host_that_is_not_known(site: Site) -> None:
    """No key is believed at first sight, and none is written down."""
    site.known.write_text("")
    got = site.server.get("/git.test/x/@v/v1.0.0.zip")
    assert (got.status, b"known_hosts" in got.data) == (502, True), got.data
    assert site.host.log == []
    assert site.known.read_text() == ""


def test_T13_only_the_key_of_the_credential_is_offered(site: Site) -> None:
    site.host.allowed.clear()
    got = site.server.get("/git.test/x/@v/v1.0.0.zip")
    assert got.status == 502, got.data
    assert 1 <= site.host.count("key git") <= 2, site.host.log
    assert site.host.count("command") == 0
