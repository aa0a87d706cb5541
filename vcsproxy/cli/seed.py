"""`vcsproxy seed`: fill a store with all that a project needs, to build it where there is no network."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vcsproxy.cli.main import graphic, load_settings, progress, settings_options, work_with
from vcsproxy.cli.meter import meter

if TYPE_CHECKING:
    from vcsproxy.cli.main import Answering
    from vcsproxy.config import Settings
    from vcsproxy.mirror.plan import Item, Plan, Problem
    from vcsproxy.mirror.seed import Seeded

SOME_FAILED = 1

EXIT_CODES = "Exit codes: 0 all is there, 1 some could not be had (or it failed), 2 wrong usage, 130 interrupted."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for: targets and sources as `mirror.plan.Planner` takes them, and where the store is."""

    targets: tuple[str, ...]
    sources: tuple[str, ...] = ()
    out: Path | None = None


@dataclass(slots=True)
class Done:
    """What became of a plan. missing: what is still to be brought, after a dry run."""

    plan: Plan
    seeded: list[Seeded] = field(default_factory=list)
    missing: list[Item] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        """Everything that could not be had, and why."""
        from vcsproxy.mirror.plan import Problem  # noqa: PLC0415
        from vcsproxy.mirror.seed import Outcome  # noqa: PLC0415

        failed = [each for each in self.seeded if each.outcome is Outcome.FAILED]
        return [*self.plan.problems, *(Problem(str(each.item), each.reason, each.hint) for each in failed)]


@click.command("seed", epilog=EXIT_CODES)
@click.argument("targets", nargs=-1, metavar="[go.mod | go.work | go.sum | DIRECTORY | MODULE@QUERY | MODULE@all]...")
@click.option("--source", "sources", multiple=True, metavar="ROOT", help="All versions of all modules of a repository.")
@click.option("--list", "listed", type=click.Path(path_type=Path), metavar="FILE", help="A file, one target a line.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write there instead of into the store.")
@click.option("--dry-run", is_flag=True, help="Say what would be brought; go.mod files of a module graph are read.")
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Keep the plan for `vcsproxy sync`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def command(
    ctx: click.Context, *, targets: tuple[str, ...], sources: tuple[str, ...], listed: Path | None, out: Path | None,
    dry_run: bool, save: Path | None, as_json: bool, config_file: Path | None, data: Path | None,
) -> None:  # fmt: skip
    """Bring all that a project needs into a store.

    A go.mod or go.work stands for its whole module graph, a go.sum for its lines; hashes are held against go.sum where
    there is one. DIR of --out is a GOPROXY=file:// tree. What is there already is not asked for again.

    \b
    Examples:
        vcsproxy seed go.mod --out /media/usb/goproxy
        vcsproxy seed github.com/google/uuid@all github.com/spf13/cobra@latest
        vcsproxy seed --source corp.example/team/mono
    """
    if listed is not None:
        targets += _listed(listed)
    if not targets and not sources:
        targets = (".",)
    wanted = Wanted(targets, sources, out)
    if save is not None:
        from vcsproxy.cli.syncplan import write  # noqa: PLC0415

        write(save, wanted)
    done = run(ctx, load_settings(config_file, data=data), wanted, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(report(done), indent=2))
    else:
        for line in _described(done, dry_run=dry_run):
            click.echo(line)
    ctx.exit(SOME_FAILED if done.problems else 0)


def _listed(file: Path) -> tuple[str, ...]:
    from vcsproxy.mirror.sums import read_bytes  # noqa: PLC0415

    lines = (line.partition("#")[0].strip() for line in read_bytes(file).decode("utf-8", "replace").splitlines())
    return tuple(line for line in lines if line)


def run(ctx: click.Context, settings: Settings, wanted: Wanted, *, dry_run: bool = False) -> Done:
    """Plan, then bring; everything that cannot be had is a problem of the result."""

    async def work(modules: Answering) -> Done:
        from vcsproxy.mirror.plan import Planner  # noqa: PLC0415
        from vcsproxy.mirror.seed import Seeder  # noqa: PLC0415

        with progress("Planning"):
            done = Done(await Planner(modules).add(wanted.targets, wanted.sources))
        modules.expect(done.plan.hashes)
        seeder, items = Seeder(modules, done.plan.hashes), done.plan.items
        if dry_run:
            done.missing = sorted([item async for item in seeder.missing(items)])
            return done
        with meter("Seeding", len(items)) as step:
            async for seeded in seeder.seed(items):
                done.seeded.append(seeded)
                step()
        done.seeded.sort(key=lambda each: each.item)
        return done

    return work_with(ctx, settings, work, "error", wanted.out)


# --- what is printed ---


def report(done: Done) -> dict[str, Any]:
    """The result as JSON: every version with what became of it, and every problem."""
    return {
        "versions": [
            {"path": each.item.path, "version": each.item.version, "zip": each.item.zip, "outcome": str(each.outcome),
             "size": each.size}
            for each in done.seeded
        ],
        "missing": [{"path": item.path, "version": item.version, "zip": item.zip} for item in done.missing],
        "problems": [{"subject": each.subject, "reason": each.reason, "hint": each.hint} for each in done.problems],
    }  # fmt: skip


def _described(done: Done, *, dry_run: bool) -> Iterator[str]:
    yield from told(done.problems)
    if dry_run:
        for item in done.missing:
            yield f"{graphic(str(item))}{'' if item.zip else '  go.mod only'}"
        yield f"{len(done.plan.items)} versions are wanted, {len(done.missing)} are to be brought"
        return
    yield summary(done)


def summary(done: Done) -> str:
    """One line with the numbers."""
    from vcsproxy.mirror.seed import Outcome  # noqa: PLC0415

    counts = Counter(each.outcome for each in done.seeded)
    size = sum(each.size for each in done.seeded)
    line = (
        f"{len(done.seeded)} versions: {counts[Outcome.NEW]} new ({size / 1e6:.1f} MB), {counts[Outcome.THERE]} there"
    )
    return f"{line}, {len(done.problems)} could not be had" if done.problems else line


def told(problems: Sequence[Problem]) -> Iterator[str]:
    """Each problem with its cure."""
    for each in problems:
        first, *rest = (each.reason or "no reason given").splitlines()
        yield f"not had: {graphic(each.subject)}: {graphic(first)}"
        yield from (f"    {graphic(line)}" for line in rest[:4])
        if each.hint:
            yield f"    cure: {graphic(each.hint)}"
