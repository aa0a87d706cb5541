"""The journal of tags that moved or went after their versions were served: a file of JSON lines.

    {"time": "2024-03-01T12:00:00Z", "module": "example.com/m", "version": "v1.0.0", "served": "<commit>", "now": ""}

`now` is the commit that the tag names, "" when the tag is gone, and `served` itself when it came back. The last line of
a version is its present state. What counts as moved is for `tagwatch` to say. Blocking.

Theory of operation: any number of processes on any node append, each with the file's lock held (flock), and first read
what the others have appended since: so nothing is journalled twice. A file that has become long stays as `.1`, and one
with the present states only takes its place. It begins with a line that no other file has, by which readers see that
they have to start anew; who holds the lock of a file that is no longer there opens it again.

If we crash here: the last line may be torn. It is skipped, the next one begins on a line of its own, and what it should
have said is found again.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vcsproxy.store import durable

FILE_NAME = "tags-moved.jsonl"
"""Where it lies below the data directory."""

_OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_SECONDS = 10.0
_POLL = 0.005
_HEAD = 128  # bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """A version whose tag names another commit now than when it was first served; time: when that was noticed.

    now: the commit, "" when the tag is gone, `served` when it is back. time: seconds since 1970.
    """

    path: str
    version: str
    served: str
    now: str
    time: float

    @property
    def is_back(self) -> bool:
        """Whether there is no difference any more."""
        return self.now == self.served


State = dict[tuple[str, str], Moved]


class Journal:
    """The journal in `file`, whose directory exists; one thread at a time. Methods raise OSError.

    limit: bytes; beyond them, lines that later ones have outdated go.
    """

    def __init__(self, file: Path, limit: int = 8 << 20) -> None:
        self._file = file
        self._limit = limit
        self._least = 0  # bytes that the present states took when they were last written alone
        self._state: State = {}
        self._head = b""  # how the file began when it was read
        self._read = 0  # bytes of whole lines

    def known(self, path: str, version: str) -> Moved | None:
        """The present state of a version as of the last `refresh` or `add`; None when its tag is where it was."""
        return self._state.get((path, version))

    def present(self) -> list[Moved]:
        """All of them, the newest first."""
        return sorted(self._state.values(), key=lambda each: each.time, reverse=True)

    def refresh(self) -> None:
        """Read what has been appended, by whomever."""
        with suppress(FileNotFoundError), durable.opened(str(self._file), durable.READ) as handle:
            self._catch_up(handle)

    def add(self, findings: Iterable[Moved]) -> list[Moved]:
        """Append, durably, those that are new; which they are."""
        with self._locked() as handle:
            torn = self._catch_up(handle)
            new = [each for each in findings if self._is_new(each)]
            if new:
                _write(handle, b"\n" * torn + b"".join(map(_line, new)))
                durable.sync_directory(self._file.parent)
                self._catch_up(handle)
            if self._read > max(self._limit, 2 * self._least):
                with suppress(OSError):  # it only grows until the next time
                    self._shorten()
        return new

    def _is_new(self, found: Moved) -> bool:
        known = self.known(found.path, found.version)
        if known is None:
            return not found.is_back
        return (known.served, known.now) != (found.served, found.now)

    def _catch_up(self, handle: int) -> bool:
        """Read new lines; whether there is a torn one behind them."""
        head, size = os.pread(handle, _HEAD, 0), os.fstat(handle).st_size
        if not head.startswith(self._head) or size < self._read:
            self._state, self._read = {}, 0
        self._head = head
        data = _pread(handle, self._read, size)
        lines, newline, torn = data.rpartition(b"\n")
        self._read += len(lines) + len(newline)
        _replay(lines.split(b"\n"), self._state)
        return bool(torn)

    def _shorten(self) -> None:
        """Write the present states to a file of their own, and put it in the place of this one; the lock is held."""
        new = self._file.with_name(self._file.name + ".new")
        handle = os.open(new, _NEW, 0o600)
        try:
            first = json.dumps({"journal": secrets.token_hex(8)}).encode() + b"\n"
            _write(handle, first + b"".join(map(_line, self._state.values())))
            self._least = os.fstat(handle).st_size
        finally:
            os.close(handle)
        last = self._file.with_name(self._file.name + ".1")
        last.unlink(missing_ok=True)
        os.link(self._file, last)
        new.rename(self._file)
        durable.sync_directory(self._file.parent)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open, made when absent, and locked against every other writer."""
        end = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < end:
            with _opened_for_append(self._file) as handle:
                if durable.try_lock(handle) and _is_at(handle, self._file):
                    yield handle
                    return
            time.sleep(_POLL)
        raise OSError(errno.ETIMEDOUT, "another process keeps the lock", str(self._file))


def read_journal(file: Path) -> list[Moved]:
    """The versions whose tags are now elsewhere or gone, the newest finding first; none without a file.

    Lines that are no findings are skipped. Raises OSError.
    """
    journal = Journal(file)
    journal.refresh()
    return journal.present()


@contextmanager
def _opened_for_append(file: Path) -> Iterator[int]:
    handle = os.open(file, _OPEN, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.lstat())
    except FileNotFoundError:
        return False


def _pread(handle: int, start: int, end: int) -> bytes:
    pieces = []
    while start < end and (piece := os.pread(handle, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.fsync(handle)


def _line(each: Moved) -> bytes:
    when = datetime.fromtimestamp(each.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    value = {"time": when, "module": each.path, "version": each.version, "served": each.served, "now": each.now}
    return json.dumps(value).encode() + b"\n"


def _replay(lines: Sequence[bytes], state: State) -> None:
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            found = _parse(line)
            state.pop((found.path, found.version), None)
            if not found.is_back:
                state[found.path, found.version] = found


def _parse(line: bytes) -> Moved:
    value = json.loads(line)
    texts = [value[key] for key in ("module", "version", "served", "now")]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("no text")
    path, version, served, now = texts
    return Moved(path, version, served, now, datetime.fromisoformat(value["time"]).timestamp())
