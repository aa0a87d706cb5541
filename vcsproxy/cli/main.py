"""The command `vcsproxy`: finds the verb, and turns errors into one line and an exit code.

Verbs raise errors of `vcsproxy.errors`; only this module prints them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import keyword
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click

from vcsproxy import __version__, errors

if TYPE_CHECKING:
    from typing import Protocol

    from vcsproxy.build.job import Variants
    from vcsproxy.config import Settings
    from vcsproxy.proxy.service import Explanation
    from vcsproxy.web.modules import Modules

    class Answering(Modules, Protocol):
        """What the verbs ask; `proxy.service.Service` is the one."""

        async def explain(self, path: str, query: str) -> Explanation: ...

        async def variants(self, path: str, version: str) -> Variants: ...

        async def variants_at(self, path: str, version: str, commit: str) -> Variants: ...

        async def modules(self, path: str) -> tuple[str, ...]: ...

        def expect(self, sums: Mapping[str, str]) -> None: ...


T = TypeVar("T")

OpenModules = Callable[["Settings"], AbstractAsyncContextManager["Answering"]]
"""Opens what answers questions about modules; `server.open_service` unless click's context object is another."""

FAILED, USAGE, NOT_FOUND, INTERRUPTED = 1, 2, 3, 130

EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such module or version, 130 interrupted."

_VERBS = (
    "serve", "mod", "explain", "verify", "seed", "sync", "bundle", "import", "store", "tags", "hash", "config",
)  # fmt: skip


class Verbs(click.Group):
    """The top command; imports a verb's module when it is named or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        name = cmd_name + "_" * keyword.iskeyword(cmd_name)
        command: click.Command = importlib.import_module(f"vcsproxy.cli.{name}").command
        return command

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, and end the process with one of our exit codes."""
        extra["standalone_mode"] = False
        _open_standard_streams()
        try:
            code = super().main(*args, **extra)
        except errors.VCSProxyError as err:
            say_error(err)
            code = exit_code(err)
        except click.ClickException as err:
            say_usage(err)
            code = err.exit_code
        except click.Abort:
            code = INTERRUPTED
        except OSError as err:
            say_error(errors.VCSProxyError(f"cannot write the output: {err.strerror or err}"))
            os._exit(FAILED)  # the interpreter would try to write what is left, and say so in its own words
        sys.exit(code if isinstance(code, int) else 0)


def _open_standard_streams() -> None:
    """Descriptors 0, 1 and 2 that whoever started us has closed: the next file opened must not become one of them."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@click.group(cls=Verbs, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="vcsproxy", message="%(prog)s %(version)s")
def main() -> None:
    """A Go module proxy that builds modules straight from Git.

    \b
    Start it, and point the go command at it:
        vcsproxy serve
        GOPROXY=http://127.0.0.1:3000 go mod download example.com/mod@v1.2.3
    """


def exit_code(err: errors.VCSProxyError) -> int:
    """What a script may know about an error."""
    if isinstance(err, errors.NotFound | errors.Gone):
        return NOT_FOUND
    return USAGE if isinstance(err, errors.InvalidRequest) else FAILED


def say_error(err: errors.VCSProxyError) -> None:
    """One line for each thing that is wrong, and a hint, on standard error."""
    for message in err.faults if isinstance(err, errors.ConfigError) else (err.message,):
        click.echo(f"vcsproxy: error: {graphic(message)}", err=True)
    if err.hint:
        click.echo(f"hint: {graphic(err.hint)}", err=True)


def graphic(text: str) -> str:
    """Text from elsewhere, safe on one line of a terminal."""
    from vcsproxy.logs import printable, redact  # noqa: PLC0415

    return printable(redact(text))


def say_usage(err: click.ClickException) -> None:
    """Click's complaint in our form; without any arguments it is the help text."""
    if isinstance(err, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        err.show()
        return
    click.echo(f"vcsproxy: error: {graphic(err.format_message())}", err=True)
    ctx = getattr(err, "ctx", None)
    if ctx is not None:
        click.echo(f"hint: see {ctx.command_path} --help", err=True)


# --- what several verbs share ---

_config = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
    help="Configuration file. Default: $VCSPROXY_CONFIG, ./vcsproxy.toml, or the one in your configuration directory.",
)  # fmt: skip
_data = click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the store and the mirrors."
)


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --config and --data, as `config_file` and `data`."""
    return _config(_data(function))


def load_settings(config_file: Path | None, **server: object) -> Settings:
    """The configuration with what the command line says of [server]; None says nothing. Raises ConfigError."""
    from vcsproxy.config import load  # noqa: PLC0415

    said = {key: value for key, value in server.items() if value is not None}
    said = {key: value if isinstance(value, int) else str(value) for key, value in said.items()}
    return load(config_file, {"server": said})


def ask(
    ctx: click.Context, settings: Settings, question: Callable[[Answering], Coroutine[None, None, T]], what: str
) -> T:
    """Open the modules, ask, close; `what` is shown on a terminal while that takes time."""
    with progress(what):
        return work_with(ctx, settings, question)


def work_with(
    ctx: click.Context,
    settings: Settings,
    work: Callable[[Answering], Coroutine[None, None, T]],
    level: Literal["warning", "error"] = "warning",
    out: Path | None = None,
) -> T:
    """Open the modules, do some work with them, close.

    level: of what the log shows meanwhile. out: where the store is, if not in the data directory.
    """
    from vcsproxy import logs, server  # noqa: PLC0415

    logs.configure(settings.log.format, level)
    open_modules: OpenModules = ctx.obj or functools.partial(server.open_service, out=out)

    async def worked() -> T:
        async with open_modules(settings) as modules:
            return await work(modules)

    return server.run_async(worked())


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Show that work goes on, if somebody sits at the terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Console(stderr=True).status(Text(graphic(what))):
        yield
