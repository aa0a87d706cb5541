"""Which files a module zip has and what is in them: the expected, and the same hash as the zip that `go` makes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.direct import PREFIX, DirectGo, Ours, Outcome
from tests.support.gitrepo import EXECUTABLE, SUBMODULE, SYMLINK, Content, GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from vcsproxy.build.job import Built, Failed, Op
from vcsproxy.mod import dirhash

MODULE = PREFIX + "x"
MOD: dict[str, Content] = {"go.mod": f"module {MODULE}\n"}
SUB: dict[str, Content] = {**MOD, "sub/go.mod": f"module {MODULE}/sub\n", "sub/s.go": "package s\n"}
EMPTY = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

Tree = Mapping[str, Content]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Zipped:
    """One version on our side: its `.mod`, and the zip's files in their order or the reason why there is none."""

    gomod: bytes
    files: Files | None
    reason: str
    outcome: Outcome

    @property
    def names(self) -> list[str]:
        return sorted(self.files or [])


class Zips:
    """Trees become the versions v0.0.0, v0.0.1, ... of a module; go is asked for all of them at once."""

    def __init__(self, go: GoTool, work: Path) -> None:
        self._go, self._work = go, work
        self.root = work / "repos"
        self.ours = Ours(self.root, work / "ours")
        self.cache = work / "cache"

    def __call__(self, trees: Sequence[Tree], directory: str = "") -> list[Zipped]:
        """What we make of each tree; it is what go makes of it."""
        tag = directory.removesuffix("/v2") + "/" if directory.removesuffix("v2") else ""
        major = "v2" if directory.endswith("v2") else "v0"
        versions = [f"{major}.0.{number}" for number in range(len(trees))]
        steps = [Step(tree, [at - 1] if at else [], tags=[tag + versions[at]]) for at, tree in enumerate(trees)]
        build(self.root / "x", steps)
        return self.compare([f"{MODULE}/{directory}@{version}".replace("/@", "@") for version in versions])

    def compare(self, questions: Sequence[str]) -> list[Zipped]:
        want = DirectGo(self._go, self.root).download(self.cache, questions)
        return [self._compare(question, want[question]) for question in questions]

    def _compare(self, question: str, want: Outcome) -> Zipped:
        path, _, version = question.partition("@")
        info, zipped = self.ours.ask(Op.INFO, path, version), self.ours.ask(Op.ZIP, path, version)
        assert isinstance(info, Built), info
        stored = self.cache / "cache/download" / path / "@v"
        assert info.info == (stored / f"{version}.info").read_bytes()
        assert info.gomod == (stored / f"{version}.mod").read_bytes()
        if isinstance(zipped, Failed):
            assert zipped.error == "NotFound", zipped
            assert want.error, (question, zipped)
            return Zipped(info.gomod, None, zipped.message, want)
        assert isinstance(zipped, Built)
        assert not want.error, (question, want)
        assert (zipped.zip_h1, dirhash.hash_gomod(zipped.gomod)) == (want.h1, want.gomod_h1), question
        with zipfile.ZipFile(zipped.zip) as archive:
            files = {entry.filename.removeprefix(f"{question}/"): archive.read(entry) for entry in archive.infolist()}
            assert all(entry.external_attr == 0 for entry in archive.infolist())
        return Zipped(info.gomod, files, "", want)


@pytest.fixture
def zips(go: GoTool, tmp_path: Path) -> Zips:
    return Zips(go, tmp_path)


# ---- vendor

VENDOR: dict[str, Content] = dict.fromkeys(
    [
        "vendor/modules.txt", "vendor/f.go", "vendor/a/b.go", "pkg/vendor/vendor.go", "x/vendor/modules.txt", "a/b/vendor/q.go",
        "x/vendor/a/b.go", "vendored/x.go", "ab/vendor1/x/y", "vendor/vendor/c.go", "x/vendor/y/vendor/z.go",
    ],
    "package p\n",
)  # fmt: skip
ALWAYS = ["ab/vendor1/x/y", "vendor/f.go", "vendored/x.go"]
OLD = sorted([*ALWAYS, "vendor/modules.txt"])
NEW = sorted([*ALWAYS, "a/b/vendor/q.go", "pkg/vendor/vendor.go", "x/vendor/modules.txt"])
GO_LINES: dict[str, list[str]] = {
    "go 1.20": OLD, "": OLD, "go 1.23.9": OLD, "go 1.25.1\nrequire a.example/b oops": OLD, "go 1.25.1\noops(": OLD,
    "go 1.25\ngo 1.25": OLD, "go 1.x": OLD, "go (\n1.25\n)": OLD, "// go 1.25": OLD, "go v1.24": OLD, 'go "1.24"': OLD,
    "go 1.24": NEW, "go 1.24rc1": NEW, "go 1.25.1": NEW, "go 1.24.0 // newest": NEW, "go 1.25.1\nunknown x y": NEW,
    "go 1.24.1foo": NEW, "go 1.25\nreplace oops": NEW,
}  # fmt: skip


def test_what_is_vendored_depends_on_the_modules_own_go_line(zips: Zips) -> None:
    """A go.mod that cannot be parsed has no go line (cases 82, 83, 84)."""
    found = zips([{**VENDOR, "go.mod": f"module {MODULE}\n{text}\n"} for text in GO_LINES])
    got = {text: zipped.names for text, zipped in zip(GO_LINES, found, strict=True)}
    assert got == {text: sorted(["go.mod", *names]) for text, names in GO_LINES.items()}


def test_without_go_mod_the_old_vendor_rules_hold(zips: Zips) -> None:
    """The go.mod has to be a regular file, and spelled as it is in the archive (case 82)."""
    newest = "go 1.25\n"
    found = zips([
        VENDOR, {**VENDOR, "go.mod": (SYMLINK, f"module {MODULE}\n{newest}")},
        {**VENDOR, "go.mod": f"module {MODULE}\n{newest}", ".gitattributes": "go.mod eol=crlf\n"},
    ])  # fmt: skip
    assert [zipped.names for zipped in found] == [OLD, OLD, sorted([*NEW, ".gitattributes", "go.mod"])]


def test_the_go_line_of_a_directorys_go_mod_counts_for_the_directory(zips: Zips) -> None:
    """(case 83)"""
    files = {f"sub/{name}": content for name, content in VENDOR.items()}
    lines = [("go 1.25\n", "go 1.20\n"), ("go 1.20\n", "go 1.25\n")]
    found = zips(
        [{**files, "go.mod": f"module {MODULE}\n{a}", "sub/go.mod": f"module {MODULE}/sub\n{b}"} for a, b in lines],
        "sub",
    )
    assert [zipped.names for zipped in found] == [sorted(["go.mod", *OLD]), sorted(["go.mod", *NEW])]


# ---- nested modules, kinds of files


def test_a_directory_with_a_go_mod_is_another_module(zips: Zips) -> None:
    """Whatever is in that go.mod and in whichever case; a link or a directory of that name makes none (case 85)."""
    files = {**MOD, "a.go": "", "n/x.go": "", "n/deep/y.go": "", "nn/z.go": ""}
    nested: list[tuple[str, Content]] = [
        ("n/go.mod", "module n\n"), ("n/go.mod", ""), ("n/GO.MOD", ""), ("n/Go.mod", "\0"), ("n/go.mod", (EXECUTABLE, "x")),
        ("n/go.mod", (SYMLINK, "../go.mod")), ("n/go.mod/x", "x"), ("n/deep/go.mod", ""), ("n/go.mod.bak", ""),
    ]  # fmt: skip
    got = [zipped.names for zipped in zips([{**files, name: content} for name, content in nested])]
    without, whole = ["a.go", "go.mod", "nn/z.go"], ["a.go", "go.mod", "n/deep/y.go", "n/x.go", "nn/z.go"]
    assert got[:5] == [without] * 5
    assert got[5:] == [
        whole,
        sorted([*whole, "n/go.mod/x"]),
        ["a.go", "go.mod", "n/x.go", "nn/z.go"],
        sorted([*whole, "n/go.mod.bak"]),
    ]


def test_links_and_submodules_are_left_out(go: GoTool, tmp_path: Path) -> None:
    """Files about Git stay, and an executable file is a file like any other (case 86)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    files: dict[str | bytes, Content] = {
        **MOD, "a.go": "package a\n", "good": (SYMLINK, "a.go"), "dangling": (SYMLINK, "/nosuch"), "dir": (SYMLINK, "d"),
        "d/up": (SYMLINK, "../.."), "d/f": "f", "third": (SUBMODULE, "1" * 40), "d/fourth": (SUBMODULE, "2" * 40),
        ".gitmodules": "[submodule]\n", ".gitattributes": "# none\n", ".gitignore": "a.go\n", "run.sh": (EXECUTABLE, "#!/bin/sh\n"),
        "sub/go.mod": (SUBMODULE, "3" * 40), "sub/x": "",
    }  # fmt: skip
    repo.commit(files, tags=["v0.0.0"])
    repo.commit(
        {
            **MOD,
            "bad:module": (SUBMODULE, "1" * 40),
            "con": (SUBMODULE, "2" * 40),
            "A": (SUBMODULE, "1" * 40),
            "a": "a",
        },
        tags=["v0.0.1"],
    )
    first, second = Zips(go, tmp_path).compare([f"{MODULE}@v0.0.0", f"{MODULE}@v0.0.1"])
    assert first.names == [".gitattributes", ".gitignore", ".gitmodules", "a.go", "d/f", "go.mod", "run.sh", "sub/x"]
    assert first.files is not None
    assert first.files["run.sh"] == b"#!/bin/sh\n"
    assert second.names == ["a", "go.mod"]


def test_a_link_with_a_bad_name_fails_the_zip(zips: Zips) -> None:
    """Although the link itself would be left out; `.info` and `.mod` are given (case 87)."""
    found = zips([
        {**MOD, "bad:link": (SYMLINK, "a")}, {**MOD, "a.go": "", "A.go": (SYMLINK, "a.go")}, {**MOD, "GO.MOD": (SYMLINK, "go.mod")},
        {**MOD, "fine": (SYMLINK, "b:c")},
    ])  # fmt: skip
    assert [zipped.files is None for zipped in found] == [True, True, True, False]
    assert found[0].reason == "create zip: bad:link: malformed file path \"bad:link\": invalid char ':'"
    assert found[1].reason == 'create zip: a.go: case-insensitive file name collision: "A.go" and "a.go"'
    assert all(zipped.gomod == f"module {MODULE}\n".encode() for zipped in found)


# ---- names

BAD_NAMES = [
    "a:b", "a*b", "a?b", "a'b", 'a"b', "a<b", "a>b", "a|b", "a`b`", "a\\b", "a;b", "a\tb", "a\nb", "a\x01b", "a\x7fb", "☺.go", "x\u0301",
    "e\u0301.go", "\u0661.go", "Ⅷ", "COM\u00b9.txt", "con.go", "sub/NUL", "aux.tar.gz", "x.", "x/y./z", "...", "d/.../x", "vendor/a:b",
    "x\u200b", "\ufeffx", "\u00a0", "a\u2028", "½", "€", "lpt9", "CONIN$", "x/com1", "prn .go", "Ⓐ", "\ue000", "\U0001f600",
]  # fmt: skip
FINE = {"CONIN$", "prn .go"}  # a device name ends at the first dot, not at a space; consoles are none
GOOD_NAMES = [
    "a b.go", "x ", " ", "é.go", "ª", "\U00020000", "foo~1", "com0.x", "-dash", "..foo", ".hidden", "go.mod.bak", "%41", "a!b#$%&()+,-.=@[]^_{}",
    "com10", "con1", ".con", "x.con", "日本語", "ǅ", "ʰ", "\u0e33", "go.sum", "dir/ /x", "lpt", "nul_", "a..b", "{", "\u10d0\u1c90",
]  # fmt: skip


def test_names_that_other_systems_cannot_have_fail_the_zip(zips: Zips) -> None:
    """Only letters are allowed beyond ASCII, and the reason names the file (case 88)."""
    found = dict(zip(BAD_NAMES, zips([{**MOD, name: "x"} for name in BAD_NAMES]), strict=True))
    assert {name for name, zipped in found.items() if zipped.files is not None} == FINE
    for name, zipped in found.items():
        if zipped.files is None:
            assert zipped.reason.startswith(f"create zip: {name}: malformed file path "), name
            assert zipped.gomod == f"module {MODULE}\n".encode()


def test_a_name_that_is_no_utf8_fails_the_zip(go: GoTool, tmp_path: Path) -> None:
    """(case 88)"""
    repo = GitRepo(tmp_path / "repos" / "x")
    names = [b"\xff", b"a/\xc3\x28.go", b"\xed\xa0\x80", b"\xc0\xae"]
    for number, name in enumerate(names):
        repo.commit({**MOD, name: "x"}, tags=[f"v0.0.{number}"])
    for zipped in Zips(go, tmp_path).compare([f"{MODULE}@v0.0.{number}" for number in range(len(names))]):
        assert "malformed file path" in zipped.reason
        zipped.reason.encode()


def test_names_that_look_odd_and_are_fine(zips: Zips) -> None:
    """(case 89)"""
    (zipped,) = zips([{**MOD, **dict.fromkeys(GOOD_NAMES, "x")}])
    assert set(zipped.names) == {"go.mod", *GOOD_NAMES}


def test_bad_names_do_not_matter_where_files_are_left_out(zips: Zips) -> None:
    """Below vendor and in nested modules; the file of Mercurial's archives is left out at the top only (case 90)."""
    bad = {
        "vendor/x/a:b": "",
        "vendor/x/A": "",
        "vendor/x/a": "",
        "n/go.mod": "",
        "n/a:b": "",
        "n/con": "",
        "n/\u0301": "",
    }
    (zipped,) = zips([{**MOD, **bad, ".hg_archival.txt": "x", "x/.hg_archival.txt": "y"}])
    assert zipped.names == ["go.mod", "x/.hg_archival.txt"]


def test_go_mod_has_one_spelling(zips: Zips) -> None:
    """Another one fails the zip, and is no go.mod for `.mod` either (case 91)."""
    found = zips(
        [{**MOD, "Go.mod": ""}, {"GO.MOD": "module example.com/other\n"}, {"gO.mod": (SYMLINK, "x")}, {"go.mod ": "x"}]
    )
    assert found[0].reason == "create zip: Go.mod: go.mod files must have lowercase names"
    assert found[1].reason == "create zip: GO.MOD: go.mod files must have lowercase names"
    assert found[2].files is None
    assert found[3].names == ["go.mod "]
    assert {zipped.gomod for zipped in found} == {f"module {MODULE}\n".encode()}


COLLIDING = [
    ("Foo.go", "foo.go"), ("Dir/a", "dir/b"), ("k", "\u212a"), ("s", "ſ"), ("ß", "ẞ"), ("Σ", "ς"), ("σ", "ς"), ("LICENSE", "license"),
    ("a/B/c/d", "a/b/C/e"), ("Å", "\u212b"), ("ǆ", "ǅ"), ("ά", "Ά"), ("ა", "Ა"), ("a", "A/b"), ("µ", "μ"), ("ﬅ", "ﬆ"),
]  # fmt: skip
APART = [("ß", "ss"), ("I", "ı"), ("İ", "i"), ("a", "a.go"), ("ﬃ", "ffi"), ("vendor/x/A", "vendor/x/a"), ("ŉ", "ʼn")]


def test_names_that_differ_in_case_only_fail_the_zip(zips: Zips) -> None:
    """By Unicode's simple case folding, directories too (case 92)."""
    found = zips([{**MOD, a: "1", b: "2"} for a, b in COLLIDING])
    for pair, zipped in zip(COLLIDING, found, strict=True):
        assert "case-insensitive file name collision" in zipped.reason, pair


def test_names_that_only_look_alike_are_fine(zips: Zips) -> None:
    """(case 92)"""
    for pair, zipped in zip(APART, zips([{**MOD, a: "1", b: "2"} for a, b in APART]), strict=True):
        kept = [name for name in pair if not name.startswith("vendor/")]
        assert zipped.names == sorted(["go.mod", *kept])


# ---- LICENSE

TEXT = "do what you like\n"


def test_a_directory_inherits_the_roots_licence(zips: Zips) -> None:
    """As the last file and with the bytes of the blob; its own, or a link of that name, is enough (cases 93, 94)."""
    crlf = {".gitattributes": "* text eol=crlf\n"}
    found = zips([
        {**SUB, "LICENSE": TEXT}, {**SUB, "LICENSE": TEXT, **crlf}, {**SUB, "LICENSE": TEXT, "sub/LICENSE": "own\n"},
        {**SUB, "LICENSE": TEXT, "sub/LICENSE": (SYMLINK, "../LICENSE")}, {**SUB, "LICENSE": (SYMLINK, "COPYING"), "COPYING": TEXT},
        {**SUB, "LICENSE": (EXECUTABLE, TEXT)}, {**SUB, "LICENSE.txt": TEXT, "license": TEXT}, {**SUB, "LICENSE/MIT": TEXT}, SUB,
        {**SUB, "LICENSE": TEXT, "sub/deep/LICENSE": "deep\n", "sub/zz": ""}, {**SUB, "LICENSE": TEXT, "sub/LICENSE.md": "md\n"},
        {**SUB, "LICENSE": ""},
    ], "sub")  # fmt: skip
    licences = [(zipped.files or {}).get("LICENSE") for zipped in found]
    text = TEXT.encode()
    assert licences == [text, text, b"own\n", None, b"COPYING", text, None, None, None, text, text, b""]
    assert list(found[0].files or ()) == ["go.mod", "s.go", "LICENSE"]
    assert list(found[9].files or ()) == ["deep/LICENSE", "go.mod", "s.go", "zz", "LICENSE"]
    assert (found[1].files or {})["s.go"] == b"package s\r\n"
    assert found[3].names == ["go.mod", "s.go"]


def test_an_inherited_licence_may_collide(zips: Zips) -> None:
    """With a name in another case or a directory, and then there is no zip (case 93)."""
    found = zips(
        [{**SUB, "LICENSE": TEXT, name: "x"} for name in ("sub/license", "sub/LICENSE/MIT", "sub/License/x")], "sub"
    )
    assert found[0].reason == 'create zip: LICENSE: case-insensitive file name collision: "license" and "LICENSE"'
    assert found[1].reason == 'create zip: LICENSE: entry "LICENSE" is both a file and a directory'
    assert "collision" in found[2].reason


def test_a_major_directory_inherits_too(zips: Zips) -> None:
    """(case 93)"""
    files = {**MOD, "v2/go.mod": f"module {MODULE}/v2\n", "v2/two.go": "package two\n"}
    found = zips([{**files, "LICENSE": TEXT}, {**files, "LICENSE": TEXT, "v2/LICENSE": "two\n"}], "v2")
    assert [(zipped.files or {})["LICENSE"] for zipped in found] == [TEXT.encode(), b"two\n"]


def test_a_major_below_a_directory_inherits_from_the_root_alone(zips: Zips) -> None:
    """A licence half way up is not looked for (case 93)."""
    files = {"sub/v2/go.mod": f"module {MODULE}/sub/v2\n", "sub/LICENSE": "sub\n"}
    found = zips([{**files, "LICENSE": TEXT}, files], "sub/v2")
    assert [(zipped.files or {}).get("LICENSE") for zipped in found] == [TEXT.encode(), None]


def test_the_root_inherits_nothing(zips: Zips) -> None:
    """A link there is left out like any other (case 94)."""
    found = zips(
        [
            {**MOD, "LICENSE": (SYMLINK, "COPYING"), "COPYING": TEXT},
            {**MOD, "d/LICENSE": TEXT},
            {**MOD, "LICENSE": TEXT},
        ]
    )
    assert [zipped.names for zipped in found] == [["COPYING", "go.mod"], ["d/LICENSE", "go.mod"], ["LICENSE", "go.mod"]]


# ---- attributes


def blob_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_contents_are_those_of_a_work_tree(zips: Zips) -> None:
    """Line ends, `$Id$` and encodings are converted; what would leave out or rewrite files for an export is not (case 95)."""
    attributes = (
        "*.bat text eol=crlf\nid.txt ident\n*.u16 working-tree-encoding=UTF-16LE\nhidden export-ignore\nsubst export-subst\n"
        "*.auto text=auto\n*.text text\n*.lf eol=lf\n"
    )
    raw = {
        "a.bat": "a\nb\r\n\n", "id.txt": "$Id$ $Id: old $\n", "é.u16": "é\n", "hidden": "h\n", "subst": "$Format:%H$\n", "a.auto": "a\nb\r\n",
        "a.text": "a\nb\r\n", "a.lf": "a\nb\r\n", "dir/a.bat": "x\n", "dir/raw/a.bat": "x\n", "plain": "x\n",
    }  # fmt: skip
    files = {**MOD, **raw, ".gitattributes": attributes, "dir/raw/.gitattributes": "*.bat -text\n"}
    (zipped,) = zips([files])
    expanded = f"$Id: {blob_hash(raw['id.txt'].encode())} $"
    changed = {
        "a.bat": b"a\r\nb\r\n\r\n", "id.txt": f"{expanded} {expanded}\n".encode(), "é.u16": "é\n".encode("utf-16-le"), "dir/a.bat": b"x\r\n",
    }  # fmt: skip
    assert zipped.files is not None
    assert {name: zipped.files[name] for name in raw} == {name: text.encode() for name, text in raw.items()} | changed


def test_the_roots_attributes_hold_for_a_directory(zips: Zips) -> None:
    """Its own come after them (case 95)."""
    base = {
        **SUB,
        ".gitattributes": "*.go text eol=crlf\n/sub/x.txt ident\nsub/y/* eol=crlf\n",
        "sub/x.txt": "$Id$",
        "sub/y/z": "a\n",
    }
    own = [{}, {"sub/.gitattributes": "*.go -text\n"}, {"sub/.gitattributes": "*.go !text !eol\nx.txt -ident\n"}]
    found = zips([{**base, **more} for more in own], "sub")
    assert [(zipped.files or {})["s.go"] for zipped in found] == [b"package s\r\n", b"package s\n", b"package s\n"]
    identity = f"$Id: {blob_hash(b'$Id$')} $".encode()
    assert [(zipped.files or {})["x.txt"] for zipped in found] == [identity, identity, b"$Id$"]
    assert [(zipped.files or {})["y/z"] for zipped in found] == [b"a\r\n"] * 3


def test_the_go_mod_of_the_zip_may_differ_from_the_go_mod_that_is_served(zips: Zips) -> None:
    """`.mod` is the blob, the zip has the file of a work tree (case 96)."""
    (zipped,) = zips([{**MOD, ".gitattributes": "go.mod text eol=crlf\n"}])
    assert zipped.gomod == f"module {MODULE}\n".encode()
    assert (zipped.files or {})["go.mod"] == f"module {MODULE}\r\n".encode()
    assert zipped.outcome.gomod_h1 == dirhash.hash_gomod(zipped.gomod)


def test_nothing_of_this_machines_configuration_counts(
    zips: Zips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither filters nor attributes nor line ends of whoever runs the server; a pointer to a large file stays one (case 97)."""
    home = tmp_path / "home"
    (home / ".config/git").mkdir(parents=True)
    settings = (
        '[filter "foo"]\n\tsmudge = tr a-z A-Z\n\trequired = true\n[filter "lfs"]\n\tsmudge = tr a-z A-Z\n\tprocess = false\n'
        f"[core]\n\tattributesFile = {home}/attributes\n\tautocrlf = true\n\teol = crlf\n"
    )
    (home / ".gitconfig").write_text(settings)
    (home / ".config/git/config").write_text(settings)
    for name in ("attributes", ".config/git/attributes"):
        (home / name).write_text("* text eol=crlf ident filter=foo\n")
    for name, value in {
        "HOME": home, "XDG_CONFIG_HOME": home / ".config", "GIT_CONFIG_GLOBAL": home / ".gitconfig", "GIT_CONFIG_SYSTEM": home / ".gitconfig",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
    files = {
        **MOD,
        "a.foo": "abc\n$Id$\n",
        "big.bin": pointer,
        ".gitattributes": "*.foo filter=foo\n*.bin filter=lfs diff=lfs merge=lfs -text\n",
    }
    (zipped,) = zips([files])
    assert zipped.files == {name: str(text).encode() for name, text in sorted(files.items())}


# ---- sizes


def test_an_empty_tree_is_an_empty_zip(go: GoTool, tmp_path: Path) -> None:
    """As is one whose files are all left out (case 98)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    repo.commit({}, tags=["v0.0.0"])
    repo.commit(
        {"link": (SYMLINK, "x"), "vendor/a/b.go": "", "n/go.mod": "", "third": (SUBMODULE, "1" * 40)}, tags=["v0.0.1"]
    )
    for zipped in Zips(go, tmp_path).compare([f"{MODULE}@v0.0.0", f"{MODULE}@v0.0.1"]):
        assert zipped.files == {}
        assert zipped.outcome.h1 == EMPTY


def test_a_go_mod_or_licence_of_more_than_16_mib_fails_the_zip(zips: Zips) -> None:
    """`.info` and `.mod` are given all the same, and an inherited licence counts (case 99)."""
    limit = 16 << 20
    head = f"module {MODULE}\n\n//".encode()
    exact = head + b"x" * (limit - len(head))
    found = zips(
        [
            {"go.mod": exact},
            {"go.mod": exact + b"x"},
            {**MOD, "LICENSE": b"y" * limit},
            {**MOD, "LICENSE": b"y" * (limit + 1)},
        ]
    )
    assert [zipped.files is None for zipped in found] == [False, True, False, True]
    assert found[1].reason == "create zip: go.mod: go.mod file too large (max size is 16777216 bytes)"
    assert found[3].reason == "create zip: LICENSE: LICENSE file too large (max size is 16777216 bytes)"
    assert len(found[1].gomod) == limit + 1


def test_an_inherited_licence_of_more_than_16_mib_fails_the_zip(zips: Zips) -> None:
    """(case 99)"""
    large = b"y" * ((16 << 20) + 1)
    found = zips(
        [{**SUB, "LICENSE": large}, {**SUB, "LICENSE": large, "sub/LICENSE": "own\n"}, {**SUB, "sub/d/LICENSE": large}],
        "sub",
    )
    assert [zipped.files is None for zipped in found] == [True, False, False]


@pytest.mark.skipif(not os.environ.get("VCSPROXY_FUZZ"), reason="a minute of 500 MiB zips: part of make fuzz")
def test_500_mib_are_a_module_and_one_byte_more_is_none(go: GoTool, tmp_path: Path) -> None:
    """Every path counts, even where the files are one blob (case 99)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    piece, gomod = repo.blob(bytes(20 << 20)), repo.blob(str(MOD["go.mod"]))
    for number in (0, 1):
        rest = repo.blob(bytes((20 << 20) + number - len(MOD["go.mod"])))
        names = {**dict.fromkeys((f"{at:02}" for at in range(24)), piece), "go.mod": gomod, "last": rest}
        listing = "".join(f"100644 blob {oid}\t{name}\n" for name, oid in names.items())
        tree = repo.git("mktree", stdin=listing.encode())
        repo.tag(f"v0.0.{number}", repo.git("commit-tree", tree, "-m", "m"))
    questions = [f"{MODULE}@v0.0.{number}" for number in (0, 1)]
    want = DirectGo(go, tmp_path / "repos").download(tmp_path / "cache", questions)
    ours = Ours(tmp_path / "repos", tmp_path / "ours")
    fits, large = (ours.ask(Op.ZIP, MODULE, question.partition("@")[2]) for question in questions)
    assert isinstance(fits, Built)
    assert fits.zip_h1 == want[questions[0]].h1
    assert isinstance(large, Failed)
    assert large.message == "create zip: module source tree too large (max size is 524288000 bytes)"
    assert large.message in want[questions[1]].error
    shutil.rmtree(tmp_path / "cache")


# ---- what clients accept


def _stored(entries: list[tuple[str, bytes]], how: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return out.getvalue()


REMADE: dict[str, tuple[Callable[[list[tuple[str, bytes]]], bytes], bool]] = {
    "stored": (lambda entries: _stored(entries, zipfile.ZIP_STORED), True),
    "deflated": (lambda entries: _stored(entries, zipfile.ZIP_DEFLATED), True),
    "backwards": (lambda entries: _stored(entries[::-1], zipfile.ZIP_DEFLATED), True),
    "with a directory": (
        lambda entries: _stored([(entries[-1][0].rpartition("/")[0] + "/", b""), *entries], zipfile.ZIP_STORED),
        False,
    ),
}


def test_the_hash_is_of_names_and_contents_alone(zips: Zips, go: GoTool, tmp_path: Path) -> None:
    """A client sees the same module in any order and compression, and another one with entries for directories (case 100)."""
    (zipped,) = zips([{**MOD, "a.go": "package x\n" * 100, "d/é.go": "package d\n", "z": ""}])
    built = zips.ours.ask(Op.ZIP, MODULE, "v0.0.0")
    assert isinstance(built, Built)
    with zipfile.ZipFile(built.zip) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    for name, (remake, same) in REMADE.items():
        tree = tmp_path / name.replace(" ", "-")
        place = tree / MODULE / "@v"
        place.mkdir(parents=True)
        (place / "v0.0.0.info").write_bytes(built.info)
        (place / "v0.0.0.mod").write_bytes(built.gomod)
        (place / "v0.0.0.zip").write_bytes(remake(entries))
        with (place / "v0.0.0.zip").open("rb") as file:
            assert (dirhash.hash_zip(file) == built.zip_h1) == same, name
        got = go.json(
            "mod", "download", "-json", f"{MODULE}@v0.0.0", GOPROXY=f"file://{tree}", GOMODCACHE=str(tree / "cache")
        )
        assert (got.get("Sum") == built.zip_h1 == zipped.outcome.h1) == same, (name, got)
