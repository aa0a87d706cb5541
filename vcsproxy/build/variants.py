"""What the hashes of a version would be if something were otherwise: the work of the op `variants`.

A go.sum line that differs from what the repository gives was often written by another Go, on a machine that converts
line ends, or before a file was added. Each such cause is tried here, alone and with the others, by hashing what the zip
would then have; which of them explains a line is for whoever has the line to say. Nothing is written.

Source: golang.org/x/mod/zip (isVendoredPackage before and since Go 1.24), cmd/go/internal/modfetch/coderepo.go (Zip,
for the inherited LICENSE), gitattributes(5).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from vcsproxy.build.assemble import Assembly, Source
from vcsproxy.build.coderepo import CodeRepo
from vcsproxy.build.job import Cause, Job, Variant, Variants
from vcsproxy.mod import dirhash, modfile, modzip
from vcsproxy.mod.query import INCOMPATIBLE
from vcsproxy.trace import note
from vcsproxy.vcs.attributes import Attributes
from vcsproxy.vcs.convert import convert_to_working_tree
from vcsproxy.vcs.repo import Repo

_ON_WINDOWS = Attributes(text=b"auto", eol=b"crlf")  # as core.autocrlf=true
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def variants(job: Job, code: CodeRepo, repo: Repo) -> Variants:
    """The hashes of a version at the commit that was promised for it, else at its tag, under every known cause."""
    commit = (repo.commit_at(job.pinned, "") if job.pinned else code.stat(job.query).rev).name
    place = code.find_dir_at(commit, commit, job.query)
    assembly = Assembly(repo, place)
    hashes = _Hashes(assembly, job.path, job.query)
    note("variants", f"{len(hashes.zips)} ways to make the zip at commit {commit[:12]} are compared")
    return Variants(commit, hashes.zips, _gomods(assembly, code, place.gomod), hashes.pointers)


def _gomods(assembly: Assembly, code: CodeRepo, gomod: bytes | None) -> tuple[Variant, ...]:
    """go.mod is taken from the repository as it is; other programs have converted it, or had none."""
    legacy = modfile.legacy_gomod(code.code_root.module_path)
    found = {(): gomod if gomod is not None else legacy, (Cause.NO_GO_MOD,): legacy}
    if gomod is not None:
        found[(Cause.CRLF,)] = convert_to_working_tree(_ON_WINDOWS, gomod, "")
        source = assembly.find("go.mod")
        if source is not None:
            found[(Cause.CONVERTED,)] = assembly.content(source)
    return tuple(Variant(causes, dirhash.hash_gomod(data)) for causes, data in found.items())


@dataclass(frozen=True, slots=True)
class _Digests:
    """SHA-256 of one file as go has it, as the repository has it, and with the line ends of Windows."""

    converted: str
    raw: str
    crlf: str


class _Hashes:
    """The hashes of one version's zip; holds one file's content at a time."""

    def __init__(self, assembly: Assembly, path: str, version: str) -> None:
        self._path, self._version = path, version
        self.pointers = 0  # files that say where Git LFS has the real one
        files = list(assembly.in_order())
        facts = [modzip.FileFact(name, 0, assembly.kind(source)) for name, source in files]
        sources = dict(files)
        own = assembly.language(sources.get("go.mod"))
        other = "" if modzip.is_modern(own) else "1.24"
        self._names = {rule: _names(facts, rule) for rule in (own, other)}
        self._own, self._other = own, other
        everything = set().union(*self._names.values())
        assembly.bring(sources[name] for name in everything)
        self._digests = {name: self._digest(assembly, sources[name]) for name in everything}
        inherited = sources.get("LICENSE")
        self._inherits = inherited is not None and inherited.path is None
        self._converted_license = self._license_converted(assembly, inherited) if inherited else ""
        self.zips = tuple(self._all())

    def _digest(self, assembly: Assembly, source: Source) -> _Digests:
        content, raw = assembly.content(source), assembly.raw(source)
        self.pointers += raw.startswith(_POINTER)
        crlf = convert_to_working_tree(_ON_WINDOWS, raw, source.entry.oid)
        converted = sha256(content).hexdigest()
        return _Digests(
            converted,
            converted if raw is content else sha256(raw).hexdigest(),
            sha256(crlf).hexdigest(),
        )

    def _license_converted(self, assembly: Assembly, inherited: Source) -> str:
        """The digest of a LICENSE of the root as a file of its own would be converted."""
        return sha256(assembly.content(Source(b"LICENSE", inherited.entry))).hexdigest()

    def _all(self) -> Iterator[Variant]:
        """Every combination once: whoever looks takes the first that fits, which has the fewest causes."""
        kinds: tuple[tuple[Cause | None, ...], ...] = (
            (None, Cause.VENDOR_RULE),
            (None, Cause.NOT_CONVERTED, Cause.CRLF),
            (None, Cause.NO_LICENSE, Cause.CONVERTED_LICENSE) if self._inherits else (None,),
            (None, Cause.INCOMPATIBLE),
        )
        combined = (tuple(c for c in causes if c is not None) for causes in itertools.product(*kinds))
        seen: set[str] = set()
        for causes in sorted(combined, key=len):
            h1 = self._h1(frozenset(causes))
            if h1 not in seen:
                seen.add(h1)
                yield Variant(causes, h1)

    def _h1(self, causes: frozenset[Cause]) -> str:
        version = self._version
        if Cause.INCOMPATIBLE in causes:
            bare = version.removesuffix(INCOMPATIBLE)
            version = bare if bare != version else version + INCOMPATIBLE
        prefix = f"{self._path}@{version}/"
        digests = self._chosen(causes)
        return dirhash.hash1((prefix + name, digest) for name, digest in digests.items())

    def _chosen(self, causes: frozenset[Cause]) -> Mapping[str, str]:
        names = self._names[self._other if Cause.VENDOR_RULE in causes else self._own]
        which = "raw" if Cause.NOT_CONVERTED in causes else "crlf" if Cause.CRLF in causes else "converted"
        chosen = {name: str(getattr(self._digests[name], which)) for name in names}
        if Cause.NO_LICENSE in causes:
            chosen.pop("LICENSE", None)
        if Cause.CONVERTED_LICENSE in causes and "LICENSE" in chosen:
            chosen["LICENSE"] = self._converted_license
        return chosen


def _names(facts: list[modzip.FileFact], language: str) -> frozenset[str]:
    return frozenset(fact.path for fact in modzip.check_files(facts, language).valid)
