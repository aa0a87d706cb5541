"""What ssh, and the Git host behind it, say on standard error, as one of our errors.

ssh's exit status tells nothing, so its English words must: LC_ALL=C keeps them. Everything said may be the host's own
invention, so it is only ever chosen from: names, ports and files in messages and hints are the configuration's.

Source: OpenSSH's sshconnect.c, sshconnect2.c, packet.c and channels.c; what GitHub, GitLab, Bitbucket, Gitea, Azure
DevOps, Gerrit, gitolite and git-shell answer.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from vcsproxy import errors
from vcsproxy.build.job import Access

_MAX_REASON = 160  # characters
_MAX_LOG = 16 << 10  # bytes

_ABSENT = re.compile(
    r"does not appear to be a git repository|repository (?:\S{1,200} )?(?:not found|does not exist)"
    r"|project you were looking for could not be found|access denied or repository not exported"
    r"|(?:cannot|could not) find repository|no such repository|project (?:\S{1,200} )?not found|\bTF401019\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"permission (?:to \S{1,200} )?denied|too many authentication failures|access denied|\bdenied by\b", re.IGNORECASE
)
_LOST = re.compile(
    r"connection (?:refused|reset|timed out|closed|to \S{1,200} (?:closed|timed out))|timed out|no route to host"
    r"|network is unreachable|kex_exchange_identification|broken pipe|lost connection|not responding",
    re.IGNORECASE,
)
# Lines in which ssh repeats what somebody said who has not shown yet that he is the host.
_STRANGER = re.compile(
    r"(?:received disconnect|disconnected from|bad (?:remote )?protocol|protocol major|unable to negotiate|\w*exchange"
    r"|ssh_\w+:|banner).*",
    re.IGNORECASE,
)
_NO_WAY_ON = "stdio forwarding failed"  # the jump host was reached, and could not reach the next


@dataclass(frozen=True, slots=True)
class Party:
    """A host that was spoken to: its name and port, the credential it was shown, the file that should have its key."""

    name: str
    port: int
    access: Access | None
    known_hosts: str

    @property
    def alias(self) -> str:
        """Its name in known_hosts files, as ssh-keyscan writes it."""
        return self.name if self.port == 22 else f"[{self.name}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Jump(Party):
    """A host on the way. log: the file to which the ssh that leads there writes what it says."""

    log: str

    def said(self) -> str:
        try:
            with open(self.log, "rb") as log:
                return log.read(_MAX_LOG).decode("utf-8", "replace")
        except OSError:
            return ""


def meaning(said: str, goal: Party, jump: Jump | None = None) -> errors.VCSProxyError:
    """The error that the words stand for, when `goal` was to be reached, perhaps through `jump`."""
    before = jump.said() if jump is not None and _LOST.search(said) else ""
    if jump is None or not before.strip():
        return _absent(said, goal) or _meaning(said, goal)
    if _NO_WAY_ON not in before:
        return _meaning(before, jump)
    message = f"{jump.name} cannot connect to {goal.name} port {goal.port}: {_reason(before, _NO_WAY_ON)}"
    return errors.HostUnreachable(message, f"is the host up, and may {jump.name} reach it?")


def _absent(said: str, party: Party) -> errors.RepositoryNotFound | None:
    """Only a host that has shown its key can say so; what is in the lines of a stranger proves nothing."""
    proven = "\n".join(line for line in said.splitlines() if not _STRANGER.match(line))
    if not _ABSENT.search(proven):
        return None
    message = f"{party.name} says that there is no such repository"
    return errors.RepositoryNotFound(message, "check the source's url")


def _meaning(said: str, party: Party) -> errors.VCSProxyError:
    if "IDENTIFICATION HAS CHANGED" in said:
        return _changed(party)
    if "Host key verification failed" in said:
        return _unknown(party)
    if _DENIED.search(said):
        return _refused(party, said)
    return _other(party, said)


def _unknown(party: Party) -> errors.UpstreamFailed:
    hint = f"check its fingerprint, then: {_scan(party)} (or accept_new_host_key = true for the host)"
    return errors.UpstreamFailed(f"the host key of {party.name} is not known", hint)


def _changed(party: Party) -> errors.UpstreamFailed:
    forget = f"ssh-keygen -R {shlex.quote(party.alias)} -f {_known_hosts(party)}"
    hint = f"only if its operator says that the key was replaced: {forget}; then {_scan(party)}"
    return errors.UpstreamFailed(f"the host key of {party.name} has changed; somebody may be in between", hint)


def _scan(party: Party) -> str:
    return f"ssh-keyscan -p {party.port} {party.name} >> {_known_hosts(party)}"


def _known_hosts(party: Party) -> str:
    return shlex.quote(party.known_hosts) if party.known_hosts else "FILE"


def _refused(party: Party, said: str) -> errors.AccessDenied:
    if party.access is None:
        place = party.name if party.port == 22 else f"{party.name}:{party.port}"
        hint = f'add a [[credential]] with kind = "ssh-key" and url = "ssh://{place}"'
        return errors.AccessDenied(f"{party.name} needs a credential", hint)
    hint = "let its key read the repository, and check the user name in the source's url"
    if "Too many authentication failures" in said and not party.access.public_keys:
        hint = "its agent has more keys than the host is patient: name the one to offer with public_key"
    return errors.AccessDenied(f"{party.name} refuses the credential {party.access.name}", hint)


def _other(party: Party, said: str) -> errors.VCSProxyError:
    reason = _reason(said)
    message = f"ssh to {party.name} port {party.port} failed: {reason or 'it ended without a word'}"
    if not reason or _LOST.search(said):
        return errors.HostUnreachable(message, "is the host up, and the port right?")
    return errors.UpstreamFailed(message, "the words are those of ssh or of the host")


def _reason(said: str, but: str = "") -> str:
    """The last line that can be read, and is not `but`."""
    for line in reversed(said.splitlines()):
        clean = "".join(c if c.isprintable() else " " for c in line).strip()
        if clean and clean != but:
            return clean[:_MAX_REASON]
    return ""
