"""Whether the lines of a go.sum are what the repositories' own commits give, and if not, why.

Each version is taken from the store or built, by the same service as for the go command. A line that differs is
explained by trying what is known to cause it (`build/variants.py`); what no cause explains is said to be unknown, never
guessed away.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from vcsproxy import errors
from vcsproxy.build.job import Cause, Variants
from vcsproxy.mirror.parallel import each, patiently
from vcsproxy.mirror.sums import SumLine
from vcsproxy.mod import dirhash, module, proxypath
from vcsproxy.mod.gosum import Line
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer

AT_ONCE = 32

TAG_MOVED = "tag-moved"
STORE = "store"
LFS = "lfs"
ALTERED = "altered"
UNKNOWN = "unknown"

EXPLANATIONS: dict[str, str] = {
    Cause.VENDOR_RULE: "files in vendor directories were chosen by the other rule: it changed with Go 1.24",
    Cause.NOT_CONVERTED: "files were hashed as the repository has them, without the conversions of .gitattributes",
    Cause.CONVERTED: "the go.mod was hashed after the conversions of .gitattributes; go takes it as it is",
    Cause.CRLF: "text files had the line ends of Windows, as git makes them under core.autocrlf",
    Cause.NO_LICENSE: "the LICENSE that the directory inherits from the repository's root was missing",
    Cause.CONVERTED_LICENSE: "the LICENSE inherited from the repository's root had been converted",
    Cause.INCOMPATIBLE: "the hash is that of the same files under a version with, or without, +incompatible",
    Cause.NO_GO_MOD: "the hash is that of the go.mod that go makes up where there is none",
    TAG_MOVED: "the tag has moved since this server first saw it",
    STORE: "the store has other bytes than the repository gives; were they imported?",
    LFS: "files are pointers to Git LFS, and whoever hashed them may have had the real ones",
    ALTERED: "it is the right hash but for a few characters: somebody has changed the go.sum",
    UNKNOWN: "no known cause explains it: the tag may have moved before this server saw it, or the go.sum was changed, "
    "or the hash was made from a working tree with other files",
}


class Result(enum.StrEnum):
    """What became of one line."""

    OK = "ok"
    DIFFERS = "differs"
    ABSENT = "absent"  # the repository answered, and has no such version
    UNREACHABLE = "unreachable"  # nothing is known now
    REFUSED = "refused"  # it may not be built here, or breaks a limit


@dataclass(frozen=True, slots=True)
class Finding:
    """One line and what became of it. found: the hash that the repository gives, "" if there is none.

    causes: names of `EXPLANATIONS` for a line that differs. reason: one sentence, "" for a line that is right.
    """

    at: SumLine
    result: Result
    found: str = ""
    causes: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""


class Rebuilds(Protocol):
    """Answers about modules, and about how their hashes could be others; `proxy.service.Service` is the one."""

    async def answer(self, request: ProxyRequest) -> Answer: ...

    async def variants(self, path: str, version: str) -> Variants: ...

    async def variants_at(self, path: str, version: str, commit: str) -> Variants: ...


def request_for(kind: Kind, path: str, version: str) -> ProxyRequest:
    """A question by the same rules as one that comes over HTTP. Raises InvalidRequest."""
    escaped = quote(module.escape_path(path)), quote(module.escape_version(version))
    wanted = proxypath.parse("/{}/@v/{}.info".format(*escaped))
    return ProxyRequest(kind, wanted.path, wanted.version)


class Verifier:
    """Checks lines of go.sum files against what `modules` gives."""

    def __init__(self, modules: Rebuilds, at_once: int = AT_ONCE) -> None:
        self._modules = modules
        self._at_once = at_once

    async def check(self, lines: Iterable[SumLine]) -> AsyncGenerator[Finding, None]:
        """A finding for every line, as they come: those of one version together."""
        versions: dict[tuple[str, str], list[SumLine]] = {}
        for line in lines:
            versions.setdefault((line.line.path, line.line.module_version), []).append(line)
        async with aclosing(each(self._check_version, versions.values(), self._at_once)) as found:
            async for findings in found:
                for finding in findings:
                    yield finding

    async def _check_version(self, lines: Sequence[SumLine]) -> list[Finding]:
        """Zips first: the go.mod comes with them."""
        return [await self._check_line(line) for line in sorted(lines, key=lambda each: each.line.is_gomod)]

    async def _check_line(self, at: SumLine) -> Finding:
        try:
            found = await patiently(lambda: self._hash(at.line))
        except errors.VCSProxyError as err:
            return Finding(at, _result_of(err), reason=err.message, hint=err.hint)
        if found == at.line.h1:
            return Finding(at, Result.OK, found)
        if _is_altered(at.line.h1, found):
            return Finding(at, Result.DIFFERS, found, (ALTERED,), EXPLANATIONS[ALTERED])
        return await self._explained(at, found)

    async def _hash(self, line: Line) -> str:
        kind = Kind.MOD if line.is_gomod else Kind.ZIP
        answer = await self._modules.answer(request_for(kind, line.path, line.module_version))
        return dirhash.hash_gomod(answer.stored.data or b"") if line.is_gomod else answer.stored.h1

    # ---- why a line differs

    async def _explained(self, at: SumLine, found: str) -> Finding:
        try:
            causes, more = await patiently(lambda: self._causes(at.line))
        except errors.VCSProxyError as err:
            causes, more = (UNKNOWN,), f"its causes could not be tried: {err.message}"
        reasons = [EXPLANATIONS[cause] for cause in causes]
        reason = "; ".join([*reasons, *([more] if more else [])])
        return Finding(at, Result.DIFFERS, found, tuple(map(str, causes)), reason)

    async def _causes(self, line: Line) -> tuple[tuple[str, ...], str]:
        """(names of causes, more to say) for a hash that is not that of the version as it is served."""
        path, version = line.path, line.module_version
        served = await _if_there(self._modules.variants(path, version))
        if served is not None:
            causes = _fitting(served, line)
            if causes is not None:
                return causes or (STORE,), ""
        now = await _if_there(self._modules.variants_at(path, version, ""))
        if now is not None and (served is None or now.commit != served.commit):
            causes = _fitting(now, line)
            if causes is not None:
                return (TAG_MOVED, *causes), f"the line is of commit {now.commit[:12]}, where it is now"
            return (TAG_MOVED, UNKNOWN), f"the line is not of commit {now.commit[:12]}, where it is now, either"
        if served is not None and served.pointers and not line.is_gomod:
            return (LFS,), f"{served.pointers} of them"
        return (UNKNOWN,), ""


async def _if_there(question: Awaitable[Variants]) -> Variants | None:
    """The answer; None if the commit is nowhere any more. Raises what is no such answer."""
    try:
        return await question
    except (errors.NotFound, errors.Refused):
        return None


def _fitting(variants: Variants, line: Line) -> tuple[str, ...] | None:
    """The causes that give the line's hash, the fewest; () if it is the right one there, None if none does."""
    for variant in variants.gomods if line.is_gomod else variants.zips:
        if variant.h1 == line.h1:
            return tuple(variant.causes)
    return None


def _is_altered(line: str, found: str) -> bool:
    """Whether two hashes are too alike to be of two contents: by chance one character in 64 is the same."""
    same = sum(one == other for one, other in zip(line, found, strict=False))
    return len(line) != len(found) or same > len(found) * 3 / 4


def _result_of(err: errors.VCSProxyError) -> Result:
    if isinstance(err, errors.HostUnknown | errors.NotSeeded):
        return Result.UNREACHABLE
    if isinstance(err, errors.NotFound | errors.Gone):
        return Result.ABSENT
    return Result.UNREACHABLE if isinstance(err, errors.Unavailable) else Result.REFUSED
