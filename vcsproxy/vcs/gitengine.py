"""The second engine: system git speaks to the host, for odd servers, huge repositories, and its SHA-1 checks.

It is a `vcs.mirror.Talk`, like `wire.UploadPack`, and gives the same values; git only lists refs and fetches packs.
Nothing is checked out, and no hook, filter, submodule or helper of anybody is run.

Theory of operation: git works in a bare scratch repository without refs, in the mirror's directory. The mirror's packs
are its alternates, the commits that the host is told we have are its negotiation tips, and its `shallow` file says
which of them came without parents. The finished pack is looked at, and then moved into the mirror.

If we crash here: the scratch repository is removed by the next one that needs it; no secret was ever in it.

Source: git-fetch(1), git-ls-remote(1), git-config(1).
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from vcsproxy import errors
from vcsproxy.trace import note
from vcsproxy.vcs import gitconfig, gitprocess, gitwords
from vcsproxy.vcs.gitroad import Road
from vcsproxy.vcs.giturl import parse_url
from vcsproxy.vcs.guard import Guard, Meter
from vcsproxy.vcs.landing import Landing
from vcsproxy.vcs.refs import RefTable
from vcsproxy.vcs.wire import Fetched, Wants, hash_of

_FETCH = (
    "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance",
    "--no-show-forced-updates", "--no-write-commit-graph", "--update-shallow", "--stdin",
)  # fmt: skip

_VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
}


_PROGRAMS = "programs"  # all that git may run besides itself
_BASE = 64 << 20  # bytes of memory that git takes for itself


class GitEngine:
    """A conversation with one repository over system git; `scratch` is a directory that it may make. Close it."""

    version = 2  # every command is a conversation of its own, whatever git and the host agree on
    filters = True  # a host that cannot leave objects out sends all of them
    sparse = False  # which of them it has sent then, git does not tell

    def __init__(self, url: str, guard: Guard, scratch: str, object_format: str) -> None:
        known = gitprocess.version(gitprocess.executable())
        parsed = parse_url(url)
        note("host", f"git {known[0]}.{known[1]} speaks to {parsed.host}")
        if os.pathsep in scratch:
            message = f'engine = "git" cannot work in a directory with {os.pathsep!r} in its name'
            raise errors.Unavailable(message, "give [store] another directory")
        self._limits = guard.limits
        self._scratch = scratch
        self.object_format = object_format  # as it was when the refs were last read
        shutil.rmtree(scratch, ignore_errors=True)
        for part in ("", "refs", "objects", "objects/info", _PROGRAMS):
            os.mkdir(os.path.join(scratch, part), 0o700)
        _link_programs(os.path.join(scratch, _PROGRAMS))
        self._write("HEAD", "ref: refs/heads/none\n")
        self._road = Road(parsed, guard, scratch, known)

    def close(self) -> None:
        self._road.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    # ---- refs

    def refs(self) -> RefTable:
        """HEAD, heads and tags with their peeled hashes."""
        held = bytearray()
        meter = Meter("the list of refs", self._limits.refs_bytes)

        def take(piece: bytes) -> None:
            meter.take(len(piece))
            held.extend(piece)

        command = ["ls-remote", "--quiet", "--end-of-options", self._road.place]
        self._git(command, take=take, limits={resource.RLIMIT_DATA: _BASE + 8 * self._limits.refs_bytes})
        table = RefTable.of(_triples(bytes(held)))
        if len(table.refs) > self._limits.refs:
            raise errors.Refused(f"the repository has more than {self._limits.refs} refs")
        self.object_format = next((_format(ref.target) for ref in table.refs.values()), self.object_format)
        return table

    # ---- packs

    def fetch(self, wanted: Wants, landing: Landing) -> Fetched:
        """Fetch a pack. Raises NotGiven as well."""
        self.object_format = _format(wanted.wants[0])
        self._write("objects/info/alternates", landing.objects + "\n")
        self._write("shallow", "".join(f"{oid}\n" for oid in wanted.shallow))
        options = [f"--depth={wanted.depth}"] if wanted.depth else []
        options += [f"--filter={wanted.filter}"] if wanted.filter else []
        options += [f"--negotiation-tip={oid}" for oid in wanted.haves]
        incomplete = _promised(os.path.join(landing.objects, "pack")) if wanted.filter else contextlib.nullcontext()
        with incomplete, self._lines("wants", wanted.wants) as stdin:
            command = [*_FETCH, *options, "--end-of-options", self._road.place]
            self._git(command, stdin=stdin, limits={resource.RLIMIT_FSIZE: self._limits.pack})
        self._land(landing)
        before, after = set(wanted.shallow), set(self._read("shallow").split())
        return Fetched(tuple(sorted(after - before)), tuple(sorted(before - after)))

    def _land(self, landing: Landing) -> None:
        """Hand over the pack that git has made, if it made one and it keeps within the budgets."""
        packs = os.path.join(self._scratch, "objects", "pack")
        for name in os.listdir(packs) if os.path.isdir(packs) else []:
            stem, ext = os.path.splitext(os.path.join(packs, name))
            if ext == ".idx":
                checksum, count = self._checked(stem + ".pack")
                landing.adopt(stem + ".pack", stem + ".idx", checksum, count)
        shutil.rmtree(packs, ignore_errors=True)

    def _checked(self, pack: str) -> tuple[str, int]:
        """(checksum, number of objects) of a pack."""
        size, tail = os.stat(pack).st_size, 32 if self.object_format == "sha256" else 20
        with open(pack, "rb") as file:
            count = int.from_bytes(file.read(12)[8:], "big")
            file.seek(size - tail)
            checksum = file.read().hex()
        if count > self._limits.objects:
            raise errors.Refused(f"the pack has more than {self._limits.objects} objects")
        if size > self._limits.pack:
            raise errors.Refused(f"the pack is larger than {self._limits.pack} bytes")
        return checksum, count

    # ---- running git

    def _git(
        self,
        arguments: Sequence[str],
        *,
        take: Callable[[bytes], None] | None = None,
        stdin: BinaryIO | None = None,
        limits: Mapping[int, int],
    ) -> None:
        self._write("config", gitconfig.text([*gitconfig.closed(self.object_format), *self._road.sections]))
        own = {"GIT_DIR": self._scratch, "HOME": self._scratch, "GIT_EXEC_PATH": os.path.join(self._scratch, _PROGRAMS)}
        variables = {**own, **_VARIABLES, **self._road.variables}
        ended = gitprocess.run(arguments, variables, self._scratch, take=take, stdin=stdin, limits=limits)
        if ended.status:
            raise gitwords.meaning(ended.said, self._road, self._limits)

    @contextlib.contextmanager
    def _lines(self, name: str, lines: Sequence[str]) -> Iterator[BinaryIO]:
        self._write(name, "".join(f"{line}\n" for line in lines))
        with open(os.path.join(self._scratch, name), "rb") as file:
            yield file

    def _write(self, name: str, text: str) -> None:
        with open(os.path.join(self._scratch, name), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)

    def _read(self, name: str) -> str:
        try:
            with open(os.path.join(self._scratch, name), encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""


def _link_programs(directory: str) -> None:
    """Git's own programs that speak to the host, and no others.

    So a host that names places to fetch packs from (packfile-uris), or other protocols, has nothing here to run.
    """
    git = gitprocess.executable()
    os.symlink(git, os.path.join(directory, "git"))
    for name in ("git-remote-http", "git-remote-https"):
        os.symlink(os.path.join(gitprocess.exec_path(git), name), os.path.join(directory, name))


@contextlib.contextmanager
def _promised(packs: str) -> Iterator[None]:
    """Tell git that what these packs lack was left out on purpose."""
    marks = [os.path.join(packs, name[:-4] + ".promisor") for name in os.listdir(packs) if name.endswith(".idx")]
    try:
        for mark in marks:
            with open(mark, "wb"):
                pass
        yield
    finally:
        for mark in marks:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(mark)


def _format(oid: str) -> str:
    return "sha256" if len(oid) == 64 else "sha1"


def _triples(listed: bytes) -> Iterator[tuple[str, str, str]]:
    """(name, hash, peeled hash) from what `git ls-remote` prints."""
    peeled: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for line in listed.split(b"\n"):
        oid, tab, raw = line.partition(b"\t")
        if not tab:
            continue
        name = raw.decode("utf-8", "surrogateescape")
        if name.endswith("^{}"):
            peeled[name[:-3]] = hash_of(oid)
        else:
            found.append((name, hash_of(oid)))
    return ((name, target, peeled.get(name, "")) for name, target in found)
