"""What becomes of every tag of a repository for one module: a version, or why it is none.

Pure; for people. What the module really lists, `mod/query.py` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vcsproxy.build.hints import sibling
from vcsproxy.mod import module, pseudo, query, semver
from vcsproxy.mod.reporoot import CodeRoot


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tags, judged for one module. versions: those that it lists; is_retracted: whether its go.mod retracts one."""

    code: CodeRoot
    versions: frozenset[str]
    is_retracted: Callable[[str], bool]

    def judged(self, tags: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(tag, verdict), the module's own first, higher versions before lower ones."""
        for tag in sorted(tags, key=self._order, reverse=True):
            yield tag, self.verdict(tag)

    def _order(self, tag: str) -> tuple[object, ...]:
        own = tag.startswith(self.code.tag_prefix)
        return own, semver.sort_key(tag.removeprefix(self.code.tag_prefix) if own else tag.rpartition("/")[2])

    def verdict(self, tag: str) -> str:
        """What a tag is for the module, in a few words that go on from its name."""
        prefix = self.code.tag_prefix
        if not tag.startswith(prefix):
            return f"does not begin with {prefix}"
        name = tag[len(prefix) :]
        return spelling_fault(name, prefix) or self._of_version(name)

    def _of_version(self, version: str) -> str:
        listed = version if version in self.versions else version + query.INCOMPATIBLE
        if listed in self.versions:
            retracted = ", which the module's go.mod retracts" if self.is_retracted(listed) else ""
            return f"is the version {listed}{retracted}"
        if module.match_path_major(version, self.code.path_major):
            return "is not listed"  # gopkg.in's -unstable
        other = f"belongs to {sibling(self.code, semver.major(version))}"
        plain = self.code.path_major or self.code.code_dir or semver.major(version) in ("v0", "v1")
        return other if plain else f"{other}: where there is a go.mod, nothing is +incompatible"


def spelling_fault(name: str, prefix: str = "") -> str:
    """Why a tag, here without the module's prefix, is not spelled as a version; "" if it is."""
    if pseudo.is_pseudo_version(name):
        return "looks like a pseudo-version, and those are never tagged"
    canonical = semver.canonical(name)
    if canonical == name and name:
        return ""
    if semver.build(name):
        ours = semver.build(name) == query.INCOMPATIBLE
        return "ends in +incompatible, which only Go adds" if ours else "has build metadata, and no version may"
    if canonical:
        return "is not three numbers"
    directory, _, last = name.rpartition("/")
    if directory and semver.canonical(last) == last:
        return f"belongs to the directory {prefix}{directory}"
    return "has no v in front" if semver.is_valid("v" + name) else "is no semantic version"
