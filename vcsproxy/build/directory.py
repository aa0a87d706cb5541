"""Where in a commit a module version is: its directory and go.mod, or why there is none, in Go's words with a cure.

Source: cmd/go/internal/modfetch/coderepo.go (findDir, isMajor).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from vcsproxy import errors
from vcsproxy.build import hints
from vcsproxy.mod import modfile, module, query, semver
from vcsproxy.mod.reporoot import CodeRoot
from vcsproxy.trace import note
from vcsproxy.vcs.repo import Repo


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version's files are: commit hash, directory ("" for the root), and its go.mod, None if implicit."""

    commit: str
    directory: str
    gomod: bytes | None


class Directory:
    """Which of go.mod and vN/go.mod is the module's at one commit; `rev` is how messages call the commit."""

    def __init__(self, code: CodeRoot, repo: Repo, commit: str, rev: str, version: str) -> None:
        self._code, self._repo, self._commit, self._rev, self._version = code, repo, commit, rev, version
        self._nests = code.path_major.startswith("/") and code.root != code.module_path

    def find(self) -> Place:
        """Raises NotFound with the reason when no go.mod there fits the path."""
        code, major = self._code, self._code.path_major
        file1 = join(code.code_dir, "go.mod")
        first = self._read(file1)
        declared = modfile.module_path(first) if first is not None else ""
        fits = first is not None and (
            query.is_major(declared, major) or (not major and declared.startswith("gopkg.in/"))
        )
        nested = self._nested(file1, fits) if self._nests else None
        if nested is not None:
            return nested
        if fits:
            return Place(self._commit, code.code_dir, first)
        if first is not None:
            raise self._misfit(file1, declared)
        if not code.code_dir and not major.startswith("/"):
            note("go.mod", f"there is none at {self._rev}; one that says only the module path stands for it")
            return Place(self._commit, "", None)
        raise self._missing()

    def _read(self, file: str) -> bytes | None:
        data = self._repo.read_at(self._commit, file)
        if data is not None:
            declared = modfile.module_path(data)
            note("go.mod", f"{file} at {self._rev} " + (f"declares {declared}" if declared else "has no module path"))
        return data

    def _nested(self, file1: str, fits: bool) -> Place | None:
        code, major = self._code, self._code.path_major
        directory = join(code.code_dir, major[1:])
        file2 = directory + "/go.mod"
        second = self._read(file2)
        if second is None:
            return None
        declared = modfile.module_path(second)
        cure = hints.nested_gomod(code, file1, file2, both=fits)
        if query.is_major(declared, major):
            if fits:
                both = f"{code.path_prefix}/{file1} and ...{major}/go.mod both have ...{major} module paths"
                raise self._error(both, cure)
            return Place(self._commit, directory, second)
        if not declared:
            raise self._error(f"{code.root}/{file2} is missing module path", cure)
        raise self._error(f"{code.root}/{file2} has non-...{major} module path {_quoted(declared)}", cure)

    def _misfit(self, name: str, declared: str) -> errors.NotFound:
        major = self._code.path_major
        cure = hints.misfit(self._code, name, declared, self._version)
        suffix = f" (and ...{major}/go.mod does not exist)" if self._nests else ""
        if not declared:
            return self._error(f"{name} is missing module path{suffix}", cure)
        if major:
            return self._error(f"{name} has non-...{major} module path {_quoted(declared)}{suffix}", cure)
        if not module.split_path_version(declared)[2]:
            return self._error(f"{name} has malformed module path {_quoted(declared)}{suffix}", cure)
        post = semver.major(self._version)
        return self._error(f"{name} has post-{post} module path {_quoted(declared)}{suffix}", cure)

    def _missing(self) -> errors.NotFound:
        code = self._code
        also = f" and ...{code.path_major}/go.mod" if self._nests else ""
        return self._error(f"missing {code.path_prefix}/go.mod{also}", self._cure_for_missing())

    def _cure_for_missing(self) -> str:
        code = self._code
        if not code.code_dir:
            return hints.missing_root_gomod(code, self._version)
        if not self._repo.has_directory(self._commit, code.code_dir):
            return hints.missing_directory(code, self._rev)
        return hints.missing_gomod(code, self._owner())

    def _owner(self) -> str:
        """The module path that the nearest go.mod above the directory declares, else the root's."""
        directory = self._code.code_dir
        while directory:
            directory = directory.rpartition("/")[0]
            data = self._repo.read_at(self._commit, join(directory, "go.mod"))
            if data is not None:
                declared = modfile.module_path(data)
                return declared if hints.is_path(declared) else self._code.root
        return self._code.root

    def _error(self, what: str, cure: str) -> errors.NotFound:
        return errors.NotFound(f"{what} at revision {self._rev}", cure)


def join(directory: str, name: str) -> str:
    """The path of a file of a directory, "" and "." being the root."""
    return name if directory in ("", ".") else f"{directory}/{name}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
