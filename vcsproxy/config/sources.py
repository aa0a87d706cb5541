"""The tables [[source]] and [[host]]: where repositories are and how their hosts are reached."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from vcsproxy.access.prefix import Prefix
from vcsproxy.config.values import Fault, FilePath, SecretSource, Table, several, split_address, text_of
from vcsproxy.mod.reporoot import SourceRule


class Source(Table):
    """A repository, or a family of them, that the operator names; see `mod.reporoot.SourceRule`."""

    root: str
    url: str
    origin: str = ""
    subdir: str = ""
    tag_prefix: str | None = None
    credential: str = ""
    private: bool = False
    trust_not_found: bool | None = None  # None: unless the source is private
    engine: Literal["dulwich", "git"] = "dulwich"
    offline: bool = False  # answered from the store alone

    @model_validator(mode="after")
    def _check(self) -> Source:
        several(source_faults(dict(self)))
        return self

    def rule(self) -> SourceRule:
        """The rule for `mod.reporoot.static_root`."""
        trusted = not self.private if self.trust_not_found is None else self.trust_not_found
        return SourceRule(
            self.root, self.url, self.origin, self.subdir, self.tag_prefix, self.credential, self.private, trusted,
            self.engine,
        )  # fmt: skip


def source_faults(values: Mapping[str, object]) -> list[Fault]:
    root, url, origin, subdir = (text_of(values, key) for key in ("root", "url", "origin", "subdir"))
    tag_prefix = text_of(values, "tag_prefix") or None
    known = {"root": "x.y", "url": "https://x.y/z"}  # what is missing or no text is told elsewhere
    rule = SourceRule(root or known["root"], url or known["url"], origin, subdir, tag_prefix)
    faults = [_named(problem) for problem in rule.problems()]
    first = root.partition("/")[0]
    if root and "." not in first and "{" not in first:
        faults.append(("root", f"{root!r} is no module path: its first element needs a dot"))
    faults += [("url", problem) for problem in _url_problems(url, _SCHEMES)] if url else []
    faults += [("origin", problem) for problem in _url_problems(origin, ())] if origin else []
    if values.get("engine") == "git" and url.startswith("file:"):
        faults.append(("engine", "a file:// source is read in place and has no use for it"))
    faults += [(key, f"{key} is empty") for key in ("root", "url") if values.get(key) == ""]
    return faults


_SCHEMES = ("https", "http", "file", "ssh")
_SCP = re.compile(r"(?:[\w.\-]+@)?\[?[\w.:{}\-]+?\]?:(?!//)\S+", re.ASCII)
_NAMED = re.compile(r"(root|url|origin|subdir|tag_prefix)\b(?:: )?")


def _named(problem: str) -> tuple[str, str]:
    """(field, sentence) of a problem that starts with the field's name."""
    found = _NAMED.match(problem)
    if found is None:
        return "", problem
    return found[1], problem[found.end() :] if found[0].endswith(": ") else problem


def _url_problems(url: str, schemes: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with a repository URL beyond its templates. `schemes` empty: any, it is only shown."""
    if not url.isprintable() or " " in url:
        yield "must not contain spaces or control characters"
    if url.startswith("-"):
        yield "must not begin with a hyphen"
        return
    scheme, found, rest = url.partition("://")
    if not found:
        if ":" in url.partition("/")[0].rpartition("@")[0]:
            yield "must not contain a password"
        elif schemes and not _SCP.fullmatch(url):
            yield f"must begin with one of {', '.join(s + '://' for s in schemes)} or be like git@host:path"
        return
    if schemes and scheme not in schemes:
        yield f"scheme {scheme[:40]!r} is not one of {', '.join(schemes)}"
    userinfo, at, host = rest.partition("/")[0].rpartition("@")
    if at and ":" in userinfo:
        yield "must not contain a password"
    if host.startswith("-") or userinfo.startswith("-"):
        yield "host and user must not begin with a hyphen"
    if scheme == "file" and not rest.startswith("/"):
        yield "must have an absolute path, as in file:///srv/git/repo"
    elif scheme != "file" and not host:
        yield "has no host"


def literal_prefix(url: str) -> Prefix | None:
    """Where a source's URL template certainly leads: its origin; None if a placeholder decides, or for file://."""
    if "{" in url.partition("://")[2].partition("/")[0] or url.startswith("file:"):
        return None
    try:
        return Prefix.parse(url)
    except ValueError:
        return None


class Host(Table):
    """A host that is reached or trusted in its own way; see `build.job.Host`. Naming it allows private addresses."""

    name: str
    connect: str = ""
    ca: FilePath | None = None
    client_cert: FilePath | None = None
    client_key: FilePath | None = None
    client_key_password: SecretSource = ""
    proxy: str = ""
    insecure: bool = False
    known_hosts: FilePath | None = None
    accept_new_host_key: bool = False
    jump: str = ""

    @model_validator(mode="after")
    def _check(self) -> Host:
        several(host_faults(dict(self)))
        return self


def host_faults(values: Mapping[str, object]) -> list[Fault]:
    """What is wrong with a [[host]] table beyond the types of its values."""
    name, connect, proxy, jump = (text_of(values, key) for key in ("name", "connect", "proxy", "jump"))
    faults = []
    if "name" in values and not _is_host_name(name):
        faults.append(("name", f"{name[:80]!r} is not a host name in lower case"))
    if connect and not _is_dialable(connect):
        faults.append(("connect", f"{connect[:80]!r} is not IP-ADDRESS:PORT"))
    if proxy and not _PROXY.fullmatch(proxy):
        faults.append(("proxy", f"{proxy[:80]!r} is not http://HOST:PORT or https://HOST:PORT, without a user"))
    if jump and not _JUMP.fullmatch(jump):
        faults.append(("jump", f"{jump[:80]!r} is not [USER@]HOST[:PORT] of one host"))
    if values.get("client_key") and not values.get("client_cert"):
        faults.append(("client_key", "is of no use without client_cert"))
    for key in ("ca", "client_cert", "client_key", "known_hosts"):
        file = values.get(key)
        if isinstance(file, str | Path) and str(file) and (problem := _file_problem(key, Path(file))):
            faults.append((key, problem))
    return faults


_PROXY = re.compile(r"https?://[a-z0-9][a-z0-9.\-]*:\d{1,5}/?", re.ASCII)
_JUMP = re.compile(r"(?:[A-Za-z0-9_][\w.+\-]*@)?[a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?(?::\d{1,5})?", re.ASCII)


def _is_host_name(name: str) -> bool:
    return len(name) <= 253 and re.fullmatch(r"[a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?", name, re.ASCII) is not None


def _is_dialable(address: str) -> bool:
    try:
        host, port = split_address(address)
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return port > 0


def _file_problem(key: str, file: Path) -> str:
    """Why a file cannot be what its key says; a missing known_hosts is made when a host key is accepted."""
    try:
        if key == "ca":
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        elif key != "known_hosts" or file.exists():
            with file.open("rb"):
                pass
    except ssl.SSLError:
        return f"{file} holds no PEM certificates"
    except OSError as err:
        return f"{file}: {err.strerror}"
    return ""
