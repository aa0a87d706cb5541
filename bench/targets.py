"""What the comparisons are to come to: ours by theirs."""

from __future__ import annotations

LIST = 0.10
FOLLOWING = 0.20
FILES_GO = 2.0  # small answers, of a Go file server
FILES_NGINX = 1.0
ZIP_NGINX = 0.9
SERVING_MIB = 150.0
LOOP_LAG_MS = 50.0

_LARGE = ("large", "part")


def cold(kind: str, slow: bool) -> float:
    """Of `go mod download` in direct mode; slow: with 20 ms a round trip."""
    return 0.30 if kind in _LARGE else 0.50 if slow else 0.55


def server_part(kind: str) -> float:
    """Of what direct mode takes above the client's floor."""
    return 0.15 if kind in _LARGE else 0.25


def questions(kind: str) -> float:
    """Of `go list -m` in direct mode."""
    return 0.05 if kind in _LARGE else 0.15


def following(kind: str) -> float:
    """Of direct mode with nothing."""
    return 0.05 if kind in _LARGE else FOLLOWING


def peak(root: str) -> float | None:
    """Of the memory of go and git together."""
    return 0.60 if root in ("github.com/moby/moby", "github.com/bench/large") else None
