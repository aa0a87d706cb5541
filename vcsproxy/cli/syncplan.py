"""The file of `vcsproxy sync`: what `vcsproxy seed` was asked for, in TOML.

    out = "mirror"                                  # optional: where the store is
    targets = ["go.mod", "github.com/google/uuid@latest"]
    sources = ["corp.example/team/mono"]

Files in it are relative to the directory of the plan.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vcsproxy import errors
from vcsproxy.cli.seed import Wanted
from vcsproxy.mirror.plan import is_file
from vcsproxy.mirror.sums import STDIN, read_bytes


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    out: str = ""
    targets: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def read(file: Path) -> Wanted:
    """Raises ConfigError with every fault of the plan."""
    try:
        document = _Document.model_validate(tomllib.loads(read_bytes(file).decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise errors.ConfigError([f"{file}: {err}"]) from err
    except ValidationError as err:
        faults = [f"{file}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in err.errors()]
        raise errors.ConfigError(faults) from err
    if not document.targets and not document.sources:
        raise errors.ConfigError([f"{file}: it names no targets and no sources"])
    base = file.parent
    targets = tuple(str(base / target) if _is_relative(target) else target for target in document.targets)
    return Wanted(targets, document.sources, base / document.out if document.out else None)


def write(file: Path, wanted: Wanted) -> None:
    """Keep a plan. Raises VCSProxyError."""
    if STDIN in wanted.targets:
        raise errors.VCSProxyError("standard input cannot be part of a plan", "name the go.sum file")
    base = file.parent.resolve()
    targets = [os.path.relpath(target, base) if is_file(target) else target for target in wanted.targets]
    targets = [f"./{target}" if target != "." and _is_relative(target) else target for target in targets]
    lines = [f"targets = {_toml(targets)}", f"sources = {_toml(list(wanted.sources))}"]
    if wanted.out is not None:
        lines.insert(0, f"out = {json.dumps(os.path.relpath(wanted.out, base))}")
    try:
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as err:
        raise errors.VCSProxyError(f"{file}: {err.strerror}") from err


def _is_relative(target: str) -> bool:
    return is_file(target) and not Path(target).is_absolute()


def _toml(values: list[str]) -> str:
    """A list of strings; those of JSON are strings of TOML."""
    return (
        "["
        + "".join(f"\n    {json.dumps(value, ensure_ascii=False)}," for value in values)
        + ("\n]" if values else "]")
    )
