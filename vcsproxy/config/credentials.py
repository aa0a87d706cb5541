"""The table [[credential]]: how a Git host is told who we are. It says where secrets are, never what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from vcsproxy.access.prefix import Prefix
from vcsproxy.config.values import Fault, FilePath, SecretSource, Table, several, text_of

Kind = Literal["basic", "bearer", "ssh-key", "ssh-agent", "netrc", "github-app", "helper"]

# What each kind needs, and what it may have besides `name`, `url` and `kind`.
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "basic": (("password",), ("user",)),
    "bearer": (("token",), ()),
    "ssh-key": (("key",), ("user", "passphrase")),
    "ssh-agent": ((), ("user", "socket", "public_key")),
    "netrc": (("file",), ()),
    "github-app": (("app_id", "installation_id", "key"), ("api",)),
    "helper": (("command",), ("user",)),
}
SSH_KINDS = ("ssh-key", "ssh-agent")

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.\-]{0,62}[A-Za-z0-9])?", re.ASCII)
_LOGIN = re.compile(r"[A-Za-z0-9_][\w.+\-]*", re.ASCII)  # for SSH, whose command line it is on
_IDS = {"app_id": re.compile(r"\d+|Iv[\w.]+", re.ASCII), "installation_id": re.compile(r"\d+", re.ASCII)}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)
_WALKS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|%|//")


class Credential(Table):
    """One credential. `url` is the prefix to which it may go; without one only sources that name it use it.

    A netrc without `url` goes to every machine in it, at https://MACHINE.
    """

    name: str
    kind: Kind
    url: str = ""
    user: str = ""
    password: SecretSource = ""
    token: SecretSource = ""
    key: SecretSource = ""
    passphrase: SecretSource = ""
    socket: FilePath | None = None  # of an ssh-agent; None is $SSH_AUTH_SOCK of this process
    public_key: FilePath | None = None
    file: FilePath | None = None
    app_id: int | str = ""
    installation_id: int | str = ""
    api: str = "https://api.github.com"
    command: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check(self) -> Credential:
        several(credential_faults(self.model_dump(exclude_unset=True)))
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """Every URL that it names: where it goes, and where its tokens come from."""
        return tuple(url for url in (self.url, self.api if self.kind == "github-app" else "") if url)


def credential_faults(values: Mapping[str, object]) -> list[Fault]:
    """What is wrong with a [[credential]] table beyond the types of its values."""
    kind, url, name = text_of(values, "kind"), text_of(values, "url"), text_of(values, "name")
    faults = _key_faults(values, kind) if kind in KEYS else []
    if "name" in values and isinstance(values["name"], str) and not _NAME.fullmatch(name):
        faults.append(("name", "must be a short name of letters, digits, dots and hyphens"))
    if url:
        faults += [("url", problem) for problem in _url_problems(url, "ssh" if kind in SSH_KINDS else "https", kind)]
    api = text_of(values, "api")
    if api:
        faults += [("api", problem) for problem in _url_problems(api, "https", kind)]
    faults += _user_faults(text_of(values, "user"), kind)
    faults += _id_faults(values)
    faults += _command_faults(values.get("command"))
    return [*faults, *_file_faults(values)]


def _key_faults(values: Mapping[str, object], kind: str) -> list[Fault]:
    needed, allowed = KEYS[kind]
    known = ("name", "kind", "url", *needed, *allowed)
    faults = [(key, f'is required for kind = "{kind}"') for key in needed if not values.get(key)]
    given = [key for key in values if key in Credential.model_fields and key not in known]
    faults += [(key, f'has no meaning for kind = "{kind}"') for key in given]
    if kind == "helper" and not values.get("url"):
        faults.append(("url", "is required: a helper is asked for one host"))
    return faults


def _url_problems(url: str, scheme: str, kind: str) -> Iterator[str]:
    """What is wrong with a prefix; nothing of it is repeated, there may be a password in it."""
    try:
        prefix = Prefix.parse(url)
        parts = urlsplit(url)
    except ValueError as bad:
        yield str(bad)
        return
    if not url.isprintable() or any(c in url for c in ' \\{}"'):
        yield "must not contain spaces, backslashes, quotation marks or placeholders"
    if not _HOST.fullmatch(prefix.host):
        yield "must name one host"
    if kind in KEYS and prefix.scheme != scheme:
        yield f'must begin with {scheme}:// for kind = "{kind}": credentials are never sent in the clear'
    if "://" in url and (parts.query or parts.fragment or "?" in url or "#" in url):
        yield "must not have a query or a fragment"
    if "://" in url and parts.password is not None:
        yield "must not contain a password"
    elif prefix.scheme == "https" and "@" in parts.netloc:
        yield "must not contain a user; the key user is for that"
    if _WALKS.search(prefix.path):
        yield "must have a plain path, without dots, percent signs and empty elements"


def _user_faults(user: str, kind: str) -> Iterator[Fault]:
    if not user:
        return
    if kind in SSH_KINDS and not _LOGIN.fullmatch(user):
        yield "user", "is not a login name"
    elif not user.isprintable() or ":" in user:
        yield "user", "must not contain colons or control characters"


def _id_faults(values: Mapping[str, object]) -> Iterator[Fault]:
    for key, pattern in _IDS.items():
        value = values.get(key, "")
        if isinstance(value, int | str) and str(value) and not pattern.fullmatch(str(value)):
            yield key, "must be the number that GitHub's settings show" + (", or the client ID" * (key == "app_id"))


def _command_faults(command: object) -> Iterator[Fault]:
    if isinstance(command, list | tuple) and command:
        words = [word for word in command if isinstance(word, str)]
        if not words or not words[0] or any("\0" in word for word in words):
            yield "command", "must be a program and its arguments"


def _file_faults(values: Mapping[str, object]) -> Iterator[Fault]:
    for key in ("file", "public_key"):
        path = values.get(key)
        if isinstance(path, str | Path) and str(path) and not Path(path).expanduser().is_file():
            yield key, f"{path}: no such file"
    socket = values.get("socket")
    if isinstance(socket, str | Path) and str(socket) and not Path(socket).expanduser().is_absolute():
        yield "socket", "must be an absolute path"
