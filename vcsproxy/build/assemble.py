"""The zip of one module version, from Git objects to a file: choose the files, convert them, hash while writing.

Names are decided first, contents are read once, one blob at a time, so memory holds one file and never a tree. A blob
that is not converted goes into the zip as the very deflate stream that the pack has of it, if it has one: compressing
costs more than all the rest.

Source: cmd/go/internal/modfetch/coderepo.go (Zip), golang.org/x/mod/zip (Create); `git archive` for contents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from vcsproxy import errors
from vcsproxy.build import hints
from vcsproxy.build.directory import Place
from vcsproxy.mod import gover, modfile, modzip, zipwriter
from vcsproxy.trace import note, note_each
from vcsproxy.vcs.attributes import AttributeStack
from vcsproxy.vcs.convert import convert_to_working_tree
from vcsproxy.vcs.objects import Entry
from vcsproxy.vcs.repo import Repo

_LICENSE = "LICENSE"
_ATTRIBUTES = b".gitattributes"


@dataclass(frozen=True, slots=True)
class Zipped:
    """`h1` of the zip and how many files Go's rules left out."""

    h1: str
    omitted: int


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the module: its path in the repository and blob; `path` None for an inherited LICENSE, kept raw."""

    path: bytes | None
    entry: Entry


class Assembly:
    """The files of one module version at one commit."""

    def __init__(self, repo: Repo, place: Place) -> None:
        self._repo = repo
        self._place = place
        self._tree = repo.objects.commit(place.commit).tree

    @cached_property
    def _attributes(self) -> AttributeStack:
        return AttributeStack(self._attribute_file)

    def _attribute_file(self, directory: bytes) -> bytes | None:
        path = directory + b"/" + _ATTRIBUTES if directory else _ATTRIBUTES
        entry = self._repo.objects.find(self._tree, path)
        if entry is None or entry.is_tree or entry.is_submodule:
            return None
        return self._repo.blob(self._place.commit, entry.oid)[0]

    def write(self, module_path: str, version: str, out: BinaryIO) -> Zipped:
        """Write the zip. Raises NotFound with Go's `create zip: ...` when the module cannot be zipped."""
        files = list(self.in_order())
        sources = dict(files)
        facts = [modzip.FileFact(name, 0, self.kind(source)) for name, source in files]
        checked = self._checked(facts, sources)
        _tell(checked)
        try:
            checked.raise_for_problems()
        except errors.NotFound as err:
            raise errors.NotFound(err.message, hints.OTHER_NAME) from err
        writer = zipwriter.ZipWriter(out, module_path, version)
        room = modzip.MAX_ZIP_FILE
        for fact in checked.valid:
            content, stream = self._content_and_stream(sources[fact.path])
            room = _bookkeep(fact.path, len(content), room)
            if stream and len(stream) < len(content):  # a pack may store what could be smaller
                writer.add_whole(fact.path, content, stream)
            else:
                writer.add(fact.path, content)
        size = modzip.MAX_ZIP_FILE - room
        note("files", f"in the zip: {len(checked.valid)} files, {size} bytes")
        return Zipped(writer.close(), len(checked.omitted))

    def _checked(self, facts: list[modzip.FileFact], sources: Mapping[str, Source]) -> modzip.Checked:
        """Which files the zip has, with all that is to be read for it here: to know more takes a look into go.mod."""
        checked = modzip.check_files(facts, "")
        gomod = sources.get("go.mod")
        self.bring([*(sources[fact.path] for fact in checked.valid), *([gomod] if gomod else [])])
        language = self.language(gomod)
        if not language:
            return checked
        checked = modzip.check_files(facts, language)
        self.bring(sources[fact.path] for fact in checked.valid)
        return checked

    def bring(self, sources: Iterable[Source]) -> None:
        """Have all here that the zip needs, with the attributes that apply to it."""
        chosen = list(sources)
        above = {directory for source in chosen if source.path is not None for directory in _above(source.path)}
        found = (self._repo.objects.find(self._tree, directory + _ATTRIBUTES) for directory in above)
        attributes = [entry.oid for entry in found if entry and not (entry.is_tree or entry.is_submodule)]
        self._repo.bring(self._place.commit, [*(source.entry.oid for source in chosen), *attributes])

    def in_order(self) -> Iterator[tuple[str, Source]]:
        """(name in the module, source) in the order of `git archive`, an inherited LICENSE last."""
        directory, found = self._place.directory, False
        if directory != ".":
            start = len(directory.encode()) + 1 if directory else 0
            for file in self._repo.files(self._place.commit, directory):
                name = file.path[start:].decode("utf-8", "surrogateescape")
                found = found or name == _LICENSE
                yield name, Source(file.path, file.entry)
        if directory and not found:
            entry = self._repo.objects.find(self._tree, _LICENSE.encode())
            if entry is not None and not entry.is_tree and not entry.is_submodule:
                yield _LICENSE, Source(None, Entry(entry.name, 0o100644, entry.oid))

    def language(self, gomod: Source | None) -> str:
        """The Go language version that the module's own go.mod asks for, "" when it does not say."""
        if gomod is None or gomod.path is None or gomod.entry.is_symlink:
            return ""
        try:
            parsed = modfile.parse_lax(self.content(gomod))
        except modfile.ModFileError:
            return ""
        return gover.lang(parsed.go) if parsed.go else ""

    def find(self, name: str) -> Source | None:
        """A file of the module's directory by its name there."""
        return dict(self.in_order()).get(name)

    def content(self, source: Source) -> bytes:
        """What the file has in the zip."""
        return self._content_and_stream(source)[0]

    def raw(self, source: Source) -> bytes:
        """What the file has in the repository."""
        return self._repo.blob(self._place.commit, source.entry.oid)[0]

    @staticmethod
    def kind(source: Source) -> modzip.Kind:
        """What the zip's rules take the file for."""
        return modzip.Kind.SYMLINK if source.entry.is_symlink else modzip.Kind.REGULAR

    def _content_and_stream(self, source: Source) -> tuple[bytes, bytes]:
        """(what the file has in the zip, the pack's own deflate stream of just that; empty if there is none)."""
        blob, stream = self._repo.blob(self._place.commit, source.entry.oid)
        if source.path is None or source.entry.is_symlink:
            return blob, stream
        content = convert_to_working_tree(self._attributes.lookup(source.path), blob, source.entry.oid)
        return content, stream if content is blob or content == blob else b""


def _above(path: bytes) -> Iterator[bytes]:
    """Every directory above a path, the root as nothing, each else with a slash behind it."""
    end = len(path)
    while end >= 0:
        end = path.rfind(b"/", 0, end)
        yield path[: end + 1]


def _bookkeep(name: str, size: int, room: int) -> int:
    """Go's size rules, in its words; returns what is left of the module's 500 MiB."""
    if size > room:
        why = f"create zip: module source tree too large (max size is {modzip.MAX_ZIP_FILE} bytes)"
        raise errors.NotFound(why, hints.SMALLER)
    for special, limit in (("go.mod", modzip.MAX_GO_MOD), (_LICENSE, modzip.MAX_LICENSE)):
        if name == special and size > limit:
            why = f"create zip: {name}: {name} file too large (max size is {limit} bytes)"
            raise errors.NotFound(why, hints.SMALLER)
    return room - size


def _tell(checked: modzip.Checked) -> None:
    """Note what is not in the zip, and why."""
    for files, what in ((checked.omitted, "left out"), (checked.invalid, "that no zip may have")):
        if files:
            reasons = Counter(reason for _, reason in files).most_common(3)
            why = ", ".join(f"{reason} ({count})" for reason, count in reasons)
            note("files", f"{len(files)} {what}: {why}")
            note_each("files", files, len(files))
