"""The same commits archived by the real git, with the command that Go runs, and converted by us, byte for byte.

One bare repository per test holds many commits, each a repository of its own as far as `git archive` can tell; they are
written through `git fast-import`, so that hundreds of trees cost seconds.
"""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from tests.support.gitrepo import REGULAR, SYMLINK, GitRepo, git_env
from vcsproxy import errors
from vcsproxy.vcs.attributes import AttributeStack
from vcsproxy.vcs.convert import convert_to_working_tree

ATTR = b".gitattributes"

Tree = Mapping[bytes, bytes | tuple[str, bytes]]  # path -> content, or (mode, content)


@dataclass
class Archiver:
    """A bare repository as Go leaves it, to which trees are added and from which archives are taken."""

    repo: GitRepo
    trees: list[Tree] = field(default_factory=list)

    def add(self, *trees: Tree) -> None:
        stream = bytearray()
        for number, tree in enumerate(trees, len(self.trees)):
            stream += b"commit refs/heads/t%d\ncommitter A <a@example.com> 1709251200 +0000\ndata 0\n" % number
            for path, item in tree.items():
                mode, content = item if isinstance(item, tuple) else (REGULAR, item)
                name = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
                stream += b"M %b inline %b\ndata %d\n%b\n" % (mode.encode(), name, len(content), content)
        self.repo.git("fast-import", "--quiet", stdin=bytes(stream))
        self.trees += trees
        info = self.repo.path / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_bytes(b"\n* -export-subst -export-ignore\n")

    def archive(self, number: int, *directory: str) -> dict[bytes, bytes]:
        """What git writes, as {path in the repository: content}; raises CalledProcessError when it refuses."""
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=input", "-c", "core.eol=lf", "archive", "--format=zip", "--prefix=prefix/"]
            + ["--end-of-options", f"refs/heads/t{number}", *directory],
            env=git_env(GIT_DIR=str(self.repo.path)),
            capture_output=True,
            check=True,
        )
        found = {}
        with zipfile.ZipFile(io.BytesIO(done.stdout)) as file:
            for entry in file.infolist():
                name = entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")
                if not name.endswith(b"/"):
                    found[name.removeprefix(b"prefix/")] = file.read(entry)
        return found

    def ours(self, number: int, directory: bytes = b"") -> dict[bytes, bytes]:
        tree = self.trees[number]

        def read(where: bytes) -> bytes | None:
            item = tree.get(where + b"/" + ATTR if where else ATTR)
            return item[1] if isinstance(item, tuple) else item

        stack = AttributeStack(read)
        found = {}
        for path in sorted(tree):
            if directory and not path.startswith(directory + b"/"):
                continue
            item = tree[path]
            mode, content = item if isinstance(item, tuple) else (REGULAR, item)
            if mode != SYMLINK:
                oid = hashlib.new(self.repo.object_format, b"blob %d\0" % len(content) + content).hexdigest()
                content = convert_to_working_tree(stack.lookup(path), content, oid)
            found[path] = content
        return found

    def check(self, *trees: Tree) -> None:
        """Add trees and compare each, whole and by its top directories."""
        first = len(self.trees)
        self.add(*trees)
        for number, tree in enumerate(trees, first):
            tops = {path.partition(b"/")[0] for path in tree if b"/" in path}
            assert self.archive(number) == self.ours(number), tree
            for top in sorted(tops)[:1]:
                assert self.archive(number, top.decode()) == self.ours(number, top), tree


@pytest.fixture
def archiver(make_repo: Callable[..., GitRepo]) -> Archiver:
    return Archiver(make_repo())


# --- random repositories ---------------------------------------------------------------------------------------------

PIECES = (
    b"line\n", b"line\n", b"dos\r\n", b"\n", b"\r\n", b"mac\r", b"\r\r\n", b"\0", b"\x1a", b"\x01\x02", b"\x7f", b"\t\x0c\x08\x1b",
    b"printable text " * 9, b"printable text\n" * 9, b"$Id$", b"$Id$\n", b"$Id: x $", b"$Id:$", b"$Id: $", b"$Id:  $", b"$Id:x y$",
    b"$Id: a.c,v 1.2 2001/01/01 me Exp $", b"$Id: \n", b"$Id: no end", b"$Idx$", b"$", b"$$Id$$", b"$Id", b"$Id: ab c$Id$",
    "é\n".encode(), "日本語\n".encode(), "😀".encode(), "\ufeff".encode(), "€ß".encode(), b"\xff", b"\xc3", b"\xed\xa0\x80",
    "\U000e0041".encode(),
)  # fmt: skip

NAMES = (b"a", b"b", b"go.mod", b"x.bat", b"x.txt", b"y.txt", b"A.TXT", b"id.go", "é.txt".encode(), b"a b", b"[x]", b"\\b", b"!n", b".git", ATTR)
DIRS = (b"", b"", b"sub/", b"sub/", b"sub/deep/", b"sub/deep/er/", b"sub/vendor/m/", b"doc/", "dé/".encode())

PATTERNS = (
    b"*", b"*", b"*.txt", b"*.bat", b"a", b"b", b"/a", b"sub/*", b"sub/**", b"**/a", b"/sub/deep/a", b"deep/**/x.txt", b"sub/*/x*", b"*.[tT]*", b"?",
    b"[!a]*", b"[[:upper:]]*", b"sub/", b"deep", b"/*.txt", b"**", b"/**", b"*/a", b"go.mod", b'"a b"', b'"\\303\\251.txt"', b'"*.txt"', b'"bad\\q"',
    b"\xc3\xa9.txt", b"\\!n", b"!n", b"\\[x\\]", b"[x]", b"\\\\b", b"s*b/**/*t", b"su[a-c]/x.txt", b"*a*", b"x.*", b".git*", b"[attr]", b"*x*t*", b"sub/d**/a",
)  # fmt: skip

SETTINGS = (
    b"text", b"text", b"-text", b"!text", b"text=auto", b"text=auto", b"text=input", b"text=odd", b"text=", b"eol=crlf", b"eol=crlf", b"eol=crlf", b"eol=lf",
    b"-eol", b"eol", b"!eol", b"eol=CRLF", b"crlf", b"-crlf", b"crlf=input", b"crlf=auto", b"!crlf", b"ident", b"ident", b"-ident", b"!ident", b"ident=yes",
    b"binary", b"-binary", b"!binary", b"binary=x", b"dos", b"-dos", b"loop", b"both", b"both=1", b"diff", b"filter=lfs", b"export-ignore", b"export-subst",
    b"working-tree-encoding=UTF-16", b"working-tree-encoding=utf16le", b"working-tree-encoding=UTF-16LE-BOM", b"working-tree-encoding=UTF-32BE",
    b"working-tree-encoding=UTF-8", b"working-tree-encoding=latin-1", b"working-tree-encoding=SHIFT-JIS", b"working-tree-encoding=cp1252",
    b"working-tree-encoding=UTF-8-BOM", b"!working-tree-encoding", b"working-tree-encoding=", b"-x=y",
)  # fmt: skip

ODD_LINES = (
    b"# comment", b"  # comment", b"", b"*", b"* text -", b"* eol=crlf =x", b"* eol=crlf bad/name", b"* ident --x", b"\t* ident", b" a\ttext\teol=crlf\r",
    b"\xef\xbb\xbf* eol=crlf", b"[attr]dos text eol=crlf", b"[attr]dos -text", b"[attr]both dos ident", b"[attr]loop loop dos both", b"[attr]binary text eol=crlf",
    b"[attr]both binary", b"[attr]", b"[attr] x ident", b"[attr]bad/name text", b'"[attr] dos x" ident', b"* text" + b" eol=crlf" * 300, b"x.txt\veol=crlf",
    b'"a"eol=crlf', b'"a', b"* builtin_x ident", b"x" * 2040 + b" text",
)  # fmt: skip


def random_attributes(rnd: random.Random) -> bytes:
    lines = []
    for _ in range(rnd.randint(1, 9)):
        if rnd.random() < 0.25:
            lines.append(rnd.choice(ODD_LINES))
        else:
            lines.append(rnd.choice(PATTERNS) + b" " + b" ".join(rnd.choices(SETTINGS, k=rnd.randint(1, 4))))
    data = rnd.choice((b"\n", b"\n", b"\r\n")).join(lines) + rnd.choice((b"\n", b"\n", b""))
    if rnd.random() < 0.03:
        data = data.replace(b"t", b"\0", 1)
    return data


def random_tree(rnd: random.Random) -> Tree:
    tree: dict[bytes, bytes | tuple[str, bytes]] = {}
    for _ in range(rnd.randint(8, 30)):
        name = rnd.choice(NAMES)
        if name != b".git":
            tree[rnd.choice(DIRS) + name] = b"".join(rnd.choices(PIECES, k=rnd.randint(0, 6)))
    for where in ("", "sub/", "sub/deep/", "doc/", "sub/vendor/m/"):
        if rnd.random() < (0.9 if where == "" else 0.5):
            data = random_attributes(rnd)
            link = rnd.random() < 0.05 and b"\0" not in data
            tree[where.encode() + ATTR] = (SYMLINK, data) if link else data
    tree[b"sub/last"] = b"last\n"
    return tree


@pytest.mark.parametrize("seed", range(4))
def test_random_repositories_archive_alike(archiver: Archiver, seed: int) -> None:
    rnd = random.Random(f"archive {seed}")
    archiver.check(*(random_tree(rnd) for _ in range(120)))


def test_random_sha256_repositories_archive_alike(make_repo: Callable[..., GitRepo]) -> None:
    rnd = random.Random("sha256")
    Archiver(make_repo(object_format="sha256")).check(*(random_tree(rnd) for _ in range(10)))
