"""Comparisons that could not be made because a mirror lacks what they need; a saved run lists them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import Row

noted: list[str] = []


class Incomplete(Exception):
    """The mirror has not all objects, so that the host cannot serve what `go` asks for."""


def leave_out(about: str, why: str) -> None:
    """Say and remember it."""
    noted.append(f"{about}: {why}")
    print(f"left out: {noted[-1]}", flush=True)


def unless_incomplete(about: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, up to where the mirror has no more."""
    try:
        yield from rows
    except Incomplete as err:
        leave_out(about, str(err))
