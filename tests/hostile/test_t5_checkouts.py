"""T5, T6: repositories made to be dangerous to check out are only read; what is served is what Go itself would make."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.direct import PREFIX, DirectGo
from tests.support.githost import GitHost
from tests.support.gitrepo import EXECUTABLE, SUBMODULE, SYMLINK, Content, GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from tests.support.proxyserver import ProxyServer, serving
from tests.support.untouched import Tripwire, below, listing
from vcsproxy.mod import dirhash

HOOK = (EXECUTABLE, "#!/bin/sh\ntouch {work}/PWN\n")
COMMIT = "1" * 40
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
FILTERS = (
    '[filter "evil"]\n\tsmudge = touch {work}/PWN\n\tclean = touch {work}/PWN\n[core]\n\tfsmonitor = touch {work}/PWN\n'
)

REPOS: dict[str, dict[str | bytes, Content]] = {
    "link-out": {"passwd": (SYMLINK, "/etc/passwd"), "up": (SYMLINK, "../../../../../../etc/passwd"), "dev": (SYMLINK, "/dev/zero")},
    "link-dir": {"d": (SYMLINK, "../../outside"), "e/f": "inside"},
    "link-gomod": {"go.mod": (SYMLINK, "../outside/go.mod")},
    "link-license": {"LICENSE": (SYMLINK, "/etc/passwd")},
    "link-to-git": {"a": (SYMLINK, ".git"), "b": (SYMLINK, ".git/hooks/post-checkout")},
    "link-loop": {"a": (SYMLINK, "b"), "b": (SYMLINK, "a"), "c": (SYMLINK, "c")},
    "link-case": {"A/modules/x/hooks/post-checkout": HOOK, "a": (SYMLINK, ".git"), ".gitmodules": '[submodule "x"]\n\tpath = A/modules/x\n\turl = x\n'},
    "modules": {".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = ext::touch {work}/PWN\n\tupdate = !touch {work}/PWN\n', "s": (SUBMODULE, COMMIT)},
    "modules-cr": {".gitmodules": '[submodule "s"]\n\tpath = "s\r"\n\turl = ../x\n', "s\r": (SUBMODULE, COMMIT)},
    "modules-link": {".gitmodules": (SYMLINK, "../outside/config"), "s": (SUBMODULE, COMMIT)},
    "modules-option": {".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = -u./payload\n', "s": (SUBMODULE, COMMIT), "payload": HOOK},
    "modules-dots": {".gitmodules": '[submodule "../../x"]\n\tpath = s\n\turl = x\n', "s": (SUBMODULE, COMMIT)},
    "hooked": {"hooks/post-checkout": HOOK, "hooks/post-index-change": HOOK, "config": FILTERS, "HEAD": "ref: refs/heads/main\n"},
    "bare-inside": {"sub/HEAD": "ref: refs/heads/main\n", "sub/config": FILTERS, "sub/objects/x": "", "sub/refs/x": "", "sub/hooks/pre-commit": HOOK},
    "filters": {".gitattributes": "* filter=evil diff=evil merge=evil\n*.go text working-tree-encoding=UTF-16\n", ".gitconfig": FILTERS},
    "subst": {".gitattributes": "v.go export-subst\nsecret.go export-ignore\n", "v.go": "package x // $Format:%H%n%B%(trailers)$\n", "secret.go": "package x\n"},
    "subst-run": {".gitattributes": "v.go export-subst\n", "v.go": "package x // $Format:%G?%GG%(describe:tags=true)%N$\n"},
    "attributes-link": {".gitattributes": (SYMLINK, "../outside/gitattributes")},
    "lfs": {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "data.bin": LFS, ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:1/\n"},
    "dot-git": {".git/config": FILTERS, ".git/hooks/post-checkout": HOOK},
    "dot-git-case": {".GIT/config": FILTERS},
    "dot-git-file": {".git": "gitdir: /srv/elsewhere\n"},
    "dot-git-deep": {"a/b/.git/hooks/post-checkout": HOOK},
    "dot-git-hfs": {".g\u200cit/config": FILTERS},
    "dot-git-ntfs": {"git~1/config": FILTERS},
    "dot-git-space": {".git /config": FILTERS},
    "dot-git-stream": {".git::$INDEX_ALLOCATION/config": FILTERS},
    "backslash": {"a\\..\\..\\evil": "x"},
    "drive": {"C:evil": "x"},
    "device": {"aux.go": "package x\n"},
    "device-dir": {"con/x.go": "package x\n"},
    "trailing-dot": {"evil.": "x"},
    "case": {"README": "1", "readme": "2"},
    "control": {"a\x1b[31mb": "x"},
    "newline": {"a\nb": "x"},
    "not-utf8": {b"a\xff": "x"},
    "rlo": {"a\u202egpj.go": "package x\n"},
    "at": {"@v/list": "v9.9.9\n", "@latest": "x", "x@v1.0.0/go.mod": "module evil.test\n"},
    "vendor": {"vendor/modules.txt": "# x\n", "vendor/a.test/x/x.go": "package x\n", "sub/vendor/y/y.go": "package y\n"},
    "nested": {"sub/go.mod": "module github.com/t/nested/sub\n", "sub/x.go": "package x\n", "sub/deep/y.go": "package y\n"},
    "executable": {"run.sh": HOOK, "configure": (EXECUTABLE, "#!/bin/sh\nexit 1\n")},
    "zip-like": {"PK\x03\x04": "x", "a.zip": b"PK\x05\x06" + bytes(18), "META-INF/MANIFEST.MF": "x"},
    "long": {"d/" * 30 + "f" * 180: "x", "x" * 255: "y"},
    "unicode": {"\u00e9.go": "package x\n", "\u65e5\u672c/x.go": "package x\n"},
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    server: ProxyServer
    repos: Path
    work: Path
    trip: Tripwire
    before: dict[str, tuple[int, int, int, str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything is reached over HTTP, so that mirrors are made; HOME and the directory beside them are canaries."""
    work = tmp_path_factory.mktemp("checkouts")
    for name, text in {
        "go.mod": "module canary\n",
        "config": FILTERS,
        "gitattributes": "* filter=evil\n",
        "f": "canary",
    }.items():
        (work / "outside").mkdir(exist_ok=True)
        (work / "outside" / name).write_text(text.format(work=work))
    for name, files in REPOS.items():
        written = {path: told(content, work) for path, content in files.items()}
        GitRepo(work / "repos" / name).commit(
            {"go.mod": f"module {PREFIX}{name}\n", "x.go": "package x\n", **written}, tags=["v1.0.0"]
        )
    trip = Tripwire.stretch(work / "bin")
    with GitHost(work / "repos").running() as host:
        config = f'[[source]]\nroot = "{PREFIX}{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        before = listing(work, "s", "go")
        with serving(work / "s", config, PATH=trip.path, HOME=str(work / "outside")) as server:
            yield Site(server, work / "repos", work, trip, before)


def told(content: Content, work: Path) -> Content:
    """The file with the place where an attack would leave its mark."""
    if isinstance(content, tuple):
        return content[0], told(content[1], work)  # type: ignore[return-value]
    return content.replace("{work}", str(work)) if isinstance(content, str) else content


def test_T5_what_go_makes_of_it_or_a_clean_refusal(site: Site, go: GoTool) -> None:
    """The same zip as the real go in direct mode, or both refuse; nothing is run, and nothing changes outside."""
    direct = DirectGo(go, site.repos).download(site.work / "go", [f"{PREFIX}{name}@v1.0.0" for name in REPOS])
    wrong = []
    for name in REPOS:
        got = site.server.get(f"/{PREFIX}{name}/@v/v1.0.0.zip")
        theirs = direct[f"{PREFIX}{name}@v1.0.0"]
        ours = dirhash.hash_zip(io.BytesIO(got.data)) if got.status == 200 else ""
        if ours != theirs.h1 or got.status not in (200, 404, 422):
            wrong.append((name, got.status, got.data[:200] if got.status != 200 else ours, theirs))
    assert not wrong
    assert site.trip.runs == []
    assert not [path for path in below(site.work) if path.name == "PWN"]
    assert listing(site.work, "s", "go", "repos.gitconfig") == site.before


def test_T5_mirrors_have_no_work_trees_links_or_programs(site: Site) -> None:
    """Below the data directory there are plain files that nobody can run, and directories; nothing named by a repository."""
    site.server.get(f"/{PREFIX}hooked/@v/v1.0.0.zip")
    for path in below(site.server.data):
        assert not path.is_symlink(), path
        assert path.is_dir() or not path.lstat().st_mode & 0o111, path
        assert path.name not in ("hooks", "post-checkout", ".git", "config", ".gitmodules", "passwd"), path


def test_T5_refs_and_tags_are_no_files(tmp_path: Path) -> None:
    """A branch called like a path of the repository's own files is a name in a table."""
    repo = build(tmp_path / "repos" / "x", [Step({"go.mod": "module git.test/x\n"}, tags=["v1.0.0"])])
    for name in (
        "refs/heads/hooks/post-checkout",
        "refs/heads/objects/info/alternates",
        "refs/tags/config",
        "refs/heads/HEAD",
        "refs/heads/-x",
    ):
        repo.git("update-ref", name, repo.git("rev-parse", "main"))
    with GitHost(tmp_path / "repos").running() as host:
        config = f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "{host.url}/{{repo}}"\n'
        with serving(tmp_path / "s", config) as server:
            assert server.get("/git.test/x/@v/v1.0.0.zip").status == 200
            names = {path.name for path in below(server.data)}
            assert not names & {"alternates", "hooks", "config", "HEAD", "-x"}


# ---- T6: the zips that are served


def directories_of(data: bytes) -> tuple[list[tuple[bytes, int, int, int]], list[tuple[bytes, int, int, int]]]:
    """(name, crc, packed size, size) of every file, by the central directory and by what stands before each file."""
    assert data.count(b"PK\x05\x06") == 1, "one end"
    at = data.index(b"PK\x05\x06")
    _, disk, start_disk, here, count, size, start, comment = struct.unpack("<IHHHHIIH", data[at : at + 22])
    assert (disk, start_disk, here, comment, at + 22, start + size) == (0, 0, count, 0, len(data), at), (
        "nothing but zip"
    )
    central, local, end = [], [], 0
    for _ in range(count):
        fields = struct.unpack("<IHHHHHHIIIHHHHHII", data[start : start + 46])
        name = data[start + 46 : start + 46 + fields[10]]
        assert (fields[0], fields[11], fields[12]) == (0x02014B50, 0, 0), "no extra fields, no comments"
        assert fields[16] == end, "no gaps between files"
        central.append((name, fields[7], fields[8], fields[9]))
        start += 46 + fields[10]
        entry, end = _local(data, fields[16], central[-1])
        local.append(entry)
    return central, local


def _local(data: bytes, at: int, central: tuple[bytes, int, int, int]) -> tuple[tuple[bytes, int, int, int], int]:
    """A file's own header, completed by the data descriptor behind it, and where the next one must begin."""
    magic, _, flags, _, _, _, crc, packed, size, name_size, extra = struct.unpack("<IHHHHHIIIHH", data[at : at + 30])
    assert (magic, extra) == (0x04034B50, 0)
    name = data[at + 30 : at + 30 + name_size]
    end = at + 30 + name_size + central[2]
    if flags & 8:
        magic, crc, packed, size = struct.unpack("<IIII", data[end : end + 16])
        assert magic == 0x08074B50
        end += 16
    return (name, crc, packed, size), end


def test_T6_both_directories_of_every_zip_agree(site: Site, go: GoTool, tmp_path: Path) -> None:
    """Read by our own eyes, by zipfile and by go: the same files with the same contents."""
    served = []
    for name in REPOS:
        got = site.server.get(f"/{PREFIX}{name}/@v/v1.0.0.zip")
        if got.status != 200:
            continue
        served.append(name)
        central, local = directories_of(got.data)
        assert central == local
        with zipfile.ZipFile(io.BytesIO(got.data)) as archive:
            assert archive.testzip() is None
            assert [info.filename.encode() for info in archive.infolist()] == [entry[0] for entry in central]
            for info in archive.infolist():
                assert info.filename.startswith(f"{PREFIX}{name}@v1.0.0/")
                assert ".." not in info.filename.split("/")
                assert info.external_attr == 0, "neither links nor modes"
    assert len(served) > 20
    env = {"GOPROXY": site.server.base, "GOMODCACHE": str(tmp_path / "cache")}
    for name in served:
        done = go.run("mod", "download", "-json", f"{PREFIX}{name}@v1.0.0", **env)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        assert not (tmp_path / "PWN").exists()
    assert not any(os.path.islink(path) for path in (tmp_path / "cache").rglob("*"))
