"""`vcsproxy tags`: which tags are no longer where they were when their versions were first served.

It reads the journal that the server keeps (`proxy/tagjournal.py`); with --refresh it first asks as the server would.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, FAILED, OpenModules, graphic, load_settings, settings_options

if TYPE_CHECKING:
    from vcsproxy.config import Settings
    from vcsproxy.proxy.tagjournal import Moved
    from vcsproxy.web.modules import Modules

SOME_MOVED = 4

_EXIT_CODES = (
    "Exit codes: 0 done and no tag has moved, 1 failed, 2 wrong usage, 4 some have moved or are gone, 130 interrupted."
)
_AT_ONCE = 8  # modules
_REFS_SECONDS = 10.0  # modules of one repository come one after the other, and need not each ask it
_SHORT = 12  # characters of a commit

Say = Callable[[str], None]


@click.group("tags", epilog=EXIT_CODES)
def command() -> None:
    """Look after the tags that served versions were built from.

    \b
    Example:
        vcsproxy tags moved
    """


@command.command("moved", epilog=_EXIT_CODES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, with whole commits.")
@click.option("--refresh", is_flag=True, help="First ask the repository of every module in the store for its tags.")
@settings_options
@click.pass_context
def moved(ctx: click.Context, config_file: Path | None, data: Path | None, as_json: bool, refresh: bool) -> None:
    """List versions whose tag has moved, or is gone, since they were first served.

    What was served stays: such a version keeps its first bytes here. Everybody who builds it elsewhere gets others, or
    none, so ask its author for a new version. Findings are made whenever the server lists a module; a tag that comes
    back is no longer listed.

    With --refresh every module in the store is listed now, as far as the refs of its repository are older than ten
    seconds; what cannot be asked is said on standard error.

    \b
    Examples:
        vcsproxy tags moved
        vcsproxy tags moved --refresh --json
    """
    settings = load_settings(config_file, data=data)
    directory = settings.server.data
    if not directory.is_dir():
        hint = "name the server's data directory with --data or server.data"
        raise errors.VCSProxyError(f"{directory}: no such directory", hint)
    faults = _refresh(ctx, settings) if refresh else []
    found = _read(directory)
    click.echo(json.dumps([_value(each) for each in found], indent=2) if as_json else _described(found))
    for fault in faults:
        click.echo(f"vcsproxy: not asked: {graphic(fault)}", err=True)
    ctx.exit(SOME_MOVED if found else FAILED if faults else 0)


def _read(directory: Path) -> list[Moved]:
    from vcsproxy.proxy.tagjournal import FILE_NAME, read_journal  # noqa: PLC0415

    try:
        return read_journal(directory / FILE_NAME)
    except OSError as err:
        raise errors.VCSProxyError(f"{directory / FILE_NAME}: {err.strerror}") from err


# --- what is printed ---


def _value(each: Moved) -> dict[str, str]:
    return {
        "Path": each.path, "Version": each.version, "Served": each.served, "Now": each.now, "Noticed": _when(each.time),
    }  # fmt: skip


def _when(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _described(found: Sequence[Moved]) -> str:
    if not found:
        return "no tag of a served version has moved or is gone"
    return f"{_table(found)}\n\n{_sentence(found)}"


def _table(found: Sequence[Moved]) -> str:
    rows = [("MODULE", "VERSION", "SERVED", "NOW", "NOTICED")]
    rows += [
        (graphic(each.path), graphic(each.version), _short(each.served), _short(each.now) or "gone", _when(each.time))
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _short(commit: str) -> str:
    return graphic(commit[:_SHORT])


def _sentence(found: Sequence[Moved]) -> str:
    gone = sum(not each.now for each in found)
    counts = [_count(len(found) - gone, "has moved", "have moved"), _count(gone, "is gone", "are gone")]
    return (
        f"{' and '.join(filter(None, counts))} since these versions were first served.\n"
        "What was served stays: here they keep their first bytes. Ask their authors for new versions."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {'tag ' + one if number == 1 else 'tags ' + many}" if number else ""


# --- asking again ---


def _refresh(ctx: click.Context, settings: Settings) -> list[str]:
    """List every module in the store; what could not be asked, and why."""
    from vcsproxy import logs, server  # noqa: PLC0415

    logs.configure(settings.log.format, "error")
    open_modules: OpenModules = ctx.obj or server.open_service
    refs = min(settings.freshness.refs, _REFS_SECONDS)
    fresh = settings.model_copy(update={"freshness": settings.freshness.model_copy(update={"refs": refs})})

    async def asked(say: Say) -> list[str]:
        async with open_modules(fresh) as modules, _stored_paths(settings.server.data) as paths:
            return await ask_all(modules, paths, say)

    with _progress() as say:
        return server.run_async(asked(say))


@contextlib.asynccontextmanager
async def _stored_paths(data: Path) -> AsyncIterator[AsyncIterator[str]]:
    from vcsproxy.store.disk import DiskStore  # noqa: PLC0415

    store = DiskStore(data / "store", data / "tmp")
    try:
        yield store.modules()
    finally:
        await store.close()


async def ask_all(modules: Modules, paths: AsyncIterator[str], say: Say) -> list[str]:
    """List every module, a few at a time; what could not be asked, and why. `say` is told how far it is."""
    import asyncio  # noqa: PLC0415

    faults: list[str] = []
    done = 0
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(path: str) -> None:
        nonlocal done
        faults.extend(filter(None, [await _fault(modules, path)]))
        done += 1
        say(f"{done} modules asked, the last one was {path}")
        room.release()

    async with asyncio.TaskGroup() as group:
        async for path in paths:
            await room.acquire()
            group.create_task(one(path))
    return sorted(faults)


async def _fault(modules: Modules, path: str) -> str:
    from vcsproxy.mod.proxypath import Kind, ProxyRequest  # noqa: PLC0415

    try:
        answer = await modules.answer(ProxyRequest(Kind.LIST, path))
    except errors.VCSProxyError as err:
        return err.message if path in err.message else f"{path}: {err.message}"
    return f"{path}: its host does not answer" if answer.stale else ""


@contextlib.contextmanager
def _progress() -> Iterator[Say]:
    """How far it is, if somebody sits at the terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Console(stderr=True).status(Text("Asking every repository again")) as status:
        yield lambda text: status.update(Text(graphic(text)))
