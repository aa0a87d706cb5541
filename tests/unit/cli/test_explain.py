"""What `vcsproxy explain` prints: every step, then the result, or the cause and the cure; never a control character."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from vcsproxy import errors
from vcsproxy.cli.explain import render
from vcsproxy.cli.main import main
from vcsproxy.config import Settings
from vcsproxy.proxy.service import Explanation
from vcsproxy.trace import Step

PATH = "git.corp.example/team/mono/sub"
STEPS = (
    Step(0.0, "rule", f"the source git.corp.example/team maps {PATH} to https://git.corp.example/team/mono"),
    Step(0.0124, "credential", "corp goes to https://git.corp.example"),
    Step(0.3, "tags", "what each tag is for this module:"),
    Step(0.3, "tags", "sub/v1.4.0\tis the version v1.4.0", sub=True),
    Step(0.3, "tags", "v1.5.0\tdoes not begin with sub/", sub=True),
    Step(0.3, "tags", "and 7 more", sub=True),
    Step(12.5, "revision", "v1.4.0 is the tag sub/v1.4.0, commit 0123456789ab of 2024-03-01T00:00:00Z"),
)
FOUND = Explanation(PATH, "v1.4.0", "v1.4.0", STEPS, None)


class Explaining:
    """Explains with what it is given, and remembers what it was asked."""

    def __init__(self, found: Explanation) -> None:
        self.found = found
        self.asked: list[tuple[str, str]] = []

    async def explain(self, path: str, query: str) -> Explanation:
        self.asked.append((path, query))
        return self.found


def run(found: Explanation, *args: str) -> tuple[Result, Explaining]:
    service = Explaining(found)

    @contextlib.asynccontextmanager
    async def open_modules(settings: Settings) -> AsyncIterator[Explaining]:
        yield service

    target = args or (f"{found.path}@{found.query}",)
    return CliRunner().invoke(main, ["explain", *target], obj=open_modules), service


def failed(error: errors.VCSProxyError, *steps: Step) -> Explanation:
    return Explanation(PATH, "v1.5.0", "", (*STEPS[:2], *steps), error)


def test_help_has_an_example_and_the_exit_codes() -> None:
    done = CliRunner().invoke(main, ["explain", "--help"])
    assert done.exit_code == 0
    assert "    vcsproxy explain git.corp.example/" in done.stdout
    assert "Exit codes: 0 done" in done.stdout
    assert "explain" in CliRunner().invoke(main, ["--help"]).stdout


def test_every_step_in_a_line_and_the_result_last() -> None:
    done, service = run(FOUND)
    assert (done.exit_code, done.stderr) == (0, "")
    assert service.asked == [(PATH, "v1.4.0")]
    assert done.stdout == (
        f"{PATH}@v1.4.0\n"
        "\n"
        f"   0.000s  rule        the source git.corp.example/team maps {PATH} to https://git.corp.example/team/mono\n"
        "   0.012s  credential  corp goes to https://git.corp.example\n"
        "   0.300s  tags        what each tag is for this module:\n"
        "                         sub/v1.4.0  is the version v1.4.0\n"
        "                         v1.5.0      does not begin with sub/\n"
        "                         and 7 more\n"
        "  12.500s  revision    v1.4.0 is the tag sub/v1.4.0, commit 0123456789ab of 2024-03-01T00:00:00Z\n"
        "\n"
        f"result  {PATH}@v1.4.0\n"
    )


def test_without_a_query_it_is_the_latest() -> None:
    done, service = run(replace(FOUND, query="latest"), PATH)
    assert service.asked == [(PATH, "latest")]
    assert done.stdout.startswith(f"{PATH}@latest\n")


def test_a_failure_ends_in_its_cause_and_cure() -> None:
    message = f"{PATH}@v1.5.0: invalid version: unknown revision sub/v1.5.0; the tag v1.5.0 is of the root"
    noted = Step(0.4, "cause", "the tag v1.5.0 is of the root"), Step(0.4, "cure", "git tag sub/v1.5.0 v1.5.0")
    done, _ = run(failed(errors.NotFound(message, "git tag sub/v1.5.0 v1.5.0"), *noted))
    assert (done.exit_code, done.stderr) == (3, "")
    assert done.stdout.splitlines()[-3:] == ["", f"cause   {message}", "cure    git tag sub/v1.5.0 v1.5.0"]
    assert done.stdout.count("the tag v1.5.0 is of the root") == 1


def test_causes_that_the_message_does_not_tell_are_added() -> None:
    noted = (
        Step(0.1, "cause", "no tag names a version of it"),
        Step(0.1, "refs", "the refs have changed meanwhile"),
        Step(0.4, "cause", "no tag names a version of it"),
        Step(0.4, "cure", "tag one"),
    )
    done, _ = run(failed(errors.NotFound("no matching versions"), *noted))
    assert done.stdout.splitlines()[-4:] == [
        "",
        "cause   no matching versions",
        "        no tag names a version of it",
        "cure    tag one",
    ]


@pytest.mark.parametrize(
    ("error", "code", "cure"),
    [
        (errors.NotFound("m"), 3, "check the spelling of the module path and the version"),
        (errors.RepositoryNotFound("m"), 3, "if the repository is private, configure a [[credential]]"),
        (errors.Gone("m"), 3, "ask the operator"),
        (errors.InvalidRequest("m"), 2, "check the spelling"),
        (errors.Forbidden("m"), 1, "see [modules]"),
        (errors.Refused("m"), 1, "see [limits]"),
        (errors.ModuleChanged("m"), 1, "tag a new version"),
        (errors.AccessDenied("m"), 1, "configure a [[credential]]"),
        (errors.HostUnreachable("m"), 1, "check the network"),
        (errors.HostBusy("m"), 1, "try again"),
        (errors.HostSilent("m"), 1, "try again"),
        (errors.DeadlineExceeded("m"), 1, "try again"),
        (errors.UpstreamFailed("m"), 1, "git ls-remote"),
        (errors.Overloaded("m"), 1, "try again"),
        (errors.Corrupt("m"), 1, "report this"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_kind_of_failure_has_a_cure_and_an_exit_code(error: errors.VCSProxyError, code: int, cure: str) -> None:
    done, _ = run(failed(error))
    assert done.exit_code == code
    *_, cause, last = done.stdout.splitlines()
    assert cause == "cause   m"
    assert last.startswith("cure    ")
    assert cure in last
    own = failed(error)
    error.hint = "do this"
    assert run(own)[0].stdout.splitlines()[-1] == "cure    do this"


def test_a_message_of_many_lines_is_cut() -> None:
    done, _ = run(failed(errors.NotFound("create zip: " + "\n".join(f"f{n}: bad" for n in range(30)))))
    lines = done.stdout.splitlines()
    assert lines[-10] == "cause   create zip: f0: bad"
    assert lines[-2] == "        and 22 more"


def test_what_go_will_refuse_follows_the_result() -> None:
    closing = (Step(1.0, "cause", "go.mod declares the module path a.b/c"), Step(1.0, "cure", "require a.b/c"))
    earlier = Step(0.1, "cause", "a first attempt failed")
    done, _ = run(replace(FOUND, steps=(earlier, *STEPS, *closing)))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-4:] == [
        "",
        f"result  {PATH}@v1.4.0",
        "cause   go.mod declares the module path a.b/c",
        "cure    require a.b/c",
    ]
    assert "   0.100s  cause       a first attempt failed" in done.stdout


def test_hostile_text_has_no_controls() -> None:
    bad = "\x1b[31m\u202e\x07\n\r\x9b0m\ud800"
    hostile = Explanation(
        f"a.b/{bad}", bad, "", (Step(0, bad, bad), Step(0, "tags", f"{bad}\t{bad}", sub=True), Step(0, "cause", bad)),
        errors.NotFound(bad, bad),
    )  # fmt: skip
    done, _ = run(hostile, PATH)
    assert done.stdout
    assert all(char.isprintable() or char == "\n" for char in done.stdout)
    out = io.StringIO()
    render(hostile, Console(file=out, width=60, force_terminal=True, color_system=None, highlight=False))
    assert all(char.isprintable() or char == "\n" for char in out.getvalue())


def test_urls_show_no_password() -> None:
    done, _ = run(replace(FOUND, steps=(Step(0, "rule", "https://u:canary@git.example/x"),)))
    assert "canary" not in done.stdout
    assert "https://****@git.example/x" in done.stdout
    assert "canary" not in run(replace(FOUND, steps=(Step(0, "rule", "https://u:canary@x"),)), PATH, "--json")[0].stdout


def test_json_has_all_of_it() -> None:
    done, _ = run(FOUND, f"{PATH}@v1.4.0", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["steps"][3] == {"at": 0.3, "topic": "tags", "text": "sub/v1.4.0\tis the version v1.4.0", "sub": True}
    assert {key: found[key] for key in found if key != "steps"} == {
        "path": PATH, "query": "v1.4.0", "version": "v1.4.0", "error": None, "cause": "", "cure": "",
    }  # fmt: skip
    done, _ = run(failed(errors.AccessDenied("the token is refused", "renew it")), PATH, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (found["error"], found["version"]) == ("AccessDenied", "")
    assert (found["cause"], found["cure"]) == ("the token is refused", "renew it")


def test_on_a_terminal_columns_are_wrapped_and_the_last_lines_are_whole() -> None:
    cure = "git tag sub/v1.5.0 v1.5.0 && git push origin sub/v1.5.0 && that is a long command to copy"
    out = io.StringIO()
    found = replace(failed(errors.NotFound("it is not there", cure)), steps=STEPS)
    render(found, Console(file=out, width=60, force_terminal=True, color_system="standard", highlight=False))
    text = out.getvalue()
    assert "\x1b[1;31mcause   \x1b[0mit is not there\n" in text
    assert f"\x1b[1;33mcure    \x1b[0m{cure}\n" in text
    out = io.StringIO()
    render(found, Console(file=out, width=60, force_terminal=True, color_system=None, highlight=False))
    body = out.getvalue().split("cause ")[0].splitlines()
    assert max(map(len, body)) <= 60
    rows = [line for line in body[2:] if line.strip()]
    assert all(line[:21].strip() == "" or line[8] == "s" for line in rows), "text goes on below its own column"
    assert any(line.startswith(" " * 25 + "v1.5.0      does not") for line in rows)


@pytest.mark.parametrize("args", [[], ["no-dot"], ["a.b/c@"], ["a.b/c@x/y"], ["a.b/c", "extra"]], ids=" ".join)
def test_wrong_usage(args: list[str]) -> None:
    service = Explaining(FOUND)
    done = CliRunner().invoke(main, ["explain", *args], obj=service)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("vcsproxy: error: ")
    assert service.asked == []
