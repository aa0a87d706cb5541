"""Which versions a mirror needs: from go.sum, go.mod or go.work, from MODULE@QUERY, or everything under a source.

Files are read here; what is in repositories, `modules` is asked for. A go.mod file is taken for its whole module graph,
as `go mod download all` and `go build ./...` want it; see `mod/modgraph.py`.

Source: cmd/go/internal/modload; cmd/go/internal/modload/query.go for `v1` and `v1.2` as queries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vcsproxy import errors
from vcsproxy.mirror import sums
from vcsproxy.mirror.parallel import each, patiently
from vcsproxy.mirror.verify import AT_ONCE, request_for
from vcsproxy.mod import modfile, semver, workfile
from vcsproxy.mod.modgraph import MainModule, ModuleGraph, ModuleVersion
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer

ALL = "all"
LATEST = "latest"
_GO_MOD, _GO_WORK = ".mod", ".work"
_PREFIX = re.compile(r"v[0-9]+(?:\.[0-9]+)?")


class Asked(Protocol):
    """Answers about modules; `proxy.service.Service` is the one."""

    async def answer(self, request: ProxyRequest) -> Answer: ...

    async def modules(self, path: str) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """A version to have; `zip` is False where only its go.mod is read."""

    path: str
    version: str
    zip: bool = True

    def __str__(self) -> str:
        return f"{self.path}@{self.version}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something named that leads to no version, and why."""

    subject: str
    reason: str
    hint: str = ""

    @classmethod
    def of(cls, subject: str, err: errors.VCSProxyError) -> Problem:
        return cls(subject, err.message, err.hint)


@dataclass(slots=True)
class Plan:
    """What to have. hashes: h1 by `PATH VERSION` and `PATH VERSION/go.mod`, of every go.sum that was read."""

    wanted: dict[tuple[str, str], bool] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def items(self) -> list[Item]:
        return sorted(Item(path, version, zip_) for (path, version), zip_ in self.wanted.items())

    def add(self, path: str, version: str, *, zip_: bool = True) -> None:
        key = path, version
        self.wanted[key] = self.wanted.get(key, False) or zip_

    def expect(self, lines: Sequence[sums.SumLine]) -> None:
        """Take the hashes of a go.sum. Raises VCSProxyError if two files contradict each other."""
        for name, h1 in sums.expected(lines).items():
            if self.hashes.setdefault(name, h1) != h1:
                raise errors.VCSProxyError(f"{name} has two hashes in the go.sum files that were named")


class Planner:
    """Makes one plan of many targets."""

    def __init__(self, modules: Asked, at_once: int = AT_ONCE) -> None:
        self._modules = modules
        self._at_once = at_once
        self.plan = Plan()

    async def add(self, targets: Iterable[str], sources: Iterable[str] = ()) -> Plan:
        """Plan for files, directories, MODULE@QUERYs and roots of sources. Raises VCSProxyError for unusable files."""
        queries = []
        for target in targets:
            if is_file(target):
                await self._add_file(target)
            else:
                queries.append(target)
        for source in sources:
            await self._add_source(source)
        async for _ in each(self._add_query, queries, self._at_once):
            pass
        return self.plan

    # ---- files

    async def _add_file(self, target: str) -> None:
        path = _main_file(target)
        if path.suffix not in (_GO_MOD, _GO_WORK):
            self._add_sums(sums.lines_of(sums.files_for(target)))
            return
        graph = _graph(path)
        found = [file for file in _sum_files(path) if file.is_file()]
        self.plan.expect(sums.lines_of(found))
        await self._load(graph, path.parent)
        for module in graph.gomods():
            self.plan.add(*module, zip_=False)
        for module in graph.zips():
            self.plan.add(*module)

    def _add_sums(self, lines: Sequence[sums.SumLine]) -> None:
        self.plan.expect(lines)
        for line in (one.line for one in lines):
            self.plan.add(line.path, line.module_version, zip_=not line.is_gomod)

    async def _load(self, graph: ModuleGraph, directory: Path) -> None:
        """Bring go.mod files until the graph wants no more."""
        while wanted := graph.wanted():
            for module in [module for module in wanted if module.is_directory]:
                self._supply_local(graph, module, directory)
            remote = [module for module in wanted if not module.is_directory]
            async for module, found in each(self._gomod, remote, self._at_once):
                if isinstance(found, bytes):
                    graph.supply(module, found)
                else:
                    graph.missing(module, found.message)
                    self.plan.problems.append(Problem.of(f"go.mod of {module}", found))
        told = {problem.subject for problem in self.plan.problems}
        for module, why in graph.faults().items():
            if f"go.mod of {module}" not in told:
                self.plan.problems.append(Problem(f"go.mod of {module}", why))

    @staticmethod
    def _supply_local(graph: ModuleGraph, module: ModuleVersion, directory: Path) -> None:
        file = directory / module.path / "go.mod"
        try:
            graph.supply(module, sums.read_bytes(file))
        except errors.VCSProxyError as err:
            graph.missing(module, err.message)

    async def _gomod(self, module: ModuleVersion) -> tuple[ModuleVersion, bytes | errors.VCSProxyError]:
        try:
            request = request_for(Kind.MOD, module.path, module.version)
            answer = await patiently(lambda: self._modules.answer(request))
        except errors.VCSProxyError as err:
            return module, err
        return module, answer.stored.data or b""

    # ---- modules and sources

    async def _add_query(self, target: str) -> None:
        try:
            await self._resolve(target)
        except errors.VCSProxyError as err:
            self.plan.problems.append(Problem.of(target, err))

    async def _resolve(self, target: str) -> None:
        path, at, query = target.partition("@")
        if at and not query:
            raise errors.InvalidRequest(f"{target}: nothing behind the @")
        query = query or LATEST
        if query == ALL or _PREFIX.fullmatch(query):
            versions = await self._versions(path)
            chosen = versions if query == ALL else _highest(versions, query)
            if not chosen:
                raise errors.NotFound(f"{path}: no version matches {query}", "see what there is: vcsproxy mod versions")
            for version in chosen:
                self.plan.add(path, version)
            return
        checked = request_for(Kind.INFO, path, query)
        request = ProxyRequest(Kind.LATEST, checked.path) if query == LATEST else checked
        answer = await patiently(lambda: self._modules.answer(request))
        self.plan.add(path, json.loads(answer.stored.data or b"{}")["Version"])

    async def _versions(self, path: str) -> list[str]:
        request = ProxyRequest(Kind.LIST, request_for(Kind.INFO, path, LATEST).path)
        answer = await patiently(lambda: self._modules.answer(request))
        return (answer.stored.data or b"").decode().split()

    async def _add_source(self, root: str) -> None:
        """Every version of every module of the repository of a source."""
        if "{" in root:
            why = "a source with placeholders stands for repositories that it does not name"
            self.plan.problems.append(Problem(root, why, "name each repository: the root with every {name} filled in"))
            return
        try:
            paths = await patiently(lambda: self._modules.modules(root))
        except errors.VCSProxyError as err:
            self.plan.problems.append(Problem.of(root, err))
            return
        for path in paths:
            await self._add_query(f"{path}@{ALL}")


def is_file(target: str) -> bool:
    """Whether a target is a file or directory rather than a module."""
    if target == sums.STDIN or Path(target).suffix in (_GO_MOD, _GO_WORK) or target.endswith(".sum"):
        return True
    return target.startswith((".", "/")) or (Path(target).exists() and "@" not in target)


def _main_file(target: str) -> Path:
    """The go.work, go.mod or go.sum that a target stands for. Raises VCSProxyError."""
    path = Path(target)
    if not path.is_dir():
        return path
    for name in ("go.work", "go.mod", "go.sum"):
        if (path / name).is_file():
            return path / name
    raise errors.VCSProxyError(f"{path}: no go.work, go.mod or go.sum there", "name the file")


def _sum_files(path: Path) -> list[Path]:
    if path.suffix == _GO_MOD:
        return [path.with_suffix(".sum")]
    return [path.with_name(path.name + ".sum"), *(use / "go.sum" for use in sums.used_by(path))]


def _graph(path: Path) -> ModuleGraph:
    try:
        if path.suffix == _GO_MOD:
            return ModuleGraph([MainModule(_main_gomod(path))])
        work = workfile.parse(sums.read_bytes(path))
        mains = [MainModule(_main_gomod(path.parent / use / "go.mod"), use) for use in work.use]
        return ModuleGraph(mains, work)
    except modfile.ModFileError as err:
        raise errors.VCSProxyError(f"{path}: {err}") from err


def _main_gomod(path: Path) -> modfile.GoMod:
    try:
        return modfile.parse(sums.read_bytes(path))
    except modfile.ModFileError as err:
        raise errors.VCSProxyError(f"{path}: {err}") from err


def _highest(versions: Sequence[str], prefix: str) -> list[str]:
    """The highest version that begins with `v1` or `v1.2`, a release if there is one; [] if there is none."""
    fitting = [version for version in versions if version == prefix or version.startswith(prefix + ".")]
    releases = [version for version in fitting if not semver.prerelease(version)]
    return semver.sort(releases or fitting)[-1:]
