"""The refs of a repository that exist for Go: HEAD, heads and tags, each with its peeled hash.

A value; listing them is the transport's work. Everything else a host advertises (pull requests, notes, changes) is not
kept, because a commit that only such a ref reaches must stay unknown.

Source: cmd/go/internal/modfetch/codehost/git.go, loadRefs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vcsproxy.mod import gotext

HEAD = "HEAD"
HEADS = "refs/heads/"
TAGS = "refs/tags/"
PREFIXES = (HEAD, HEADS, TAGS)


@dataclass(frozen=True, slots=True)
class Ref:
    """`target` is what the ref holds (an annotated tag's own hash), `peeled` the object at the end of all tags."""

    target: str
    peeled: str


@dataclass(frozen=True)
class RefTable:
    """Ref name -> Ref, sorted bytewise by name."""

    refs: Mapping[str, Ref] = field(default_factory=dict)

    @classmethod
    def of(cls, triples: Iterable[tuple[str, str, str]]) -> RefTable:
        """From (name, target, peeled or "") in any order; names outside HEAD, heads and tags are dropped.

        So are names with white space of any script: go reads `git ls-remote` by words and does not see them. And so are
        null hashes: with one a host says that a ref is broken, and asking for it fails.
        """
        kept = {n: Ref(t, p or t) for n, t, p in triples if _counts(n) and t.strip("0")}
        return cls({name: kept[name] for name in sorted(kept, key=lambda n: n.encode("utf-8", "surrogateescape"))})

    def __contains__(self, name: str) -> bool:
        return name in self.refs

    def peeled(self, name: str) -> str:
        """Peeled hash of a ref, "" if there is none of that name."""
        ref = self.refs.get(name)
        return ref.peeled if ref else ""

    def tags(self, prefix: str = "") -> list[tuple[str, str]]:
        """(tag name, peeled hash) of every tag whose name starts with the string `prefix`, sorted bytewise."""
        start = TAGS + prefix
        return [(name[len(TAGS) :], ref.peeled) for name, ref in self.refs.items() if name.startswith(start)]

    def tags_at(self, commit: str) -> tuple[str, ...]:
        return tuple(
            name[len(TAGS) :] for name, ref in self.refs.items() if ref.peeled == commit and name.startswith(TAGS)
        )

    def tips(self) -> set[str]:
        """Every hash that a ref holds, unpeeled."""
        return {ref.target for ref in self.refs.values()}


_SPACE = frozenset(gotext.SPACE)


def _counts(name: str) -> bool:
    return (name == HEAD or name.startswith((HEADS, TAGS))) and _SPACE.isdisjoint(name)
