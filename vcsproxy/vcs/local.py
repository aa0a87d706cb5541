"""A repository in a directory of this machine, read where it is: no copy, no fetch, no lock.

Only for `file://` URLs that the configuration names. It is not ours to mend: an object that is missing there (a
shallow or partial clone) is an error of that repository.
"""

from __future__ import annotations

import binascii
import os
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property

from dulwich.errors import ApplyDeltaError, ChecksumMismatch, NotGitRepository, ObjectFormatException
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from dulwich.repo import Repo as DulwichRepo

from vcsproxy import errors
from vcsproxy.build.job import Limits
from vcsproxy.vcs.objects import MissingObject, Objects
from vcsproxy.vcs.refs import TAGS, RefTable


class LocalSource:
    """`vcs.repo.Source` over a bare or ordinary repository at `path`.

    Raises NotFound when only that directory is missing, UpstreamFailed when the one above it is missing too or when it
    holds no repository.

    `name` is what messages call it: where things lie on this machine is not for clients.
    """

    stale = read_at = 0.0  # read in place: never older than the moment

    def __init__(self, path: str, name: str, limits: Limits) -> None:
        if not os.path.isdir(path):
            if os.path.isdir(os.path.dirname(os.path.abspath(path))):
                raise errors.NotFound(f"repository {name} not found")
            # Nothing proves absence where a whole disk may be missing.
            raise errors.UpstreamFailed(f"repository {name} cannot be read", "the directory of its source is missing")
        try:
            self._repo = DulwichRepo(path)
        except NotGitRepository as err:
            raise errors.UpstreamFailed(f"repository {name} cannot be read: no Git repository") from err
        except PermissionError as err:
            raise errors.UpstreamFailed(f"may not read the repository {name}") from err
        except ValueError:
            # Its words would repeat lines of whatever file the configuration includes.
            raise errors.UpstreamFailed(f"repository {name} cannot be read: its configuration is malformed") from None
        self._limits = limits
        self.objects = Objects([_Store(self._repo.object_store)], limits)

    def close(self) -> None:
        self._repo.close()

    @cached_property
    def _table(self) -> RefTable:
        names = [name for name in self._repo.refs.allkeys() if name.startswith((b"refs/heads/", b"refs/tags/"))]
        if len(names) > self._limits.refs:
            raise errors.Refused(f"repository has more than {self._limits.refs} refs")
        triples = [self._triple(name) for name in [b"HEAD", *names]]
        return RefTable.of(triple for triple in triples if triple)

    def _triple(self, name: bytes) -> tuple[str, str, str] | None:
        """(name, hash, peeled hash), None for a symbolic ref that points nowhere."""
        try:
            target = self._repo.refs[name]  # type: ignore[index]  # dulwich wants its own str-like Ref type
        except KeyError:
            return None
        text = os.fsdecode(name)
        oid = target.decode("ascii")
        if not text.startswith(TAGS):
            return text, oid, ""
        # What packed-refs says of a peeled tag may be older than a loose ref of the same name.
        try:
            return text, oid, self.objects.peel(oid)[1]
        except MissingObject:
            return text, oid, ""

    def refs(self) -> RefTable:
        return self._table

    def fetch_commit(self, name: str, commit: str) -> None:
        """Nothing to fetch from: a snapshot that is not whole is an error."""
        raise errors.UpstreamFailed(f"commit {commit} is not complete in the local repository")

    def fetch_blobs(self, commit: str, blobs: Sequence[str]) -> None:
        """As fetch_commit: it is a partial clone, then."""
        raise errors.UpstreamFailed(f"object {blobs[0]} is missing from the repository", "is it a partial clone?")

    def fetch_history(self) -> None:
        """All there is, is here."""


_BROKEN = (
    zlib.error, ApplyDeltaError, ChecksumMismatch, ObjectFormatException, binascii.Error, AssertionError, ValueError,
)  # fmt: skip


class _Store:
    """`vcs.objects.Shelf` over dulwich's: packs, loose objects, alternates."""

    def __init__(self, store: DiskObjectStore) -> None:
        self._store = store
        self.hash_size = store.object_format.oid_length

    def read(self, oid: str) -> tuple[int, bytes] | None:
        try:
            return self._store.get_raw(ObjectID(oid.encode("ascii")))
        except KeyError:
            return None
        except _BROKEN as err:
            raise errors.Refused(f"object {oid} is broken: {type(err).__name__}") from err

    def whole(self, oid: str) -> tuple[int, bytes, bytes] | None:
        found = self.read(oid)
        return None if found is None else (*found, b"")

    def __contains__(self, oid: str) -> bool:
        return ObjectID(oid.encode("ascii")) in self._store

    def with_prefix(self, prefix: str) -> Iterator[str]:
        return (name.decode("ascii") for name in self._store.iter_prefix(prefix.encode("ascii")))

    def close(self) -> None:
        self._store.close()
