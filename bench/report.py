"""Rows as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import leftout
from bench.measure import Row

_HEAD = ("part", "case", "what", "ours", "theirs", "ratio", "target", "")


def table(rows: Sequence[Row]) -> str:
    """Aligned columns, one line a row."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(texts)


def line(row: Row) -> str:
    """One row by itself, as it comes."""
    return "  ".join(cell for cell in _cells(row) if cell)


def verdicts(rows: Sequence[Row]) -> str:
    """How many targets were met."""
    count = Counter(row.verdict for row in rows if row.verdict)
    return f"{count['ok']} targets met, {count['MISSED']} missed"


def _cells(row: Row) -> tuple[str, ...]:
    target = "" if row.target is None else f"{row.sense} {row.target:g}"
    return (
        row.part, row.case, row.what, f"{row.ours:.4g} {row.unit}", f"{row.theirs:.4g} {row.unit}",
        f"{row.ratio:.3f}" if row.ratio < 0.1 else f"{row.ratio:.2f}", target, row.verdict,
    )  # fmt: skip


def save(rows: Sequence[Row], machine: dict[str, str], command: str, file: Path) -> None:
    value = {"machine": machine, "command": command, "left_out": leftout.noted, "rows": [row.as_dict() for row in rows]}
    file.write_text(json.dumps(value, indent=1) + "\n")


def heading(file: Path) -> str:
    """What a saved run belongs to."""
    value: dict[str, Any] = json.loads(file.read_text())
    lines = [f"command: {value['command']}", *(f"{k}: {v}" for k, v in value["machine"].items())]
    return "\n".join([*lines, *(f"left out: {each}" for each in value.get("left_out", ()))])


def load(file: Path) -> list[Row]:
    """The rows of a saved run."""
    values: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
    return [Row(**{k: v for k, v in value.items() if k not in ("ratio", "verdict")}) for value in values]
