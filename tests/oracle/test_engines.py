"""engine = "git" gives what our own engine gives: refs, commits, refusals; and nothing gets out of its scratch repository.

Hosts are real, and the tests of private hosts are the same for both engines, as far as they say what is answered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.oracle.test_private_https import (  # noqa: F401 - the same tests, for the other engine
    FILES,
    MODULE,
    ONE,
    TWO,
    World,
    authority,
    basic,
    bearer,
    clean,
    pair,
    same,
    test_a_client_certificate,
    test_a_wrong_token,
    test_an_unknown_authority,
    test_insecure_never_with_a_credential,
    test_T12_nothing_ambient_has_an_effect,
    test_T14_plain_http_is_refused,
    test_without_a_credential,
)
from tests.oracle.test_transports import HOSTS, PATH, STEPS, Asker, plain, questions
from tests.support import toxgit
from tests.support.authority import Authority
from tests.support.githost import GitHost, Handler
from tests.support.gitrepo import SUBMODULE, SYMLINK, GitRepo
from tests.support.history import Step, build
from tests.support.processes import command_line, descendants, environment
from tests.support.sshhost import SshHost, agent, new_key, public_line
from tests.support.tunnel import Tunnel
from tests.support.untouched import listing
from vcsproxy.build.job import Access, Failed, Host, Job, Limits, Listed, Op, Result
from vcsproxy.build.run import run
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.secret import Secret
from vcsproxy.vcs import gitprocess
from vcsproxy.vcs.gitengine import GitEngine
from vcsproxy.vcs.gitroad import BEARER_SINCE
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.landing import Landing
from vcsproxy.vcs.packs import Packs
from vcsproxy.vcs.transport import connect
from vcsproxy.vcs.wire import NotGiven, UploadPack, Wants

LOCAL = (Host("127.0.0.1"),)
CANARY = "canary-ambient-91c"


# ---- the same values


@dataclass
class Side:
    """One engine with an object directory of its own."""

    talk: UploadPack | GitEngine
    work: Path
    object_format: str

    def fetch(self, part: str, wanted: Wants) -> tuple[object, set[str]]:
        """(Fetched, the hashes of all objects that are in the part then)."""
        packs = self.work / part / "pack"
        packs.mkdir(parents=True, exist_ok=True)
        got = self.talk.fetch(
            wanted, Landing(str(packs), self.object_format, Limits(), lambda name: self.base(packs, name))
        )
        return got, self.objects(packs)

    def base(self, packs: Path, name: bytes) -> tuple[int, bytes] | None:
        here = Packs(str(packs), len(name))
        try:
            return here.read(name.hex())
        finally:
            here.close()

    def objects(self, packs: Path) -> set[str]:
        found: set[str] = set()
        for index in packs.glob("*.idx"):
            shown = subprocess.run(
                ["git", "show-index", f"--object-format={self.object_format}"],
                input=index.read_bytes(),
                capture_output=True,
                check=True,
            )
            found |= {line.split()[1] for line in shown.stdout.decode().splitlines()}
        return found


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("kind", sorted(HOSTS))
def test_every_value_of_a_conversation_is_the_same(kind: str, object_format: str, tmp_path: Path) -> None:
    repo = build(tmp_path / "repos" / "x", STEPS, object_format)
    guard = Guard(LOCAL, Limits())
    with GitHost(repo.path.parent, config=HOSTS[kind].config, protocol=HOSTS[kind].protocol).running() as host:
        url = host.url + "/x"
        connection = connect(url, guard)
        ours = Side(UploadPack(connection, guard.limits), tmp_path / "ours", object_format)
        git = Side(GitEngine(url, guard, str(tmp_path / "scratch"), "sha1"), tmp_path / "git", object_format)
        table = ours.talk.refs()
        assert git.talk.refs() == table
        assert (git.talk.object_format, ours.talk.object_format) == (object_format, object_format)
        first, main, tag = (table.refs[name].target for name in ("refs/tags/v0.1.0", "HEAD", "refs/tags/v1.0.0"))
        tips = sorted(table.tips())
        for part, wanted in (
            ("objects", Wants([tag], depth=1)),
            ("objects", Wants([main], depth=1, haves=[table.peeled("refs/tags/v1.0.0")], shallow=[table.peeled("refs/tags/v1.0.0")])),
            ("objects", Wants(tips)),
            ("all", Wants([first])),
            ("all", Wants(tips, haves=[first])),
            *([("history", Wants([first], filter="tree:0")), ("history", Wants(tips, haves=[first], filter="tree:0"))] if ours.talk.filters else []),
        ):  # fmt: skip
            assert git.fetch(part, wanted) == ours.fetch(part, wanted), (part, wanted)
        connection.close()
        git.talk.close()
        assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("protocol", [True, False])
def test_an_object_that_is_not_given(protocol: bool, tmp_path: Path) -> None:
    repo = build(tmp_path / "repos" / "x", STEPS)
    with GitHost(repo.path.parent, protocol=protocol).running() as host:
        engine = GitEngine(host.url + "/x", Guard(LOCAL, Limits()), str(tmp_path / "scratch"), "sha1")
        with pytest.raises(NotGiven):
            Side(engine, tmp_path / "w", "sha1").fetch("objects", Wants(["12" * 20], depth=1))
        engine.close()


def test_an_empty_repository(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "repos" / "x")
    with GitHost(repo.path.parent).running() as host:
        results = [Asker(host.url + "/x", tmp_path / name, engine=name)(Op.LATEST) for name in ("dulwich", "git")]
    assert plain_failure(results[0]) == plain_failure(results[1]) != ()


def test_a_directory_whose_name_git_would_take_for_two(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "repos" / "x")
    with GitHost(repo.path.parent).running() as host:
        told = Asker(host.url + "/x", tmp_path / "a:b", engine="git")(Op.LIST)
    assert isinstance(told, Failed)
    assert (told.error, "with ':' in its name" in told.message) == ("Unavailable", True)


# ---- private hosts: the tests of our own engine


@dataclass
class GitWorld(World):
    """Everything by the other engine."""

    def ask(self, op: Op, query: str = "", *, url: str = "https://git.test/one/x", access: tuple[Access, ...] = (),
            hosts: tuple[Host, ...] = ()) -> Result:  # fmt: skip
        self.asked += 1
        work = self.work / f"w{self.asked}"
        work.mkdir()
        root = RepoRoot(MODULE, url, "", f"https://{MODULE}", engine="git")
        mirrors, limits = str(work / "mirrors"), Limits(connect=2.0, idle=3.0)
        result = run(
            Job(op, MODULE, query, root, mirrors, str(work), hosts=hosts or (self.rule,), access=access, limits=limits)
        )
        clean(result, work)
        assert not list(work.glob("mirrors/*/git-*")), "a scratch repository is left"
        return result


@pytest.fixture
def world(authority: Authority, tmp_path: Path) -> Iterator[World]:  # noqa: F811
    repo = build(
        tmp_path / "repos" / "one" / "x",
        [Step(FILES, tags=["v1.0.0"]), Step({**FILES, "y.go": "package x\n"}, [0], tags=["v1.1.0"])],
    )
    auth = {"/one/": {pair("bot", ONE)}, "/two/": {f"Bearer {ONE}"}}
    host = GitHost(tmp_path / "repos", authority.server_context("git.test"), auth=auth)
    with host.running():
        yield GitWorld(host, repo, Host("git.test", connect=host.address, ca=str(authority.pem)), tmp_path)


@pytest.mark.parametrize("protocol", [True, False])
def test_a_private_repository(world: World, protocol: bool) -> None:
    world.host.protocol = protocol
    for op, query in ((Op.LIST, ""), (Op.LATEST, ""), (Op.INFO, "v1.0.0"), (Op.ZIP, "v1.1.0")):
        same(world.ask(op, query, access=(basic(),)), world.ask(op, query, url=world.repo.url))
    assert set(world.host.seen) == {"", pair("bot", ONE)}


def test_a_password_with_every_odd_letter(world: World) -> None:
    odd = " ä'\"\\$(x)`%#;=&|<> end"
    world.host.auth["/one/"] = {pair("böt:x"[:3], odd)}
    access = Access("odd", "https://git.test/one", "basic", "böt", Secret(odd))
    assert isinstance(world.ask(Op.LIST, access=(access,)), Listed)


@pytest.mark.skipif(gitprocess.version(gitprocess.executable()) >= BEARER_SINCE, reason="this git can")
def test_a_bearer_token_that_this_git_cannot_send(world: World) -> None:
    told = world.refused("Unavailable", bearer(ONE, "https://git.test/one"))
    assert "cannot send the bearer token two" in told.message
    assert 'engine = "dulwich"' in told.hint
    assert world.host.requests == []


@pytest.mark.skipif(gitprocess.version(gitprocess.executable()) < BEARER_SINCE, reason="this git cannot")
def test_a_bearer_token(world: World) -> None:
    world.host.auth["/one/"] = {f"Bearer {ONE}"}
    assert isinstance(world.ask(Op.LIST, access=(bearer(ONE, "https://git.test/one"),)), Listed)


@pytest.mark.parametrize("over", ["http", "https"])
def test_through_a_proxy_with_a_login(over: str, world: World, authority: Authority) -> None:  # noqa: F811
    """Git says who it is to the proxy and to the host; a proxy behind TLS is more than some of its builds can do."""
    context = authority.server_context("proxy.test") if over == "https" else None
    with Tunnel({"git.test:443": world.host.port}, context, pair("bot", TWO)).running() as tunnel:
        hosts = (Host("git.test", ca=str(authority.pem), proxy=tunnel.url), Host("127.0.0.1", ca=str(authority.pem)))
        way = basic(TWO, f"https://127.0.0.1:{tunnel.port}", "way out")
        got = world.ask(Op.ZIP, "v1.0.0", access=(basic(), way), hosts=hosts)
        if over == "https":
            assert isinstance(got, Failed)
            assert (got.error, "cannot go through the proxy" in got.message) == ("Unavailable", True)
            return
        same(got, world.ask(Op.ZIP, "v1.0.0", url=world.repo.url))
        assert {line.rpartition("/")[0] for line in tunnel.asked} == {"CONNECT git.test:443 HTTP"}
        assert not [head for head in tunnel.seen if pair("bot", ONE) in head]
        assert set(world.host.seen) == {"", pair("bot", ONE)}
        refused = world.ask(Op.LIST, access=(basic(),), hosts=hosts)
        assert isinstance(refused, Failed)
        assert (refused.error, "HTTP 407" in refused.message) == ("AccessDenied", True)


def test_a_client_certificate_with_a_password(world: World, authority: Authority) -> None:  # noqa: F811
    context = authority.server_context("git.test", clients=True)
    with GitHost(world.host.root, context).running() as strict:
        pem = str(authority.client_pem("guarded", ONE))
        for password, error in ((ONE, ""), ("wrong", "any")):
            rule = Host(
                "git.test",
                connect=strict.address,
                ca=str(authority.pem),
                client_cert=pem,
                client_key_password=Secret(password),
            )
            assert isinstance(world.ask(Op.LIST, hosts=(rule,)), Failed if error else Listed)


# ---- refusals, by both engines


def plain_failure(result: Result) -> tuple[str, str]:
    return (result.error, result.message) if isinstance(result, Failed) else ("", "")


ANSWERS = [
    ((404, {}, b""), "RepositoryNotFound", "not found"),
    ((410, {}, b""), "RepositoryNotFound", "not found"),
    ((403, {}, b""), "AccessDenied", "HTTP 403"),
    ((429, {"Retry-After": "7"}, b""), "HostBusy", "asks for patience (HTTP 429)"),
    ((500, {}, b""), "HostUnreachable", "HTTP 500"),
    ((503, {"Retry-After": "7"}, b""), "HostBusy", "asks for patience"),
    ((302, {"Location": "https://elsewhere.test/x"}, b""), "UpstreamFailed", "redirects"),
    ((200, {"Content-Type": "text/html"}, b"<html>"), "UpstreamFailed", "does not serve Git"),
    (
        (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"0015ERR out of order\n"),
        "UpstreamFailed",
        "out of order",
    ),
]


@pytest.mark.parametrize(("answer", "error", "words"), ANSWERS, ids=lambda v: str(v[0]) if isinstance(v, tuple) else "")
def test_what_a_host_answers(
    answer: tuple[int, dict[str, str], bytes], error: str, words: str, engine: str, tmp_path: Path
) -> None:
    with GitHost(tmp_path).running() as host:

        def script(handler: Handler) -> bool:
            handler.reply(*answer)
            return True

        host.script = script
        host.pages["/x"] = (200, {}, b"a page")
        told = Asker(host.url + "/x", tmp_path / "w", engine=engine)(Op.LIST)
        assert isinstance(told, Failed)
        assert (told.error, words in told.message) == (error, True), told
        assert told.retry_after == (7.0 if error == "HostBusy" else 0.0)
        assert not (tmp_path / "w" / "mirrors").exists() or not list((tmp_path / "w" / "mirrors").iterdir())


@pytest.fixture(params=["dulwich", "git"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_host_that_is_down(engine: str, tmp_path: Path) -> None:
    with GitHost(tmp_path).running() as host:
        url = host.url + "/x"
    told = Asker(url, tmp_path / "w", engine=engine)(Op.LIST)
    assert isinstance(told, Failed)
    assert (told.error, "cannot connect to 127.0.0.1" in told.message) == ("HostUnreachable", True)


def ask_toxic(play: toxgit.Tox, engine: str, work: Path, limits: Limits, op: Op = Op.ZIP) -> tuple[Result, list[str]]:
    """What comes of a question to a host that plays tricks, and what is in the mirror afterwards."""
    with toxgit.toxic() as tox:
        tox.plays["a"] = play
        root = RepoRoot(PATH, "http://a.test/x", "", f"https://{PATH}", engine=engine)
        hosts = (Host("a.test", connect=tox.host.address, insecure=True),)
        result = run(Job(op, PATH, "v1.0.0", root, str(work / "m"), str(work), hosts=hosts, limits=limits))
    return result, sorted(p.name for p in work.glob("m/*/*/pack/*") if not p.name.startswith("tmp-"))


def honest(files: int = 3) -> tuple[bytes, str]:
    contents = {b"go.mod": f"module {PATH}\n".encode()} | {
        b"f%d.go" % n: b"package x\n" + os.urandom(2000) for n in range(files)
    }
    return toxgit.hostile.repository(contents)


def test_the_trickster_can_be_honest(engine: str, tmp_path: Path) -> None:
    """Else what follows would prove nothing."""
    pack, head = honest()
    result, packs = ask_toxic(toxgit.Tox.of(head, pack), engine, tmp_path, Limits())
    assert not isinstance(result, Failed), result
    assert len(packs) == 2


@pytest.mark.parametrize("part", ["greet", "refs", "fetch"])
def test_silence(part: str, engine: str, tmp_path: Path) -> None:
    pack, head = honest()
    play = toxgit.Tox.of(head, pack)
    whole = getattr(play, part)
    for number, step in enumerate((toxgit.never, toxgit.hang(whole, len(whole) // 2))):
        silent = toxgit.Tox(**{name: getattr(play, name) for name in ("greet", "refs", "fetch")} | {part: step})
        work = tmp_path / str(number)
        work.mkdir()
        result, packs = ask_toxic(silent, engine, work, Limits(idle=1.0))
        assert isinstance(result, Failed)
        assert (result.error, packs) == ("HostSilent", []), result


def test_a_pack_that_is_cut_or_flipped(engine: str, tmp_path: Path) -> None:
    pack, head = honest()
    good = toxgit.side_band(pack)
    flipped = bytearray(pack)
    flipped[len(pack) // 2] ^= 4
    for number, step in enumerate(
        (
            toxgit.cut(good, len(good) // 2),
            toxgit.side_band(bytes(flipped)),
            toxgit.side_band(pack[:-5]),
            toxgit.side_band(b"PACKnonsense" * 9),
        )
    ):
        work = tmp_path / str(number)
        work.mkdir()
        result, packs = ask_toxic(toxgit.Tox(toxgit.Tox.of(head, pack).refs, step), engine, work, Limits(idle=3.0))
        assert isinstance(result, Failed)
        assert (result.error, packs) == ("HostUnreachable", []), (number, result)


def test_budgets(engine: str, tmp_path: Path) -> None:
    pack, head = honest(200)
    play = toxgit.Tox.of(head, pack)
    many = toxgit.refs_of({f"refs/heads/b{n}": head for n in range(50)} | {"HEAD": head})
    noise = toxgit.encode(b"packfile\n", *[b"\2" + b"x" * 60000 + b"\n"] * 40, toxgit.Special.FLUSH)
    for number, (trick, limits, words) in enumerate(
        (
            (toxgit.Tox(many, play.fetch), Limits(refs=20), "more than 20 refs"),
            (toxgit.Tox(many, play.fetch), Limits(refs_bytes=1000), "the list of refs is larger than 1000 bytes"),
            (play, Limits(pack=100_000), "the pack is larger than 100000 bytes"),
            (play, Limits(objects=100), "the pack has more than 100 objects"),
            (toxgit.Tox(play.refs, noise), Limits(), "endless progress messages"),
        )
    ):
        work = tmp_path / str(number)
        work.mkdir()
        result, packs = ask_toxic(trick, engine, work, limits)
        assert isinstance(result, Failed)
        assert (result.error, words in result.message, packs) == ("Refused", True, []), (number, result)


def test_T10_packfile_uris_and_redirects_lead_nowhere(engine: str, tmp_path: Path) -> None:
    pack, head = honest()
    play = toxgit.Tox.of(head, pack)
    with toxgit.bystander() as other:
        there = f"http://127.0.0.1:{other.port}"
        uris = toxgit.encode(
            b"packfile-uris\n", f"{'12' * 20} {there}/pack\n".encode(), toxgit.Special.DELIM
        ) + toxgit.side_band(pack)
        greeting = toxgit.encode(
            b"version 2\n", b"ls-refs\n", b"fetch=shallow packfile-uris\n", b"bundle-uri\n", toxgit.Special.FLUSH
        )
        for number, trick in enumerate((
            toxgit.Tox(play.refs, uris, greeting), toxgit.Tox(play.refs, toxgit.redirect(there + "{path}")),
            toxgit.Tox(toxgit.redirect(there + "{path}"), play.fetch), toxgit.Tox(play.refs, play.fetch, toxgit.redirect(there + "{path}")),
        )):  # fmt: skip
            work = tmp_path / str(number)
            work.mkdir()
            result, _ = ask_toxic(trick, engine, work, Limits(idle=3.0))
            assert isinstance(result, Failed), number
            other.assert_untouched()


def test_T8_an_address_that_is_not_public_is_not_asked(engine: str, tmp_path: Path) -> None:
    with toxgit.bystander() as other:
        root = RepoRoot(PATH, f"http://localhost:{other.port}/x", "", f"https://{PATH}", engine=engine)
        result = run(Job(Op.LIST, PATH, "", root, str(tmp_path / "m"), str(tmp_path)))
        assert isinstance(result, Failed)
        assert "is not at a public address" in result.message
        other.assert_untouched()


# ---- SSH


@pytest.mark.skipif(not all(map(shutil.which, ("ssh", "ssh-agent", "ssh-add"))), reason="needs OpenSSH")
def test_ssh(tmp_path: Path) -> None:
    repo, key = build(tmp_path / "repos" / "x", STEPS), new_key()
    with SshHost(repo.path.parent, [key]).running() as server, agent(key) as socket:
        known = tmp_path / "known_hosts"
        known.write_text(server.known_hosts())
        hosts = (Host("127.0.0.1", known_hosts=str(known)),)
        access = (
            Access("deploy", f"ssh://127.0.0.1:{server.port}", "agent", agent=socket, public_keys=(public_line(key),)),
        )

        def ask(
            op: Op,
            query: str = "",
            path: str = PATH,
            url: str = f"ssh://git@127.0.0.1:{server.port}/x",
            who: tuple[Access, ...] = access,
        ) -> Result:
            work = tmp_path / f"w{len(list(tmp_path.iterdir()))}"
            work.mkdir()
            root = RepoRoot(PATH, url, "", f"https://{PATH}", engine="git")
            return run(
                Job(
                    op, path, query, root, str(work / "m"), str(work), hosts=hosts, access=who, limits=Limits(idle=10.0)
                )
            )

        for protocol in (True, False):
            server.protocol = protocol
            for question in questions(repo)[::3]:
                assert plain(ask(*question)) == plain(ask(*question, url=repo.url)), question
        assert {"login git", "protocol version=2", "command git-upload-pack '/x'"} <= set(server.log)
        for wrong, error, words in (
            ({"who": ()}, "AccessDenied", "127.0.0.1 needs a credential"),
            ({"url": f"ssh://git@127.0.0.1:{server.port}/nosuch"}, "RepositoryNotFound", "no such repository"),
        ):
            told = ask(Op.LIST, **wrong)
            assert isinstance(told, Failed)
            assert (told.error, words in told.message) == (error, True), told
        known.write_text("")
        told = ask(Op.LIST)
        assert isinstance(told, Failed)
        assert "the host key of 127.0.0.1 is not known" in told.message


# ---- what gets out


ALLOWED = {
    "PATH", "HOME", "LANGUAGE", "LC_ALL", "GIT_DIR", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_ATTR_NOSYSTEM",
    "GIT_TERMINAL_PROMPT", "GIT_PROTOCOL_FROM_USER", "GIT_NO_LAZY_FETCH", "GIT_NO_REPLACE_OBJECTS", "GIT_ALLOW_PROTOCOL",
    # what git itself tells its children
    "GIT_EXEC_PATH", "GIT_PREFIX", "GIT_TRACE2_PARENT_SID", "GIT_TRACE2_PARENT_NAME", "GIT_OBJECT_DIRECTORY", "GIT_SHALLOW_FILE",
    "GIT_INTERNAL_SUPER_PREFIX", "GIT_QUARANTINE_PATH", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "_", "PWD", "SHLVL", "OLDPWD",
}  # fmt: skip


def test_T32_no_secret_is_in_an_argument_or_a_variable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from /proc by the host, while git waits for its answer; variables of this process reach nobody either."""
    monkeypatch.setenv("GITHUB_TOKEN", CANARY)
    monkeypatch.setenv("GIT_TRACE_CURL", "1")
    seen: list[tuple[bytes, bytes]] = []

    def script(handler: Handler) -> bool:
        seen.extend((command_line(pid), environment(pid)) for pid in descendants(os.getpid()))
        return False

    world.host.script = script
    assert not isinstance(world.ask(Op.ZIP, "v1.1.0", access=(basic(),)), Failed)
    lines = [line for line, _ in seen]
    for program in (b"ls-remote", b"fetch", b"remote-https"):
        assert any(program in line for line in lines), lines
    git = [(line, variables) for line, variables in seen if b"git" in line.split(b"\0")[0]]
    names = {each.partition(b"=")[0].decode() for _, variables in git for each in variables.split(b"\0") if each}
    assert names <= ALLOWED, names - ALLOWED
    for line, variables in git:
        for secret in (ONE, CANARY, pair("bot", ONE).partition(" ")[2]):
            assert secret.encode() not in line + variables


def test_no_process_is_left_when_git_is_ended(engine: str, tmp_path: Path) -> None:
    """Too much is said while git still talks to the host."""
    head = honest()[1]
    endless = toxgit.endless(b"", lambda n: toxgit.encode(f"{head} refs/heads/b{n}\n".encode()))
    before = set(descendants(os.getpid()))
    result, _ = ask_toxic(toxgit.Tox(endless), engine, tmp_path, Limits(refs_bytes=200_000, refs=1 << 30))
    assert isinstance(result, Failed)
    assert result.error == "Refused"
    assert set(descendants(os.getpid())) <= before


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_T5_nothing_that_the_repository_holds_is_run_or_checked_out(tmp_path: Path) -> None:
    """Hooks, filters, submodules, links: git is run, its own helpers are, and nobody else; no file appears anywhere."""
    trap = f"#!/bin/sh\ntouch {tmp_path}/PWNED\n"
    files = {
        "go.mod": f"module {PATH}\n", "x.go": "package x\n", "evil.sh": ("100755", trap),
        ".gitattributes": "* filter=evil diff=evil textconv=evil export-subst\n",
        ".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = ext::sh -c touch% {tmp_path}/PWNED\n\tupdate = !{trap}\n',
        "s": (SUBMODULE, "12" * 20), "link": (SYMLINK, "/etc/passwd"), "hooks/post-checkout": ("100755", trap),
        ".git-hooks/reference-transaction": ("100755", trap),
    }  # fmt: skip
    build(tmp_path / "repos" / "x", [Step(files, tags=["v1.0.0"])])
    program = (
        "import sys; from vcsproxy.build.job import *; from vcsproxy.build.run import run; from vcsproxy.mod.reporoot import RepoRoot\n"
        f"root = RepoRoot({PATH!r}, sys.argv[1], engine='git')\n"
        f"got = run(Job(Op.ZIP, {PATH!r}, 'v1.0.0', root, sys.argv[2] + '/m', sys.argv[2], hosts=(Host('127.0.0.1'),)))\n"
        "assert got.kind == 'built', got\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    with GitHost(tmp_path / "repos").running() as host:
        command = [
            "strace",
            "-f",
            "-qq",
            "-s",
            "4096",
            "-o",
            str(tmp_path / "log"),
            "-e",
            "trace=execve",
            "-e",
            "signal=none",
        ]
        command += [sys.executable, "-c", program, host.url + "/x", str(work)]
        before = listing(tmp_path, "work", "log")
        subprocess.run(
            command,
            check=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "HOME": str(tmp_path), "TMPDIR": str(work)},
        )
        assert listing(tmp_path, "work", "log") == before
    runs = [
        line.partition("execve(")[2]
        for line in (tmp_path / "log").read_text().splitlines()
        if "execve(" in line and " = 0" in line
    ]
    programs = [tuple(word.strip('"[] ') for word in run.partition("]")[0].split(",")[1:3]) for run in runs]
    ran = {(os.path.basename(name), first) for name, first in programs[1:]}
    assert {name for name, _ in ran} <= {"git", "git-remote-http", "sh"}, ran
    assert {first for name, first in ran if name == "git"} <= {
        "version",
        "--exec-path",
        "ls-remote",
        "fetch",
        "remote-http",
        "index-pack",
        "rev-list",
        "--shallow-file",
    }, ran
    assert {str(p.relative_to(work)).split("/")[0] for p in work.rglob("*")} == {"m", "module.zip"}
