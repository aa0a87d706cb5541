"""`vcsproxy bundle`: module versions in one file, for machines that no network reaches."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from vcsproxy import errors
from vcsproxy.cli.main import EXIT_CODES, FAILED, settings_options
from vcsproxy.cli.mod import LATEST, Target, TargetType
from vcsproxy.cli.stores import (
    counted,
    existing_store,
    opened_store,
    refused_values,
    run_async,
    say_refused,
    store_settings,
    versions_of,
)

if TYPE_CHECKING:
    from vcsproxy.mirror.admit import Result
    from vcsproxy.mirror.bundle import Wish
    from vcsproxy.mirror.bundleformat import Manifest
    from vcsproxy.mirror.bundleread import Opened
    from vcsproxy.mirror.intake import Tell

_EXIT_CODES = EXIT_CODES.replace("1 failed", "1 failed or some versions refused")
_FILE = click.Path(path_type=Path)


@click.group("bundle", epilog=EXIT_CODES)
def command() -> None:
    """Carry module versions to machines without a network, in one file.

    \b
    Examples:
        vcsproxy bundle create -o modules.bundle --from go.sum
        vcsproxy bundle import modules.bundle
    """


@command.command("create", epilog=EXIT_CODES)
@click.argument("targets", nargs=-1, metavar="[MODULE@VERSION]...", type=TargetType())
@click.option("-o", "--output", type=_FILE, metavar="FILE", required=True, help="Write the bundle there.")
@click.option(
    "--from", "sums", type=click.File("rb"), metavar="GO.SUM", help="Pack what this go.sum lists; - reads it."
)
@click.option("--since", type=_FILE, multiple=True, metavar="FILE", help="Leave out what this bundle or manifest has.")
@click.option("--sign", type=_FILE, metavar="KEY.pem", help="Sign with this Ed25519 private key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
def create(
    *,
    targets: tuple[Target, ...],
    output: Path,
    sums: BinaryIO | None,
    since: tuple[Path, ...],
    sign: Path | None,
    as_json: bool,
    config_file: Path | None,
    data: Path | None,
) -> None:
    """Pack versions of the store into one file.

    All of them, or those that a go.sum lists, or those that you name; the same versions give the same bytes. With
    --since only what is new since earlier bundles is packed, and the manifest says which ones they were.

    \b
    Examples:
        vcsproxy bundle create -o all.bundle --sign key.pem
        vcsproxy bundle create -o march.bundle --since february.bundle
        vcsproxy bundle create -o one.bundle github.com/google/uuid@v1.6.0
    """
    from vcsproxy.mirror import bundle, bundleread, signature  # noqa: PLC0415

    wishes = _wishes(targets, sums)
    key = None if sign is None else signature.private_key(sign)
    bases = [bundleread.read_manifest(file) for file in since]
    directory = store_settings(config_file, data)
    existing_store(directory)

    async def created() -> Manifest:
        async with opened_store(directory) as store:
            wanted = await bundle.everything(store) if wishes is None else wishes
            with counted("Packing", 2 * len(wanted)) as step:
                return await bundle.create(store, wanted, output, bases=bases, key=key, step=step)

    manifest = run_async(created())
    if as_json:
        click.echo(json.dumps(_manifest_value(manifest, key is not None), indent=2))
    else:
        click.echo(f"packed {versions_of(manifest.count)}, {manifest.size} bytes, manifest {manifest.sha256}")


def _wishes(targets: tuple[Target, ...], sums: BinaryIO | None) -> list[Wish] | None:
    """None for all that there is."""
    from vcsproxy.mirror import bundle  # noqa: PLC0415
    from vcsproxy.mod import gosum, gotext  # noqa: PLC0415

    if targets and sums is not None:
        raise click.UsageError("name versions or --from GO.SUM, not both")
    if sums is not None:
        return bundle.wishes_of(gosum.parse(gotext.decode(sums.read())))
    for each in targets:
        if each.query == LATEST:
            raise click.UsageError(f"{each.path}: a bundle needs a version, as in {each.path}@v1.2.3")
    return [bundle.Wish(each.path, each.query, whole=True) for each in dict.fromkeys(targets)] or None


def _reading(function: Callable[..., None]) -> Callable[..., None]:
    """What verify and import share."""
    key = click.option("--key", type=_FILE, metavar="PUB.pem", help="Demand a signature by this Ed25519 key.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    return click.argument("file", type=_FILE)(key(as_json(click.pass_context(function))))


@command.command("verify", epilog=_EXIT_CODES)
@_reading
def verify(ctx: click.Context, *, file: Path, key: Path | None, as_json: bool) -> None:
    """Check a bundle from its first byte to its last, without a store.

    Every check of an import is made: the manifest, all sizes and hashes, Go's rules for every version.

    \b
    Example:
        vcsproxy bundle verify modules.bundle --key pub.pem
    """
    from vcsproxy.mirror import bundleread  # noqa: PLC0415

    with _opened(file, key) as opened:
        report = _Report(opened)
        report.run("Verifying", lambda tell: bundleread.verify(opened, tell))
    report.end(ctx, as_json=as_json)


@command.command("import", epilog=_EXIT_CODES)
@_reading
@settings_options
def import_(
    ctx: click.Context,
    *,
    file: Path,
    key: Path | None,
    as_json: bool,
    config_file: Path | None,
    data: Path | None,
) -> None:
    """Import a bundle into the store.

    Nothing in it is believed: see `vcsproxy bundle verify`. What the store has already never changes. An import that
    was interrupted is run again.

    \b
    Example:
        vcsproxy bundle import modules.bundle --key pub.pem
    """
    from vcsproxy.mirror import bundleread  # noqa: PLC0415

    directory = store_settings(config_file, data)

    async def imported(opened: Opened, tell: Tell) -> None:
        async with opened_store(directory, sweep=True) as store:
            await bundleread.import_bundle(store, opened, tell)

    with _opened(file, key) as opened:
        report = _Report(opened)
        report.run("Importing", lambda tell: imported(opened, tell))
    report.end(ctx, as_json=as_json)


@contextlib.contextmanager
def _opened(file: Path, key: Path | None) -> Iterator[Opened]:
    from vcsproxy.mirror import bundleread, signature  # noqa: PLC0415

    public = None if key is None else signature.public_key(key)
    try:
        stream = file.open("rb")
    except OSError as err:
        raise errors.InvalidRequest(f"{file}: {err.strerror}") from err
    with stream:
        yield bundleread.open_bundle(stream, public)


class _Report:
    """What became of the versions of a bundle, and of the bundle itself."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._results: list[Result] = []
        self._trouble: errors.VCSProxyError | None = None

    def run(self, doing: str, work: Callable[[Tell], Coroutine[None, None, None]]) -> None:
        """Do the work, and remember what ended it before its end."""
        with counted(doing, self._opened.manifest.count) as step:

            def tell(result: Result) -> None:
                self._results.append(result)
                step(f"{result.path}@{result.version}")

            try:
                run_async(work(tell))
            except errors.VCSProxyError as err:
                self._trouble = err

    def end(self, ctx: click.Context, *, as_json: bool) -> None:
        """Print it all, and end with the exit code for it."""
        refused = sorted(self._having("refused"), key=lambda each: (each.path, each.version))
        if as_json:
            click.echo(json.dumps(self._value(refused), indent=2))
        else:
            say_refused(refused)
            click.echo(self._sentence())
        if self._trouble is not None:
            raise self._trouble
        ctx.exit(FAILED if refused else 0)

    def _having(self, outcome: str) -> list[Result]:
        return [each for each in self._results if each.outcome.value == outcome]

    def _value(self, refused: list[Result]) -> dict[str, Any]:
        value = _manifest_value(self._opened.manifest, self._opened.signed)
        value |= {name.capitalize(): len(self._having(name)) for name in ("added", "present", "sound")}
        value |= {"Verified": self._opened.verified, "Missing": self._missing}
        return value | {"Refused": refused_values(refused), "Error": str(self._trouble or "")}

    @property
    def _missing(self) -> int:
        return self._opened.manifest.count - len(self._results)

    def _sentence(self) -> str:
        counts = {words: len(self._having(name)) for name, words in _OUTCOMES.items()} | {"not reached": self._missing}
        parts = [f"{number} {words}" for words, number in counts.items() if number]
        signed = "signature verified" if self._opened.verified else _UNVERIFIED[self._opened.signed]
        return f"{versions_of(self._opened.manifest.count)}: {', '.join(parts) or 'nothing to do'}; {signed}"


_UNVERIFIED = {True: "signed, by whom --key would tell", False: "not signed"}
_OUTCOMES = {"added": "imported", "present": "already there", "sound": "sound", "refused": "refused"}


def _manifest_value(manifest: Manifest, signed: bool) -> dict[str, Any]:
    return {
        "Manifest": manifest.sha256, "Bases": list(manifest.bases), "Signed": signed,
        "Versions": manifest.count, "Bytes": manifest.size,
    }  # fmt: skip
