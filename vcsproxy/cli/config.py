"""`vcsproxy config`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, FAILED, graphic

if TYPE_CHECKING:
    from vcsproxy.config import Settings


@click.group("config", epilog=EXIT_CODES)
def command() -> None:
    """Work with the configuration file."""


@command.command("check", epilog=EXIT_CODES)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: file, faults, settings.")
@click.pass_context
def check(ctx: click.Context, file: Path | None, as_json: bool) -> None:
    """Say all that is wrong with a configuration file, or what it means.

    Without FILE: the one that `serve` would find. Tables are counted from 0: source[2] is the third [[source]].

    \b
    Example:
        vcsproxy config check /etc/vcsproxy.toml
    """
    from vcsproxy.build.job import Limits  # noqa: PLC0415
    from vcsproxy.config import find, load  # noqa: PLC0415

    used = file or find()
    try:
        settings = load(used)
    except errors.ConfigError as err:
        if not as_json:
            raise
        click.echo(json.dumps({"file": _name(used), "faults": err.faults}, indent=2))
        ctx.exit(FAILED)
    if as_json:
        shown = settings.model_dump(mode="json", exclude_none=True)
        shown["limits"] = {**asdict(Limits()), **shown["limits"]}
        click.echo(json.dumps({"file": _name(used), "faults": [], "settings": shown}, indent=2))
    else:
        click.echo(_summary(used, settings), nl=False)


def _name(file: Path | None) -> str | None:
    return str(file) if file is not None else None


def _summary(file: Path | None, settings: Settings) -> str:
    lines = [
        f"{graphic(str(file))}: no faults" if file is not None else "no configuration file; these are the defaults",
        f"listen   {settings.server.listen}",
        f"data     {graphic(str(settings.server.data))}",
        *(f"source   {graphic(source.root)} -> {graphic(source.url)}" for source in settings.source),
        *(f"host     {host.name} {host.connect}".rstrip() for host in settings.host),
        f"workers  {settings.limits.workers}, and up to {settings.limits.queue} waiting",
    ]
    return "\n".join(lines) + "\n"
