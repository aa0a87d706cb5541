"""A small job over a repository of our own, so that the next real one finds everything loaded, compiled and cached.

The repository has three files. It is read in place, and fetched by HTTP from a thread that has three prepared answers.
What comes of it is thrown away.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - the first connection would load it
import io
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable

from dulwich.object_format import SHA1
from dulwich.objects import Blob, Commit, ShaFile, Tree
from dulwich.pack import write_pack_objects
from dulwich.repo import Repo

from vcsproxy.build.job import Host, Job, Limits, Op, Result
from vcsproxy.mod.reporoot import RepoRoot
from vcsproxy.vcs.giturl import parse_url
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.landing import Landing
from vcsproxy.vcs.pktline import Special, encode
from vcsproxy.vcs.transport import HttpConnection
from vcsproxy.vcs.wire import UploadPack, Wants

_PATH = "example.com/rehearsal"
_HOST = "rehearsal.invalid"
_FILES = {b".gitattributes": b"*.txt text\n", b"a.txt": b"a\r\n", b"go.mod": b"module example.com/rehearsal\n"}
_TAG = "v1.0.0"
_PATIENCE = 5.0  # seconds after which the thread gives up


class _Dialled(Guard):
    """Gives a socket that is connected already."""

    def __init__(self, wire: socket.socket, limits: Limits) -> None:
        super().__init__([Host(_HOST, insecure=True)], limits)
        self._wire = wire

    def dial(self, name: str, port: int) -> socket.socket:
        return self._wire


class Stage:
    """The repository, in a directory of its own."""

    def __init__(self) -> None:
        self.place = tempfile.mkdtemp(prefix="rehearsal-")
        self._objects = _objects()
        self._commit = self._objects[-1]
        self._make()

    def _make(self) -> None:
        """A bare repository with one commit and its tag."""
        with Repo.init_bare(self.place) as repo:
            for each in self._objects:
                repo.object_store.add_object(each)
        os.makedirs(os.path.join(self.place, "refs", "tags"), exist_ok=True)
        for ref in ("heads/master", f"tags/{_TAG}"):
            with open(os.path.join(self.place, "refs", ref), "w", encoding="ascii") as file:
                file.write(self._commit.id.decode() + "\n")

    def play(self, run: Callable[[Job], Result]) -> None:
        """List the module, stat a version, build its zip; then fetch the commit by HTTP."""
        directory = tempfile.mkdtemp(prefix="rehearsal-")
        try:
            for op in (Op.LIST, Op.INFO, Op.ZIP):
                query = "" if op is Op.LIST else _TAG
                run(Job(op, _PATH, query, RepoRoot(_PATH, f"file://{self.place}"), directory, directory))
            self._fetch(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _fetch(self, directory: str) -> None:
        """Over a pair of sockets, one end of which the thread has: nothing is connected to."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.settimeout(_PATIENCE)
        serving = threading.Thread(target=self._serve, args=(theirs,), daemon=True)
        serving.start()
        limits = Limits()
        connection = HttpConnection(parse_url(f"http://{_HOST}/r"), _Dialled(ours, limits))
        try:
            talk = UploadPack(connection, limits)
            talk.refs()
            landing = Landing(directory, talk.object_format, limits, lambda _: None)
            talk.fetch(Wants([self._commit.id.decode()], depth=1), landing)
        finally:
            connection.close()
            ours.close()
            serving.join(_PATIENCE)

    # ---- in the thread

    def _serve(self, wire: socket.socket) -> None:
        """Answer one request after the other, until the other end is closed."""
        with contextlib.suppress(OSError), wire, wire.makefile("rb") as reader:
            while request := _read_request(reader):
                wire.sendall(self._answer(request))

    def _answer(self, request: bytes) -> bytes:
        kind, body = "result", b""
        if request.startswith(b"GET"):
            kind = "advertisement"
            body = encode(b"version 2\n", b"ls-refs=unborn\n", b"fetch=shallow filter\n", Special.FLUSH)
        elif b"command=ls-refs" in request:
            commit = self._commit.id
            refs = (b"HEAD", b"refs/heads/master", b"refs/tags/" + _TAG.encode())
            body = encode(*(commit + b" " + ref + b"\n" for ref in refs), Special.FLUSH)
        else:
            shallow = encode(b"shallow-info\n", b"shallow " + self._commit.id + b"\n", Special.DELIM)
            body = shallow + encode(b"packfile\n", b"\1" + self._pack(), Special.FLUSH)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: {len(body)}"
        return head.encode() + b"\r\n\r\n" + body

    def _pack(self) -> bytes:
        parts: list[bytes] = []
        write_pack_objects(parts.append, self._objects, object_format=SHA1)
        return b"".join(parts)


def _objects() -> list[ShaFile]:
    """Blobs, tree and, last, the commit."""
    tree = Tree()
    blobs = {name: Blob.from_string(data) for name, data in _FILES.items()}
    for name, blob in blobs.items():
        tree.add(name, 0o100644, blob.id)
    commit = Commit()
    commit.tree = tree.id
    commit.author = commit.committer = b"A <a@example.com>"
    commit.author_time = commit.commit_time = 1709251200
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = b"m"
    return [*blobs.values(), tree, commit]


def _read_request(reader: io.BufferedReader) -> bytes:
    """Head and body of one request, nothing at the end of the connection."""
    head, length = b"", 0
    while line := reader.readline():
        head += line
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        if line == b"\r\n":
            return head + reader.read(length)
    return b""
