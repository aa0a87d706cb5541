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

SETTINGS_OF_GO = ["-c", "core.autocrlf=input", "-c", "core.eol=lf"]
COMMAND = ["git", *SETTINGS_OF_GO, "archive", "--format=zip", "--prefix=prefix/", "--end-of-options"]
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

    def archive(self, number: int, directory: bytes = b"") -> dict[bytes, bytes]:
        """What git writes, as {path in the repository: content}; raises CalledProcessError when it refuses."""
        done = subprocess.run(
            [*COMMAND, f"refs/heads/t{number}", *([directory] if directory else [])],
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
        """Add trees and compare each, whole and by one of its top directories."""
        first = len(self.trees)
        self.add(*trees)
        for number, tree in enumerate(trees, first):
            tops = {path.partition(b"/")[0] for path in tree if b"/" in path}
            for directory in (b"", *sorted(tops)[-1:]):
                try:
                    ours = self.ours(number, directory)
                except errors.Refused:
                    with pytest.raises(subprocess.CalledProcessError):
                        self.archive(number, directory)
                else:
                    assert self.archive(number, directory) == ours, tree


@pytest.fixture
def archiver(make_repo: Callable[..., GitRepo]) -> Archiver:
    return Archiver(make_repo())


# --- random repositories ---------------------------------------------------------------------------------------------

PIECES = [
    *(b"line\n", b"line\n", b"dos\r\n", b"\n", b"\r\n", b"mac\r", b"\r\r\n", b"\0", b"\x1a", b"\x01\x02", b"\x7f"),
    *(b"\t\x0c\x08\x1b", b"printable text " * 9, b"printable text\n" * 9, b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"$Id$", b"$Id$\n", b"$Id: x $", b"$Id:$", b"$Id: $", b"$Id:  $", b"$Id:x y$", b"$Id: \n", b"$Id: no end", b"$"),
    *(b"$Id: a.c,v 1.2 2001/01/01 me Exp $", b"$Idx$", b"$$Id$$", b"$Id", b"$Id: ab c$Id$"),
    *(text.encode() for text in ("é\n", "日本語\n", "😀", "\ufeff", "€ß", "\U000e0041")),
]

DIRS = (b"", b"", b"sub/", b"sub/", b"sub/deep/", b"sub/deep/er/", b"sub/vendor/m/", b"doc/", "dé/".encode())
NAMES = [b"a b", *r"a b go.mod x.bat x.txt y.txt A.TXT id.go é.txt [x] \b !n .gitattributes".encode().split()]

PATTERNS = [
    b'"a b"',
    *r"""
    * * *.txt *.bat a b /a sub/* sub/** **/a /sub/deep/a deep/**/x.txt sub/*/x* *.[tT]* ? [!a]* [[:upper:]]* sub/ deep
    /*.txt ** /** */a go.mod "\303\251.txt" "*.txt" "bad\q" é.txt \!n !n \[x\] [x] \\b s*b/**/*t su[a-c]/x.txt *a* x.*
    .git* [attr] *x*t* sub/d**/a
    """.encode().split(),
]

SETTINGS = b"""
    text text -text !text text=auto text=auto text=input text=odd text= eol=crlf eol=crlf eol=crlf eol=lf -eol eol !eol
    eol=CRLF crlf -crlf crlf=input crlf=auto !crlf ident ident -ident !ident ident=yes binary -binary !binary binary=x
    dos -dos loop both both=1 diff filter=lfs export-ignore export-subst -x=y working-tree-encoding=UTF-16
    working-tree-encoding=utf16le working-tree-encoding=UTF-16LE-BOM working-tree-encoding=UTF-32BE
    working-tree-encoding=UTF-8 working-tree-encoding=latin-1 working-tree-encoding=SHIFT-JIS
    working-tree-encoding=cp1252 working-tree-encoding=UTF-8-BOM !working-tree-encoding -working-tree-encoding
    working-tree-encoding=
    """.split()

ODD_LINES = (
    *(b"# comment", b"  # comment", b"", b"*", b"* text -", b"* eol=crlf =x", b"* eol=crlf bad/name", b"* ident --x"),
    *(b"\t* ident", b" a\ttext\teol=crlf\r", b"\xef\xbb\xbf* eol=crlf", b"x.txt\veol=crlf", b'"a"eol=crlf', b'"a'),
    *(b"[attr]dos text eol=crlf", b"[attr]dos -text", b"[attr]both dos ident", b"[attr]loop loop dos both"),
    *(b"[attr]binary text eol=crlf", b"[attr]both binary", b"[attr]", b"[attr] x ident", b"[attr]bad/name text"),
    *(b'"[attr] dos x" ident', b"* text" + b" eol=crlf" * 300, b"* builtin_x ident", b"x" * 2040 + b" text"),
)


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
    for _ in range(rnd.choice((0, 0, 0, 1, 3))):
        at = rnd.randrange(len(data) + 1)
        data = data[:at] + bytes((rnd.choice(b'"\\ \t\r\n#![]=-*'),)) + data[at:]
    return data


def random_tree(rnd: random.Random) -> Tree:
    tree: dict[bytes, bytes | tuple[str, bytes]] = {}
    for _ in range(rnd.randint(8, 30)):
        tree[rnd.choice(DIRS) + rnd.choice(NAMES)] = b"".join(rnd.choices(PIECES, k=rnd.randint(0, 6)))
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


# --- named cases -----------------------------------------------------------------------------------------------------

LF = b"a\nb\r\nc\n"
KEYWORDS = b"$Id$ $Id: 1 $\n"

# name -> (root .gitattributes, path, content, content in the archive). `{oid}` stands for the blob's hash.
TABLE = {
    "export-ignore": (b"* export-ignore", b"f", LF, LF),
    "export-subst": (b"* export-subst", b"f", b"$Format:%H$\n", b"$Format:%H$\n"),
    "text eol=crlf": (b"*.bat text eol=crlf", b"x.bat", LF, b"a\r\nb\r\nc\r\n"),
    "eol=crlf": (b"f eol=crlf", b"f", LF, b"a\r\nb\r\nc\r\n"),
    "eol=crlf keeps lone CR": (b"f eol=crlf", b"f", b"a\rb\r\r\n\n", b"a\rb\r\r\n\r\n"),
    "eol=crlf on binary": (b"f eol=crlf", b"f", b"\0\n", b"\0\r\n"),
    "-text eol=crlf": (b"f -text eol=crlf", b"f", LF, LF),
    "text=auto": (b"* text=auto", b"f", LF, LF),
    "text=auto eol=crlf on LF": (b"* text=auto eol=crlf", b"f", b"a\nb\n", b"a\r\nb\r\n"),
    "text=auto eol=crlf on a mix": (b"* text=auto eol=crlf", b"f", LF, LF),
    "text=auto eol=crlf on lone CR": (b"* text=auto eol=crlf", b"f", b"a\rb\n", b"a\rb\n"),
    "text=auto eol=crlf on NUL": (b"* text=auto eol=crlf", b"f", b"a\0\n", b"a\0\n"),
    "text=auto eol=crlf, 1 in 128": (b"* text=auto eol=crlf", b"f", b"x" * 128 + b"\x01\n", b"x" * 128 + b"\x01\r\n"),
    "text=auto eol=crlf, 1 in 127": (b"* text=auto eol=crlf", b"f", b"x" * 127 + b"\x01\n", b"x" * 127 + b"\x01\n"),
    "text=auto eol=crlf, DOS end of file": (b"* text=auto eol=crlf", b"f", b"x\n\x1a", b"x\r\n\x1a"),
    "text": (b"* text", b"f", LF, LF),
    "crlf": (b"* crlf", b"f", LF, LF),
    "crlf eol=crlf": (b"* crlf=auto eol=crlf", b"f", LF, LF),
    "-crlf eol=crlf": (b"* -crlf eol=crlf", b"f", LF, LF),
    "text hides crlf": (b"* text -crlf eol=crlf", b"f", b"a\n", b"a\r\n"),
    "ident": (b"id.txt ident", b"id.txt", KEYWORDS, b"$Id: {oid} $ $Id: {oid} $\n"),
    "ident of others": (b"* ident", b"f", b"$Id: f,v 1.2 me $\n$Id: x\n$", b"$Id: f,v 1.2 me $\n$Id: x\n$"),
    "encoding UTF-16LE": (b"* working-tree-encoding=UTF-16LE", b"f", b"a\n", b"a\0\n\0"),
    "encoding UTF-16": (b"* working-tree-encoding=UTF-16", b"f", b"a", b"\xff\xfea\0"),
    "encoding UTF-32": (b"* working-tree-encoding=UTF-32", b"f", b"a", b"\xff\xfe\0\0a\0\0\0"),
    "encoding UTF-16 of a BOM": (b"* working-tree-encoding=UTF-16", b"f", b"\xef\xbb\xbfa", b"\xff\xfe\xff\xfea\0"),
    "encoding UTF-16BE-BOM": (b"* working-tree-encoding=utf16be-bom", b"f", b"a", b"\xfe\xff\0a"),
    "encoding unknown": (b"* working-tree-encoding=UTF-8-BOM", b"f", b"\xc3\xa9", b"\xc3\xa9"),
    "encoding of no UTF-8": (b"* working-tree-encoding=UTF-16", b"f", b"a\xff", b"a\xff"),
    "encoding without that letter": (b"* working-tree-encoding=cp1252", b"f", "日".encode(), "日".encode()),
    "encoding of nothing": (b"* working-tree-encoding=UTF-16", b"f", b"", b""),
    "all three": (
        b"* ident eol=crlf working-tree-encoding=UTF-16BE-BOM",
        b"f",
        b"$Id$\n",
        b"\xfe\xff" + b"".join(b"\0%c" % byte for byte in b"$Id: {oid} $\r\n"),
    ),
    "-working-tree-encoding": (b"* -working-tree-encoding", b"f", "é".encode(), "é".encode()),
    "filter": (b"* filter=lfs", b"f", LF, LF),
    "binary eol=crlf": (b"* binary eol=crlf", b"f", LF, LF),
    "binary redefined": (b"[attr]binary text eol=crlf\n* binary", b"f", b"a\n", b"a\r\n"),
    "go.mod": (b"go.mod text eol=crlf", b"go.mod", b"module m\n", b"module m\r\n"),
    "line of 2047": (b"f eol=crlf".ljust(2047), b"f", b"\n", b"\r\n"),
    "line of 2048": (b"f eol=crlf".ljust(2048), b"f", b"\n", b"\n"),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_attribute_does_what_it_does_in_git(archiver: Archiver, name: str) -> None:
    attributes, path, content, expected = TABLE[name]
    archiver.check({ATTR: attributes, path: content})
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest().encode()
    wide = b"\0".join(b"%c" % byte for byte in oid)
    got = archiver.ours(0)[path]
    assert got == expected.replace(b"{oid}", oid).replace(b"\0".join(b"%c" % c for c in b"{oid}"), wide)


def test_the_roots_file_counts_for_a_directory_and_a_deeper_one_overrides_it(archiver: Archiver) -> None:
    """`-text` in a deeper .gitattributes overrides, as usual."""
    tree = {
        ATTR: b"* text eol=crlf\n[attr]dos text eol=crlf\n",
        b"sub/a": b"\n",
        b"sub/deep/" + ATTR: b"*.png -text\n[attr]more ident\nm more\n",
        b"sub/deep/a.png": b"\n",
        b"sub/deep/a.txt": b"\n",
        b"sub/deep/m": b"$Id$",
        b"sub/up/" + ATTR: b"/a !text !eol\nb dos\n",
        b"sub/up/a": b"\n",
        b"sub/up/x/a": b"\n",
    }
    archiver.check(tree)
    changed = {path for path, content in archiver.ours(0, b"sub").items() if content == b"\r\n"}
    assert changed == {b"sub/a", b"sub/deep/a.txt", b"sub/up/x/a"}


def test_a_symbolic_link_named_gitattributes_is_read_as_its_target(archiver: Archiver) -> None:
    archiver.check({ATTR: (SYMLINK, b"* eol=crlf"), b"f": b"\n", b"link": (SYMLINK, b"a\nb")})
    assert archiver.ours(0)[b"f"] == b"\r\n"
    assert archiver.ours(0)[b"link"] == b"a\nb"


def test_an_encoding_without_a_name_fails_the_archive(archiver: Archiver) -> None:
    archiver.add({ATTR: b"f working-tree-encoding", b"f": b""})
    with pytest.raises(subprocess.CalledProcessError):
        archiver.archive(0)
    with pytest.raises(errors.Refused):
        archiver.ours(0)


# --- encodings -------------------------------------------------------------------------------------------------------


def iconv_names() -> list[bytes]:
    """Every name that the iconv of the GNU C library lists; skips the test elsewhere."""
    version = ["iconv", "--version"]
    if not shutil.which("iconv") or b"GLIBC" not in subprocess.run(version, capture_output=True, check=True).stdout:
        pytest.skip("the reference for encodings is the iconv of the GNU C library")
    lines = subprocess.run(["iconv", "-l"], capture_output=True, check=True).stdout.split()
    return [line.removesuffix(b"//").removesuffix(b"/") for line in lines]


PROBES = (
    b"plain ascii\n",
    *(
        letter.encode()
        for letter in "éĄÞżŽ€ßñ£¥ÿ\xa0¤Ж҂фЁєΩά€אء๏あ漢字语言언ｱ～‾\\~￠∆─█™“”…\U0001f600\U000e0041\x80\x85\x1a\x7f"
    ),
    "日本語テキスト\r\n".encode(),
    "中文文本，测试。\n".encode(),
    "Été à Łódź".encode(),
    "\ufeffbom".encode(),
    b"half \xe6\x97",
    b"\xf4\x90\x80\x80",
)


def test_every_encoding_gives_the_bytes_of_git_or_is_refused(archiver: Archiver) -> None:
    tree: dict[bytes, bytes] = {}
    ours: dict[bytes, bytes] = {}
    refused = 0
    for number, name in enumerate(iconv_names()):
        line = b"* working-tree-encoding=" + (name if number % 2 else name.lower())
        attrs = AttributeStack(lambda _, line=line: line).lookup(b"f")
        for part, probe in enumerate(PROBES):
            path = b"%d/%d" % (number, part)
            try:
                ours[path] = convert_to_working_tree(attrs, probe, "")
            except errors.Refused:
                refused += 1
                continue
            tree[path] = probe
            tree[b"%d/" % number + ATTR] = line
    archiver.add(tree)
    theirs = archiver.archive(0)
    assert {path: theirs[path] for path in ours} == ours
    assert len(ours) > 150 * len(PROBES)
    assert refused > 0


def test_a_whole_character_set_is_converted_alike(archiver: Archiver) -> None:
    tree: dict[bytes, bytes] = {}
    for name in (
        "iso-8859-1",
        "ISO8859-15",
        "latin-1",
        "windows-1252",
        "CP1251",
        "cp437",
        "IBM850",
        "KOI8-R",
        "koi8-u",
    ):
        codec = {"windows-1252": "cp1252", "IBM850": "cp850"}.get(name, name)
        tree[name.encode() + b"/" + ATTR] = b"* working-tree-encoding=" + name.encode()
        tree[name.encode() + b"/all"] = bytes(range(256)).decode(codec, "ignore").encode()
    archiver.check(tree)
