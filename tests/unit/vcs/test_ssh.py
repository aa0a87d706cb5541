"""The command line for ssh, word by word, and what ssh's words mean."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vcsproxy import errors
from vcsproxy.build.job import Access, Host, Limits
from vcsproxy.vcs.giturl import parse_url
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.ssh import SshCommand, environment, ssh_command
from vcsproxy.vcs.sshwords import Jump, Party, meaning

KEYS = ("ssh-ed25519 AAAA first", "ssh-rsa BBBB second")
DEPLOY = Access("deploy", "ssh://git.test:2222/team", "agent", "deployer", agent="/run/agent", public_keys=KEYS)
HOST = Host("git.test", connect="192.0.2.1:2200", known_hosts="/etc/known hosts")
BASTION = Host("bastion.test", connect="192.0.2.2:22", known_hosts="/etc/50%/jump")


@contextmanager
def command(
    url: str, *hosts: Host, access: tuple[Access, ...] = (DEPLOY,), limits: Limits | None = None
) -> Iterator[SshCommand]:
    if shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH's ssh")
    made = ssh_command(parse_url(url), Guard(hosts, limits or Limits(), access))
    try:
        yield made
    finally:
        made.close()


def effective(argv: tuple[str, ...]) -> dict[str, str]:
    """What ssh itself makes of a command line: its own dump of all options."""
    shown = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, env=environment(), check=True)
    return dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)


def options(argv: tuple[str, ...]) -> list[str]:
    return [word[2:] for word in argv if word.startswith("-o")]


@pytest.mark.parametrize(("name", "value"), [
    ("batchmode", "yes"), ("canonicalizehostname", "false"), ("checkhostip", "no"), ("clearallforwardings", "yes"),
    ("connecttimeout", "5"), ("controlmaster", "false"), ("escapechar", "none"), ("forwardagent", "no"),
    ("forwardx11", "no"), ("globalknownhostsfile", "/dev/null"), ("hashknownhosts", "no"), ("host", "git.test"),
    ("hostkeyalias", "[git.test]:2222"), ("hostname", "192.0.2.1"), ("identitiesonly", "yes"),
    ("identityagent", "/run/agent"), ("kbdinteractiveauthentication", "no"), ("loglevel", "ERROR"),
    ("passwordauthentication", "no"), ("permitlocalcommand", "no"), ("port", "2200"),
    ("preferredauthentications", "publickey"), ("sendenv", "GIT_PROTOCOL"), ("serveralivecountmax", "3"),
    ("serveraliveinterval", "10"), ("stricthostkeychecking", "true"), ("updatehostkeys", "false"), ("user", "git"),
    ("userknownhostsfile", '/etc/known hosts'), ("verifyhostkeydns", "false"), ("requesttty", "false"),
])  # fmt: skip
def test_T13_ssh_sees_a_closed_configuration(name: str, value: str) -> None:
    """As ssh itself reports it; 'none' for ProxyCommand and ControlPath is reported by their absence."""
    with command("ssh://git@git.test:2222/team/x", HOST) as made:
        found = effective(made.argv)
    assert found.get(name) == value, found
    assert not {"proxycommand", "proxyjump", "controlpath", "localcommand", "remotecommand"} & set(found)


def test_the_environment_has_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/mine")
    monkeypatch.setenv("HOME", "/home/me")
    assert environment() == {"PATH": os.environ["PATH"], "LC_ALL": "C", "GIT_PROTOCOL": "version=2"}


def test_every_public_key_has_a_file_that_only_we_can_read() -> None:
    with command("ssh://git.test:2222/team/x", HOST) as made:
        files = [
            shlex.split(word)[0].partition("=")[2] for word in options(made.argv) if word.startswith("IdentityFile")
        ]
        assert [Path(file).read_text() for file in files] == [line + "\n" for line in KEYS]
        assert {stat.S_IMODE(os.stat(file).st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(os.stat(made.directory).st_mode) == 0o700
        assert {os.path.dirname(file) for file in files} == {made.directory}
    assert not os.path.exists(made.directory)


def test_an_agent_without_named_keys_may_offer_all_of_its_own() -> None:
    whole = Access("laptop", "ssh://git.test", "agent", agent="/run/agent")
    with command("git@git.test:x", HOST, access=(whole,)) as made:
        assert {"IdentityFile=none", "IdentitiesOnly=no", 'IdentityAgent="/run/agent"'} <= set(options(made.argv))


@pytest.mark.parametrize("url", ["ssh://git.test:2222/other", "ssh://git.test/team", "git@git.test:team/x"])
def test_without_a_credential_nothing_is_offered(url: str) -> None:
    with command(url, HOST) as made:
        assert {"IdentityFile=none", "IdentitiesOnly=yes", "IdentityAgent=none"} <= set(options(made.argv))
        assert "deployer" not in made.argv


@pytest.mark.parametrize(("url", "user"), [
    ("ssh://git.test:2222/team/x", "deployer"), ("ssh://me@git.test:2222/team/x", "me"), ("me@git.test:x", "me"),
    ("git.test:x", "git"), ("ssh://git.test/x", "git"),
])  # fmt: skip
def test_the_user(url: str, user: str) -> None:
    """Never the account that this runs as."""
    with command(url, HOST) as made:
        assert effective(made.argv)["user"] == user


def test_a_jump_host_is_as_closed_as_its_goal() -> None:
    """Its own address, keys and credential; the goal's name is for the jump host to resolve."""
    jump = Access("jump", "ssh://bastion.test", "agent", agent="/run/50%/agent", public_keys=KEYS[:1])
    goal = Host("git.test", known_hosts="/etc/known", jump="me@bastion.test:22")
    with command("ssh://git@git.test:2222/team/x", goal, BASTION, access=(DEPLOY, jump)) as made:
        outer = effective(made.argv)
        assert (outer["hostname"], outer["port"], outer["hostkeyalias"]) == ("git.test", "2222", "[git.test]:2222")
        way = tuple(shlex.split(outer["proxycommand"].replace("%%", "%")))
        inner = effective(way)
    assert way[-4:] == ("-W", "[git.test]:2222", "--", "bastion.test")
    assert (inner["hostname"], inner["port"], inner["user"]) == ("192.0.2.2", "22", "me")
    assert (inner["hostkeyalias"], inner["userknownhostsfile"]) == ("bastion.test", "/etc/50%/jump")
    assert inner["identityagent"] == "/run/50%/agent"
    assert "proxycommand" not in inner
    own = {"hostname", "host", "port", "user", "hostkeyalias", "userknownhostsfile", "identityagent", "identityfile"}
    different = {name for name in inner.keys() | outer.keys() if inner.get(name) != outer.get(name)}
    assert different <= {*own, "proxycommand", "exitonforwardfailure", "sessiontype", "connecttimeout"}


def test_T9_the_jump_host_is_judged_as_any_other() -> None:
    goal = Host("git.test", jump="127.0.0.1")
    with (
        pytest.raises(errors.UpstreamFailed, match=r"127\.0\.0\.1 is not at a public address"),
        command("git@git.test:x", goal),
    ):
        pytest.fail("it was reached")


def test_the_first_key_is_believed_only_where_it_can_be_written() -> None:
    for file, said in (("/etc/known", "accept-new"), ("", "true")):
        host = Host("git.test", connect="192.0.2.1:22", known_hosts=file, accept_new_host_key=True)
        with command("git@git.test:x", host) as made:
            assert effective(made.argv)["stricthostkeychecking"] == said


# ---- words

GOAL = Party("git.test", 22, DEPLOY, "/etc/known hosts")
LOST = "kex_exchange_identification: Connection closed by remote host\n"


@pytest.mark.parametrize(("said", "error"), [
    ("fatal: '/x' does not appear to be a git repository\n", errors.RepositoryNotFound),
    ("ERROR: Repository not found.\n", errors.RepositoryNotFound),
    ("Repository t/x not found\n", errors.RepositoryNotFound),
    ("remote: ERROR: The project you were looking for could not be found or you don't have permission to view it.",
     errors.RepositoryNotFound),
    ("fatal: remote error: access denied or repository not exported: /x", errors.RepositoryNotFound),
    ("conq: repository does not exist.", errors.RepositoryNotFound),
    ("Gitea: Cannot find repository: t/x\n", errors.RepositoryNotFound),
    ("remote: TF401019: The Git repository with name or identifier x does not exist", errors.RepositoryNotFound),
    ("Gerrit Code Review: project t/x not found", errors.RepositoryNotFound),
    ("git@192.0.2.1: Permission denied (publickey).\n", errors.AccessDenied),
    ("ERROR: Permission to t/x.git denied to deploy key\n", errors.AccessDenied),
    ("FATAL: R any t/x deployer DENIED by fallthru\n(or you mis-spelled the reponame)\n", errors.AccessDenied),
    ("Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\n", errors.AccessDenied),
    ("ssh: connect to host 192.0.2.1 port 22: Connection refused\n", errors.HostUnreachable),
    ("ssh: connect to host 192.0.2.1 port 22: Connection timed out\n", errors.HostUnreachable),
    ("ssh: connect to host 192.0.2.1 port 22: No route to host\n", errors.HostUnreachable),
    ("Connection timed out during banner exchange\n", errors.HostUnreachable),
    ("Connection closed by 192.0.2.1 port 22\n", errors.HostUnreachable),
    ("Read from remote host git.test: Connection reset by peer\nclient_loop: send disconnect: Broken pipe\n",
     errors.HostUnreachable),
    ("Connection to git.test closed by remote host.\n", errors.HostUnreachable),
    (LOST, errors.HostUnreachable),
    ("", errors.HostUnreachable),
    ("Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-dss\n",
     errors.UpstreamFailed),
    ("fatal: the disk is on fire\n", errors.UpstreamFailed),
])  # fmt: skip
def test_words_and_their_meaning(said: str, error: type[errors.VCSProxyError]) -> None:
    found = meaning(said, GOAL)
    assert type(found) is error, found
    assert found.hint
    assert "git.test" in found.message


def test_the_words_of_a_host_do_not_get_far() -> None:
    """The last line with something in it, printable, 160 characters; nothing of it is in a hint."""
    found = meaning("first\nsecond \x1b[2J\u202e" + "y" * 200_000 + "\n \x00\n", GOAL)
    assert found.message.startswith("ssh to git.test port 22 failed: second  [2J y")
    assert len(found.message) < 200
    assert found.message.isprintable()
    assert "second" not in found.hint


def test_hints_can_be_given_to_a_shell_as_they_stand() -> None:
    unknown = meaning("No ED25519 host key is known for x\nHost key verification failed.\n", GOAL)
    assert "ssh-keyscan -p 22 git.test >> '/etc/known hosts' (or" in unknown.hint
    changed = meaning("REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.\n", GOAL)
    assert "ssh-keygen -R git.test -f '/etc/known hosts'; then ssh-keyscan" in changed.hint
    many = Party("git.test", 2222, Access("laptop", "ssh://git.test:2222", "agent", agent="/run/a"), "")
    assert "public_key" in meaning("Too many authentication failures", many).hint
    nobody = meaning("Permission denied (publickey).", Party("git.test", 2222, None, ""))
    assert nobody.hint.endswith('url = "ssh://git.test:2222"')


@pytest.mark.parametrize("said", [
    "Received disconnect from 192.0.2.1 port 22:2: Repository not found\n",
    "Bad remote protocol version identification: 'SSH-Repository not found'\n",
    "kex_exchange_identification: banner line contains invalid characters: repository not found\n",
    "Unable to negotiate with 192.0.2.1 port 22: no matching cipher found. Their offer: repository not found\n",
])  # fmt: skip
def test_absence_is_not_believed_of_a_stranger(said: str) -> None:
    """I3: these are said before the host has shown its key."""
    assert isinstance(meaning(said, GOAL), errors.UpstreamFailed)
    assert isinstance(meaning(said + "ERROR: Repository not found\n", GOAL), errors.RepositoryNotFound)


def test_a_jump_host_knows_nothing_of_repositories(tmp_path: Path) -> None:
    log = tmp_path / "jump"
    log.write_text("Repository not found\n")
    found = meaning(LOST, GOAL, Jump("bastion.test", 22, None, "", str(log)))
    assert isinstance(found, errors.UpstreamFailed)


def test_only_the_file_of_the_way_can_blame_the_jump_host(tmp_path: Path) -> None:
    """A host behind it may say what it wants."""
    log = tmp_path / "jump"
    jump = Jump("bastion.test", 22, None, "", str(log))
    assert "git.test" in meaning(LOST, GOAL, jump).message
    assert "git.test" in meaning(LOST + "Host key verification failed.\n", GOAL, jump).message
    log.write_text("Host key verification failed.\r\n")
    assert meaning(LOST, GOAL, jump).message == "the host key of bastion.test is not known"
    assert "git.test" in meaning("git@x: Permission denied (publickey).", GOAL, jump).message
    log.write_text("channel 0: open failed: connect failed: Name or service not known\r\nstdio forwarding failed\r\n")
    told = meaning(LOST, GOAL, jump).message
    assert told == (
        "bastion.test cannot connect to git.test port 22: "
        "channel 0: open failed: connect failed: Name or service not known"
    )
