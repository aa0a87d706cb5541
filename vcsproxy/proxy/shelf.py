"""What can be answered from the store alone, for a server or a source that is offline.

A list has the versions that are here, not those that the repository had: `go` would choose one that nobody can give it.
`@latest` and branches are what they were when somebody last asked, as long as that version is here. All else is absent,
and says that it may not be absent elsewhere.

Source: cmd/go/internal/modload/query.go (queryMatcher, Latest) for which version is the latest.
"""

from __future__ import annotations

from vcsproxy import errors
from vcsproxy.mod import pseudo, semver
from vcsproxy.store import Kind, Store
from vcsproxy.store.answers import LATEST, LIST
from vcsproxy.store.rules import facts

_HINT = "seed it where there is a network: vcsproxy seed {}"


class Shelf:
    """Answers about modules from a store and nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, path: str, name: str) -> bytes:
        """The list, or the `.info` that "latest" or a version query stands for. Raises NotSeeded."""
        versions = await self._store.versions(path)
        if name == LIST:
            if not versions:
                raise await self.absent(path, "")
            return "".join(f"{version}\n" for version in versions if not pseudo.is_pseudo_version(version)).encode()
        last = await self._store.recall(path, name)
        if last is not None and facts(last.data).version in versions:
            return last.data
        chosen = latest(versions) if name == LATEST else ""
        stored = await self._store.find(path, chosen, Kind.INFO) if chosen else None
        if stored is None or stored.data is None:
            raise await self.absent(path, name)
        return stored.data

    async def absent(self, path: str, version: str) -> errors.NotSeeded:
        """The error for what is not here; it says so if only the zip was not seeded."""
        target = f"{path}@{version}" if version else path
        what = "it is not in the store"
        if version and version in await self._store.versions(path):
            what = "its zip is not in the store"
        return errors.NotSeeded(f"{target}: {what}, and this server is offline", _HINT.format(target))


def latest(versions: list[str]) -> str:
    """The latest of sorted versions: the highest release, else pre-release, else pseudo-version; "" if there is none.

    As for `go`, those without +incompatible come first.
    """

    def rank(version: str) -> tuple[bool, bool, bool]:
        return (
            not pseudo.is_pseudo_version(version),
            not semver.prerelease(version),
            not version.endswith("+incompatible"),
        )

    best = max(map(rank, versions), default=None)
    return "" if best is None else [version for version in versions if rank(version) == best][-1]
