"""`make bench`: compare, side by side in one run; `python -m bench check FILE` repeats the verdicts of a saved run."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import cases, cold, following, host, interference, memory, questions, report, scale, warm
from bench.measure import Row, machine
from bench.sides import Sides
from tests.support.gotool import GoTool

PARTS = ("cold", "questions", "next", "memory", "warm", "interference", "scale")


def run(options: argparse.Namespace, work: Path) -> Iterator[Row]:
    """All rows of the chosen parts."""
    root = work / "repos"
    root.mkdir()
    chosen = cases.real(options.mirrors, root) if options.mirrors else cases.generated(root)
    if options.quick:
        chosen = list({case.kind: case for case in reversed(chosen)}.values())[::-1]
    chosen = [case for case in chosen if not options.case or any(word in case.name for word in options.case)]
    if not chosen:
        raise SystemExit("no case is left")
    (work / "home").mkdir()
    go = GoTool(work / "home")
    go.run("version")
    modules = sorted({case.root for case in chosen if not case.is_static})
    for rtt in options.rtt if "cold" in options.parts else ():
        with host.serving(root, rtt, modules) as far:
            yield from cold.rows(Sides(work / f"cold{rtt:g}", go, far, chosen), chosen, options.runs, rtt)
    with host.serving(root, 0, modules) as near:
        sides = Sides(work / "sides", go, near, chosen)
        if "questions" in options.parts:
            yield from questions.rows(sides, chosen, options.runs)
        if "next" in options.parts:
            yield from following.rows(sides, chosen, options.runs, root)
        if "memory" in options.parts:
            yield from memory.rows(sides, chosen)
        if "interference" in options.parts:
            yield from interference.rows(sides, chosen, options.seconds)
    if "warm" in options.parts:
        yield from warm.rows(work / "warm", go, options.seconds, max(2, options.runs - 1))
    if "scale" in options.parts:
        yield from scale.rows(work / "scale", go, 4 if options.quick else 16)


def check(files: list[str]) -> int:
    """Print saved runs; 1 if a target was missed."""
    rows = []
    for file in files:
        print(report.heading(Path(file)))
        rows += report.load(Path(file))
    print(report.table(rows))
    print(report.verdicts(rows))
    return int(any(row.verdict == "MISSED" for row in rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--mirrors", type=Path, help="directory of bare public repositories, OWNER+NAME/repo")
    parser.add_argument("--case", action="append", help="only cases whose name contains this")
    parser.add_argument("--runs", type=int, help="repetitions of each side; 5 if not given")
    parser.add_argument("--seconds", type=float, help="of each load; 3 if not given")
    parser.add_argument("--rtt", type=float, action="append", help="milliseconds a round trip; 0 and 20 if not given")
    parser.add_argument("--quick", action="store_true", help="one case of a kind, one repetition, short loads")
    parser.add_argument("--json", type=Path, help="save the rows here")
    options = parser.parse_args()
    if options.parts[:1] == ["check"]:
        return check(options.parts[1:])
    options.parts = options.parts or PARTS
    options.rtt = options.rtt or [0.0, 20.0]
    options.runs = options.runs or (1 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    work = Path(tempfile.mkdtemp(prefix="bench-"))
    rows: list[Row] = []
    try:
        for row in run(options, work):
            print(report.line(row), flush=True)
            rows.append(row)
    except KeyboardInterrupt:
        print("interrupted")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if options.json and rows:
            report.save(rows, machine(), " ".join(["python -m bench", *sys.argv[1:]]), options.json)
    print("\n" + report.table(rows))
    print(report.verdicts(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
