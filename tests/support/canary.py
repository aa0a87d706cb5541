"""Secrets that exist once in the world, and a search for them in everything that a server lets out.

`plant` makes one. Whatever a server says, writes or shows of its processes is collected; `assert_clean` looks for every
planted secret in it, as it is and in the forms in which secrets travel.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import urllib3

from tests.support.processes import command_line, descendants, environment
from tests.support.untouched import below

_SHORTEST = 12  # bytes of a line of a key that is looked for by itself


@dataclass
class Canaries:
    """What was planted, by name, and what was seen, with where that was."""

    planted: dict[str, str] = field(default_factory=dict)
    seen: dict[bytes, str] = field(default_factory=dict)

    def plant(self, name: str, value: str = "") -> str:
        """A new secret, or remember one that was made elsewhere."""
        self.planted[name] = value or f"cnry-{secrets.token_hex(12)}"
        return self.planted[name]

    def see(self, where: str, data: bytes | str) -> None:
        self.seen.setdefault(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data, where)

    def answer(self, path: str, answer: urllib3.BaseHTTPResponse) -> None:
        """Body and head of a response."""
        self.see(f"the body of {path}", answer.data)
        self.see(f"the head of {path}", f"{answer.status} {answer.reason} {dict(answer.headers.items())}")

    def files(self, *directories: Path, but: Sequence[Path] = ()) -> None:
        """Every file below these, and its name; `but` are those that hold secrets on purpose."""
        for path in (each for directory in directories for each in below(directory)):
            self.see(f"the name of {path}", str(path))
            if path.is_file() and not path.is_symlink() and path not in but:
                with contextlib.suppress(FileNotFoundError):
                    self.see(str(path), path.read_bytes())

    def processes(self, pid: int) -> None:
        """Command lines of a server and all below it, and the environments of those below.

        Its own environment is what its operator has put there; in those of others nothing of that may be left.
        """
        own = command_line(pid)
        self.see(f"the command line of process {pid}", own)
        for each in descendants(pid):
            command = command_line(each)
            self.see(f"the command line of process {each}", command)
            if command != own:  # else it is a copy of the server that is about to become a program
                self.see(f"the environment of process {each}", environment(each))

    @contextlib.contextmanager
    def sampling(self, pid: int) -> Iterator[None]:
        """Look at the processes again and again for as long as this lasts."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.005):
                self.processes(pid)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def found(self) -> list[str]:
        """Where a secret is: `NAME in PLACE`, the secret itself is not repeated."""
        wanted = [(name, form) for name, value in self.planted.items() for form in forms(value)]
        return sorted(
            {f"{name} in {where}" for data, where in list(self.seen.items()) for name, form in wanted if form in data}
        )

    def assert_clean(self) -> None:
        assert self.planted
        assert self.seen
        found = self.found()
        assert not found, "\n".join(found)


def forms(value: str) -> set[bytes]:
    """A secret, or each line of one that has several, as it is, in a URL, in hex, and in base64 wherever it begins."""
    lines = [line for line in value.splitlines() if len(line) >= _SHORTEST and not line.startswith("-----")]
    found: set[bytes] = set()
    for line in lines if "\n" in value else [value]:
        raw = line.encode()
        found |= {raw, quote(line, safe="").encode(), raw.hex().encode(), repr(line)[1:-1].encode()}
        for shift in range(3):
            code = base64.b64encode(bytes(shift) + raw)
            inner = code[(0, 2, 3)[shift] : len(code) - (0, 4, 3)[(shift + len(raw)) % 3] or None]
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found
