"""Walking the tree of a store for its modules. Blocking: for the threads of `disk`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from vcsproxy import errors
from vcsproxy.mod import module
from vcsproxy.store import durable, publication


def places(tree: int) -> Iterator[tuple[str, int]]:
    """(escaped module path, its open directory) of every module that has an `@v`, below the open root `tree`."""
    for where, names, _, directory in os.fwalk(".", dir_fd=tree):
        names.sort()
        if "@v" in names:
            names.remove("@v")
            yield where.removeprefix("./"), directory


def modules(tree: int) -> Iterator[str]:
    """The path of every module that has a published version; what is no module's directory is passed over."""
    for escaped, directory in places(tree):
        if _has_published(directory):
            with suppress(errors.InvalidRequest):
                yield module.unescape_path(escaped)


def _has_published(directory: int) -> bool:
    try:
        with durable.opened("@v", durable.DIRECTORY, directory) as versions:
            return any(True for _ in publication.published(os.listdir(versions)))
    except OSError:
        return False
