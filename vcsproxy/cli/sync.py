"""`vcsproxy sync`: bring a seeded store up to date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from vcsproxy.cli.main import graphic, load_settings, settings_options
from vcsproxy.cli.seed import EXIT_CODES, SOME_FAILED, Done, report, run, summary, told


@click.command("sync", epilog=EXIT_CODES)
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def command(ctx: click.Context, plan: Path, as_json: bool, config_file: Path | None, data: Path | None) -> None:
    """Seed again by a saved plan, and say what is new.

    Meant for cron: only what is new is fetched, and only that and what could not be had is printed. `vcsproxy seed
    --save PLAN` writes a plan, a TOML file with targets, sources and out.

    \b
    Example:
        vcsproxy seed go.mod github.com/google/uuid@latest --out mirror --save plan.toml
        vcsproxy sync plan.toml
    """
    from vcsproxy.cli.syncplan import read  # noqa: PLC0415

    done = run(ctx, load_settings(config_file, data=data), read(plan))
    if as_json:
        click.echo(json.dumps(report(done), indent=2))
    else:
        for line in _described(done):
            click.echo(line)
    ctx.exit(SOME_FAILED if done.problems else 0)


def _described(done: Done) -> Iterator[str]:
    from vcsproxy.mirror.seed import Outcome  # noqa: PLC0415

    new = [each for each in done.seeded if each.outcome is Outcome.NEW]
    yield from (f"new: {graphic(str(each.item))}" for each in new)
    yield from told(done.problems)
    yield summary(done)
