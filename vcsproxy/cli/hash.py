"""`vcsproxy hash`: go.sum lines of published versions, of a zip, or of a directory."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, ask, load_settings, settings_options
from vcsproxy.cli.mod import LATEST, Sums, Target, TargetType, resolve, sums

if TYPE_CHECKING:
    from vcsproxy.mod.modzip import FileFact
    from vcsproxy.web.modules import Modules

_GO_MOD = "go.mod"
_VCS_DIRECTORIES = (".bzr", ".git", ".hg", ".svn")


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
    *,
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
        found = [_of_zip(zip_file)]
    elif directory is not None and name is not None:
        found = [_of_directory(directory, name)]
    else:
        found = _of_versions(ctx, targets, config_file, data)
    if as_json:
        click.echo(json.dumps([each.json() for each in found], indent=2))
    else:
        click.echo("".join(_lines(each) for each in found), nl=False)


def _of_versions(
    ctx: click.Context, targets: tuple[Target, ...], config_file: Path | None, data: Path | None
) -> list[Sums]:
    async def question(modules: Modules) -> list[Sums]:
        return [await sums(modules, each.path, (await resolve(modules, each))["Version"]) for each in targets]

    for each in targets:
        if each.query == LATEST:
            raise click.UsageError(f"{each.path}: a hash needs a version, as in {each.path}@v1.2.3")
    return ask(ctx, load_settings(config_file, data=data), question, "Building " + " ".join(map(str, targets)))


def _lines(found: Sums) -> str:
    from vcsproxy.mod import gosum  # noqa: PLC0415

    return gosum.format_lines(found.path, found.version, found.zip_h1, found.gomod_h1)


def _synthetic(path: str) -> bytes:
    """The go.mod that Go gives a module without one."""
    return f"module {path}\n".encode()


# --- a zip ---


def _of_zip(file: Path) -> Sums:
    from vcsproxy.mod import dirhash, module, modzip  # noqa: PLC0415

    try:
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
            path, version = _named_by(names)
            module.check(path, version)
            entry = f"{path}@{version}/{_GO_MOD}"
            gomod = _synthetic(path)
            if entry in names:
                with archive.open(entry) as content:
                    gomod = content.read(modzip.MAX_GO_MOD)
            stream.seek(0)
            return Sums(path, version, dirhash.hash_zip(stream), dirhash.hash_gomod(gomod))
    except (zipfile.BadZipFile, errors.InvalidRequest) as err:
        raise errors.VCSProxyError(f"{file}: not a module zip: {err}") from None
    except OSError as err:
        raise errors.VCSProxyError(f"{file}: {err.strerror}") from None


def _named_by(names: list[str]) -> tuple[str, str]:
    """(module path, version) that every name begins with."""
    path, at, rest = names[0].partition("@") if names else ("", "", "")
    version, slash, _ = rest.partition("/")
    if not at or not slash or not all(name.startswith(f"{path}@{version}/") for name in names):
        raise zipfile.BadZipFile("its names do not all begin with MODULE@VERSION/")
    return path, version


# --- a directory ---


def _of_directory(directory: Path, name: Target) -> Sums:
    from vcsproxy.mod import dirhash, gover, modfile, module, modzip  # noqa: PLC0415

    module.check(name.path, name.query)
    try:
        gomod = _regular_gomod(directory)
        try:
            language = gover.lang(modfile.parse_lax(gomod or b"").go)
        except modfile.ModFileError:
            language = ""
        checked = modzip.check_files(_files(directory), language)
        checked.raise_for_problems()
        files = [(fact.path, _opener(directory / fact.path)) for fact in checked.valid]
        zip_h1 = dirhash.hash_dir(files, str(name))
    except errors.NotFound as err:
        raise errors.VCSProxyError(f"{directory}: {err.message}") from None
    except OSError as err:
        raise errors.VCSProxyError(f"{err.filename or directory}: {err.strerror}") from None
    return Sums(
        name.path, name.query, zip_h1, dirhash.hash_gomod(gomod if gomod is not None else _synthetic(name.path))
    )


def _opener(file: Path) -> Callable[[], BinaryIO]:
    return lambda: file.open("rb")


def _regular_gomod(directory: Path) -> bytes | None:
    file = directory / _GO_MOD
    return file.read_bytes() if file.is_file() and not file.is_symlink() else None


def _files(directory: Path) -> Iterator[FileFact]:
    """Every file below, but for what version control keeps there. Source: zip.listFilesInDir of golang.org/x/mod."""
    from vcsproxy.mod.modzip import FileFact, Kind  # noqa: PLC0415

    def fail(err: OSError) -> None:
        raise err

    for parent, directories, names in os.walk(directory, onerror=fail):
        links = [name for name in directories if (Path(parent) / name).is_symlink()]
        directories[:] = sorted(name for name in directories if name not in _VCS_DIRECTORIES)
        for name in sorted(names + links):
            file = Path(parent) / name
            kind = Kind.SYMLINK if file.is_symlink() else Kind.REGULAR if file.is_file() else Kind.OTHER
            yield FileFact(file.relative_to(directory).as_posix(), file.lstat().st_size, kind)
