"""Where a fetched pack lands: among the packs of one part of a mirror, its index last.

It comes as a stream, which is checked and indexed as it arrives, or as files that system git has finished.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from vcsproxy.build.job import Limits
from vcsproxy.trace import note
from vcsproxy.vcs.ingest import Base, Ingest


class Landing:
    """Takes one pack, while the mirror's lock is held. base: reads what is here already."""

    def __init__(self, packs: str, object_format: str, limits: Limits, base: Base) -> None:
        self._packs = packs
        self._object_format = object_format
        self._limits = limits
        self._base = base

    @property
    def objects(self) -> str:
        """The object directory, as git has them."""
        return os.path.dirname(self._packs)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write a pack as it arrives, with its index, and publish both; a pack without objects is none.

        Raises what `Ingest.read` raises.
        """
        pack, index = (os.path.join(self._packs, f"tmp-{os.getpid()}.{kind}") for kind in ("pack", "idx"))
        with open(pack, "w+b") as written, open(index, "wb") as indexed:
            reader = Ingest(written, self._object_format, self._limits, self._base)
            checksum = reader.read(pieces)
            reader.write_index(indexed, checksum)
        if len(reader):
            self.adopt(pack, index, checksum.hex(), len(reader))

    def adopt(self, pack: str, index: str, name: str, count: int) -> None:
        """Publish finished files of this file system: a pack of `count` objects, named by its checksum."""
        note("fetch", f"{count} objects in {os.stat(pack).st_size} bytes")
        stem = os.path.join(self._packs, f"pack-{name}")
        os.replace(pack, stem + ".pack")
        os.replace(index, stem + ".idx")
