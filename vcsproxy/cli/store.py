"""`vcsproxy store`: looking after what has been published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy.cli.main import EXIT_CODES, graphic, settings_options
from vcsproxy.cli.stores import counted, existing_store, store_settings, versions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcsproxy.store.survey import Finding

FAULTS = 4

_EXIT_CODES = "Exit codes: 0 done and nothing is wrong, 1 failed, 2 wrong usage, 4 faults found, 130 interrupted."


@click.group("store", epilog=EXIT_CODES)
def command() -> None:
    """Look after what has been published.

    \b
    Example:
        vcsproxy store check
    """


@command.command("check", epilog=_EXIT_CODES)
@click.option(
    "--sample", type=click.FloatRange(0, 100, min_open=True), default=100, show_default=True, metavar="PERCENT",
    help="Check only so many of the versions, chosen by chance.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def check(ctx: click.Context, *, sample: float, as_json: bool, config_file: Path | None, data: Path | None) -> None:
    """Read every published version again and compare it with its hash.

    Zips are inflated and hashed, go.mod files compared with those in the zips, `.info` files and lists read. Nothing is
    changed, and servers may go on meanwhile. Leftovers of a crash are in nobody's way: they are listed as notes.

    \b
    Examples:
        vcsproxy store check
        vcsproxy store check --sample 1 --json
    """
    from vcsproxy.store import check as checking  # noqa: PLC0415

    root = existing_store(store_settings(config_file, data))
    found: list[Finding] = []
    with counted("Checking", None) as step:
        counts = checking.check(root, sample, found.append, step)
    found.sort(key=lambda each: (each.name, each.what))
    faults = [each for each in found if each.is_fault]
    notes = [each for each in found if not each.is_fault]
    if as_json:
        value = {"Modules": counts.modules, "Versions": counts.versions, "Checked": counts.checked}
        click.echo(json.dumps(value | {"Faults": _values(faults), "Notes": _values(notes)}, indent=2))
    else:
        for each in found:
            click.echo(f"{'fault' if each.is_fault else 'note'}: {graphic(f'{each.name}: {each.what}')}")
        click.echo(
            f"checked {counts.checked} of {versions_of(counts.versions)}: {len(faults)} faults, {len(notes)} notes"
        )
    ctx.exit(FAULTS if faults else 0)


def _values(found: Sequence[Finding]) -> list[dict[str, str]]:
    return [{"Path": each.path, "File": each.name, "What": each.what} for each in found]
