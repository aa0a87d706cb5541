"""`vcsproxy serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy.cli.main import EXIT_CODES, load_settings, settings_options

if TYPE_CHECKING:
    from vcsproxy.config import Settings


@click.command("serve", epilog=EXIT_CODES)
@settings_options
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to listen; port 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Serving processes on the one address.")
@click.option("--offline", is_flag=True, help="Answer from the store alone; ask no Git host.")
@click.pass_context
def command(
    ctx: click.Context, *, config_file: Path | None, data: Path | None, listen: str | None, workers: int | None,
    offline: bool,
) -> None:  # fmt: skip
    """Answer the go command over HTTP.

    Without a configuration file it serves public modules on 127.0.0.1:3000 and keeps its data in your data directory.
    Ctrl-C or SIGTERM lets running requests end; a second one does not wait for them. SIGHUP reads the configuration
    again, and secrets in files are read again when they change.

    \b
    Example:
        vcsproxy serve --listen 127.0.0.1:8080 --data /srv/vcsproxy
        GOPROXY=http://127.0.0.1:8080 go get example.com/mod@latest
    """

    def read() -> Settings:
        return load_settings(config_file, listen=listen, data=data, offline=offline or None, workers=workers)

    settings = read()
    from vcsproxy import supervisor  # noqa: PLC0415 - takes long, and a faulty configuration should not wait for it

    supervisor.check_platform(settings)
    ctx.exit(supervisor.main(settings, read))
