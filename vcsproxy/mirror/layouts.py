"""Where others keep module versions on disk: which files belong to which version. It reads names, and trusts none.

    modcache   DIR/cache/download/<escaped path>/@v/<escaped version>.info .mod .zip .ziphash
    proxy      DIR/<escaped path>/@v/<escaped version>.info .mod .zip, .ziphash if it has them
    athens     DIR/<path>/<version>/go.mod, source.zip and <version>.info, nothing escaped

No symbolic link below DIR is followed. What proxies keep of branches (`main.info`), lists, locks: no versions, passed
over.

Source: cmd/go/internal/modfetch/cache.go; GOPROXY protocol (go help goproxy); gomods/athens pkg/storage/fs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vcsproxy import errors
from vcsproxy.mod import module
from vcsproxy.store import rules

_DOWNLOAD = Path("cache", "download")
_ENDINGS = (".info", ".mod", ".zip", ".ziphash")


class Layout(Enum):
    """The layouts, under the names that the command line has for them."""

    MODCACHE = "modcache"
    ATHENS = "athens"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Found:
    """The files of one version; None for what is not there. path, version: unescaped, and not checked.

    fault: why the names cannot be unescaped; path and version are as found then.
    """

    path: str
    version: str
    info: Path | None
    gomod: Path | None
    zip: Path | None
    ziphash: Path | None
    fault: str = ""


def detect(directory: Path) -> tuple[Layout, Path]:
    """The layout of a directory, and where in it the versions are. Raises InvalidRequest when it holds none."""
    if (directory / _DOWNLOAD).is_dir():
        return Layout.MODCACHE, directory / _DOWNLOAD
    for parent, directories, names in os.walk(directory):
        directories.sort()
        if "@v" in directories:
            is_cache = directory.absolute().parts[-2:] == _DOWNLOAD.parts
            return Layout.MODCACHE if is_cache else Layout.PROXY, directory
        if {"go.mod", "source.zip", f"{os.path.basename(parent)}.info"} <= set(names):
            return Layout.ATHENS, directory
    hint = "name a GOMODCACHE, the directory of a GOPROXY=file:// tree, or Athens' disk storage"
    raise errors.InvalidRequest(f"{directory}: no module versions there", hint)


def locate(layout: Layout, directory: Path) -> Path:
    """Where the versions are if the layout is known. Raises InvalidRequest when there is no such directory."""
    below = directory / _DOWNLOAD
    found = below if layout is Layout.MODCACHE and below.is_dir() else directory
    if not found.is_dir():
        raise errors.InvalidRequest(f"{directory}: no such directory")
    return found


def walk(layout: Layout, root: Path) -> Iterator[Found]:
    """Every version, in the order of directories, then of names. Blocking. Raises OSError for what cannot be listed."""
    for parent, directories, names in os.walk(root, onerror=_fail):
        directories.sort()
        if layout is Layout.ATHENS:
            yield from _of_athens(root, Path(parent), names)
        elif "@v" in directories:
            directories.remove("@v")
            yield from _of_proxy(root, Path(parent))


def _fail(err: OSError) -> None:
    raise err


def _of_athens(root: Path, parent: Path, names: Iterable[str]) -> Iterator[Found]:
    there = set(names)
    info = f"{parent.name}.info"
    if parent == root or not ("source.zip" in there or info in there):
        return
    info_file, gomod, zipped = ((parent / name if name in there else None) for name in (info, "go.mod", "source.zip"))
    path = parent.parent.relative_to(root).as_posix()
    yield Found(path, parent.name, info_file, gomod, zipped, None)


def _of_proxy(root: Path, parent: Path) -> Iterator[Found]:
    directory = parent / "@v"
    if directory.is_symlink():
        return
    there = set(os.listdir(directory))
    escaped = parent.relative_to(root).as_posix()
    for stem in sorted({name.removesuffix(end) for name in there for end in _ENDINGS[:3] if name.endswith(end)}):
        files = {end: directory / (stem + end) for end in _ENDINGS if stem + end in there}
        found = _named(escaped, stem, files)
        if found.gomod or found.zip or (not found.fault and rules.is_canonical(found.version)):
            yield found


def _named(escaped: str, stem: str, files: Mapping[str, Path]) -> Found:
    path, version, fault = escaped, stem, ""
    try:
        path, version = module.unescape_path(escaped), module.unescape_version(stem)
    except errors.InvalidRequest as err:
        fault = err.message
    info, gomod, zipped, ziphash = map(files.get, _ENDINGS)
    return Found(path, version, info, gomod, zipped, ziphash, fault)
