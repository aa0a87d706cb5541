"""`vcsproxy import`: module versions out of another proxy's directory, or Go's own cache, into the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, FAILED, settings_options
from vcsproxy.cli.stores import (
    counted,
    opened_store,
    refused_values,
    run_async,
    say_refused,
    store_settings,
    versions_of,
)

if TYPE_CHECKING:
    from vcsproxy.mirror.admit import Result
    from vcsproxy.mirror.intake import Sums
    from vcsproxy.mirror.layouts import Found

_EXIT_CODES = EXIT_CODES.replace("1 failed", "1 failed or some versions refused")


@click.command("import", epilog=_EXIT_CODES)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--from", "source", type=click.Choice(["auto", "modcache", "athens", "proxy"]), default="auto", show_default=True,
    help="What DIR is: a GOMODCACHE, Athens' disk storage, or a GOPROXY=file:// tree.",
)  # fmt: skip
@click.option("--sums", "sums_file", type=click.Path(path_type=Path), metavar="FILE", help="A go.sum to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    directory: Path,
    source: str,
    sums_file: Path | None,
    as_json: bool,
    config_file: Path | None,
    data: Path | None,
) -> None:
    """Import module versions from a directory.

    DIR is a GOMODCACHE, the directory of a GOPROXY=file:// tree or Athens' disk storage. Every version is checked by
    Go's rules and its zip is packed anew; its hash is computed from the contents and compared with the .ziphash beside
    it, and with a go.sum if you name one. What the store has already never changes. An import that was interrupted is
    run again.

    \b
    Examples:
        vcsproxy import "$(go env GOMODCACHE)"
        vcsproxy import --from athens /var/lib/athens --sums go.sum
    """
    from vcsproxy.mirror import intake  # noqa: PLC0415
    from vcsproxy.mirror.layouts import Layout  # noqa: PLC0415

    if not directory.is_dir():
        raise errors.InvalidRequest(f"{directory}: no such directory")
    sums = {} if sums_file is None else intake.read_sums(sums_file)
    layout, found = intake.search(directory, None if source == "auto" else Layout(source))
    results = run_async(_imported(store_settings(config_file, data), found, sums))
    refused = [each for each in results if each.outcome.value == "refused"]
    added = sum(each.outcome.value == "added" for each in results)
    present = len(results) - added - len(refused)
    if as_json:
        value = {"From": layout.value, "Added": added, "Present": present, "Refused": refused_values(refused)}
        click.echo(json.dumps(value, indent=2))
    else:
        say_refused(refused)
        click.echo(f"imported {versions_of(added)}, {present} already there, {len(refused)} refused")
    ctx.exit(FAILED if refused else 0)


async def _imported(data: Path, found: list[Found], sums: Sums) -> list[Result]:
    from vcsproxy.mirror import intake  # noqa: PLC0415

    results: list[Result] = []
    with counted("Importing", len(found)) as step:

        def tell(result: Result) -> None:
            results.append(result)
            step(f"{result.path}@{result.version}")

        async with opened_store(data, sweep=True) as store:
            await intake.take_in(store, found, sums, tell)
    return sorted(results, key=lambda each: (each.path, each.version))
