"""Version queries as choices between facts: which tags are versions, which is the latest, what a tag stands for.

Pure: the facts (tag names, whether a revision has a go.mod, which versions are retracted) are the caller's.
`build/coderepo.py` reads them from Git and asks here.

Source: cmd/go/internal/modfetch/coderepo.go (Versions, appendIncompatibleVersions, convert, isMajor),
cmd/go/internal/modload/query.go (filterVersions and the query "latest").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from vcsproxy.mod import module, pseudo, semver

INCOMPATIBLE = "+incompatible"


def base_of(version: str) -> str:
    """The version without a final `+incompatible`."""
    return version.removesuffix(INCOMPATIBLE)


@dataclass(frozen=True, slots=True)
class TagVersions:
    """Versions that tags name, sorted: those of the module path's major, and those that need `+incompatible`."""

    compatible: tuple[str, ...]
    incompatible: tuple[str, ...]


def tag_versions(tags: Iterable[str], prefix: str, code_dir: str, path_major: str) -> TagVersions:
    """Split the repository's tags into the versions of one module; tags without `prefix` and others are dropped."""
    compatible, incompatible = [], []
    for tag in tags:
        version = tag[len(prefix) :]
        if not tag.startswith(prefix) or version != semver.canonical(version) or not version:
            continue
        if pseudo.is_pseudo_version(version):
            continue
        if module.match_path_major(version, path_major):
            compatible.append(version)
        elif not code_dir and not path_major and semver.major(version) > "v1":
            incompatible.append(version)
    return TagVersions(tuple(semver.sort(compatible)), tuple(semver.sort(incompatible)))


def majors(versions: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Group sorted versions by major, ascending; the last of a group is its highest."""
    for _, group in groupby(versions, key=semver.major):
        yield tuple(group)


def tag_to_version(tag: str, prefix: str) -> tuple[str, bool]:
    """(version that the tag names for a module below `prefix`, whether the tag spells it canonically); ("", False)
    when the tag is no version. A tag with build metadata names the version without it.
    """
    if not tag.startswith(prefix) or pseudo.is_pseudo_version(tag):
        return "", False
    trimmed = tag[len(prefix) :]
    version = semver.canonical(trimmed)
    if not version or not trimmed.startswith(version):
        return "", False
    return version, version == trimmed


def retraction_source(versions: Sequence[str]) -> str:
    """The listed version whose go.mod says what is retracted: the highest release, else the highest prerelease.

    `versions` is the full sorted list; versions with `+incompatible` cannot retract. "" when nothing is left.
    """
    compatible = [v for v in versions if not v.endswith(INCOMPATIBLE)]
    releases = [v for v in compatible if not semver.prerelease(v)]
    return (releases or compatible or [""])[-1]


def latest(versions: Sequence[str], retracted: Callable[[str], bool], has_gomod: Callable[[str], bool]) -> str:
    """What the query "latest" picks from a sorted list, "" when it has to be the repository's HEAD.

    `has_gomod` says whether a version has a go.mod of its own; if the highest compatible version does, versions with
    `+incompatible` are not considered.
    """
    allowed = [v for v in versions if not retracted(v)]
    compatible = [v for v in allowed if not v.endswith(INCOMPATIBLE)]
    if compatible and len(compatible) < len(allowed) and has_gomod(compatible[-1]):
        allowed = compatible
    releases = [v for v in allowed if not semver.prerelease(v)]
    return (releases or allowed or [""])[-1]


def is_major(declared: str, path_major: str) -> bool:
    """Whether a go.mod that declares the module path `declared` may stand for a path with this major suffix."""
    if not declared:
        return False
    _, declared_major, ok = module.split_path_version(declared)
    if not ok:
        return False
    if not path_major:
        return module.path_major_prefix(declared_major) in ("", "v0", "v1")
    return bool(declared_major) and path_major[1:] == declared_major[1:]
