"""Questions about one Git repository, answered as cmd/go's Git code host answers them.

It resolves revisions, reads files at a revision and decides ancestry, over a `Source` that can bring objects from the
host when they are not here yet. It knows nothing of modules or versions: that is `build/coderepo.py`.

A commit counts only when HEAD, a branch or a tag reaches it: hosts hand out commits of pull requests and of forks just
as readily, and those must not pass for the repository's own.

Source: cmd/go/internal/modfetch/codehost/git.go (stat, statLocal, RecentTag, DescendsFrom, ReadFile).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vcsproxy import errors
from vcsproxy.build.job import Limits
from vcsproxy.mod import semver
from vcsproxy.vcs import indexpath
from vcsproxy.vcs.objects import COMMIT, Commit, Entry, MissingObject, Objects
from vcsproxy.vcs.refs import HEAD, HEADS, TAGS, RefTable

_HEX = re.compile(r"[0-9a-f]+\Z", re.ASCII)
MIN_HASH_DIGITS = 7
_SMALL = 200  # files of a commit that are brought together: one question costs more than so many of them
SHORT = 12


class Source(Protocol):
    """Where refs and objects come from: a directory on this machine, or a host with a local mirror."""

    @property
    def objects(self) -> Objects:
        """What is here; replaced by a new value after every fetch."""

    def refs(self) -> RefTable: ...

    def fetch_commit(self, name: str, commit: str) -> None:
        """Bring a commit with all its trees, by the ref `name` that holds it ("" if none is known); blobs may lack."""

    def fetch_blobs(self, commit: str, blobs: Sequence[str]) -> None:
        """Bring blobs of a commit that is here."""

    def fetch_history(self) -> None:
        """Bring every commit that HEAD, a branch or a tag reaches."""


@dataclass(frozen=True, slots=True)
class RevInfo:
    """`version` is the tag asked for when the query named one, else the hash; `ref` the full ref name, "" if none.

    `time` is the committer's, in seconds since 1970 UTC; `tags` are all tags on the commit, sorted bytewise.
    """

    name: str
    version: str
    time: int
    tags: tuple[str, ...]
    ref: str

    @property
    def short(self) -> str:
        return self.name[:SHORT]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a tree: path from the repository's root, mode and blob."""

    path: bytes
    entry: Entry


def unknown_revision(rev: str) -> errors.NotFound:
    return errors.NotFound(f"unknown revision {rev}")


class Repo:
    """One repository during one job; not thread-safe."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._stats: dict[str, RevInfo | errors.NotFound] = {}

    @property
    def objects(self) -> Objects:
        return self._source.objects

    @property
    def refs(self) -> RefTable:
        return self._source.refs()

    # ---- revisions

    def stat(self, rev: str) -> RevInfo:
        """Resolve a tag, a branch, HEAD or a hash of 7 digits or more.

        Raises NotFound (`unknown revision`), Unavailable when the host cannot be asked.
        """
        known = self._stats.get(rev)
        if known is None:
            try:
                known = self._stat(rev)
            except errors.NotFound as err:
                known = err
            self._stats[rev] = known
        if isinstance(known, errors.NotFound):
            raise errors.NotFound(known.message, known.hint)
        return known

    def _stat(self, rev: str) -> RevInfo:
        refs = self.refs
        for name in (TAGS + rev, HEADS + rev, *([HEAD] if rev == HEAD else [])):
            if refs.peeled(name):
                return self._at(refs.peeled(name), name, rev)
        if not self._is_hash(rev):
            raise unknown_revision(rev)
        return self._stat_hash(rev)

    def _is_hash(self, rev: str) -> bool:
        refs = self.refs.refs
        longest = max((len(ref.peeled) for ref in refs.values()), default=40)
        return MIN_HASH_DIGITS <= len(rev) <= longest and bool(_HEX.match(rev))

    def _stat_hash(self, rev: str) -> RevInfo:
        hits: dict[str, str] = {}
        for name, ref in self.refs.refs.items():
            if ref.peeled.startswith(rev):
                hits.setdefault(ref.peeled, name)
        if len(hits) > 1:
            raise errors.NotFound(f"ambiguous revision {rev}")
        for commit, name in hits.items():
            return self._at(commit, name, commit)
        commit = self._reachable_commit(rev)
        self._ensure(commit, "")
        return self._info(commit, commit, "")

    def _at(self, oid: str, name: str, rev: str) -> RevInfo:
        self._ensure(oid, name)
        return self._info(oid, rev, "" if name == HEAD else name)

    def _info(self, commit: str, rev: str, ref: str) -> RevInfo:
        if self._kind(commit) != COMMIT:
            raise errors.NotFound(
                'unexpected response from git log: ""', "the tag is not on a commit; tag a commit instead"
            )
        when = self.objects.commit(commit).time
        if when is None:
            raise errors.NotFound(f"invalid time in commit {commit}", "the commit's committer line is damaged")
        tags = self.refs.tags_at(commit)
        return RevInfo(commit, rev if rev in tags else commit, when, tags, ref)

    def _kind(self, oid: str) -> int:
        return self.objects.read(oid)[0]

    def latest(self) -> RevInfo:
        """The commit that the host's HEAD names."""
        head = self.refs.peeled(HEAD)
        if not head:
            raise errors.NotFound("no commits")
        return self._at(head, HEAD, head)

    def commit_at(self, commit: str, ref: str) -> RevInfo:
        """A commit known by its full hash because it was served before; `ref` is where it was found then.

        The host is asked only when the commit is not whole here; `tags` is empty.
        """
        self._ensure(commit, ref)
        return RevInfo(commit, commit, self.objects.commit(commit).time or 0, (), ref)

    # ---- what is here, and bringing the rest

    def _ensure(self, oid: str, name: str) -> None:
        """Have a commit and its root tree here (a mirror's snapshot is whole once its root tree is)."""
        if not self._whole(oid):
            self._source.fetch_commit(name, oid)

    def _whole(self, oid: str) -> bool:
        try:
            return self._kind(oid) != COMMIT or self.objects.commit(oid).tree in self.objects
        except MissingObject:
            return False

    def _commit(self, oid: str) -> Commit:
        """A commit's header; a missing one means that history has not been fetched yet."""
        try:
            return self.objects.commit(oid)
        except MissingObject:
            self._source.fetch_history()
        return self.objects.commit(oid)

    def _reachable_commit(self, rev: str) -> str:
        """The commit that `rev` abbreviates, by its own hash or by that of an annotated tag, if a ref reaches it."""
        self._source.fetch_history()
        named = dict(self._annotated_tags())
        for oid in self.objects.with_prefix(rev):
            if oid not in named and self._kind(oid) == COMMIT and self.reachable(oid):
                named[oid] = oid
        found = [target for oid, target in named.items() if oid.startswith(rev)]
        if len(found) != 1 or self._kind(found[0]) != COMMIT:
            raise unknown_revision(rev)
        return found[0]

    def _annotated_tags(self) -> Iterator[tuple[str, str]]:
        """(tag object's hash, peeled hash) for every annotated tag, the inner ones of nested tags too."""
        for name, ref in self.refs.refs.items():
            if ref.target != ref.peeled and name.startswith(TAGS):
                try:
                    for oid in self.objects.tag_chain(ref.target):
                        yield oid, ref.peeled
                except MissingObject:
                    yield ref.target, ref.peeled

    # ---- ancestry

    def walk(self, starts: Iterable[str]) -> Iterator[str]:
        """Every commit reachable from `starts`, each once, roughly newest first."""
        heap: list[tuple[int, str]] = []
        seen: set[str] = set()

        def push(oid: str) -> None:
            if oid not in seen:
                if len(seen) >= self._limits.commits:
                    raise errors.Refused(f"history is longer than {self._limits.commits} commits")
                seen.add(oid)
                heapq.heappush(heap, (-(self._commit(oid).time or 0), oid))

        for start in starts:
            push(start)
        while heap:
            oid = heapq.heappop(heap)[1]
            yield oid
            for parent in self._commit(oid).parents:
                push(parent)

    def reachable(self, commit: str) -> bool:
        """Whether HEAD, a branch or a tag reaches the commit."""
        tips = {ref.peeled for ref in self.refs.refs.values()}
        return any(oid == commit for oid in self.walk(tip for tip in sorted(tips) if self._is_commit(tip)))

    def _is_commit(self, oid: str) -> bool:
        try:
            return self._kind(oid) == COMMIT
        except MissingObject:
            self._source.fetch_history()
        try:
            return self._kind(oid) == COMMIT
        except MissingObject:
            return False

    def recent_tag(self, commit: str, prefix: str, allowed: Callable[[str], bool]) -> str:
        """The tag, on the commit or any ancestor, whose part after `prefix` is the highest version; "" if none."""
        candidates: dict[str, list[str]] = {}
        for tag, oid in self.refs.tags(prefix):
            if semver.is_valid(tag[len(prefix) :]) and allowed(tag):
                candidates.setdefault(oid, []).append(tag)
        if not candidates:
            return ""
        merged: list[str] = []
        for oid in self.walk([commit]):
            merged += candidates.pop(oid, ())
            if not candidates:
                break
        versions = [tag[len(prefix) :] for tag in sorted(merged, key=lambda t: t.encode("utf-8", "surrogateescape"))]
        highest = ""
        for version in versions:
            if semver.compare(version, highest) > 0:
                highest = version
        return prefix + highest if highest else ""

    def descends_from(self, commit: str, tag: str) -> bool:
        """Whether the tag's commit is the commit itself or one of its ancestors."""
        target = self.refs.peeled(TAGS + tag)
        return bool(target) and any(oid == target for oid in self.walk([commit]))

    # ---- contents

    def read_at(self, commit: str, path: str) -> bytes | None:
        """Raw bytes of a blob at a commit that `stat` gave (a symbolic link's target); None for no such file."""
        entry = self._file_at(commit, path)
        return None if entry is None else self.blob(commit, entry.oid)[0]

    def has_file(self, commit: str, path: str) -> bool:
        """Whether read_at would find a file; its contents are not needed for that."""
        return self._file_at(commit, path) is not None

    def _file_at(self, commit: str, path: str) -> Entry | None:
        entry = self.objects.find(self.objects.commit(commit).tree, path.encode())
        return None if entry is None or entry.is_tree or entry.is_submodule else entry

    def blob(self, commit: str, oid: str) -> tuple[bytes, bytes]:
        """(content, raw deflate stream of it or nothing) of a blob of a commit that `stat` gave."""
        try:
            return self.objects.blob_with_stream(oid)
        except MissingObject:
            few = self._blobs_of_small(commit)
        self._source.fetch_blobs(commit, few if oid in few else [oid])
        return self.objects.blob_with_stream(oid)

    def bring(self, commit: str, blobs: Iterable[str]) -> None:
        """Have these blobs of a commit here: one question for all of them."""
        missing = [oid for oid in dict.fromkeys(blobs) if oid not in self.objects]
        if missing:
            self._source.fetch_blobs(commit, missing)

    def _blobs_of_small(self, commit: str) -> list[str]:
        """Every blob of a commit that is not here, if the commit has few files; else none."""
        found: dict[str, None] = {}
        stack, seen = [self.objects.commit(commit).tree], 0
        while stack:
            for entry in self.objects.tree(stack.pop()):
                seen += 1
                if seen > 2 * _SMALL or len(found) > _SMALL:
                    return []
                if entry.is_tree:
                    stack.append(entry.oid)
                elif not entry.is_submodule and entry.oid not in self.objects:
                    found[entry.oid] = None
        return list(found)

    def has_directory(self, commit: str, path: str) -> bool:
        """Whether a path is a directory at a commit that `stat` gave."""
        entry = self.objects.find(self.objects.commit(commit).tree, path.encode())
        return entry is not None and entry.is_tree

    def files(self, commit: str, directory: str) -> Iterator[File]:
        """Every file below a directory ("" for the root) in the order of `git archive`; links too, submodules not.

        Raises NotFound when the commit has a name, anywhere, that git archive fails on.
        """
        tree = self.objects.commit(commit).tree
        self._check_names(tree)
        prefix = b""
        if directory:
            entry = self.objects.find(tree, directory.encode())
            if entry is None or not entry.is_tree:
                raise errors.NotFound(f"directory {directory} does not exist at {commit[:SHORT]}")
            tree, prefix = entry.oid, directory.encode() + b"/"
        return self._walk_tree(tree, prefix)

    def _check_names(self, root: str) -> None:
        """Every distinct tree of the commit once; a commit with more of them than a module may have entries passes."""
        seen, stack = {root}, [(b"", root)]
        while stack and len(seen) <= self._limits.tree_entries:
            at, oid = stack.pop()
            for entry in self.objects.tree(oid):
                if not indexpath.is_allowed(entry.name, symlink=entry.is_symlink):
                    path = (at + entry.name).decode("utf-8", "replace")
                    raise errors.NotFound(
                        f"git archive: invalid path {path!r}", "git does not accept this name in a repository"
                    )
                if entry.is_tree and entry.oid not in seen:
                    seen.add(entry.oid)
                    stack.append((at + entry.name + b"/", entry.oid))

    def _walk_tree(self, root: str, prefix: bytes) -> Iterator[File]:
        limits, count = self._limits, 0
        stack = [(prefix, iter(self.objects.tree(root)))]
        while stack:
            at, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                continue
            count += 1
            if count > limits.tree_entries:
                raise errors.Refused(f"tree has more than {limits.tree_entries} entries")
            if entry.is_tree:
                if len(stack) >= limits.tree_depth:
                    raise errors.Refused(f"tree is deeper than {limits.tree_depth} directories")
                stack.append((at + entry.name + b"/", iter(self.objects.tree(entry.oid))))
            elif not entry.is_submodule:
                yield File(at + entry.name, entry)
