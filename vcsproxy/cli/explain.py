"""`vcsproxy explain`: every step from a module path to a version, and what to do when there is none.

Text comes from hosts and repositories: all of it is made graphic before it is shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, ask, exit_code, graphic, load_settings, settings_options
from vcsproxy.cli.mod import Target, TargetType

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from vcsproxy.cli.main import Answering
    from vcsproxy.proxy.service import Explanation
    from vcsproxy.trace import Step

_ENDS = ("cause", "cure")
_MAX_LINES = 8  # of a message that has several, one for each file
_MAX_NAME = 40  # characters of a name before the next column
_LABEL = 8

_CURES: dict[type[errors.VCSProxyError], str] = {
    errors.VCSProxyError: "see the log for more",
    errors.InvalidRequest: "check the spelling of the module path and the query",
    errors.NotFound: "check the spelling of the module path and the version",
    errors.NotSeeded: "seed it where there is a network: vcsproxy seed",
    errors.HostUnknown: "is the module path spelled right, and does DNS work on this machine?",
    errors.RepositoryNotFound: "check the path; if the repository is private, configure a [[credential]] for its URL",
    errors.Gone: "ask the operator of this server why it was withdrawn",
    errors.Denied: "see [modules] and [[source]] in the configuration",
    errors.Refused: "see [limits] in the configuration",
    errors.SumMismatch: "find out who changed the tag or the go.sum: vcsproxy verify",
    errors.ModuleChanged: "tag a new version; the bytes that were served first stay",
    errors.Unavailable: "try again in a minute",
    errors.UpstreamFailed: "see whether `git ls-remote` of the repository works from here",
    errors.AccessDenied: "configure a [[credential]] for the repository's URL that may read it",
    errors.HostUnreachable: "check the network, the name of the host, and its [[host]] in the configuration",
    errors.HostBusy: "try again in a minute",
    errors.Corrupt: "keep the data directory as it is, and report this",
}


@click.command("explain", epilog=EXIT_CODES)
@click.argument("target", metavar="MODULE[@QUERY]", type=TargetType())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def command(ctx: click.Context, target: Target, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Show how a module is found, and why it is not.

    Asks the Git host anew, and tells each step with its time: rule, repository, credential, refs, what each tag is for
    the module, commit, directory, go.mod, files left out. Nothing is published. When it fails, the last lines are the
    cause and the cure.

    \b
    Examples:
        vcsproxy explain git.corp.example/team/mono/sub@v1.2.3
        vcsproxy explain github.com/google/uuid --json
    """

    async def question(modules: Answering) -> Explanation:
        return await modules.explain(target.path, target.query)

    found = ask(ctx, load_settings(config_file, data=data), question, f"Explaining {target}")
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2))
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415

        render(found, Console(highlight=False, markup=False, emoji=False))
    else:
        click.echo("\n".join(plain(found)))
    if found.error is not None:
        ctx.exit(exit_code(found.error))


# ---- what is shown


@dataclass(frozen=True, slots=True)
class _Row:
    """One step and, below it, what belongs to it: (name, what is to be said of it)."""

    at: float
    topic: str
    text: str
    below: list[tuple[str, str]] = field(default_factory=list)


def _rows(steps: Iterable[Step]) -> list[_Row]:
    rows: list[_Row] = []
    for step in steps:
        if step.sub and rows:
            name, _, saying = step.text.rpartition("\t")
            rows[-1].below.append((graphic(name or saying), graphic(saying if name else "")))
        else:
            rows.append(_Row(step.at, graphic(step.topic), graphic(step.text)))
    return rows


def _split(found: Explanation) -> tuple[list[Step], dict[str, list[str]]]:
    """The steps to show in order of time, and the texts of those that say cause and cure, which come last.

    Of a success only the closing ones do: what was in the way earlier has been overcome.
    """
    steps = list(found.steps)
    closing: list[Step] = []
    while steps and steps[-1].topic in _ENDS:
        closing.insert(0, steps.pop())
    if found.error is not None:
        closing = [step for step in steps if step.topic in _ENDS] + closing
        steps = [step for step in steps if step.topic not in _ENDS]
    return steps, {topic: [step.text for step in closing if step.topic == topic] for topic in _ENDS}


def _ending(found: Explanation, noted: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """(label, text) of the last lines; a failure always ends in a cause and a cure."""
    if found.error is None:
        yield "result", f"{found.path}@{found.version}"
        yield from ((topic, graphic(text)) for topic in _ENDS for text in noted[topic])
        return
    message = found.error.message
    causes = [*_lines(message), *(text for text in noted["cause"] if text not in message)]
    yield from (("cause", graphic(text)) for text in dict.fromkeys(causes))
    yield "cure", graphic(_cure(found.error, noted["cure"]))


def _lines(message: str) -> list[str]:
    lines = [line for line in message.splitlines() if line.strip()] or ["no reason given"]
    more = len(lines) - _MAX_LINES
    return [*lines[:_MAX_LINES], *([f"and {more} more"] if more > 0 else [])]


def _cure(err: errors.VCSProxyError, noted: Sequence[str]) -> str:
    return err.hint or (noted[-1] if noted else next(_CURES[cls] for cls in type(err).__mro__ if cls in _CURES))


def _labels(ending: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The same, with each label once."""
    last = ""
    for label, text in ending:
        yield "" if label == last else label, text
        last = label


# ---- as plain lines


def plain(found: Explanation) -> list[str]:
    """Lines for a pipe or a file: not wrapped, not coloured."""
    steps, noted = _split(found)
    lines = [_title(found), ""]
    for row in _rows(steps):
        lines.append(f"{row.at:8.3f}s  {row.topic:10}  {row.text}")
        width = min(max((len(name) for name, _ in row.below), default=0), _MAX_NAME)
        lines += [f"{'':25}{name:{width}}  {saying}".rstrip() for name, saying in row.below]
    return [*lines, "", *(f"{label:{_LABEL}}{text}" for label, text in _labels(_ending(found, noted)))]


def _title(found: Explanation) -> str:
    return graphic(f"{found.path}@{found.query or 'latest'}")


# ---- on a terminal

_STYLES = {"result": "bold green", "cause": "bold red", "cure": "bold yellow"}


def render(found: Explanation, console: Console) -> None:
    """The same in colours, wrapped below each column; the last lines are left whole, to be copied."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    steps, noted = _split(found)
    console.print(Text(_title(found), "bold"), "", sep="\n")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", width=9, no_wrap=True)
    grid.add_column(width=10, no_wrap=True)
    grid.add_column(overflow="fold")
    for row in _rows(steps):
        grid.add_row(Text(f"{row.at:.3f}s", "dim"), Text(row.topic, "cyan"), Text(row.text))
        if row.below:
            grid.add_row("", "", _below(row))
    console.print(grid)
    console.print()
    for label, text in _labels(_ending(found, noted)):
        console.print(Text.assemble((f"{label:{_LABEL}}", _STYLES.get(label, "")), text), soft_wrap=True)


def _below(row: _Row) -> RenderableType:
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold", max_width=_MAX_NAME)
    grid.add_column(overflow="fold", style="dim")
    for name, saying in row.below:
        grid.add_row(Text(name), Text(saying))
    return Padding(grid, (0, 0, 0, 2))


# ---- as JSON


def _as_json(found: Explanation) -> dict[str, object]:
    from vcsproxy.logs import redact  # noqa: PLC0415

    _, noted = _split(found)
    ends = list(_ending(found, noted))
    return {
        "path": found.path,
        "query": found.query,
        "version": found.version,
        "steps": [{**asdict(step), "text": redact(step.text)} for step in found.steps],
        "error": type(found.error).__name__ if found.error is not None else None,
        **{topic: "\n".join(text for label, text in ends if label == topic) for topic in _ENDS},
    }
