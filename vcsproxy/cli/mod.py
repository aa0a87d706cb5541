"""`vcsproxy mod`: one module's answers without HTTP, from the same data directory as the server's."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, ask, graphic, load_settings, settings_options

if TYPE_CHECKING:
    from vcsproxy.proxy.service import Answer
    from vcsproxy.web.modules import Modules

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Target:
    """MODULE[@QUERY] of the command line, checked by the same rules as a request to the server."""

    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises InvalidRequest for what cannot be a module."""
        from vcsproxy.mod import module, proxypath  # noqa: PLC0415

        path, at, query = text.partition("@")
        if at and not query:
            raise errors.InvalidRequest(f"{text}: nothing behind the @")
        escaped = quote(module.escape_path(path)), quote(module.escape_version(query or LATEST))
        wanted = proxypath.parse("/{}/@v/{}.info".format(*escaped))
        return cls(wanted.path, wanted.version)

    def __str__(self) -> str:
        return f"{self.path}@{self.query}"


class TargetType(click.ParamType[Target]):
    """Makes a Target of an argument."""

    name = "module"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        return Target.parse(str(value))


async def resolve(modules: Modules, target: Target) -> dict[str, Any]:
    """The `.info` of what a query means now."""
    from vcsproxy.mod.proxypath import Kind, ProxyRequest  # noqa: PLC0415

    if target.query == LATEST:
        answer = await modules.answer(ProxyRequest(Kind.LATEST, target.path, ""))
    else:
        answer = await modules.answer(ProxyRequest(Kind.INFO, target.path, target.query))
    info = json.loads(content(answer))
    if not isinstance(info, dict) or not isinstance(info.get("Version"), str):
        raise errors.Corrupt(f"{target}: the stored .info has no Version")
    return info


def content(answer: Answer) -> bytes:
    """The bytes of an answer, read from its file if it is one."""
    stored = answer.stored
    if stored.data is not None:
        return stored.data
    return stored.file.read_bytes() if stored.file is not None else b""


@dataclass(frozen=True, slots=True)
class Sums:
    """The two hashes of a version that go.sum has."""

    path: str
    version: str
    zip_h1: str
    gomod_h1: str

    def json(self) -> dict[str, str]:
        """The names that `go mod download -json` uses."""
        return {"Path": self.path, "Version": self.version, "Sum": self.zip_h1, "GoModSum": self.gomod_h1}


async def sums(modules: Modules, path: str, version: str) -> Sums:
    """Hashes of a version, which is built if the store does not have it yet."""
    from vcsproxy.mod import dirhash  # noqa: PLC0415
    from vcsproxy.mod.proxypath import Kind, ProxyRequest  # noqa: PLC0415

    archive = await modules.answer(ProxyRequest(Kind.ZIP, path, version))
    gomod = await modules.answer(ProxyRequest(Kind.MOD, path, version))
    return Sums(path, version, archive.stored.h1, dirhash.hash_gomod(content(gomod)))


# --- the verbs ---


@click.group("mod", epilog=EXIT_CODES)
def command() -> None:
    """Ask for one module, without a running server.

    Answers come from the same data directory as the server's, and what is missing is built. QUERY is a version, a
    branch, a tag or a commit; without one it is `latest`.

    \b
    Examples:
        vcsproxy mod versions github.com/google/uuid
        vcsproxy mod info github.com/google/uuid@master
        vcsproxy mod zip github.com/google/uuid@v1.6.0 -o uuid.zip
    """


def _verb(name: str) -> Callable[[Callable[..., None]], click.Command]:
    def decorate(function: Callable[..., None]) -> click.Command:
        target = click.argument("target", metavar="MODULE[@QUERY]", type=TargetType())
        return command.command(name, epilog=EXIT_CODES)(click.pass_context(target(settings_options(function))))

    return decorate


_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@_verb("info")
@_json_option
def info(ctx: click.Context, target: Target, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """Say which version a query means.

    Also when that was made and where it comes from; with --json its go.sum hashes too, for which the version is built.

    \b
    Example:
        vcsproxy mod info github.com/google/uuid@latest --json
    """

    async def question(modules: Modules) -> dict[str, Any]:
        found = await resolve(modules, target)
        if as_json:
            hashes = (await sums(modules, target.path, found["Version"])).json()
            return {**hashes, **{key: found[key] for key in ("Time", "Origin") if key in found}}
        return found

    found = ask(ctx, load_settings(config_file, data=data), question, f"Looking for {target}")
    click.echo(json.dumps(found, indent=2) if as_json else _described(found))


def _described(found: dict[str, Any]) -> str:
    origin = found.get("Origin")
    lines = {"Version": found["Version"], "Time": found.get("Time", "")}
    if isinstance(origin, dict):
        lines |= {name: origin.get(name, "") for name in ("URL", "Subdir", "Ref", "Hash")}
    return "\n".join(f"{name + ':':9}{graphic(str(value))}" for name, value in lines.items() if value)


@_verb("gomod")
def gomod(ctx: click.Context, target: Target, config_file: Path | None, data: Path | None) -> None:
    """Print a version's go.mod file.

    \b
    Example:
        vcsproxy mod gomod github.com/google/uuid@v1.6.0
    """

    async def question(modules: Modules) -> bytes:
        from vcsproxy.mod.proxypath import Kind, ProxyRequest  # noqa: PLC0415

        version = (await resolve(modules, target))["Version"]
        return content(await modules.answer(ProxyRequest(Kind.MOD, target.path, version)))

    text = ask(ctx, load_settings(config_file, data=data), question, f"Looking for {target}")
    if sys.stdout.isatty():
        click.echo(
            "\n".join(graphic(line) for line in text.decode(errors="replace").expandtabs().split("\n")), nl=False
        )
    else:
        click.echo(text, nl=False)


@_verb("zip")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
def archive(
    ctx: click.Context, target: Target, config_file: Path | None, data: Path | None, output: Path | None
) -> None:
    """Build a version's zip.

    Prints the name of the file in the store, or copies it with -o.

    \b
    Example:
        vcsproxy mod zip github.com/google/uuid@v1.6.0 -o uuid.zip
    """

    async def question(modules: Modules) -> Answer:
        from vcsproxy.mod.proxypath import Kind, ProxyRequest  # noqa: PLC0415

        version = (await resolve(modules, target))["Version"]
        return await modules.answer(ProxyRequest(Kind.ZIP, target.path, version))

    answer = ask(ctx, load_settings(config_file, data=data), question, f"Building {target}")
    if output is None:
        click.echo(str(answer.stored.file or ""))
    else:
        _copy(answer, output)


def _copy(answer: Answer, output: Path) -> None:
    try:
        with output.open("wb") as out:
            if answer.stored.file is None:
                out.write(content(answer))
            else:
                with answer.stored.file.open("rb") as source:
                    shutil.copyfileobj(source, out)
    except OSError as err:
        raise errors.VCSProxyError(f"{err.filename or output}: {err.strerror}") from err


@_verb("versions")
@_json_option
def versions(ctx: click.Context, target: Target, config_file: Path | None, data: Path | None, as_json: bool) -> None:
    """List a module's tagged versions, the oldest first. Takes no QUERY.

    \b
    Example:
        vcsproxy mod versions github.com/google/uuid
    """
    if target.query != LATEST:
        raise click.UsageError("versions lists all of them; leave out the query")

    async def question(modules: Modules) -> list[str]:
        from vcsproxy.mod.proxypath import Kind, ProxyRequest  # noqa: PLC0415

        answer = await modules.answer(ProxyRequest(Kind.LIST, target.path, ""))
        return content(answer).decode().split()

    found = ask(ctx, load_settings(config_file, data=data), question, f"Listing {target.path}")
    if as_json:
        click.echo(json.dumps({"Path": target.path, "Versions": found}, indent=2))
    else:
        click.echo("".join(graphic(version) + "\n" for version in found), nl=False)
