"""The table [[credential]]: how a Git host is told who we are. It says where secrets are, never what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

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
    "helper": (("command",), ()),
}
SSH_KINDS = ("ssh-key", "ssh-agent")


class Credential(Table):
    """One credential. `url` is the prefix to which it may go; without one only sources that name it use it."""

    name: str
    kind: Kind
    url: str = ""
    user: str = ""
    password: SecretSource = ""
    token: SecretSource = ""
    key: SecretSource = ""
    passphrase: SecretSource = ""
    socket: str = ""  # of an ssh-agent; "" is $SSH_AUTH_SOCK of this process
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


def credential_faults(values: Mapping[str, object]) -> list[Fault]:
    """What is wrong with a [[credential]] table beyond the types of its values."""
    kind, url = text_of(values, "kind"), text_of(values, "url")
    faults = []
    if kind in KEYS:
        needed, allowed = KEYS[kind]
        known = ("name", "kind", "url", *needed, *allowed)
        faults += [(key, f'is required for kind = "{kind}"') for key in needed if not values.get(key)]
        given = [key for key in values if key in Credential.model_fields and key not in known]
        faults += [(key, f'has no meaning for kind = "{kind}"') for key in given]
    if url:
        faults += [("url", problem) for problem in _url_problems(url, kind)]
    if kind == "helper" and not url:
        faults.append(("url", "is required: a helper is asked for one host"))
    api = text_of(values, "api")
    if api and not api.startswith("https://"):
        faults.append(("api", "must be an https:// URL"))
    for key in ("file", "public_key"):
        path = values.get(key)
        if isinstance(path, str | Path) and str(path) and not Path(path).is_file():
            faults.append((key, f"{path}: no such file"))
    return faults


def _url_problems(url: str, kind: str) -> list[str]:
    try:
        prefix = Prefix.parse(url)
    except ValueError as bad:
        return [str(bad)]
    wanted = "ssh" if kind in SSH_KINDS else "https"
    if kind in KEYS and prefix.scheme != wanted:
        return [f'must begin with {wanted}:// for kind = "{kind}": credentials are never sent in the clear']
    return []
