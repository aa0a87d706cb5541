"""`vcsproxy verify`: whether go.sum has the hashes that the repositories themselves give."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vcsproxy import errors
from vcsproxy.cli.main import graphic, load_settings, settings_options, work_with
from vcsproxy.cli.meter import meter

if TYPE_CHECKING:
    from vcsproxy.cli.main import Answering
    from vcsproxy.mirror.sums import SumLine
    from vcsproxy.mirror.verify import Finding

SOME_DIFFER, COULD_NOT_TELL = 1, 2

_EXIT_CODES = (
    "Exit codes: 0 all right, 1 some differ (or it failed), 2 some could not be told (or wrong usage), 130 interrupted."
)


@click.command("verify", epilog=_EXIT_CODES)
@click.argument("targets", nargs=-1, metavar="[go.sum | go.mod | go.work | DIRECTORY | -]...")
@click.option("--since-commit", metavar="REV", help="Only lines that are new since this commit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--sarif", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a SARIF log too.")
@click.option("--all", "show_all", is_flag=True, help="Print the lines that are right, too.")
@settings_options
@click.pass_context
def command(
    ctx: click.Context, *, targets: tuple[str, ...], since_commit: str | None, as_json: bool, sarif: Path | None,
    show_all: bool, config_file: Path | None, data: Path | None,
) -> None:  # fmt: skip
    """Check go.sum against the repositories themselves.

    Every line's version is built from its commit, or taken from the store, and hashed; without an argument it is the
    go.sum of this directory. A line that differs is explained: what is known to cause that is tried. What was built
    stays in the data directory, so a run that was cut off goes on where it ended.

    \b
    Examples:
        vcsproxy verify
        vcsproxy verify --since-commit origin/main --sarif go-sum.sarif
        git show v1.2.0:go.sum | vcsproxy verify -
    """
    lines = _lines(targets or (".",), since_commit)
    settings = load_settings(config_file, data=data)
    findings = _check(ctx, settings, lines)
    if sarif is not None:
        _write_sarif(findings, sarif)
    if as_json:
        from vcsproxy.mirror.report import report  # noqa: PLC0415

        click.echo(json.dumps(report(findings), indent=2))
    else:
        for text in _described(findings, show_all=show_all):
            click.echo(text)
    ctx.exit(exit_code(findings))


def _lines(targets: Sequence[str], since: str | None) -> list[SumLine]:
    from vcsproxy.mirror import sums  # noqa: PLC0415

    files = [file for target in targets for file in sums.files_for(target)]
    if since is None:
        return sums.lines_of(files)
    from vcsproxy.cli.checkout import file_at  # noqa: PLC0415

    found = []
    for file in files:
        before = {str(each.line) for each in sums.parse(file_at(file, since), f"{file} at {since}")}
        found += [each for each in sums.lines_of([file]) if str(each.line) not in before]
    return found


def _check(ctx: click.Context, settings: Any, lines: Sequence[SumLine]) -> list[Finding]:
    from vcsproxy.mirror.verify import Verifier  # noqa: PLC0415

    async def work(modules: Answering) -> list[Finding]:
        findings = []
        with meter("Verifying", len(lines)) as step:
            async for finding in Verifier(modules).check(lines):
                findings.append(finding)
                step()
        return findings

    if not lines:
        return []
    findings = work_with(ctx, settings, work, "error")
    return sorted(findings, key=lambda finding: (finding.at.file, finding.at.number))


def exit_code(findings: Iterable[Finding]) -> int:
    """What a script may know of findings."""
    from vcsproxy.mirror.verify import Result  # noqa: PLC0415

    results = {finding.result for finding in findings}
    if Result.DIFFERS in results:
        return SOME_DIFFER
    return COULD_NOT_TELL if results - {Result.OK} else 0


# --- what is printed ---


def _described(findings: Sequence[Finding], *, show_all: bool) -> Iterator[str]:
    from vcsproxy.mirror.verify import Result  # noqa: PLC0415

    for finding in findings:
        if finding.result is not Result.OK or show_all:
            yield from _lines_about(finding)
    counts = Counter(finding.result for finding in findings)
    parts = [f"{result} {counts[result]}" for result in Result if counts[result]]
    yield f"{len(findings)} lines: {', '.join(parts) or 'nothing to check'}"


def _lines_about(finding: Finding) -> Iterator[str]:
    line = finding.at.line
    place = f"{finding.at.file}:{finding.at.number}"
    yield graphic(f"{place}: {finding.result}: {line.path} {line.version}")
    if finding.found and finding.reason:
        yield f"    go.sum has {graphic(line.h1)}"
        yield f"    it gives   {finding.found}"
    for label, text in (("why", finding.reason), ("cure", finding.hint)):
        if text:
            first, *rest = text.splitlines()
            yield f"    {label + ':':10} {graphic(first)}"
            yield from (f"               {graphic(more)}" for more in rest[:4])


def _write_sarif(findings: Sequence[Finding], file: Path) -> None:
    from vcsproxy.cli.sarif import log  # noqa: PLC0415

    try:
        file.write_text(json.dumps(log(findings), indent=2) + "\n", encoding="utf-8")
    except OSError as err:
        raise errors.VCSProxyError(f"{file}: {err.strerror}") from err
    click.echo(f"wrote {file}", file=sys.stderr)
