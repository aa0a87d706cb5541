"""Looking over a store on disk: whether every published version still is what it was when it was published.

It reads and changes nothing, and may run while servers use the store. What it finds is a fault (something that is
served, or that `go` reads, is wrong or cannot be read) or a note (left by a crash or by somebody, in nobody's way).

Theory of operation: `survey` lists directories, versions are checked by as many processes as there are processors, a
few versions at a time: a zip is inflated and hashed in chunks, so memory stays small, and processes get around the
interpreter's lock. No more is handed to them than they are about to do.

If we crash here: nothing was changed.

Source: golang.org/x/mod/zip (CheckZip); cmd/go/internal/modfetch (`.ziphash`).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vcsproxy import errors
from vcsproxy.mod import modfile, module, modzip, revinfo, zipaudit
from vcsproxy.store import durable, rules
from vcsproxy.store.survey import Finding, Place, Report, Survey

Step = Callable[[str], None]
"""Hears of each version that was checked."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was looked at: modules and versions that are there, and how many versions were checked."""

    modules: int
    versions: int
    checked: int


def check(root: Path, percent: float, report: Report, step: Step, *, processes: int | None = None) -> Counts:
    """Check every directory of the store at `root`, and of its versions so many percent, chosen by chance. Blocking.

    processes: how many, 0 to do everything in this one. Raises Corrupt when the root cannot be read.
    """
    try:
        tree = durable.open_directory(str(root))
    except OSError as err:
        raise durable.explain(err) from err
    try:
        survey = Survey(tree, report, partial(_sample, percent / 100, random.SystemRandom()))
        for found, place in _checked(str(root), survey, os.cpu_count() or 1 if processes is None else processes):
            for finding in found:
                report(finding)
            for version in place.versions:
                step(f"{place.path}@{module.unescape_version(version)}")
        return Counts(survey.modules, survey.versions, survey.checked)
    except BrokenProcessPool as err:
        raise errors.VCSProxyError("a process that checked the store was killed", "was there enough memory?") from err
    finally:
        os.close(tree)


def _sample(share: float, chance: random.Random, versions: Sequence[str]) -> list[str]:
    return [version for version in versions if share >= 1 or chance.random() < share]


# --- several at a time ---


def _checked(root: str, places: Iterable[Place], processes: int) -> Iterator[tuple[list[Finding], Place]]:
    """(what was found, where) of each place, in no order."""
    work = partial(check_versions, root)
    if not processes:
        yield from ((work(place), place) for place in places)
        return
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    waiting: dict[Future[list[Finding]], Place] = {}
    try:
        for place in places:
            waiting[pool.submit(work, place)] = place
            if len(waiting) > 2 * processes:
                yield from _some(waiting)
        while waiting:
            yield from _some(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _some(waiting: dict[Future[list[Finding]], Place]) -> Iterator[tuple[list[Finding], Place]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield future.result(), waiting.pop(future)


# --- versions ---


def check_versions(root: str, place: Place) -> list[Finding]:
    """Everything that is wrong with some versions of a module. Memory: one go.mod file and one chunk of a zip."""
    try:
        with (
            durable.opened(root, durable.DIRECTORY & ~os.O_NOFOLLOW) as tree,
            durable.opened(place.name, durable.DIRECTORY, tree) as directory,
        ):
            return [finding for name in place.versions for finding in _check_version(place, name, directory)]
    except OSError as err:
        return [Finding(place.path, place.name, f"cannot be read: {err.strerror}")]


def _check_version(place: Place, name: str, directory: int) -> Iterator[Finding]:
    version = module.unescape_version(name)
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        (".info", lambda: _info_fault(name, version, directory)),
        (".mod", lambda: _gomod_fault(name, directory)),
        (".ziphash", lambda: _ziphash_fault(name, directory)),
        (".zip", lambda: _zip_fault(place.path, version, name, directory)),
    )
    for ending, fault in checks:
        try:
            why = fault()
        except (errors.Refused, errors.NotFound) as err:
            why = err.message
        except OSError as err:
            why = f"cannot be read: {err.strerror}"
        if why:
            yield Finding(place.path, f"{place.name}/{name}{ending}", why)


def _read(name: str, directory: int, most: int) -> bytes | None:
    try:
        with durable.opened(name, durable.READ, directory) as handle:
            return durable.read_open(handle, most)[0]
    except FileNotFoundError:
        return None


def _info_fault(name: str, version: str, directory: int) -> str:
    data = _read(f"{name}.info", directory, revinfo.MAX_INFO)
    if data is not None:
        revinfo.parse(data, version)
    return "missing" if data is None else ""


def _gomod_fault(name: str, directory: int) -> str:
    return "missing" if _read(f"{name}.mod", directory, modzip.MAX_GO_MOD) is None else ""


def _ziphash_fault(name: str, directory: int) -> str:
    data = _read(f"{name}.ziphash", directory, rules.H1_LENGTH)
    return "" if data is None or rules.is_h1(data.decode("latin-1")) else "no dirhash"


def _zip_fault(path: str, version: str, name: str, directory: int) -> str:
    """What is wrong with a zip that is there and counts; whoever evicted it left its hash."""
    hashed = _read(f"{name}.ziphash", directory, rules.H1_LENGTH)
    if hashed is None:
        return ""
    try:
        with durable.opened(f"{name}.zip", durable.READ, directory) as handle:
            known = os.fstat(handle)
            if not stat.S_ISREG(known.st_mode):
                return "not a regular file"
            with os.fdopen(handle, "rb", closefd=False) as file:
                found = zipaudit.audit(file, known.st_size, path, version)
                return _gomod_differs(found, path, name, directory) or _h1_differs(found.h1(), hashed.decode("latin-1"))
    except FileNotFoundError:
        return ""


def _gomod_differs(found: zipaudit.Audit, path: str, name: str, directory: int) -> str:
    inside = found.gomod()
    right = modfile.legacy_gomod(path) if inside is None else inside
    try:
        gomod = _read(f"{name}.mod", directory, modzip.MAX_GO_MOD)
    except OSError:
        return ""  # reported already
    return "" if gomod in (None, right) else "its go.mod is not the .mod"


def _h1_differs(h1: str, hashed: str) -> str:
    return "" if h1 == hashed else f"its h1 is {h1}, and {hashed} by .ziphash"
