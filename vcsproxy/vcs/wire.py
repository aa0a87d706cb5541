"""Git's wire protocol as a client of upload-pack: list refs, fetch a pack. Version 2, and 0 for hosts without it.

It works over a `Connection` (HTTP or SSH, see `transport`). Only what was asked for is accepted: a section that was not
negotiated, such as packfile-uris, ends the conversation.

Source: gitprotocol-v2(5), gitprotocol-pack(5), gitprotocol-capabilities(5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vcsproxy import errors
from vcsproxy.build.job import Limits
from vcsproxy.vcs.guard import Meter
from vcsproxy.vcs.pktline import HostSays, Reader, Special, encode, readable
from vcsproxy.vcs.refs import PREFIXES, RefTable

AGENT = b"agent=vcsproxy"
_HEX = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_MAX_PROGRESS = 1 << 20
_FORMATS = ("sha1", "sha256")


class NotGiven(errors.UpstreamFailed):
    """The host does not give an object that was asked for by its hash."""


_NOT_GIVEN = re.compile(
    r"not our ref|unadvertised object|want \S+ not valid|no such object|bad object|not a valid object", re.IGNORECASE
)


class Connection(Protocol):
    """One conversation with upload-pack on a host."""

    def advertisement(self) -> Callable[[int], bytes]:
        """The host's greeting, as a read function."""

    def command(self, body: bytes) -> Callable[[int], bytes]:
        """Send a request; a read function for the answer."""

    def close(self) -> None: ...


class Landing(Protocol):
    """Where a pack goes."""

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Take the bytes of a pack as they arrive; called once."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What to fetch: hashes wanted, hashes had whole, commits had without their parents; depth 0 is all of history."""

    wants: Sequence[str]
    haves: Sequence[str] = ()
    shallow: Sequence[str] = ()
    depth: int = 0
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Commits that came without, or now have, their parents."""

    shallow: tuple[str, ...]
    unshallow: tuple[str, ...]


class UploadPack:
    """The client's side of one conversation. Raises UpstreamFailed, Refused or DeadlineExceeded."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._old_refs: list[tuple[str, str, str]] = []
        reader = self._reader(connection.advertisement(), "the list of refs", limits.refs_bytes)
        first = reader.packet()
        self.version = 2 if first in (b"version 2\n", b"version 2") else 0
        if self.version == 2:
            self._capabilities = _capabilities(reader.section())
        else:
            self._greet_old(first, reader)
        self.object_format = self._capabilities.get("object-format", "sha1")
        if self.object_format not in _FORMATS:
            raise errors.UpstreamFailed(f"the Git host uses the unknown object format {self.object_format[:20]!r}")

    @property
    def filters(self) -> bool:
        """Whether the host can leave objects out of a pack."""
        return "filter" in (self._capabilities.get("fetch", "").split() if self.version == 2 else self._capabilities)

    @property
    def sparse(self) -> bool:
        """Whether blobs can be left out and asked for by hash later: in version 2 any object can be wanted."""
        return self.version == 2 and self.filters

    def _reader(self, read: Callable[[int], bytes], what: str, limit: int) -> Reader:
        meter = Meter(what, limit)

        def metered(size: int) -> bytes:
            data = read(size)
            meter.take(len(data))
            return data

        return Reader(metered)

    # ---- refs

    def refs(self) -> RefTable:
        """HEAD, heads and tags with their peeled hashes."""
        if self.version == 0:
            return RefTable.of(self._old_refs)
        lines = [b"peel\n", b"symrefs\n"] + [b"ref-prefix " + prefix.encode() + b"\n" for prefix in PREFIXES]
        reader = self._reader(self._command(b"ls-refs", lines), "the list of refs", self._limits.refs_bytes)
        return RefTable.of(self._counted(_ref_v2(line) for line in reader.section()))

    def _counted(self, refs: Iterable[tuple[str, str, str] | None]) -> Iterator[tuple[str, str, str]]:
        for count, ref in enumerate(refs, 1):
            if count > self._limits.refs:
                raise errors.Refused(f"the repository has more than {self._limits.refs} refs")
            if ref is not None:
                yield ref

    def _greet_old(self, first: bytes | Special, reader: Reader) -> None:
        """Version 0: the refs come at once, capabilities hide behind the first."""
        if first == b"version 1\n":
            first = reader.packet()
        lines = [] if isinstance(first, Special) else [first.rstrip(b"\n"), *reader.section()]
        head, _, capabilities = (lines[0] if lines else b"").partition(b"\0")
        self._capabilities = _capabilities(capabilities.split())
        found: dict[str, list[str]] = {}
        for count, line in enumerate([head, *lines[1:]] if lines else []):
            if count > self._limits.refs:
                raise errors.Refused(f"the repository has more than {self._limits.refs} refs")
            oid, _, raw = line.partition(b" ")
            name = raw.decode("utf-8", "surrogateescape")
            if name == "capabilities^{}" or line.startswith(b"shallow "):
                continue
            if name.endswith("^{}"):
                found.get(name[:-3], ["", ""])[1] = hash_of(oid)
            else:
                found[name] = [hash_of(oid), ""]
        self._old_refs = [(name, target, peeled) for name, (target, peeled) in found.items()]

    # ---- packs

    def fetch(self, wanted: Wants, landing: Landing) -> Fetched:
        """Fetch a pack. Raises NotGiven as well."""
        try:
            return self._fetch(wanted, landing.stream)
        except HostSays as err:
            if _NOT_GIVEN.search(err.message):
                raise NotGiven(err.message, err.hint) from err
            raise

    def _fetch(self, wanted: Wants, receive: Callable[[Iterator[bytes]], None]) -> Fetched:
        lines = [b"want " + oid.encode() for oid in wanted.wants]
        shallow = [b"shallow " + oid.encode() for oid in wanted.shallow]
        haves = [b"have " + oid.encode() for oid in wanted.haves]
        deepen = [b"deepen %d" % wanted.depth] if wanted.depth else []
        if self.version == 2:
            options = [b"ofs-delta", b"no-progress", *([b"thin-pack"] if haves else [])]
            options += [b"filter " + wanted.filter.encode()] if wanted.filter else []
            read = self._command(b"fetch", [*options, *lines, *shallow, *deepen, *haves, b"done"])
            return self._answer_v2(self._reader(read, "the pack", self._limits.pack), receive)
        return self._fetch_old(wanted, lines, shallow + deepen, haves, receive)

    def _command(self, name: bytes, lines: Sequence[bytes]) -> Callable[[int], bytes]:
        head = [b"command=" + name, AGENT, b"object-format=" + self.object_format.encode()]
        if "object-format" not in self._capabilities:
            head.pop()
        return self._connection.command(encode(*head, Special.DELIM, *lines, Special.FLUSH))

    def _answer_v2(self, reader: Reader, receive: Callable[[Iterator[bytes]], None]) -> Fetched:
        shallow: list[str] = []
        unshallow: list[str] = []
        while True:
            line = reader.packet()
            header = b"" if isinstance(line, Special) else line.rstrip(b"\n")
            if header == b"packfile":
                _receive_all(_side_band(reader), receive)
                return Fetched(tuple(shallow), tuple(unshallow))
            if header == b"shallow-info":
                _shallow_info(reader.section(), shallow, unshallow)
            elif header == b"acknowledgments":
                for _ in reader.section():
                    pass
            else:
                raise errors.UpstreamFailed(f"the Git host sent a section that nobody asked for: {readable(header)}")

    def _fetch_old(
        self,
        wanted: Wants,
        wants: list[bytes],
        shallow: list[bytes],
        haves: list[bytes],
        receive: Callable[[Iterator[bytes]], None],
    ) -> Fetched:
        offered = self._capabilities
        if shallow and "shallow" not in offered:
            raise errors.UpstreamFailed("the Git host cannot send a single commit")
        chosen = [
            c for c in ("side-band-64k", "ofs-delta", "no-progress", *(["thin-pack"] if haves else [])) if c in offered
        ]
        if "side-band-64k" not in chosen:
            raise errors.UpstreamFailed("the Git host is too old: it lacks side-band-64k")
        chosen += [f"object-format={self.object_format}"] if "object-format" in offered else []
        chosen += ["agent=vcsproxy"] if "agent" in offered else []
        chosen += ["filter"] if wanted.filter else []
        wants[0] += b" " + " ".join(chosen).encode()
        options = [*shallow, *([b"filter " + wanted.filter.encode()] if wanted.filter else [])]
        body = encode(*(line + b"\n" for line in (*wants, *options)), Special.FLUSH)
        body += encode(*(line + b"\n" for line in (*haves, b"done")))
        reader = self._reader(self._connection.command(body), "the pack", self._limits.pack)
        new: list[str] = []
        gone: list[str] = []
        if wanted.depth:
            _shallow_info(reader.section(), new, gone)
        _receive_all(_side_band(reader, skip_acks=True), receive)
        return Fetched(tuple(new), tuple(gone))


def _capabilities(lines: Iterable[bytes]) -> dict[str, str]:
    pairs = (line.decode("utf-8", "replace").partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


def hash_of(text: bytes) -> str:
    """A hash as a host writes it. Raises UpstreamFailed for anything else."""
    if not _HEX.match(text):
        raise errors.UpstreamFailed(f"the Git host sent a malformed hash: {readable(text)}")
    return text.decode("ascii")


def _ref_v2(line: bytes) -> tuple[str, str, str] | None:
    oid, _, rest = line.partition(b" ")
    name, *attributes = rest.split(b" ")
    if oid == b"unborn":
        return None
    peeled = next((hash_of(a[7:]) for a in attributes if a.startswith(b"peeled:")), "")
    return name.decode("utf-8", "surrogateescape"), hash_of(oid), peeled


def _shallow_info(lines: Iterable[bytes], shallow: list[str], unshallow: list[str]) -> None:
    for line in lines:
        word, _, oid = line.partition(b" ")
        if word not in (b"shallow", b"unshallow"):
            raise errors.UpstreamFailed(f"the Git host sent an unknown shallow line: {readable(line)}")
        (shallow if word == b"shallow" else unshallow).append(hash_of(oid))


def _receive_all(pieces: Iterator[bytes], receive: Callable[[Iterator[bytes]], None]) -> None:
    """What follows the pack belongs to this answer, and the next one begins behind it."""
    receive(pieces)
    for _ in pieces:
        pass


def _side_band(reader: Reader, *, skip_acks: bool = False) -> Iterator[bytes]:
    """The pack's bytes out of the multiplexed stream; progress is dropped, an error raised."""
    noise = 0
    while not isinstance(line := reader.packet(), Special):
        if skip_acks and line.startswith((b"ACK ", b"NAK")):
            continue
        band, data = line[:1], line[1:]
        if band == b"\1":
            if data:  # an empty one keeps the connection alive while the host prepares the pack
                yield data
        elif band == b"\2":
            noise += len(data)
            if noise > _MAX_PROGRESS:
                raise errors.Refused("the Git host sends endless progress messages")
        elif band == b"\3":
            raise HostSays("the Git host says: " + readable(data))
        else:
            raise errors.UpstreamFailed("the Git host does not speak Git's protocol")
