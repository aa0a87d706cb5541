"""Why a tag, branch or commit that somebody asks for is not there, and what was probably meant.

Pure: it looks at the names of the refs and at nothing else that costs anything. Names are a stranger's: only plain ones
are repeated where somebody may copy them, and near misses are looked for among a bounded number of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from itertools import islice

from vcsproxy.build.candidates import spelling_fault
from vcsproxy.mod import pseudo, semver
from vcsproxy.mod.query import base_of
from vcsproxy.mod.reporoot import CodeRoot
from vcsproxy.vcs.refs import HEAD, HEADS, RefTable

_HEX = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@/-]{0,79}", re.ASCII)
_MAX_NAMES = 1000  # to be compared letter by letter
_MAX_VERSIONS = 20_000
_NEAREST = 3
_MIN_HASH, _SHORT = 7, 12


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something is not there, and what to do about it; both go behind Go's own words and may be empty."""

    cause: str
    cure: str


class Holds(Enum):
    """What is in the place of a module; UNKNOWN where the commit has not been fetched."""

    MODULE = "module"
    DIRECTORY = "directory"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Missing:
    """A query without a ref. `revision` is the tag, branch or hash that it stands for.

    holds: what a commit has where the module should be.
    """

    code: CodeRoot
    query: str
    revision: str
    refs: RefTable
    holds: Callable[[str], Holds]

    def find(self) -> Finding:
        """The first of what may be said."""
        if not self.refs.refs:
            return Finding("the repository is empty", "push a commit to it")
        if pseudo.is_pseudo_version(self.query) or self._is_hash(self.query):
            return self._commit()
        if semver.is_valid(self.query):
            return self._elsewhere() or self._lookalike() or self._no_tag()
        return self._name()

    @property
    def _asked(self) -> str:
        return self.code.module_path

    def _is_hash(self, name: str) -> bool:
        return _HEX.fullmatch(name) is not None and (len(name) >= _SHORT or any(char.isdigit() for char in name))

    def _commit(self) -> Finding:
        if len(self.revision) < _MIN_HASH:
            return Finding(f"a commit is named by at least {_MIN_HASH} digits", "ask with more digits of its hash")
        return Finding(
            "no branch or tag of the repository reaches such a commit",
            "push it to a branch; commits of forks, of pull requests and from before a forced push do not count",
        )

    # ---- a version

    def _elsewhere(self) -> Finding | None:
        """The version is tagged, but for the module of another directory."""
        code, version = self.code, base_of(self.query)
        tags = dict(self.refs.tags())
        if code.tag_prefix:
            return self._at_root(version, tags[version]) if version in tags else None
        for tag in tags:
            directory, _, name = tag.rpartition("/")
            if name == version and directory and not code.code_dir and _PLAIN.fullmatch(tag):
                other = f"{code.root}/{directory}" + (code.path_major if code.path_major.startswith("/") else "")
                cause = f"there is only a tag {tag}, for a module in the directory {directory}"
                return Finding(cause, f"ask for {other}@{version}, or tag the root too: {self._tag_command(tag)}")
        return None

    def _at_root(self, version: str, commit: str) -> Finding:
        code = self.code
        if not code.code_dir:
            cause = f"there is a tag {version}, and this module's tags begin with {code.tag_prefix}"
            return Finding(cause, f"tag it as that too: {self._tag_command(version)}")
        cause = f"the tag {version} is of the repository's root, and this module's tags begin with {code.tag_prefix}"
        holds = self.holds(commit)
        if holds is Holds.NOTHING:
            return Finding(cause, f"there is no directory {code.code_dir} at {version}; check the module path")
        if holds is Holds.DIRECTORY:
            return Finding(cause, f"{code.code_dir} has no go.mod, so it comes with {code.root}: require that")
        return Finding(cause, f"tag it for the directory too: {self._tag_command(version)}")

    def _lookalike(self) -> Finding | None:
        """A tag that a person would read as this version, and Go does not."""
        prefix, number = self.code.tag_prefix, base_of(self.query)[1:]
        stem = prefix.rstrip("/")
        shorter = {v + number.removesuffix(end) for v in ("", "v") for end in (".0", ".0.0") if number.endswith(end)}
        looks = re.compile(rf"(?:.*[^0-9.])?{re.escape(number)}(?:\+.*)?")
        for tag, _ in self.refs.tags(stem):
            name = tag[len(stem) :].lstrip("/")
            if _PLAIN.fullmatch(tag) and (looks.fullmatch(name) or name in shorter) and not (prefix and "/" in name):
                own = tag.startswith(prefix)
                fault = spelling_fault(tag[len(prefix) :]) if own else f"does not begin with {prefix}"
                return Finding(f"there is a tag {tag}, which {fault}", f"tag it as Go wants: {self._tag_command(tag)}")
        return None

    def _tag_command(self, target: str = "") -> str:
        name = self.revision if _PLAIN.fullmatch(self.revision) else "NAME"
        return f"git tag {name} {target or 'COMMIT'} && git push origin {name}"

    def _no_tag(self) -> Finding:
        prefix, tags = self.code.tag_prefix, [name for name, _ in self.refs.tags()]
        branch = self._default_branch()
        instead = f"; or ask for {self._asked}@{branch}" if branch and "/" not in branch else ""
        push = f"tag a commit: {self._tag_command()}{instead}"
        if not tags:
            return Finding("the repository has no tags", push)
        own = [name[len(prefix) :] for name in tags if name.startswith(prefix)]
        if not own:
            return Finding(f"no tag begins with {prefix}, as the tags of this module must", push)
        major = semver.major(self.query)
        near = _neighbours(self.query, (n for n in own if semver.major(n) == major and not spelling_fault(n)))
        if near:
            return Finding(_nearest("tag", [prefix + name for name in near]), push)
        return Finding(f"there is no tag of {major}", push)

    # ---- a branch or anything else

    def _name(self) -> Finding:
        branches, tags = self._branches(), [name for name, _ in self.refs.tags()]
        for name in branches:
            if name.endswith("/" + self.query):
                cure = f"a proxy cannot be asked for a name with a slash; ask for its commit {self._at(name)}"
                return Finding(f"there is a branch {name}", cure)
        near = _near(self.query, (name for name in (*branches, *tags) if "/" not in name))
        if near:
            return Finding(_nearest("name", near), f"ask for {self._asked}@{near[0]}")
        branch = self._default_branch()
        if not branch or "/" in branch:
            return Finding("", "ask for a branch, a tag or a commit that the repository has")
        return Finding(f"the default branch is {branch}", f"ask for {self._asked}@{branch}")

    def _at(self, branch: str) -> str:
        return self.refs.peeled(HEADS + branch)[:12]

    def _default_branch(self) -> str:
        """The branch that HEAD must be, "" when that cannot be told."""
        head = self.refs.peeled(HEAD)
        there = [name for name in self._branches() if head and self.refs.peeled(HEADS + name) == head]
        return next((name for name in ("main", "master", *there) if name in there), "")

    def _branches(self) -> list[str]:
        names = (name[len(HEADS) :] for name in self.refs.refs if name.startswith(HEADS))
        return [name for name in names if _PLAIN.fullmatch(name)]


def _near(name: str, names: Iterable[str]) -> Sequence[str]:
    plain = (each for each in names if _PLAIN.fullmatch(each))
    return get_close_matches(name[:80], list(islice(plain, _MAX_NAMES)), n=_NEAREST)


def _neighbours(version: str, names: Iterable[str]) -> Sequence[str]:
    """The versions right below and above."""
    ordered = semver.sort(islice((name for name in names if _PLAIN.fullmatch(name)), _MAX_VERSIONS))
    at = bisect_left(ordered, semver.sort_key(version), key=semver.sort_key)
    return ordered[max(at - _NEAREST + 1, 0) : at + 1]


def _nearest(noun: str, names: Sequence[str]) -> str:
    return f"the nearest {noun}s are {', '.join(names)}" if len(names) > 1 else f"the nearest {noun} is {names[0]}"
