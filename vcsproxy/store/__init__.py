"""Where the artifacts of module versions are kept: the port and its values.

A version's artifacts are its `.info`, its `.mod` and, once somebody asked for it, its `.zip`. They are written once: a
version exists when its `.info` exists, and from then on its bytes never change. `disk` keeps them as files in the
layout of GOMODCACHE/cache/download, `memory` in this process.

Beside them lie the last answers to questions whose answer changes: the list, the latest version, what a branch stands
for. They take each other's place, and are never mistaken for a published artifact.

This package does not build anything, decides nothing about who may read what, and never evicts on its own.

Source: cmd/go/internal/modfetch/cache.go for the layout.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Kind(enum.Enum):
    """One of the three artifacts; the value is the ending of its name."""

    INFO = ".info"
    MOD = ".mod"
    ZIP = ".zip"

    @property
    def suffix(self) -> str:
        """The ending with its dot: ".info", ".mod" or ".zip"."""
        return self.value


@dataclass(frozen=True, slots=True)
class Stored:
    """One artifact as it will always be.

    size: bytes. mtime: seconds since 1970, when it was published. etag: strong and quoted, ready for a header.
    h1: the zip's dirhash, "" for the other kinds. Exactly one of `data` and `file` is set: INFO and MOD always come
    with their bytes; a zip is a file to be sent, or bytes if the store has no files. Whoever opens `file` must check
    that its size is `size` and must expect it to be gone: the operator may evict zips at any time.
    """

    kind: Kind
    size: int
    mtime: float
    etag: str
    h1: str
    data: bytes | None
    file: Path | None


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What to publish of one version.

    info: the JSON of `.info`, with the version's own name as Version. gomod: the bytes of `.mod`. zip: a finished file
    in a workspace of the same store, or None while nobody has asked for it. zip_h1: its dirhash, ignored without a zip.
    """

    info: bytes
    gomod: bytes
    zip: Path | None
    zip_h1: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """The last answer to a changing question. time: seconds since 1970 when it was true, at most a minute too early."""

    data: bytes
    time: float


class Store(Protocol):
    """Write-once artifacts by module path and version, both unescaped. Safe for any number of tasks and processes."""

    async def find(self, path: str, version: str, kind: Kind) -> Stored | None:
        """One artifact, or None when it is not published. Raises Corrupt when what is there cannot be right."""
        ...

    async def publish(self, path: str, version: str, artifacts: Artifacts) -> None:
        """Publish a version, or add the zip to one; when this returns, all of it is durable.

        Equal artifacts (the same Version, Time and Origin.Hash in info, the same bytes of go.mod, the same h1) are a
        success that changes nothing. Raises ModuleChanged, naming both hashes, when any of them differs from what is
        stored; Overloaded when there is no room; Corrupt when the artifacts or the store are broken. After any error
        the store is as it was. The zip is left in its workspace, for `discard` to remove.
        """
        ...

    async def versions(self, path: str) -> list[str]:
        """The versions of a module that are published, pseudo-versions too, in semver order."""
        ...

    async def remember(self, path: str, name: str, data: bytes) -> None:
        """Keep what a question was answered with just now, durably, in place of its last answer.

        name: "list" for the versions of the module, one a line; "latest" or a version query that is no canonical
        version (branch, tag, start of a commit) for an `.info`. A branch called `list` cannot be remembered. Only the
        newest queries of a module are kept. Raises InvalidRequest when the name is no file name; Corrupt when it is a
        canonical version, or the data no answer to that question; Refused when they are too large; Overloaded and
        Corrupt as publish does.
        """
        ...

    async def recall(self, path: str, name: str) -> Remembered | None:
        """The last answer that was remembered, or None; always None for canonical versions.

        Raises InvalidRequest when the name is no file name, Corrupt when what is there cannot be right.
        """
        ...

    async def pins(self, path: str) -> Mapping[str, tuple[str, str]]:
        """What each published version was made from: version -> (Origin.Ref, Origin.Hash) of its `.info`.

        "" for what an `.info` does not say, or cannot because it is damaged. Cheap when asked again.
        """
        ...

    def modules(self) -> AsyncIterator[str]:
        """The path of every module that has a published version, in no order to rely on, while they are found."""
        ...

    async def workspace(self) -> Path:
        """A new private directory where a worker may write files to be published. The caller discards it."""
        ...

    async def discard(self, workspace: Path) -> None:
        """Remove a workspace with all that is in it; one that is gone already is fine."""
        ...

    async def close(self) -> None:
        """End what is running and give everything back; nothing may be called afterwards."""
        ...
