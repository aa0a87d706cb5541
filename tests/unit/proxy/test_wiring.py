"""What the configuration lets through, and which hosts it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcsproxy import errors
from vcsproxy.build.job import Host
from vcsproxy.mod.reporoot import RepoRoot, SourceRule
from vcsproxy.proxy.wiring import Wiring, host_of

HERE = Path("/nonexistent")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Git.Corp.example/x", "git.corp.example"),
        ("https://git.corp.example:8443/{repo}.git", "git.corp.example"),
        ("ssh://git@git.corp.example:2222/{repo}", "git.corp.example"),
        ("git@git.corp.example:{group}/{repo}.git", "git.corp.example"),
        ("https://{host}.corp.example/x", ""),
        ("https://{host}/x", ""),
        ("git@{host}:x", ""),
        ("file:///srv/git", ""),
    ],
)
def test_the_host_that_a_url_names_outright(url: str, host: str) -> None:
    assert host_of(url) == host


def test_hosts_of_sources_and_credentials_are_as_good_as_listed() -> None:
    rules = (SourceRule("a.test/{r}", "ssh://git@one.test/{r}"), SourceRule("{h}.test/{r}", "https://{h}.test/{r}"))
    wiring = Wiring(
        HERE, rules, (Host("two.test", connect="127.0.0.1:1"),), credential_urls=("https://three.test/team",),
        known_hosts=Path("/k"),
    )  # fmt: skip
    assert wiring.named == {"one.test", "two.test", "three.test"}
    assert Host("two.test", connect="127.0.0.1:1") in wiring.all_hosts
    assert Host("one.test", known_hosts="/k") in wiring.all_hosts
    assert [wiring.is_stranger(name) for name in ("one.test", "github.com", "x.test")] == [False, False, True]


@pytest.mark.parametrize(
    ("allow", "deny", "path", "passes"),
    [
        ((), (), "any.test/x", True),
        (("*.corp.example",), (), "git.corp.example/a/b", True),
        (("*.corp.example",), (), "corp.example/a", False),
        (("github.com/corp/*", "github.com/spf13"), (), "github.com/spf13/cobra", True),
        (("github.com",), ("github.com/evil",), "github.com/evil/x", False),
        ((), ("github.com/evil",), "github.com/evilish/x", True),
        ((), ("*/evil",), "github.com/evil/x", False),
    ],
)
def test_patterns_are_those_of_goprivate(
    allow: tuple[str, ...], deny: tuple[str, ...], path: str, passes: bool
) -> None:
    wiring = Wiring(HERE, allow=allow, deny=deny)
    if passes:
        wiring.check(path)
    else:
        with pytest.raises(errors.Forbidden, match=path):
            wiring.check(path)


def test_a_private_path_on_a_well_known_host_is_marked_and_its_absence_not_believed() -> None:
    target = RepoRoot("github.com/corp/x", "https://github.com/corp/x")
    wiring = Wiring(HERE, private=("github.com/corp/*",), credential_urls=("https://github.com/corp",))
    marked = wiring.guarded("github.com/corp/x", target)
    assert (marked.private, marked.trust_not_found, marked.url) == (True, False, target.url)
    assert wiring.guarded("github.com/other/x", target) is target
    with pytest.raises(errors.Forbidden, match=r"private, and github\.com is not a host"):
        Wiring(HERE, private=("github.com/corp/*",)).guarded("github.com/corp/x", target)
