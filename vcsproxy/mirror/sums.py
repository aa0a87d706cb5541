"""go.sum files: where they are for what somebody names, and their lines with their places.

Blocking; for commands, not for the server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vcsproxy import errors
from vcsproxy.mod import gosum, workfile
from vcsproxy.mod.modfile import ModFileError

MAX_FILE = 64 << 20  # bytes of a go.sum file
STDIN = "-"


@dataclass(frozen=True, slots=True)
class SumLine:
    """A line of a go.sum file; number counts from 1."""

    file: str
    number: int
    line: gosum.Line


def files_for(target: str) -> list[Path]:
    """The go.sum files of a go.sum, go.mod or go.work file or of a directory with one; `-` is standard input.

    A workspace has one of its own and one for each module. Raises VCSProxyError if there is none.
    """
    if target == STDIN:
        return [Path(STDIN)]
    path = Path(target)
    if path.is_dir():
        found = [name for name in ("go.work", "go.mod", "go.sum") if (path / name).is_file()]
        if not found:
            raise errors.VCSProxyError(f"{path}: no go.sum, go.mod or go.work there", "name the file")
        path = path / found[0]
    if path.suffix == ".work":
        files = [path.with_name(path.name + ".sum"), *(use / "go.sum" for use in used_by(path))]
    elif path.suffix == ".mod":
        files = [path.with_suffix(".sum")]
    else:
        return [path]
    there = [file for file in files if file.is_file()]
    if not there:
        raise errors.VCSProxyError(f"{files[0]}: no such file", "run `go mod tidy`, or name the go.sum")
    return there


def used_by(work: Path) -> list[Path]:
    """The directories of a workspace's modules. Raises VCSProxyError."""
    try:
        parsed = workfile.parse(read_bytes(work))
    except ModFileError as err:
        raise errors.VCSProxyError(f"{work}: {err}") from err
    return [(work.parent / use).resolve() for use in parsed.use]


def lines_of(files: Iterable[Path]) -> list[SumLine]:
    """Every line of these files. Raises VCSProxyError for what cannot be read or is malformed."""
    found = []
    for file in files:
        text = sys.stdin.read(MAX_FILE) if str(file) == STDIN else read_bytes(file).decode("utf-8", "replace")
        found += parse(text, str(file))
    return found


def parse(text: str, file: str) -> list[SumLine]:
    """The lines of one file's text. Raises InvalidRequest for a malformed one."""
    try:
        return [SumLine(file, number, line) for number, line in gosum.numbered(text)]
    except errors.InvalidRequest as err:
        raise errors.InvalidRequest(f"{file}: {err.message}", "is it a go.sum?") from err


def read_bytes(file: Path) -> bytes:
    """A file of the user's. Raises VCSProxyError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as err:
        raise errors.VCSProxyError(f"{file}: {err.strerror}") from err
    if len(data) > MAX_FILE:
        raise errors.VCSProxyError(f"{file}: larger than {MAX_FILE >> 20} MiB")
    return data


def expected(lines: Sequence[SumLine]) -> dict[str, str]:
    """h1 by `PATH VERSION`, as `proxy.service.Service.expect` takes them. Raises VCSProxyError for a contradiction."""
    found: dict[str, str] = {}
    for each in lines:
        name = f"{each.line.path} {each.line.version}"
        if found.setdefault(name, each.line.h1) != each.line.h1:
            raise errors.VCSProxyError(f"{each.file}:{each.number}: another hash for {name} than in a line before")
    return found
