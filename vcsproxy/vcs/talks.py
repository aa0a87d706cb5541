"""A conversation with a host that a worker keeps for its next job: the connection is open, the greeting has been heard.

Only one, and only where `keep` was called: a worker is given jobs of one repository with the same credentials. A host
that has closed the connection meanwhile is noticed by urllib3, which opens another; that the greeting is not asked for
again is as when a job asks two things.
"""

from __future__ import annotations

from collections.abc import Callable

from vcsproxy.build.job import Access, Host, Limits
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.transport import HttpConnection, connect
from vcsproxy.vcs.wire import UploadPack

_Key = tuple[str, tuple[Host, ...], tuple[Access, ...], Limits]


class _Slot:
    """What is kept, if anything is to be."""

    wanted = False
    kept: tuple[_Key, UploadPack, HttpConnection] | None = None


_slot = _Slot()


def keep() -> None:
    """From now on the last conversation of a job is kept for the next one."""
    _slot.wanted = True


def take(url: str, guard: Guard, key: _Key) -> tuple[UploadPack, Callable[[bool], None]]:
    """A conversation, and what to call at its end: with True if it may be gone on with."""
    kept, _slot.kept = _slot.kept, None
    if kept is not None and kept[0] == key:
        talk, connection = kept[1], kept[2]
        connection.resume()
    else:
        if kept is not None:
            kept[2].close()
        opened = connect(url, guard)
        try:
            talk = UploadPack(opened, guard.limits)
        except BaseException:
            opened.close()
            raise
        if not isinstance(opened, HttpConnection):
            return talk, lambda _: opened.close()
        connection = opened

    def end(well: bool) -> None:
        if _slot.wanted and well and talk.version == 2 and _slot.kept is None:
            _slot.kept = key, talk, connection
        else:
            connection.close()

    return talk, end
