"""What a worker does besides its jobs: it gets ready, and keeps a conversation from one job to the next.

To get ready is to rehearse (`build/rehearsal.py`). The fork server does it once, for all its children to share; a
waiting worker does it again, to have pages of its own for what every job writes to.
"""

from __future__ import annotations

from vcsproxy import errors
from vcsproxy.build.rehearsal import Stage
from vcsproxy.build.run import run
from vcsproxy.vcs import talks

__all__ = ["begin", "rehearse", "run"]

_stage: Stage | None = None


def begin() -> None:
    """Called by a worker before its first job."""
    rehearse()
    talks.keep()


def rehearse() -> None:
    """Do a job of each common kind. A disk that cannot be written costs the rehearsal only."""
    global _stage  # noqa: PLW0603 - made once by the fork server; its children inherit it
    try:
        if _stage is None:
            _stage = Stage()
        _stage.play(run)
    except (OSError, errors.VCSProxyError):
        return
