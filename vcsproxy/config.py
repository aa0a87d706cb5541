"""The configuration: TOML to frozen settings, or every fault at once.

It knows what may be written and what that means; it opens no directory, starts nothing, and does not know who uses it.
Key paths in faults count from 0: `source[2].url` is the url of the third [[source]] table.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import ssl
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from vcsproxy.errors import ConfigError
from vcsproxy.mod.reporoot import SourceRule

FILE_NAME = "vcsproxy.toml"
VARIABLE = "VCSPROXY_CONFIG"

Table = dict[str, Any]

# --- values a person writes: sizes, durations, addresses ---

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d{1,15})\s*([A-Za-z]*)", re.ASCII)
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)", re.ASCII)
_SPANS = re.compile(rf"(?:{_SPAN.pattern})+", re.ASCII)


def parse_size(value: object) -> int:
    """Bytes, from a whole number or text such as "512 MiB" (binary units) or "1GB" (decimal units)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError('must be a number of bytes or text such as "512MiB"')
    return int(found[1]) * _UNITS[found[2].lower()]


def parse_duration(value: object) -> float:
    """Seconds, from a number or text such as "300s", "1m30s" or "250ms"."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if not isinstance(value, str) or not _SPANS.fullmatch(value.strip()):
        raise ValueError('must be a number of seconds or text such as "90s" or "1m30s"')
    return sum(float(number) * _SECONDS[unit] for number, unit in _SPAN.findall(value))


def split_address(text: str) -> tuple[str, int]:
    """("::1", 3000) from "[::1]:3000". Raises ValueError; port 0 is allowed."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        ipaddress.IPv6Address(host)
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets, as in [::1]:3000")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError('must be ADDRESS:PORT, as in "127.0.0.1:3000"')
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Report whether only this machine can reach a listener on `host`; a name other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_path(value: object) -> Path:
    if isinstance(value, Path):
        return value.expanduser()
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the name of a file or directory")
    return Path(value).expanduser()


def _whole_seconds(value: object) -> int:
    return math.ceil(parse_duration(value))


def _go_version(text: str) -> str:
    if text and not re.fullmatch(r"[1-9]\d*\.(0|[1-9]\d*)(\.(0|[1-9]\d*))?([a-z]+\d+)?", text, re.ASCII):
        raise ValueError('must be a Go version such as "1.27.3", or empty')
    return text


Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0, lt=1 << 62)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=86400)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds), Field(gt=0, le=86400)]
Lifetime = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=86400)]
Count = Annotated[int, Field(gt=0, lt=1 << 62)]
FilePath = Annotated[Path, BeforeValidator(_parse_path)]


Fault = tuple[str, str]  # key, sentence


def _faults(faults: list[Fault]) -> None:
    """Fail a validator with several (key, message) faults of one table."""
    if faults:
        raise PydanticCustomError("faults", "several faults", {"faults": faults})


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


# --- the tables ---


def _default_data() -> Path:
    return Path(platformdirs.user_data_dir("vcsproxy", appauthor=False))


class Server(_Settings):
    """Where to listen and where everything is kept: `data`/store, `data`/mirrors and `data`/tmp."""

    listen: str = "127.0.0.1:3000"
    data: FilePath = Field(default_factory=_default_data)
    shutdown_seconds: Lifetime = 30.0
    insecure_public: bool = False

    @model_validator(mode="after")
    def _check(self) -> Server:
        _faults(_server_faults(dict(self)))
        return self

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.listen)


def _server_faults(values: Mapping[str, object]) -> list[Fault]:
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


class Source(_Settings):
    """A repository, or a family of them, that the operator names; see `mod.reporoot.SourceRule`."""

    root: str
    url: str
    origin: str = ""
    subdir: str = ""

    @model_validator(mode="after")
    def _check(self) -> Source:
        _faults(_source_faults(dict(self)))
        return self

    def rule(self) -> SourceRule:
        return SourceRule(self.root, self.url, self.origin, self.subdir)


def _source_faults(values: Mapping[str, object]) -> list[Fault]:
    root, url, origin, subdir = (_text(values, key) for key in ("root", "url", "origin", "subdir"))
    known = {"root": "x.y", "url": "https://x.y/z"}  # what is missing or no text is told elsewhere
    faults = [
        _named(problem) for problem in SourceRule(root or known["root"], url or known["url"], origin, subdir).problems()
    ]
    first = root.partition("/")[0]
    if root and "." not in first and "{" not in first:
        faults.append(("root", f"{root!r} is no module path: its first element needs a dot"))
    faults += [("url", problem) for problem in _url_problems(url, _SCHEMES)] if url else []
    faults += [("origin", problem) for problem in _url_problems(origin, ())] if origin else []
    faults += [(key, f"{key} is empty") for key in ("root", "url") if values.get(key) == ""]
    return faults


def _text(values: Mapping[str, object], key: str) -> str:
    value = values.get(key, "")
    return value if isinstance(value, str) else ""


_SCHEMES = ("https", "http", "file", "ssh")
_SCP = re.compile(r"(?:[\w.\-]+@)?\[?[\w.:{}\-]+?\]?:(?!//)\S+", re.ASCII)
_NAMED = re.compile(r"(root|url|origin|subdir)\b(?:: )?")


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


class Host(_Settings):
    """A host that is dialled or trusted in its own way. Naming it here also allows private addresses for it."""

    name: str
    connect: str = ""
    ca: FilePath | None = None

    @model_validator(mode="after")
    def _check(self) -> Host:
        _faults(_host_faults(dict(self)))
        return self


def _host_faults(values: Mapping[str, object]) -> list[Fault]:
    name, connect, ca = _text(values, "name"), _text(values, "connect"), values.get("ca")
    faults = []
    if "name" in values and not _is_host_name(name):
        faults.append(("name", f"{name[:80]!r} is not a host name in lower case"))
    if connect and not _is_dialable(connect):
        faults.append(("connect", f"{connect[:80]!r} is not IP-ADDRESS:PORT"))
    if isinstance(ca, str | Path) and str(ca) and (problem := _ca_problem(Path(ca))):
        faults.append(("ca", problem))
    return faults


def _is_host_name(name: str) -> bool:
    return len(name) <= 253 and re.fullmatch(r"[a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?", name, re.ASCII) is not None


def _is_dialable(address: str) -> bool:
    try:
        host, port = split_address(address)
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return port > 0


def _ca_problem(file: Path) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return f"{file} holds no PEM certificates"
    except OSError as err:
        return f"{file}: {err.strerror}"
    return ""


class Limits(_Settings):
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
    workers: Annotated[int, Field(gt=0, le=1024)] = Field(default_factory=lambda: min(4, os.cpu_count() or 1))
    queue: Annotated[int, Field(ge=0, le=100_000)] = 256

    def of_job(self) -> dict[str, Any]:
        """The budgets that were set, by name."""
        return {name: value for name, value in self if value is not None and name not in ("workers", "queue")}


class Freshness(_Settings):
    """How long what a Git host said is believed: its refs, and that something is not there."""

    refs: Lifetime = 60.0
    negative: Lifetime = 10.0


class Go(_Settings):
    """`refuse_newer_than`: refuse zips of modules that need a newer Go than this; empty: never."""

    refuse_newer_than: Annotated[str, AfterValidator(_go_version)] = ""


class Log(_Settings):
    """How events are written; `auto` is console on a terminal and JSON elsewhere."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Settings):
    """The whole configuration."""

    server: Server = Field(default_factory=Server)
    source: Annotated[tuple[Source, ...], Field(strict=False)] = ()
    host: Annotated[tuple[Host, ...], Field(strict=False)] = ()
    limits: Limits = Field(default_factory=Limits)
    freshness: Freshness = Field(default_factory=Freshness)
    go: Go = Field(default_factory=Go)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        names = [host.name for host in self.host]
        roots = [source.root for source in self.source]
        faults = [(f"host[{i}].name", f"{n} is named twice") for i, n in enumerate(names) if n in names[:i]]
        faults += [
            (f"source[{i}].root", f"{r} is named twice; the first match wins, so this one never would")
            for i, r in enumerate(roots)
            if r in roots[:i]
        ]
        _faults(faults)
        return self


# --- from file to settings ---


def find(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file to use when none is named: $VCSPROXY_CONFIG, ./vcsproxy.toml, the user's, or None."""
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    user = Path(platformdirs.user_config_dir("vcsproxy", appauthor=False)) / FILE_NAME
    return next((file for file in (Path(FILE_NAME), user) if file.is_file()), None)


def load(path: Path | None = None, overrides: Mapping[str, Mapping[str, object]] | None = None) -> Settings:
    """Read, check and complete the configuration. Raises ConfigError with every fault found.

    path: the file; None looks in the usual places and may find none. overrides: {table: {key: value}}, stronger than
    the file. Relative file names in the file start at its directory, those in `overrides` at the current one.
    """
    file = path or find()
    document = _read(file) if file is not None else {}
    _anchor(document, file.parent if file is not None else Path())
    for table, values in (overrides or {}).items():
        there = document.setdefault(table, {})
        if isinstance(there, dict):
            there.update(values)
    _anchor(document, Path())
    try:
        return Settings.model_validate(document)
    except ValidationError as err:
        found = [fault for detail in err.errors() for fault in _describe(detail)]
        raise ConfigError(list(dict.fromkeys([*found, *_hidden_faults(document)]))) from None


def _hidden_faults(document: Table) -> Iterator[str]:
    """What pydantic does not get to say of a table in which one key alone is wrong already."""
    tables: list[tuple[str, object, Callable[[Mapping[str, object]], list[Fault]]]]
    tables = [("server", document.get("server"), _server_faults)]
    tables += [(f"source[{i}]", entry, _source_faults) for i, entry in _entries(document, "source")]
    tables += [(f"host[{i}]", entry, _host_faults) for i, entry in _entries(document, "host")]
    for where, table, check in tables:
        if isinstance(table, dict):
            yield from (f"{where}.{key}: {message}" if key else f"{where}: {message}" for key, message in check(table))


def _entries(document: Table, name: str) -> Iterator[tuple[int, object]]:
    entries = document.get(name)
    return enumerate(entries if isinstance(entries, list) else ())


def _read(file: Path) -> Table:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except tomllib.TOMLDecodeError as err:
        raise ConfigError([f"{file}: {err}"]) from None
    except UnicodeDecodeError as err:
        raise ConfigError([f"{file}: not UTF-8 at byte {err.start}"]) from None
    except OSError as err:
        raise ConfigError([f"{file}: {err.strerror}"]) from None


def _anchor(document: Table, directory: Path) -> None:
    """Make the file names in it absolute; what is not a table or no text is left to be found faulty."""
    hosts = document.get("host")
    places = [(document.get("server"), "data"), *((host, "ca") for host in (hosts if isinstance(hosts, list) else ()))]
    for table, key in places:
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
            table[key] = str((directory / Path(table[key]).expanduser()).absolute())


_MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
    "model_type": "must be a table",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be an array of tables, as in [[{0}]]",
}


def _describe(detail: ErrorDetails) -> Iterator[str]:
    """Our words, and one line a fault, for one of pydantic's errors."""
    where = _key_path(detail["loc"])
    context = detail.get("ctx", {})
    if detail["type"] == "faults":
        for key, message in context["faults"]:
            yield f"{'.'.join(part for part in (where, key) if part)}: {message}"
        return
    message = _MESSAGES.get(detail["type"], "").format(where) or detail["msg"].removeprefix("Value error, ")
    yield f"{where}: {message[:1].lower()}{message[1:]}"


def _key_path(loc: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")
