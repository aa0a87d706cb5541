"""The module graph of main modules: which go.mod files `go` reads, which versions it selects, which zips it needs.

No I/O: `wanted` names the go.mod files to bring, `supply` and `missing` take the answers in any order, until nothing is
wanted. Packages are not looked at, so this answers for `go mod download`, `go list -m all` and `go build ./...`, and
not for commands that look for other versions (`go get`, `go mod tidy`, `go list -m -u`). Toolchains are no modules
here: go and toolchain lines count for pruning only, and nothing checks that a go line is high enough.

Theory of operation. Go reads a graph as it is (-mod=readonly) or as it ought to be (-mod=mod, `go mod download`); that
differs only if go.mod is not as `go mod tidy` leaves it. We do both, one walk after the other: from the requirements as
they stand; without those that a higher one makes redundant; then, if the main module prunes, from the versions that the
walk before selected, until they stay. `build_list` is the last one's, `gomods` and `zips` are about all, so that a
mirror made from them serves both ways.

Source: cmd/go/internal/modload (buildlist.go: readModGraph, expandGraph, updatePrunedRoots; modfile.go: goModSummary,
replacementFrom, toReplaceMap; init.go: loadModFile, makeMainModules, requirementsFromModFiles), cmd/go/internal/mvs
(graph.go), cmd/go/internal/modcmd/download.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import gover, semver
from vcsproxy.mod.modfile import GoMod, ModFileError, Replace, parse_lax
from vcsproxy.mod.workfile import WorkFile


class ModuleVersion(NamedTuple):
    """A module at a version; with version "" a directory, whose path is absolute or begins with `.`.

    Directories are cleaned, and relative to that of the main module, or in a workspace to that of go.work.
    """

    path: str
    version: str

    @property
    def is_directory(self) -> bool:
        return not self.version

    def __str__(self) -> str:
        return f"{self.path}@{self.version}" if self.version else self.path


@dataclass(frozen=True, slots=True)
class MainModule:
    """A main module: its go.mod file as `modfile.parse` reads it, and its directory, absolute or relative to go.work.

    Without a go.work file the directory stays ".".
    """

    gomod: GoMod
    directory: str = "."


class ModuleGraph:
    """The graph of one main module or, with a go.work file, of a workspace.

    Raises InvalidRequest where `go` would refuse: no module line, replacements in conflict, a main module twice.
    Memory grows with what is supplied; whoever supplies it sets the limit.
    """

    def __init__(self, mains: Sequence[MainModule], work: WorkFile | None = None) -> None:
        _check_mains(mains, work)
        self._mains = tuple(main.gomod for main in mains)
        self._is_workspace = work is not None
        self._files = _Files(mains, work)
        roots = [ModuleVersion(main.module, "") for main in self._mains]
        if work is not None:
            self._walks = [_Walk(self._files, roots, _Pruning.WORKSPACE)]
        else:
            main = _summary(self._mains[0], self._files.excluded)
            self._walks = [_Walk(self._files, main.require, main.pruning)]
        self._advance()

    # --- loading ---

    def wanted(self) -> list[ModuleVersion]:
        """The go.mod files still to be supplied; empty when the graph is complete. More may come with each answer.

        Those of directories (`is_directory`) are on the local disk; all others come from a proxy. A replacement is
        wanted in place of what it replaces.
        """
        return list(self._walks[-1].waiting)

    def supply(self, module: ModuleVersion, gomod: GoMod | bytes) -> None:
        """Give the go.mod file of `module`: the bytes, or what `modfile.parse_lax` made of them.

        It may come before it is wanted, and the first answer stays. Bytes that cannot be read count as a missing file.
        """
        if isinstance(gomod, bytes):
            try:
                gomod = parse_lax(gomod)
            except ModFileError as bad:
                self.missing(module, f"parsing go.mod: {bad}")
                return
        self._accept(module, _summary(gomod, self._files.excluded))

    def missing(self, module: ModuleVersion, why: str = "missing go.mod") -> None:
        """Say that there is no go.mod file of `module` to be had; loading goes on as if it required nothing."""
        if module not in self._files.summaries:
            self._files.missing[module] = why
        self._accept(module, _NOTHING)

    def faults(self) -> dict[ModuleVersion, str]:
        """Why `go` would refuse this graph, by what was read; {} if it would not. With faults, answers are a guess."""
        read = self._read()
        return self._files.wrong | {module: why for module, why in self._files.missing.items() if module in read}

    # --- answers ---

    def build_list(self) -> list[ModuleVersion]:
        """The selected version of each module but the main ones, sorted by path (`go list -m -mod=mod all`)."""
        return sorted(self._walks[-1].selected.values())

    def gomods(self) -> set[ModuleVersion]:
        """The modules whose go.mod files `go` fetches: those that the graph is read from, and all of `zips`.

        `go mod download all` fetches just these if go.mod is tidy or in a workspace, and a part of them if not; `go
        list -m all` and `go build ./...` want no others. Of modules that are not in `zips` no other file is needed.
        """
        files = self._read() | self.zips()
        return {module for module in files if not module.is_directory and module not in self._files.missing}

    def zips(self) -> set[ModuleVersion]:
        """The modules whose .info, .mod and .zip `go mod download all` and `go build ./...` may want.

        Replacements stand in place of what they replace; main modules and directories have none. This is the build
        list; only if the main module prunes and its go.mod file is not tidy, it is also what a build takes when it
        looks at the required versions alone, or reads the graph without mending it.
        """
        modules = {*self.build_list(), *self._walks[0].selected.values()}
        if self._walks[0].pruning is _Pruning.PRUNED:
            modules.update(self._declared())
        return self._fetched(modules)

    def downloads(self) -> set[ModuleVersion]:
        """The part of `zips` that `go mod download` without arguments fetches; go.mod files it reads as for `gomods`.

        These are the modules that go.mod requires, at the selected versions. Where the go line is below 1.17, and in
        a workspace, it is the whole build list. (With no go line `go` adds one, so that is not below 1.17.)
        """
        build_list = self.build_list()
        if self._is_workspace or (self._mains[0].go and not _prunes(self._mains[0])):
            return self._fetched(build_list)
        named = {require.path for require in self._mains[0].require}
        return self._fetched(module for module in build_list if module.path in named)

    def _read(self) -> set[ModuleVersion]:
        return {self._files.actual(module) for walk in self._walks for module in walk.loaded}

    def _fetched(self, modules: Iterable[ModuleVersion]) -> set[ModuleVersion]:
        return {actual for actual in map(self._files.actual, modules) if not actual.is_directory}

    # --- one walk after the other ---

    def _accept(self, module: ModuleVersion, summary: _Summary) -> None:
        self._files.summaries.setdefault(module, summary)
        self._walks[-1].resume(module)
        self._advance()

    def _advance(self) -> None:
        """Begin what comes next, as often as nothing is wanted before it."""
        while not self._walks[-1].waiting:
            walk = self._walks[-1]
            if walk.pruning is _Pruning.WORKSPACE:
                if not walk.enter_upgraded():
                    return
            else:
                roots = self._next_roots(walk)
                if walk.pruning is _Pruning.UNPRUNED or set(roots) == set(walk.roots):
                    return  # all is in an unpruned graph, so other roots would make no other build list
                self._walks.append(_Walk(self._files, roots, walk.pruning))

    def _next_roots(self, walk: _Walk) -> list[ModuleVersion]:
        """The roots that -mod=mod has after a walk: it drops redundant ones first, then takes what was selected."""
        declared = self._declared()
        if len(self._walks) == 1 and set(declared) != set(walk.roots):
            return declared
        return [walk.selected[root.path] for root in declared]

    def _declared(self) -> list[ModuleVersion]:
        """The versions that go.mod requires, the highest where it names several."""
        highest: dict[str, ModuleVersion] = {}
        for root in self._walks[0].roots:
            if root.path not in self._files.mains:
                _select(highest, root)
        return list(highest.values())


# --- pruning ---


class _Pruning(Enum):
    """Whose requirements count (modload.modPruning): with PRUNED not those of what a pruning module requires."""

    PRUNED = auto()
    UNPRUNED = auto()
    WORKSPACE = auto()


class _Summary(NamedTuple):
    """What counts of a go.mod file; `require` is without excluded versions."""

    module: str
    require: tuple[ModuleVersion, ...]
    pruning: _Pruning


_NOTHING = _Summary("", (), _Pruning.PRUNED)  # for a file that is not there, or not to be believed


def _prunes(gomod: GoMod) -> bool:
    """Whether its requirements include all that its packages need; without a go line that is not known."""
    return bool(gomod.go) and gover.compare(gomod.go, "1.17") >= 0


def _summary(gomod: GoMod, excluded: Collection[ModuleVersion]) -> _Summary:
    required = (ModuleVersion(require.path, require.version) for require in gomod.require)
    kept = (module for module in required if module not in excluded and module.path not in ("go", "toolchain"))
    return _Summary(gomod.module, tuple(kept), _Pruning.PRUNED if _prunes(gomod) else _Pruning.UNPRUNED)


def _select(selected: dict[str, ModuleVersion], module: ModuleVersion) -> None:
    now = selected.setdefault(module.path, module)
    if now.version != module.version and semver.compare(now.version, module.version) < 0:
        selected[module.path] = module


# --- one walk ---


class _Walk:
    """One reading of the graph, from `roots` on (modload.readModGraph).

    `waiting` has what cannot be read yet, by what is to be read; `loaded` the modules whose requirements are in the
    graph, `selected` the highest version of each path in it that is not a main module's.
    """

    __slots__ = ("_files", "_kept", "_noted", "_seen", "loaded", "pruning", "roots", "selected", "waiting")

    def __init__(self, files: _Files, roots: Iterable[ModuleVersion], pruning: _Pruning) -> None:
        self._files = files
        self._seen: set[tuple[ModuleVersion, _Pruning]] = set()
        self._noted: set[ModuleVersion] = set()
        self._kept: set[ModuleVersion] = set()  # read as if they were main modules
        self.roots = tuple(roots)
        self.pruning = pruning
        self.waiting: dict[ModuleVersion, list[tuple[ModuleVersion, _Pruning]]] = {}
        self.loaded: set[ModuleVersion] = set()
        self.selected: dict[str, ModuleVersion] = {}
        self._note(self.roots)
        self._enter([(root, pruning) for root in self.roots])

    def resume(self, read: ModuleVersion) -> None:
        """Go on with all that waited for the go.mod file of `read`."""
        entries = self.waiting.pop(read, [])
        self._seen.difference_update(entries)
        self._enter(entries)

    def _enter(self, todo: list[tuple[ModuleVersion, _Pruning]]) -> None:
        while todo:
            entry = todo.pop()
            if entry in self._seen:
                continue
            self._seen.add(entry)
            module, pruning = entry
            summary = self._files.read(module)
            if summary is None:
                self.waiting.setdefault(self._files.actual(module), []).append(entry)
                continue
            if module not in self.loaded:
                self.loaded.add(module)
                self._note(summary.require)
            if pruning is not _Pruning.PRUNED or summary.pruning is _Pruning.UNPRUNED:
                following = _Pruning.UNPRUNED if pruning is _Pruning.UNPRUNED else summary.pruning
                todo += [(required, following) for required in summary.require]

    def _note(self, modules: Iterable[ModuleVersion]) -> None:
        for module in modules:
            if module not in self._noted:  # most requirements repeat others, and comparing versions takes time
                self._noted.add(module)
                if module.path not in self._files.mains:
                    _select(self.selected, module)

    def enter_upgraded(self) -> bool:
        """In a workspace, read also what was upgraded as if it were a main module; False if there is nothing more.

        The requirements of a main module do not tell all about a dependency that another one has at a higher version.
        """
        upgraded = self._upgraded()
        self._kept |= upgraded
        self._enter([(module, _Pruning.WORKSPACE) for module in upgraded])
        return bool(upgraded)

    def _upgraded(self) -> set[ModuleVersion]:
        """The modules to read so: of the paths that are, versions selected since; of their requirements, upgrades."""
        found = set(self.roots) - self._kept
        for module in self._kept:
            now = self.selected.get(module.path, module)
            if now not in self._kept:
                found.add(now)
            elif now == module:
                found |= self._upgrades_of(module)
        return found

    def _upgrades_of(self, module: ModuleVersion) -> set[ModuleVersion]:
        summary = self._files.read(module)
        required = summary.require if summary else ()
        pairs = ((one, self.selected[one.path]) for one in required if one.path not in self._files.mains)
        higher = {
            now for one, now in pairs if now.version != one.version and semver.compare(now.version, one.version) > 0
        }
        return higher - self._kept


# --- go.mod files and replacements ---


class _Files:
    """The go.mod files so far, by what is read: a replacement, not what it replaces.

    `wrong` and `missing` have the reasons why `go` would not take a file, `mains` the paths of the main modules, whose
    own files are here only in a workspace.
    """

    __slots__ = ("_by_main", "_by_work", "excluded", "mains", "missing", "summaries", "wrong")

    def __init__(self, mains: Sequence[MainModule], work: WorkFile | None) -> None:
        self.mains = frozenset(main.gomod.module for main in mains)
        self.excluded = frozenset(ModuleVersion(e.path, e.version) for main in mains for e in main.gomod.exclude)
        self.wrong: dict[ModuleVersion, str] = {}
        self.missing: dict[ModuleVersion, str] = {}
        self.summaries: dict[ModuleVersion, _Summary] = {}
        self._by_work = _replace_map(work.replace if work else (), ".")
        self._by_main = [(main.directory, _replace_map(main.gomod.replace, main.directory)) for main in mains]
        if work is not None:
            _check_conflicts(self._by_work, [table for _, table in self._by_main])
            for main in mains:
                self.summaries[ModuleVersion(main.gomod.module, "")] = _summary(main.gomod, self.excluded)

    def read(self, module: ModuleVersion) -> _Summary | None:
        """The go.mod file of a module of the graph, None if it is to be supplied (modload.goModSummary)."""
        actual = self.actual(module)
        summary = self.summaries.get(actual)
        if summary is None or summary is _NOTHING or actual.is_directory:
            return summary
        if summary.module not in (module.path, actual.path):
            self.wrong[actual] = _wrong_path(summary.module, module.path)
            return _NOTHING
        return summary

    def actual(self, module: ModuleVersion) -> ModuleVersion:
        """What is read for a module: itself or its replacement (modload.replacementFrom).

        Of several main modules the last one that replaces it wins, but to replace a single version where another has
        replaced it already is a conflict.
        """
        if not module.version:
            return module
        found = _replacement(self._by_work, module)
        if found is not None:
            return found
        directory = ""
        for there, table in self._by_main:
            new = _replacement(table, module)
            if new is None:
                continue
            if found is not None and found != new and module in table:
                self.wrong[module] = (
                    f"conflicting replacements found for {module} in workspace modules"
                    f" defined by {directory}/go.mod and {there}/go.mod"
                )
                return found
            found, directory = new, there
        return found or module


_ReplaceMap = dict[ModuleVersion, ModuleVersion]
"""New by old; an old version "" stands for all versions, a new version "" for a directory."""


def _replacement(table: _ReplaceMap, module: ModuleVersion) -> ModuleVersion | None:
    return table.get(module) or table.get(ModuleVersion(module.path, ""))


def _replace_map(replaces: Iterable[Replace], base: str) -> _ReplaceMap:
    table: _ReplaceMap = {}
    for replace in replaces:
        old = ModuleVersion(replace.old_path, replace.old_version)
        new = ModuleVersion(replace.new_path, replace.new_version)
        if new.is_directory:
            new = ModuleVersion(_directory(base, new.path), "")
        if table.setdefault(old, new) != new:
            raise InvalidRequest(f"conflicting replacements for {old}:\n\t{table[old]}\n\t{new}")
    return table


def _directory(base: str, path: str) -> str:
    """A directory below `base`, absolute or with a leading `.`, so that it cannot be taken for a module path."""
    joined = posixpath.normpath(posixpath.join(base, path))
    return joined if joined[0] == "/" or joined in (".", "..") or joined.startswith("../") else f"./{joined}"


def _check_mains(mains: Sequence[MainModule], work: WorkFile | None) -> None:
    if work is None and len(mains) != 1:
        raise ValueError(f"{len(mains)} main modules without a go.work file")
    paths = set()
    for main in mains:
        path = main.gomod.module
        if not path:
            raise InvalidRequest("error reading go.mod: missing module declaration")
        if path in paths:
            raise InvalidRequest(f"module {path} appears multiple times in workspace")
        paths.add(path)
        if work is not None and any(one.old_path == path and not one.old_version for one in work.replace):
            raise InvalidRequest(f"workspace module {path} is replaced at all versions in the go.work file")


def _check_conflicts(by_work: _ReplaceMap, tables: Iterable[_ReplaceMap]) -> None:
    """Raise InvalidRequest if main modules replace the same thing differently and go.work has no word on that path."""
    settled = {old.path for old in by_work}
    merged: _ReplaceMap = {}
    for table in tables:
        for old, new in table.items():
            if old.path not in settled and merged.setdefault(old, new) != new:
                raise InvalidRequest(
                    f"conflicting replacements for {old}:\n\t{merged[old]}\n\t{new}",
                    f'use "go work edit -replace {old}=[override]" to resolve',
                )


def _wrong_path(declared: str, required: str) -> str:
    if not declared:
        return "parsing go.mod: missing module line"
    return f"parsing go.mod:\n\tmodule declares its path as: {declared}\n\t        but was required as: {required}"
