"""What crosses the process boundary: a frozen Job goes in, a frozen Built, Listed or Failed comes out.

This module parses nothing of Git and does no I/O. Both sides speak JSON, never pickle: the worker has read hostile
bytes, so its answer is checked against these types like any other input.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from vcsproxy import errors
from vcsproxy.mod.reporoot import Discover, Probe, RepoRoot

_MAX_TEXT = 4000  # characters of a message; a hostile tree can have a million bad names
_BYTES = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Op(enum.StrEnum):
    """What is asked of the worker."""

    LIST = "list"
    LATEST = "latest"
    INFO = "info"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class Host:
    """What the configuration says about one host. Naming a host allows private addresses for it."""

    name: str
    connect: str = ""  # ADDRESS:PORT to dial instead of resolving the name
    ca: str = ""  # PEM file of the authorities to trust for it, instead of the system's


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of one job; bytes, seconds and counts."""

    wall: float = 300.0
    connect: float = 5.0
    idle: float = 30.0
    cpu: int = 240
    memory: int = 2 << 30
    file: int = 1 << 30
    pack: int = 1 << 30
    objects: int = 2_000_000
    object: int = 512 << 20
    refs: int = 200_000
    refs_bytes: int = 64 << 20
    tree_entries: int = 200_000
    tree_depth: int = 2048
    commits: int = 2_000_000
    page: int = 256 << 10


@dataclass(frozen=True, slots=True)
class Job:
    """One question about one module path.

    `query` is a version or revision for INFO, a canonical version for ZIP, else empty. `pinned` is the commit hash that
    the version's stored `.info` promised, empty when nothing was promised yet. `mirrors` and `workspace` are
    directories; files of the answer are written to the workspace and belong to the caller.
    """

    op: Op
    path: str
    query: str
    target: RepoRoot | Discover | Probe
    mirrors: str
    workspace: str = ""
    pinned: str = ""
    refs_ttl: float = 60.0
    go_limit: str = ""  # refuse zips of modules that need a newer Go than this; empty: never
    hosts: tuple[Host, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Listed:
    """The versions of a module, sorted by semver; may be empty for a module without release tags."""

    versions: tuple[str, ...]
    root: RepoRoot | None = None  # the repository, when the job had to find it
    kind: Literal["listed"] = "listed"


@dataclass(frozen=True, slots=True)
class Built:
    """One version. `answer` are the `.info` bytes for the query as asked, `info` those of the version itself.

    `zip` is a path in the job's workspace, empty unless the job was a ZIP; `zip_h1` goes with it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _BYTES

    version: str
    answer: bytes
    info: bytes
    gomod: bytes
    zip: str = ""
    zip_h1: str = ""
    omitted: int = 0  # files that Go's rules leave out of the zip
    root: RepoRoot | None = None  # the repository, when the job had to find it
    kind: Literal["built"] = "built"


@dataclass(frozen=True, slots=True)
class Failed:
    """An error by the name of its class in `errors`, with message and hint as written there."""

    error: str
    message: str
    hint: str = ""
    kind: Literal["failed"] = "failed"

    @classmethod
    def of(cls, error: errors.VCSProxyError) -> Failed:
        # Names of refs and files may hold bytes that are no text; JSON cannot carry those.
        texts = (error.message[:_MAX_TEXT], error.hint[:_MAX_TEXT])
        message, hint = (text.encode("utf-8", "replace").decode() for text in texts)
        return cls(type(error).__name__, message, hint)

    def exception(self) -> errors.VCSProxyError:
        """The exception again; an unknown name can only come from a broken worker."""
        found = getattr(errors, self.error, None)
        if isinstance(found, type) and issubclass(found, errors.VCSProxyError) and found is not errors.ConfigError:
            return found(self.message, self.hint)
        return errors.Corrupt(f"worker answered with unknown error {self.error[:40]!r}")


Result = Listed | Built | Failed

JOB: TypeAdapter[Job] = TypeAdapter(Job)
RESULT: TypeAdapter[Result] = TypeAdapter(Result)
