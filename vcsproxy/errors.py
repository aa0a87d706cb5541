"""The one exception tree, split by what we know.

VCSProxyError              .hint: what the reader can do about it; never a secret
├─ InvalidRequest          the caller's fault: bad path, bad version, bad query
├─ NotFound                proven absence: `go` in direct mode would say no as well
├─ Gone                    withdrawn by the operator
├─ Denied                  Unauthenticated, Forbidden
├─ Refused                 exists, but breaks a limit or a promise
│  └─ ModuleChanged        a version would change its bytes
├─ Unavailable             unknown now, ask again
│  ├─ UpstreamFailed       the Git host or the go-import page failed
│  ├─ Overloaded           our own queue or disk is full
│  └─ DeadlineExceeded     the work took longer than its budget
├─ Corrupt                 our own state fails a check
└─ ConfigError             one group with every fault found

The message is one short sentence for the developer at the terminal; `hint` says what to do. Neither ever holds a
secret. `web/respond.py` maps each class to a status; `build/job.py` carries them over the process boundary by name.
"""

from __future__ import annotations

from collections.abc import Sequence


class VCSProxyError(Exception):
    """Root of everything that vcsproxy raises on purpose."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidRequest(VCSProxyError):
    """The caller asked for something that cannot be meant: malformed path, version or escape."""


class NotFound(VCSProxyError):
    """Proven absence: the repository answered and it is not there, or Go's rules say that it is no module."""


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


class Unavailable(VCSProxyError):
    """Nothing is known now: neither that it exists nor that it does not."""


class UpstreamFailed(Unavailable):
    """The Git host, or the page that names the repository, failed or made no sense."""


class Overloaded(Unavailable):
    """This server has no room for the work now."""


class DeadlineExceeded(Unavailable):
    """The work took longer than its budget and was ended."""


class Corrupt(VCSProxyError):
    """Our own state fails a check."""


class ConfigError(VCSProxyError):
    """The configuration cannot be used; `faults` has every fault found, each with its key path."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults), "mend these and try again")
        self.faults = tuple(faults)
