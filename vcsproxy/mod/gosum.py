"""Lines of go.sum: the hashes of a module's zip and of its go.mod.

Reading is as lenient as the go command: blank lines are fine, fields are apart by any white space, and the hash of an
empty go.mod is dropped, because an old bug wrote it for what is no module.

Source: cmd/go/internal/modfetch/fetch.go (readGoSum); golang.org/x/mod/sumdb for the two lines of one module.
"""

from __future__ import annotations

from dataclasses import dataclass

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import gotext

_GO_MOD = "/go.mod"
_EMPTY_GO_MOD = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `version` has `/go.mod` at its end where `h1` is the hash of the go.mod file."""

    path: str
    version: str
    h1: str

    @property
    def is_gomod(self) -> bool:
        return self.version.endswith(_GO_MOD)

    @property
    def module_version(self) -> str:
        """The version without `/go.mod`."""
        return self.version.removesuffix(_GO_MOD)

    def __str__(self) -> str:
        return f"{self.path} {self.version} {self.h1}"


def parse(text: str) -> list[Line]:
    """The lines of a go.sum file in their order. Raises InvalidRequest, with the line's number, for a malformed one."""
    return [line for _, line in numbered(text)]


def numbered(text: str) -> list[tuple[int, Line]]:
    """As `parse`, each line with its number in the file, which counts from 1."""
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = gotext.fields(line)
        if not fields:
            continue
        if len(fields) != 3:
            raise InvalidRequest(f"malformed go.sum: line {number}: wrong number of fields {len(fields)}")
        if fields[2] != _EMPTY_GO_MOD:
            lines.append((number, Line(*fields)))
    return lines


def format_lines(path: str, version: str, zip_h1: str, gomod_h1: str) -> str:
    """The two lines of one module version, each with its newline."""
    return f"{path} {version} {zip_h1}\n{path} {version}{_GO_MOD} {gomod_h1}\n"
