"""What system git says on standard error, as one of our errors.

git's exit status tells nothing, so its English words must: LC_ALL=C keeps them. What is not known here stays an
UpstreamFailed with git's own last words.

Source: git's remote-curl.c, http.c, fetch-pack.c, builtin/index-pack.c; curl's lib/strerror.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vcsproxy import errors
from vcsproxy.build.job import Access, Limits
from vcsproxy.vcs.httpwords import denied
from vcsproxy.vcs.pktline import readable
from vcsproxy.vcs.ssh import SshCommand, diagnosis
from vcsproxy.vcs.wire import NotGiven


class Told(Protocol):
    """Who was spoken to. url: without a user; access, ssh: what they were told, and by which command."""

    host: str
    url: str
    access: Access | None
    ssh: SshCommand | None


@dataclass(frozen=True, slots=True)
class _Spoken:
    to: Told
    limits: Limits


Meaning = Callable[[re.Match[str], _Spoken], errors.VCSProxyError]


def meaning(said: str, to: Told, limits: Limits) -> errors.VCSProxyError:
    """The error that git's words stand for."""
    if to.ssh is not None and _NO_SSH in said:
        return diagnosis(said.partition("fatal: " + _NO_SSH)[0], to.ssh)
    for pattern, means in _WORDS:
        found = pattern.search(said)
        if found is not None:
            return means(found, _Spoken(to, limits))
    return errors.UpstreamFailed(f"git failed: {_last(said) or 'it ended without a word'}")


_NO_SSH = "Could not read from remote repository"


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return _clean(lines[-1]) if lines else ""


def _clean(text: str) -> str:
    return readable(text.encode())


def _denied(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return denied(401, spoken.to.url, spoken.to.access)


def _absent(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return errors.RepositoryNotFound(f"repository {spoken.to.url} not found", "is it private, or has it moved?")


def _status(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    status, to = int(found[1]), spoken.to
    if status in (401, 403):
        return denied(status, to.url, to.access)
    if status in (404, 410):
        return _absent(found, spoken)
    if 300 <= status < 400:
        hint = "map the module path to the repository's present URL with a [[source]]"
        return errors.UpstreamFailed(f"{to.host} redirects the repository {to.url}", hint)
    if status == 429:
        return errors.HostBusy(f"{to.host} asks for patience (HTTP {status})", "it is asked again in 60 s", 60.0)
    message = f"{to.host} answered HTTP {status} for {to.url}"
    if status >= 500:
        return errors.HostUnreachable(message, "the host is in trouble; try again later")
    return errors.UpstreamFailed(message, "is this the URL of a Git repository?")


def _proxy(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    status = int(found[1] or found[2])
    message = f"the proxy for {spoken.to.host} answered HTTP {status}"
    if status in (403, 407):
        return errors.AccessDenied(message, "let its operator check what this server may ask of it")
    return errors.HostUnreachable(message, "is the host up, and may the proxy reach it?")


def _silent(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    hint = "try again; the server's operator can raise limits.idle"
    return errors.HostSilent(f"{spoken.to.host} stopped answering", hint)


def _untrusted(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    host = spoken.to.host
    hint = f'if it has an authority of its own, name its file: [[host]] name = "{host}", ca = "FILE"'
    return errors.UpstreamFailed(f"the certificate of {host} is not trusted: {_clean(found[1])}", hint)


def _no_tls(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    why = f"TLS with {spoken.to.host} failed: {_clean(found[0])}"
    return errors.HostUnreachable(why, "does it speak https on this port?")


def _unreachable(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    why = f"the connection to {spoken.to.host} failed: {_clean(found[0])}"
    return errors.HostUnreachable(why, "is the host up? try again")


def _broke(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return errors.HostUnreachable("the Git host ended its answer in the middle", "try again")


def _damaged(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return errors.HostUnreachable(f"the Git host sent a damaged pack: {_clean(found[0])}", "try again")


def _not_git(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return errors.UpstreamFailed(f"{spoken.to.host} does not serve Git at {spoken.to.url}")


def _too_large(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return errors.Refused(f"the pack is larger than {spoken.limits.pack} bytes")


def _hungry(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    mib = spoken.limits.memory >> 20
    return errors.Refused(f"fetching {spoken.to.url} needs more than {mib} MiB of memory", "limits.memory bounds it")


def _not_given(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return NotGiven(f"the Git host says: {_clean(found[0])}")


def _says(found: re.Match[str], spoken: _Spoken) -> errors.VCSProxyError:
    return errors.UpstreamFailed(f"the Git host says: {_clean(found[1])}")


_WORDS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), means)
    for pattern, means in (
        (r"(?:upload-pack: )?not our ref \w*|.*unadvertised object \w*|want \w+ not valid", _not_given),
        (r"could not read (?:Username|Password) for|terminal prompts disabled", _denied),
        (r"Authentication failed for", _denied),
        (r"HTTP code (\d{3}) from proxy|CONNECT tunnel failed, response (\d{3})", _proxy),
        (r"(?:RPC failed; HTTP|requested URL returned error:) (\d{3})", _status),
        (r"repository '[^']*' not found", _absent),
        (r"Operation too slow|Operation timed out|Connection timed out after", _silent),
        (r"(?:SSL certificate problem: |certificate verif\w+ failed[.:]? ?)(.*)", _untrusted),
        (r"\b(?:SSL|TLS|gnutls_handshake)\b.*", _no_tls),
        (r"Could not resolve host.*|Failed to connect.*|Connection refused|Couldn't connect.*", _unreachable),
        (r"File too large|died of signal 25", _too_large),
        (r"Out of memory.*|Cannot allocate memory", _hungry),
        (r"remote error: (.*)", _says),
        (r"transfer closed|unexpected disconnect|Connection reset|Empty reply", _broke),
        (r"inflate:.*|pack (?:has|is|signature|version)\b.*|unresolved deltas.*|SHA1 COLLISION.*|bad pack.*", _damaged),
        (r"early EOF|hung up unexpectedly", _broke),
        (r"index-pack failed|invalid index-pack output|did not send all necessary objects", _damaged),
        (r"RPC failed; (.*)", _unreachable),
        (r"info/refs not valid|is this a git repository\?|protocol error.*", _not_git),
    )
)
