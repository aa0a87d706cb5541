"""The configuration of the scratch repository that system git works in: everything off that could run or fetch more.

It is a text; secrets are no part of it. What the operator says of a host is here as well: authority, certificate, proxy
and the address to which its name leads.

Objects are not checked by git's fsck (`transfer.fsckObjects`): `go` fetches without that, and a module that it accepts
must not be refused for the odd tree of an old commit. Objects are parsed here with care in any case.

Source: git-config(1).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from vcsproxy.build.job import Host

Section = tuple[str, str, dict[str, str]]
"""Name, sub-section or "", and values."""

_CLOSED: tuple[Section, ...] = (
    ("core", "", {
        "bare": "true", "hooksPath": "/dev/null", "fsmonitor": "false", "askPass": "", "attributesFile": "/dev/null",
        "excludesFile": "/dev/null", "logAllRefUpdates": "false",
    }),
    ("protocol", "", {"version": "2", "allow": "never"}),
    ("transfer", "", {"bundleURI": "false", "fsckObjects": "false"}),
    ("fetch", "", {"unpackLimit": "1", "recurseSubmodules": "false", "uriProtocols": "", "writeCommitGraph": "false"}),
    ("gc", "", {"auto": "0"}),
    ("maintenance", "", {"auto": "false"}),
    ("submodule", "", {"recurse": "false"}),
    ("credential", "", {"helper": "", "useHttpPath": "false"}),
    ("advice", "", {"fetchShowForcedUpdates": "false"}),
)  # fmt: skip


def text(sections: Sequence[Section]) -> str:
    """A configuration file."""
    lines = []
    for name, sub, values in sections:
        lines.append(f"[{name} {_quoted(sub)}]" if sub else f"[{name}]")
        lines += [f"\t{key} = {_quoted(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def closed(object_format: str) -> list[Section]:
    """What holds for every scratch repository."""
    formatted: list[Section] = [("core", "", {"repositoryFormatVersion": "1"})]
    return [*formatted, ("extensions", "", {"objectFormat": object_format}), *_CLOSED]


def http(rule: Host | None, resolve: str, proxy: str, idle: float) -> Section:
    """How an HTTP host is reached. resolve: HOST:PORT:ADDRESS of whom git connects to; proxy: its URL, "" for none."""
    values = {
        "followRedirects": "false", "sslVersion": "tlsv1.2", "userAgent": "git/2.0 (vcsproxy)", "emptyAuth": "false",
        "proxyAuthMethod": "basic",
        "delegation": "none", "saveCookies": "false", "proxy": proxy, "curloptResolve": resolve,
        # Less than nothing for so long is silence; a host that prepares a pack sends a few bytes now and then.
        "lowSpeedLimit": "1", "lowSpeedTime": str(max(1, int(idle))),
    }  # fmt: skip
    return "http", "", values | (_trust(rule) if rule is not None else {})


def _trust(rule: Host) -> dict[str, str]:
    values = {"sslCAInfo": rule.ca} if rule.ca else {}
    if rule.client_cert:
        values |= {"sslCert": rule.client_cert, "sslKey": rule.client_key or rule.client_cert}
    if rule.insecure:
        values["sslVerify"] = "false"
    if rule.client_key_password:
        values["sslCertPasswordProtected"] = "true"
    return values


def helper(origin: str, pipe: str) -> Section:
    """A credential helper for one origin that reads its answer from a pipe; nobody else is asked."""
    return "credential", origin, {"helper": f'!f() {{ test "$1" = get && cat {shlex.quote(pipe)}; }}; f'}


def key_helper(pipe: str) -> Section:
    """The same for the password of the key of our certificate, which git asks for as it does for that of a host."""
    ours = r'test "$1" = get && grep -q "^protocol=cert\$"'
    return "credential", "", {"helper": f"!f() {{ {ours} && cat {shlex.quote(pipe)}; }}; f"}
