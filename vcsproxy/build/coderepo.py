"""One module inside one repository: versions, `.info`, go.mod, as cmd/go finds them.

It reads facts from a `vcs.repo.Repo` and decides by the rules of `mod/`. Every NotFound raised here is one that `go`
reports in direct mode too, with its words. Trouble with the host or a budget passes through unchanged.

DIFFERS: `.mod` and `.zip` are given only for a version that `stat` returns unchanged; cmd/go alone would also serve a
go.mod for a branch that is named like a version.

Source: cmd/go/internal/modfetch/coderepo.go; for `latest`, cmd/go/internal/modload/query.go.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from vcsproxy import errors
from vcsproxy.build import hints
from vcsproxy.build.directory import Directory, Place
from vcsproxy.mod import modfile, module, pseudo, query, semver
from vcsproxy.mod.reporoot import CodeRoot, RepoRoot
from vcsproxy.trace import note
from vcsproxy.vcs.refs import HEADS, TAGS
from vcsproxy.vcs.repo import Repo, RevInfo


@dataclass(frozen=True, slots=True)
class Version:
    """A module version that exists: its canonical name and the commit behind it."""

    version: str
    rev: RevInfo


class CodeRepo:
    """One module path in one repository during one job."""

    def __init__(self, repo: Repo, root: RepoRoot, code: CodeRoot) -> None:
        self._repo = repo
        self._root = root
        self._code = code
        self._tag_prefix = code.tag_prefix
        self._places: dict[tuple[str, str, str], Place | errors.NotFound] = {}
        self._noted: set[str] = set()

    @property
    def code_root(self) -> CodeRoot:
        """Which module this is, and where in the repository."""
        return self._code

    # ---- lists

    @cached_property
    def versions(self) -> list[str]:
        """Every version that `go list -m -versions` would name, retracted ones too, sorted by semver.

        Raises NotFound when a tag that decides about `+incompatible` is on no commit.
        """
        path = self._code.module_path
        if path.startswith("gopkg.in/") and path.endswith("-unstable"):
            return []
        tags = [name for name, _ in self._repo.refs.tags(self._tag_prefix)]
        found = query.tag_versions(tags, self._tag_prefix, self._code.code_dir, self._code.path_major)
        versions = [*found.compatible, *self._incompatible(found)]
        note("tags", _counted(len(tags), self._tag_prefix, versions))
        return versions

    def tagged(self) -> tuple[tuple[str, str], ...]:
        """(full ref name, commit) of every tag that names a version, of any major, in this module's directory."""
        prefix = self._tag_prefix
        return tuple(
            (TAGS + name, commit)
            for name, commit in self._repo.refs.tags(prefix)
            if name[len(prefix) :] == semver.canonical(name[len(prefix) :])
        )

    def _incompatible(self, found: query.TagVersions) -> list[str]:
        if not found.incompatible or (found.compatible and self._has_root_gomod(found.compatible[-1])):
            return []
        kept: list[str] = []
        for group in query.majors(found.incompatible):
            if not self._has_root_gomod(group[-1]):
                kept += [version + query.INCOMPATIBLE for version in group]
        return kept

    def _has_root_gomod(self, tag: str) -> bool:
        try:
            return self._repo.has_file(self._repo.stat(tag).name, "go.mod")
        except errors.NotFound as err:
            raise errors.NotFound(f"module {self._code.module_path}: {err}", err.hint) from err

    @cached_property
    def is_retracted(self) -> Callable[[str], bool]:
        """Whether the module itself retracts a version; nothing is, when that cannot be read."""
        try:
            return self._retractions(query.retraction_source(self.versions))
        except errors.NotFound:
            return lambda _: False

    def _retractions(self, version: str) -> Callable[[str], bool]:
        if not version:
            return lambda _: False
        try:
            intervals = modfile.parse_lax(self.gomod(version)).retract
        except modfile.ModFileError:
            return lambda _: False
        return lambda v: modfile.retracted(intervals, v)

    # ---- resolving

    def stat(self, rev: str) -> Version:
        """The version that a revision name stands for. Raises NotFound as `go` would."""
        try:
            info = self._repo.stat(self.revision(rev))
        except errors.NotFound as err:
            raise self._invalid(rev, err.message, err.hint) from err
        if rev not in self._noted:
            self._noted.add(rev)
            note("revision", f"{rev} is {_named(info)}")
        return self._convert(info, rev)

    def head(self) -> Version:
        """HEAD's commit as a version."""
        return self._convert(self._repo.latest(), "")

    def latest(self) -> Version:
        """The query "latest": highest release that is not retracted, else prerelease, else HEAD."""
        versions = self.versions
        source = query.latest(versions, lambda _: False, self._has_own_gomod)
        head = None if source else self._head
        retracted = self._retractions_of_latest(source or (head.version if head else ""))
        chosen = query.latest(versions, retracted, self._has_own_gomod)
        if chosen:
            return self.stat(chosen)
        head = head or self._head
        if head is None or retracted(head.version):
            raise self.no_matching_versions()
        return self.stat(head.version)

    def no_matching_versions(self) -> errors.NotFound:
        return errors.NotFound(f'module {self._code.module_path}: no matching versions for query "latest"')

    @cached_property
    def _head_or_why(self) -> Version | errors.NotFound:
        try:
            return self.head()
        except errors.NotFound as err:
            return err

    @property
    def _head(self) -> Version | None:
        """HEAD as a version, None if it is none."""
        return self._head_or_why if isinstance(self._head_or_why, Version) else None

    @property
    def why_head_is_none(self) -> errors.NotFound | None:
        """Why HEAD is no version of this module, None if it is one."""
        return None if isinstance(self._head_or_why, Version) else self._head_or_why

    def _retractions_of_latest(self, version: str) -> Callable[[str], bool]:
        try:
            return self._retractions(version)
        except errors.NotFound:
            return lambda _: False

    def _has_own_gomod(self, version: str) -> bool:
        return self.gomod(version) != modfile.legacy_gomod(self._code.module_path)

    def exists(self) -> bool:
        """Whether an empty list still belongs to a module: HEAD is a version of it."""
        return bool(self.versions) or self._head is not None

    def revision(self, version: str) -> str:
        """The tag, branch or hash that a query stands for."""
        if not semver.is_valid(version):
            return version
        if pseudo.is_pseudo_version(version):
            return pseudo.pseudo_version_rev(version)
        if semver.build(version) == query.INCOMPATIBLE:
            version = query.base_of(version)
        return self._tag_prefix + version

    def _invalid(self, version: str, why: str, hint: str = "", noun: str = "version") -> errors.NotFound:
        return errors.NotFound(f"{self._code.module_path}@{version}: invalid {noun}: {why}", hint)

    def _convert(self, info: RevInfo, asked: str) -> Version:
        return _Conversion(self, info, asked).version()

    # ---- the module's directory and go.mod

    def gomod(self, version: str) -> bytes:
        """The bytes of `.mod` for a canonical version: the blob as it is, or the go.mod that a legacy module gets."""
        if version != module.canonical_version(version):
            raise errors.NotFound(f"version {version} is not canonical")
        if pseudo.is_pseudo_version(version):
            self.stat(version)
        return self.gomod_at(self.find_dir(version))

    def gomod_at(self, place: Place) -> bytes:
        return modfile.legacy_gomod(self._code.module_path) if place.gomod is None else place.gomod

    def find_dir(self, version: str) -> Place:
        """The directory that holds a version. Raises NotFound with the reason when no go.mod there fits the path."""
        rev = self.revision(version)
        try:
            info = self._repo.stat(rev)
        except errors.NotFound as err:
            name = "/".join(filter(None, (self._code.root, self._code.code_dir, "go.mod")))
            raise errors.NotFound(f"reading {name} at revision {rev}: {err}", err.hint) from err
        return self.find_dir_at(info.name, rev, version)

    def find_dir_at(self, commit: str, rev: str, version: str) -> Place:
        """As find_dir, for a commit already known; `rev` is how messages call it."""
        key = commit, rev, version
        if key not in self._places:
            try:
                self._places[key] = Directory(self._code, self._repo, commit, rev, version).find()
            except errors.NotFound as err:
                self._places[key] = err
        found = self._places[key]
        if isinstance(found, errors.NotFound):
            raise errors.NotFound(found.message, found.hint)
        return found

    # ---- .info

    def info(self, found: Version, *, asked: bool = False) -> bytes:
        """The bytes of `.info`, exactly as cmd/go writes them.

        Origin.Ref is the tag of the version itself; with `asked` it is the ref that the query went through.
        """
        is_pseudo = pseudo.is_pseudo_version(found.version)
        own = TAGS + self._tag_prefix + query.base_of(found.version)
        ref = "" if is_pseudo else found.rev.ref if asked else own
        origin = {
            "VCS": "git",
            "URL": self._root.origin,
            "Subdir": self._code.code_dir,
            "Hash": found.rev.name,
            "Ref": ref,
        }
        value = {
            "Version": found.version,
            "Time": _rfc3339(found.rev.time),
            "Origin": {key: text for key, text in origin.items() if text},
        }
        return _go_json(value)


class _Conversion:
    """From a commit to the version that names it; `asked` is the query, "" for HEAD (cmd/go's codeRepo.convert)."""

    def __init__(self, code: CodeRepo, info: RevInfo, asked: str) -> None:
        self._owner = code
        self._code = code._code
        self._repo = code._repo
        self._prefix = code._tag_prefix
        self._info = info
        self._asked = asked

    def version(self) -> Version:
        if pseudo.is_pseudo_version(self._asked):
            found = self._check_canonical(self._asked)
            self._validate_pseudo()
            return found
        own, canonical = query.tag_to_version(self._info.version, self._prefix)
        if canonical:
            try:
                return self._check_canonical(own)
            except errors.NotFound:
                pass  # another tag on the commit may still do
        return self._from_tags()

    def _from_tags(self) -> Version:
        highest = base = ""
        for tag in self._info.tags:
            version, canonical = query.tag_to_version(tag, self._prefix)
            if self._asked and semver.compare(version, self._asked) == 0:
                if canonical:
                    return self._check_canonical(version)
                base = version
            if canonical and semver.compare(highest, version) < 0 and self._usable(version):
                highest = version
        if highest:
            return self._check_canonical(highest)
        if not base:
            tag = self._repo.recent_tag(self._info.name, self._prefix, self._tag_allowed)
            base = query.tag_to_version(tag, self._prefix)[0] if tag else ""
        made = pseudo.pseudo_version(self._code.pseudo_major, base, self._info.time, self._info.short)
        return self._check_canonical(made)

    def _tag_allowed(self, tag: str) -> bool:
        version = query.tag_to_version(tag, self._prefix)[0]
        return bool(version) and self._usable(version)

    def _usable(self, version: str) -> bool:
        fits = module.match_path_major(version, self._code.path_major) or self._incompatible_ok(version)
        return fits and not self._owner.is_retracted(version)

    def _incompatible_ok(self, version: str) -> bool:
        """Whether this commit may carry `+incompatible`: no go.mod at the root, nor in the directory of that major."""
        if self._code.code_dir or self._code.path_major or self._has_file("go.mod"):
            return False
        return self._asked.endswith(query.INCOMPATIBLE) or not self._has_file(semver.major(version) + "/go.mod")

    def _has_file(self, path: str) -> bool:
        return self._repo.has_file(self._info.name, path)

    def _check_canonical(self, version: str) -> Version:
        try:
            place = self._owner.find_dir(version)
        except errors.NotFound as err:
            raise self._owner._invalid(version, err.message, err.hint) from err
        asked = self._asked
        if version == query.base_of(asked):
            version = asked
        base = query.base_of(version)
        wrong = cure = ""
        if not module.match_path_major(base, self._code.path_major):
            if self._incompatible_ok(base):
                version = base + query.INCOMPATIBLE
            else:
                wrong = self._major_mismatch(version)
                cure = hints.wrong_major(self._code, base, has_gomod=place.gomod is not None)
        elif version.endswith(query.INCOMPATIBLE):
            wrong = f"+incompatible suffix not allowed: major version {semver.major(version)} is compatible"
            cure = f"ask for {base}"
        if asked and asked == module.canonical_version(asked) and query.base_of(asked) != base:
            why = f"resolves to version {version} ({query.base_of(asked)} is not a tag)"
            raise self._owner._invalid(asked, why, hints.not_a_tag(version, self._owner.revision(asked)))
        if wrong:
            raise self._owner._invalid(version, wrong, cure)
        return Version(version, self._info)

    def _major_mismatch(self, version: str) -> str:
        if self._code.path_major:
            return "module path includes a major version suffix, so major version must match"
        wanted = f"{self._code.path_prefix}/{semver.major(version)}"
        return f'module contains a go.mod file, so module path must match major version ("{wanted}")'

    def _validate_pseudo(self) -> None:
        try:
            self._check_revision()
            self._check_time()
            self._check_base()
        except errors.VCSProxyError as err:
            if isinstance(err, errors.NotFound | errors.InvalidRequest):
                cure = err.hint or hints.pseudo_version(self._code, self._info.short)
                raise self._owner._invalid(self._asked, err.message, cure, "pseudo-version") from err
            raise

    def _check_revision(self) -> None:
        rev, short = pseudo.pseudo_version_rev(self._asked), self._info.short
        if rev == short:
            return
        if rev.startswith(short):
            raise errors.NotFound(f"revision is longer than canonical (expected {short})")
        if short.startswith(rev):
            raise errors.NotFound(f"revision is shorter than canonical (expected {short})")
        raise errors.NotFound(f"does not match short name of revision (expected {short})")

    def _check_time(self) -> None:
        if pseudo.pseudo_version_time(self._asked) != self._info.time:
            expected = pseudo.timestamp(self._info.time)
            raise errors.NotFound(f"does not match version-control timestamp (expected {expected})")

    def _check_base(self) -> None:
        rev = pseudo.pseudo_version_rev(self._asked)
        base = pseudo.pseudo_version_base(query.base_of(self._asked))
        if not base:
            if not self._code.pseudo_major and semver.major(self._asked) == "v1":
                raise errors.NotFound("major version without preceding tag must be v0, not v1")
            return
        for tag in self._info.tags:
            if tag.removeprefix(self._prefix) == base:
                raise errors.NotFound(
                    f"tag ({tag}) found on revision {rev} is already canonical, so should not be replaced with a "
                    "pseudo-version derived from that tag"
                )
        last = ""
        for tag, _ in self._repo.refs.tags(self._prefix + base):
            if semver.compare(tag.removeprefix(self._prefix), base) == 0:
                last = tag
                if self._repo.descends_from(self._info.name, tag):
                    return
        if not last:
            raise errors.NotFound(f"preceding tag ({base}) not found")
        raise errors.NotFound(f"revision {rev} is not a descendent of preceding tag ({last})")


def _counted(tags: int, prefix: str, versions: list[str]) -> str:
    """What there is of tags below a prefix, and how many of them name versions of the module."""
    there = f"{tags} {'tag' if tags == 1 else 'tags'}" + (f" below {prefix}" if prefix else "")
    if not versions:
        return f"{there}, and no version of this module"
    return f"{there}; versions of this module: {len(versions)}, up to {versions[-1]}"


def _named(info: RevInfo) -> str:
    kind = "tag" if info.ref.startswith(TAGS) else "branch" if info.ref.startswith(HEADS) else ""
    of = f"the {kind} {info.ref.split('/', 2)[2]}, " if kind else ""
    return f"{of}commit {info.short} of {_rfc3339(info.time)}"


def _rfc3339(seconds: int) -> str:
    stamp = pseudo.timestamp(seconds)
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:]}Z"


def _go_json(value: object) -> bytes:
    """Go's json.Marshal: no spaces, and < > & and the two line separators as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "replace")
