"""One module version from elsewhere into the store, after every check that can be made without its repository.

Nothing that comes with it is believed: names and `.info` are checked by Go's rules, the zip is read strictly and packed
anew, its h1 is that of what was packed, and every hash that was claimed must be that one. What the store has already
stays; that is not decided here but by `store.publish`.

This knows no directory and no bundle: `intake` and `bundle` make the offers. It cannot know whether a version is what
its author published: for that, give hashes that you trust (a go.sum, a signed manifest).

Theory of operation: checking, inflating and compressing take long and look at hostile bytes, so they run in a thread.
A process of its own, as builds have, is not needed: these are one-shot commands that serve nobody, the parser is ours
and its memory is bounded by `zipaudit`'s limits, and zlib and hashing let other threads run.

If we crash here: the new zip lies in a workspace, which the next sweep removes; the version is published or it is not.

Source: golang.org/x/mod/zip (CheckZip, Unzip); cmd/go/internal/modfetch/coderepo.go (findDir, legacyGoMod).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from vcsproxy import errors
from vcsproxy.mod import dirhash, modfile, module, modzip, proxypath, pseudo, query, revinfo, zipaudit
from vcsproxy.mod.zipwriter import ZipWriter
from vcsproxy.store import Artifacts, Kind, Store, durable, rules

_NO_INFO = "run go mod download there, in the project or with MODULE@VERSION: the .info that it fetches has the time"
_DIFFERS = "one of the two is damaged or forged; fetch the version again and compare with a go.sum that you trust"


@dataclass(frozen=True, slots=True)
class Claim:
    """A well-formed h1 that somebody says is right; `by` says who, for the message when it is not."""

    h1: str
    by: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One version as it was found. info: None if there is none. zip: an open file, or None for a version without.

    zip_claims, gomod_claims: what the hashes of the zip and of the go.mod file must be, as far as somebody said so.
    """

    path: str
    version: str
    info: bytes | None
    gomod: bytes
    zip: BinaryIO | None = None
    zip_claims: tuple[Claim, ...] = ()
    gomod_claims: tuple[Claim, ...] = ()


class Outcome(Enum):
    """What became of an offer: new here, known already with the same content, sound (but nobody kept it), refused."""

    ADDED = "added"
    PRESENT = "present"
    SOUND = "sound"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one version of many. reason, hint: why it was refused, "" otherwise."""

    path: str
    version: str
    outcome: Outcome
    reason: str = ""
    hint: str = ""


ABOUT_ONE = (errors.InvalidRequest, errors.NotFound, errors.Refused, errors.Corrupt)
"""Errors that say something about one version; all others end the whole work, because the next would fail as well."""


@dataclass(frozen=True, slots=True)
class Examined:
    """An offer that has passed. zip_h1: computed from the contents, "" without a zip."""

    info: bytes
    gomod: bytes
    zip_h1: str


async def admit(store: Store, offer: Offer) -> Outcome:
    """Publish an offer. Equal content that is there already is a success that changes nothing.

    Raises InvalidRequest (names), Refused (content), ModuleChanged (the store has other content), and what
    store.publish raises when the store itself is in trouble.
    """
    small = replace(offer, zip=None)
    if offer.zip is not None and offer.zip_claims and await is_present(store, offer):
        return Outcome.PRESENT
    workspace = await store.workspace()
    try:
        file = workspace / "module.zip" if offer.zip is not None else None
        found = await asyncio.to_thread(examine, offer, file)
        if await _is_same(store, small, found):
            return Outcome.PRESENT
        await store.publish(offer.path, offer.version, Artifacts(found.info, found.gomod, file, found.zip_h1))
        return Outcome.ADDED
    finally:
        await store.discard(workspace)


async def is_present(store: Store, offer: Offer) -> bool:
    """Whether the store has all that an offer claims to be, so that its zip need not be looked at: none of it is taken.

    False when the offer claims no h1 of its zip, and when anything is missing or differs. Raises what admit does for
    what is wrong with names, `.info` and go.mod.
    """
    small = replace(offer, zip=None)
    hashes = {claim.h1 for claim in offer.zip_claims}
    if len(hashes) != 1:
        return False
    found = await asyncio.to_thread(examine, small, None)
    return await _is_same(store, small, replace(found, zip_h1=hashes.pop()))


async def _is_same(store: Store, offer: Offer, found: Examined) -> bool:
    """Whether the store has it. An `.info` that does not say which commit it is does not contradict one that does."""
    info = await store.find(offer.path, offer.version, Kind.INFO)
    gomod = await store.find(offer.path, offer.version, Kind.MOD)
    if info is None or info.data is None or gomod is None or gomod.data != found.gomod:
        return False
    old, new = rules.facts(info.data), rules.facts(found.info)
    if old.time != new.time or (old.commit != new.commit and old.commit and new.commit):
        return False
    if not found.zip_h1:
        return True
    zipped = await store.find(offer.path, offer.version, Kind.ZIP)
    return zipped is not None and zipped.h1 == found.zip_h1


def refused(path: str, version: str, err: errors.VCSProxyError) -> Result:
    """The result for a version that was not taken."""
    about = f"{path}@{version}: "
    return Result(path, version, Outcome.REFUSED, err.message.removeprefix(about), err.hint)


# --- what an offer must be ---


def examine(offer: Offer, pack: Path | None) -> Examined:
    """Check everything about an offer, and write its zip anew to `pack` if that is given. Blocking; see admit."""
    check_names(offer.path, offer.version)
    about = f"{offer.path}@{offer.version}"
    try:
        info = _checked_info(offer)
        _check_gomod(offer)
        h1 = "" if offer.zip is None else _examine_zip(offer, offer.zip, pack)
    except errors.Refused as err:
        raise errors.Refused(f"{about}: {err.message}", err.hint) from None
    except errors.NotFound as err:  # a name that no zip or hash can hold
        raise errors.Refused(f"{about}: {err.message}") from None
    except OSError as err:
        known = durable.explain(err)
        full = isinstance(known, errors.Overloaded)
        raise known if full else errors.Refused(f"{about}: its zip cannot be read: {err.strerror}") from err
    return Examined(info, offer.gomod, h1)


def check_names(path: str, version: str) -> None:
    """Raise InvalidRequest unless a published version can be called so."""
    module.check(path, version)
    if len(path) > proxypath.MAX_PATH or len(version) > proxypath.MAX_VERSION:
        raise errors.InvalidRequest(f"{path[:80]}...: the module path or version is too long")
    canonical = module.canonical_version(version)
    if canonical != version:
        raise errors.InvalidRequest(f'{path}@{version}: version is not canonical (should be "{canonical}")')


def _checked_info(offer: Offer) -> bytes:
    if offer.info is not None:
        revinfo.parse(offer.info, offer.version)
        return offer.info
    if not pseudo.is_pseudo_version(offer.version):
        raise errors.Refused("it has no .info, and its version does not say when it was made", _NO_INFO)
    return revinfo.of_pseudo_version(offer.version)


def _check_gomod(offer: Offer) -> None:
    """The module line must have the major version of the path, as for a version that is built here."""
    if len(offer.gomod) > modzip.MAX_GO_MOD:
        raise errors.Refused(f"go.mod file too large (max size is {modzip.MAX_GO_MOD} bytes)")
    _check_claims("go.mod", dirhash.hash_gomod(offer.gomod), offer.gomod_claims)
    declared = modfile.module_path(offer.gomod)
    major = module.split_path_version(offer.path)[1]
    if query.is_major(declared, major) or (not major and declared.startswith("gopkg.in/")):
        return
    why = f"declares {declared[:200]!a}, which does not fit" if declared else "has no module path"
    raise errors.Refused(f"go.mod {why}")


def _examine_zip(offer: Offer, file: BinaryIO, pack: Path | None) -> str:
    known = os.fstat(file.fileno())
    if not stat.S_ISREG(known.st_mode):
        raise errors.Refused("zip: not a regular file")
    found = zipaudit.audit(file, known.st_size, offer.path, offer.version)
    _check_same_gomod(offer, found.gomod())
    h1 = found.h1() if pack is None else _repacked(offer, found, pack)
    _check_claims("zip", h1, offer.zip_claims)
    return h1


def _check_same_gomod(offer: Offer, inside: bytes | None) -> None:
    if inside is None and module.split_path_version(offer.path)[1].startswith("/"):
        raise errors.Refused("its zip has no go.mod, which a module of that major version must have")
    right = modfile.legacy_gomod(offer.path) if inside is None else inside
    if right != offer.gomod:
        here, there = dirhash.hash_gomod(offer.gomod), dirhash.hash_gomod(right)
        where = "the one in its zip" if inside is not None else "the one that stands for none in its zip"
        raise errors.Refused(f".mod differs from {where}: {here} and {there}", _DIFFERS)


def _repacked(offer: Offer, found: zipaudit.Audit, pack: Path) -> str:
    with pack.open("xb") as out:
        h1 = found.repack(ZipWriter(out, offer.path, offer.version))
        if out.tell() > modzip.MAX_ZIP_FILE:  # it was packed harder than we do, and go would refuse it now
            raise errors.Refused("zip: too large when packed anew")
        return h1


def _check_claims(what: str, h1: str, claims: Iterable[Claim]) -> None:
    for claim in claims:
        if claim.h1 != h1:
            raise errors.Refused(f"{what} hash differs: {h1} by its contents, {claim.h1} by {claim.by}", _DIFFERS)
