"""What the verbs that work on whole stores share: opening one, progress, and saying what was refused."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vcsproxy import errors
from vcsproxy.cli.main import graphic, load_settings

if TYPE_CHECKING:
    from vcsproxy.mirror.admit import Result
    from vcsproxy.store.disk import DiskStore

T = TypeVar("T")

_MOST_LINES = 1000  # of refusals, on a terminal or in a log that people read

Step = Callable[[str], None]
"""Says that one more is done, and which it was."""


def store_settings(config_file: Path | None, data: Path | None) -> Path:
    """The data directory of the configuration; warnings go to standard error."""
    from vcsproxy import logs  # noqa: PLC0415

    settings = load_settings(config_file, data=data)
    logs.configure(settings.log.format, "warning")
    return settings.server.data


def existing_store(data: Path) -> Path:
    """The store's directory in a data directory. Raises VCSProxyError unless it is there."""
    if not (data / "store").is_dir():
        hint = "name the server's data directory with --data or server.data"
        raise errors.VCSProxyError(f"{data}: no store there", hint)
    return data / "store"


def run_async(work: Coroutine[None, None, T]) -> T:
    """Do it. `server.run_async` is for what serves: nothing here is worth the time that loading a server takes."""
    import asyncio  # noqa: PLC0415

    return asyncio.run(work)


@contextlib.asynccontextmanager
async def opened_store(data: Path, *, sweep: bool = False) -> AsyncIterator[DiskStore]:
    """The store of a data directory, made when absent. sweep: first put in order what killed processes left."""
    from vcsproxy.store.disk import DiskStore  # noqa: PLC0415

    store = DiskStore(data / "store", data / "tmp")
    try:
        if sweep:
            await store.sweep()
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def counted(what: str, total: int | None) -> Iterator[Step]:
    """How far it is, if somebody sits at the terminal. total: None while nobody knows."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[last]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total, last="")
        yield lambda text: shown.update(task, advance=1, last=graphic(text)[:60])


def say_refused(results: Sequence[Result]) -> None:
    """One line for each refused version, and each hint once, on standard error."""
    for each in results[:_MOST_LINES]:
        click.echo(f"vcsproxy: refused: {graphic(f'{each.path}@{each.version}: {each.reason}')}", err=True)
    if len(results) > _MOST_LINES:
        click.echo(f"vcsproxy: refused: and {len(results) - _MOST_LINES} more; --json has them all", err=True)
    for hint in dict.fromkeys(each.hint for each in results if each.hint):
        click.echo(f"hint: {graphic(hint)}", err=True)


def refused_values(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The same for --json."""
    return [{"Path": each.path, "Version": each.version, "Reason": each.reason, "Hint": each.hint} for each in results]


def versions_of(number: int) -> str:
    """A number of versions, in words that fit."""
    return f"{number} version" if number == 1 else f"{number} versions"
