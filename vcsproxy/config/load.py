"""From a TOML file to settings; key paths in faults count from 0: `source[2].url` is of the third [[source]] table."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vcsproxy.config.credentials import credential_faults
from vcsproxy.config.sources import host_faults, source_faults
from vcsproxy.config.tables import Settings, server_faults
from vcsproxy.config.values import Fault
from vcsproxy.errors import ConfigError

FILE_NAME = "vcsproxy.toml"
VARIABLE = "VCSPROXY_CONFIG"

Document = dict[str, Any]


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


def _hidden_faults(document: Document) -> Iterator[str]:
    """What pydantic does not get to say of a table in which one key alone is wrong already."""
    tables: list[tuple[str, object, Callable[[Mapping[str, object]], list[Fault]]]]
    tables = [("server", document.get("server"), server_faults)]
    tables += [(f"source[{i}]", entry, source_faults) for i, entry in _entries(document, "source")]
    tables += [(f"host[{i}]", entry, host_faults) for i, entry in _entries(document, "host")]
    tables += [(f"credential[{i}]", entry, credential_faults) for i, entry in _entries(document, "credential")]
    for where, table, check in tables:
        if isinstance(table, dict):
            yield from (f"{where}.{key}: {message}" if key else f"{where}: {message}" for key, message in check(table))


def _entries(document: Document, name: str) -> Iterator[tuple[int, object]]:
    entries = document.get(name)
    return enumerate(entries if isinstance(entries, list) else ())


def _read(file: Path) -> Document:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except tomllib.TOMLDecodeError as err:
        raise ConfigError([f"{file}: {err}"]) from None
    except UnicodeDecodeError as err:
        raise ConfigError([f"{file}: not UTF-8 at byte {err.start}"]) from None
    except OSError as err:
        raise ConfigError([f"{file}: {err.strerror}"]) from None


def _anchor(document: Document, directory: Path) -> None:
    """Make the file names in it absolute; what is not a table or no text is left to be found faulty."""
    files = ("ca", "client_cert", "client_key", "known_hosts")
    places: list[tuple[object, str]] = [(document.get("server"), "data")]
    places += [(entry, key) for _, entry in _entries(document, "credential") for key in ("file", "public_key")]
    places += [(host, key) for _, host in _entries(document, "host") for key in files]
    for table, key in places:
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
            table[key] = str((directory / Path(table[key]).expanduser()).absolute())
    secrets = [(entry, key) for _, entry in _entries(document, "credential") for key in _SECRETS]
    secrets += [(entry, "client_key_password") for _, entry in _entries(document, "host")]
    for entry, key in secrets:
        if not isinstance(entry, dict):
            continue
        kind, _, name = str(entry.get(key, "")).partition(":")
        if kind == "file" and name.strip():
            entry[key] = f"file:{(directory / Path(name.strip()).expanduser()).absolute()}"


_SECRETS = ("password", "token", "key", "passphrase")


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
