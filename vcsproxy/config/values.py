"""Values a person writes: sizes, durations, addresses, file names, and what all tables have in common."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

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


def go_version(text: str) -> str:
    if text and not re.fullmatch(r"[1-9]\d*\.(0|[1-9]\d*)(\.(0|[1-9]\d*))?([a-z]+\d+)?", text, re.ASCII):
        raise ValueError('must be a Go version such as "1.27.3", or empty')
    return text


Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0, lt=1 << 62)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=86400)]
WholeSeconds = Annotated[int, BeforeValidator(_whole_seconds), Field(gt=0, le=86400)]
Lifetime = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=86400)]
Count = Annotated[int, Field(gt=0, lt=1 << 62)]


def secret_source(text: str) -> str:
    """Where a secret is: a file, an environment variable or a command. Raises ValueError for the secret itself."""
    kind, colon, rest = text.partition(":")
    if text and (kind not in ("file", "env", "cmd") or not colon or not rest.strip()):
        raise ValueError('must say where the secret is, never the secret: "file:PATH", "env:NAME" or "cmd:PROGRAM ..."')
    return text


FilePath = Annotated[Path, BeforeValidator(_parse_path)]


SecretSource = Annotated[str, AfterValidator(secret_source)]


def _patterns(value: object) -> object:
    """A list, or text with commas as in the variable GOPRIVATE."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns), Field(strict=False)]

Fault = tuple[str, str]  # key, sentence


def several(faults: list[Fault]) -> None:
    """Fail a validator with several (key, message) faults of one table."""
    if faults:
        raise PydanticCustomError("faults", "several faults", {"faults": faults})


def text_of(values: Mapping[str, object], key: str) -> str:
    """A value that should be text, "" if it is none: what is no text is told elsewhere."""
    value = values.get(key, "")
    return value if isinstance(value, str) else ""


class Table(BaseModel):
    """One table of the configuration: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)
