"""The settings of the server itself, and the whole configuration as one value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, Field, model_validator

from vcsproxy.access.prefix import Prefix
from vcsproxy.config.credentials import SSH_KINDS, Credential
from vcsproxy.config.sources import Host, Source, literal_prefix
from vcsproxy.config.values import (
    Count,
    Duration,
    Fault,
    FilePath,
    Lifetime,
    Patterns,
    Size,
    Table,
    WholeSeconds,
    go_version,
    is_loopback,
    several,
    split_address,
)  # fmt: skip


def _default_data() -> Path:
    return Path(platformdirs.user_data_dir("vcsproxy", appauthor=False))


class Server(Table):
    """Where to listen and where everything is kept: `data`/store, `data`/mirrors and `data`/tmp.

    `offline`: answer from the store alone, and ask nobody. `workers`: serving processes on the one address.
    """

    listen: str = "127.0.0.1:3000"
    data: FilePath = Field(default_factory=_default_data)
    shutdown_seconds: Lifetime = 30.0
    insecure_public: bool = False
    offline: bool = False
    workers: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="after")
    def _check(self) -> Server:
        several(server_faults(dict(self)))
        return self

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.listen)


def server_faults(values: Mapping[str, object]) -> list[Fault]:
    listen = values.get("listen")
    if not isinstance(listen, str):
        return []
    try:
        host, _ = split_address(listen)
    except ValueError as bad:
        return [("listen", str(bad))]
    return [] if is_loopback(host) or values.get("insecure_public") is True else [("listen", _PUBLIC.format(listen))]


_PUBLIC = (
    "{} can be reached from other machines, and there is neither TLS nor a login yet; listen on 127.0.0.1, "
    "or set insecure_public = true if something in front of this server protects it"
)


class Limits(Table):
    """Budgets of one job, named as in `build.job.Limits`, and the pool's size. None: the default there holds."""

    wall: Duration | None = None
    connect: Duration | None = None
    idle: Duration | None = None
    cpu: WholeSeconds | None = None
    memory: Annotated[Size, Field(ge=64 << 20)] | None = None
    file: Size | None = None
    pack: Size | None = None
    objects: Count | None = None
    object: Size | None = None
    refs: Count | None = None
    refs_bytes: Size | None = None
    tree_entries: Count | None = None
    tree_depth: Count | None = None
    commits: Count | None = None
    page: Size | None = None
    workers: Annotated[int, Field(gt=0, le=1024)] = 16
    per_host: Annotated[int, Field(gt=0, le=1024)] = 4
    queue: Annotated[int, Field(ge=0, le=100_000)] = 256

    def of_job(self) -> dict[str, Any]:
        """The budgets that were set, by name."""
        return {
            name: value for name, value in self if value is not None and name not in ("workers", "per_host", "queue")
        }


class Modules(Table):
    """Which module paths are served; patterns as in GOPRIVATE, each for a path or any beginning of it.

    `allow`: all, if empty. `deny` is stronger. `private`: looked for only on hosts that the configuration names.
    """

    allow: Patterns = ()
    deny: Patterns = ()
    private: Patterns = ()


class Freshness(Table):
    """How long what a Git host said is believed: its refs, and that something is not there."""

    refs: Lifetime = 60.0
    negative: Lifetime = 10.0


class Go(Table):
    """`refuse_newer_than`: refuse zips of modules that need a newer Go than this; empty: never."""

    refuse_newer_than: Annotated[str, AfterValidator(go_version)] = ""


class Log(Table):
    """How events are written; `auto` is console on a terminal and JSON elsewhere."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Table):
    """The whole configuration."""

    server: Server = Field(default_factory=Server)
    source: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    host: Annotated[tuple[Host, ...], Field(strict=False)] = ()
    credential: Annotated[tuple[Credential, ...], Field(strict=False)] = ()
    modules: Modules = Field(default_factory=Modules)
    limits: Limits = Field(default_factory=Limits)
    freshness: Freshness = Field(default_factory=Freshness)
    go: Go = Field(default_factory=Go)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        several([*_twice(self), *_credential_faults(self), *_plain_http(self)])
        return self


def _twice(settings: Settings) -> Iterator[Fault]:
    for table, key, why in (
        ("host", "name", "is named twice"),
        ("credential", "name", "is named twice"),
        ("source", "root", "is named twice; the first match wins, so this one never would"),
    ):
        values = [getattr(entry, key) for entry in getattr(settings, table)]
        yield from ((f"{table}[{i}].{key}", f"{v} {why}") for i, v in enumerate(values) if v in values[:i])


def _credential_faults(settings: Settings) -> Iterator[Fault]:
    """A source may name only a credential that exists, and that may go where the source is."""
    known = {credential.name: credential for credential in settings.credential}
    for i, source in enumerate(settings.source):
        if not source.credential:
            continue
        credential = known.get(source.credential)
        if credential is None:
            yield f"source[{i}].credential", f"there is no [[credential]] named {source.credential!r}"
            continue
        where = literal_prefix(source.url)
        scheme = "ssh" if credential.kind in SSH_KINDS else "https"
        if where is not None and where.scheme != scheme:
            yield f"source[{i}].credential", f"{credential.name} is for {scheme}://, and the source's url is not"
        elif credential.url and where is not None and Prefix.parse(credential.url).origin != where.origin:
            yield f"source[{i}].credential", f"{credential.name} may only go to {credential.url}, not to {where}"


def _plain_http(settings: Settings) -> Iterator[Fault]:
    """Code that comes in the clear can be anybody's, unless it comes from this very machine."""
    insecure = {host.name for host in settings.host if host.insecure}
    for i, source in enumerate(settings.source):
        where = literal_prefix(source.url)
        if where is None or where.scheme != "http" or is_loopback(where.host) or where.host in insecure:
            continue
        allow = f'[[host]] name = "{where.host}", insecure = true'
        yield f"source[{i}].url", f"http:// lets anybody on the way change the code; use https://, or allow it: {allow}"
    for i, host in enumerate(settings.host):
        named = [c.name for c in settings.credential if c.url and Prefix.parse(c.url).host == host.name]
        if host.insecure and named:
            yield f"host[{i}].insecure", f"credential {named[0]} goes to this host, which must be verified then"
