"""`vcsproxy hash`: go.sum lines of published versions, of a zip, or of a directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy.cli.main import EXIT_CODES, ask, load_settings, settings_options
from vcsproxy.cli.mod import LATEST, Sums, Target, TargetType, resolve, sums

if TYPE_CHECKING:
    from vcsproxy.web.modules import Modules


@click.command("hash", epilog=EXIT_CODES)
@click.argument("targets", nargs=-1, metavar="[MODULE@VERSION]...", type=TargetType())
@click.option("--zip", "zip_file", type=click.Path(path_type=Path), metavar="FILE", help="Hash a module zip instead.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), metavar="DIR", help="Hash a directory instead.")
@click.option("--as", "name", metavar="MODULE@VERSION", type=TargetType(), help="What the directory is to be.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of Path, Version, Sum and GoModSum.")
@settings_options
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[Target, ...],
    zip_file: Path | None,
    directory: Path | None,
    name: Target | None,
    as_json: bool,
    config_file: Path | None,
    data: Path | None,
) -> None:
    """Print the two go.sum lines of module versions.

    Versions that the store does not have are built. A zip says itself which version it is; of a directory only the
    files count that Go would put into the module's zip.

    \b
    Examples:
        vcsproxy hash github.com/google/uuid@v1.6.0
        vcsproxy hash --zip uuid.zip
        vcsproxy hash --dir . --as example.com/mod@v1.2.3
    """
    if sum((bool(targets), zip_file is not None, directory is not None)) != 1:
        raise click.UsageError("name versions, or --zip FILE, or --dir DIR with --as MODULE@VERSION")
    if (directory is None) != (name is None):
        raise click.UsageError("--dir and --as belong together")
    if zip_file is not None:
        found = [of_zip(zip_file)]
    elif directory is not None and name is not None:
        found = [of_directory(directory, name)]
    else:
        found = _of_versions(ctx, targets, config_file, data)
    if as_json:
        click.echo(json.dumps([each.json() for each in found], indent=2))
    else:
        click.echo("".join(lines(each) for each in found), nl=False)


def _of_versions(
    ctx: click.Context, targets: tuple[Target, ...], config_file: Path | None, data: Path | None
) -> list[Sums]:
    async def question(modules: Modules) -> list[Sums]:
        return [await sums(modules, each.path, (await resolve(modules, each))["Version"]) for each in targets]

    for each in targets:
        if each.query == LATEST:
            raise click.UsageError(f"{each.path}: a hash needs a version, as in {each.path}@v1.2.3")
    return ask(ctx, load_settings(config_file, data=data), question, "Building " + " ".join(map(str, targets)))
