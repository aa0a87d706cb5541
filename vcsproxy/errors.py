"""The one exception tree, split by what we know.

VCSProxyError              .hint: what the reader can do about it; never a secret
├─ InvalidRequest          the caller's fault: bad path, bad version, bad query
├─ NotFound                proven absence: `go` in direct mode would say no as well
│  ├─ RepositoryNotFound   the host says that there is no such repository
│  ├─ HostUnknown          there is no host of that name
│  └─ NotSeeded            an offline server does not have it, and cannot look for it
├─ Gone                    withdrawn by the operator
├─ Denied                  Unauthenticated, Forbidden
├─ Refused                 exists, but breaks a limit or a promise
│  ├─ ModuleChanged        a version would change its bytes
│  └─ SumMismatch          a version has other hashes than a go.sum says
├─ Unavailable             unknown now, ask again
│  ├─ UpstreamFailed       the Git host or the go-import page failed, or made no sense
│  │  ├─ AccessDenied      it wants a credential, or refuses the one it got
│  │  ├─ HostUnreachable   no connection, or it broke: worth a second try
│  │  └─ HostBusy          it asked for patience; HostPaused: it has failed too often to be asked now
│  ├─ Overloaded           our own queue or disk is full
│  └─ DeadlineExceeded     the work took longer than its budget
│     └─ HostSilent        the Git host stopped answering
├─ Corrupt                 our own state fails a check
└─ ConfigError             one group with every fault found

The message is one short sentence for the developer at the terminal; `hint` says what to do. Neither ever holds a
secret. `web/respond.py` maps each class to a status; `build/job.py` carries them over the process boundary by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcsproxy.trace import Step


class VCSProxyError(Exception):
    """Root of everything that vcsproxy raises on purpose."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.steps: Sequence[Step] = ()  # what was done before it happened, if somebody recorded that

    def __str__(self) -> str:
        return self.message


class InvalidRequest(VCSProxyError):
    """The caller asked for something that cannot be meant: malformed path, version or escape."""


class NotFound(VCSProxyError):
    """Proven absence: the repository answered and it is not there, or Go's rules say that it is no module."""


class RepositoryNotFound(NotFound):
    """The host says that there is no such repository; hosts say so of some that they do not want to show, too."""


class HostUnknown(NotFound):
    """No name server knows a host of that name."""


class NotSeeded(NotFound):
    """An offline server does not have it; it proves nothing about the repository."""


class Gone(VCSProxyError):
    """Withdrawn on purpose by the operator."""


class Denied(VCSProxyError):
    """The caller may not have this."""


class Unauthenticated(Denied):
    """No credentials, or bad ones."""


class Forbidden(Denied):
    """Known caller, or anonymous, without the right."""


class Refused(VCSProxyError):
    """It exists, but serving it would break a limit or a promise."""


class ModuleChanged(Refused):
    """A version that was served before would now have other bytes."""


class SumMismatch(Refused):
    """A version does not have the hash that a go.sum has of it."""


class Unavailable(VCSProxyError):
    """Nothing is known now: neither that it exists nor that it does not.

    retry_after: seconds after which asking again makes sense, 0 when nobody can say.
    """

    def __init__(self, message: str, hint: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class UpstreamFailed(Unavailable):
    """The Git host, or the page that names the repository, failed or made no sense."""


class AccessDenied(UpstreamFailed):
    """The Git host wants a credential, or refuses the one it got. It proves neither presence nor absence."""


class HostUnreachable(UpstreamFailed):
    """No connection to the host, or it broke, or the host itself is in trouble."""


class HostBusy(UpstreamFailed):
    """The host asked for patience."""


class HostPaused(HostBusy):
    """The host, or a repository there, failed so often that it is not asked for a while."""


class Overloaded(Unavailable):
    """This server has no room for the work now."""


class DeadlineExceeded(Unavailable):
    """The work took longer than its budget and was ended."""


class HostSilent(DeadlineExceeded):
    """The Git host stopped answering."""


class Corrupt(VCSProxyError):
    """Our own state fails a check."""


class ConfigError(VCSProxyError):
    """The configuration cannot be used; `faults` has every fault found, each with its key path."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults), "mend these and try again")
        self.faults = tuple(faults)
