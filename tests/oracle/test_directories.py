"""Which directory and which go.mod a module path means, each answer checked and compared with `go`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.asked import MOD, Asked, asked, line
from tests.support.direct import PREFIX, DirectGo, Outcome
from tests.support.githost import GitHost
from tests.support.gitrepo import SYMLINK, Content, GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from vcsproxy.build.job import Built, Failed, Job, Listed, Op, Result
from vcsproxy.build.run import run
from vcsproxy.mod import dirhash
from vcsproxy.mod.reporoot import RepoRoot

GO = {"a.go": "package x\n"}


def module(path: str, name: str = "go.mod") -> dict[str, str]:
    return {name: f"module {path}\n"}


def names(x: Asked, suffix: str, version: str) -> list[str]:
    """The files of our zip without the prefix that all have."""
    with zipfile.ZipFile(x.built(Op.ZIP, suffix, version).zip) as archive:
        return [name.partition("@")[2].partition("/")[2] for name in archive.namelist()]


# ---- where a module is


def test_a_directorys_versions_are_the_tags_that_begin_with_it(go: GoTool, tmp_path: Path) -> None:
    """Tags of the root or of other directories are none of its business (case 67)."""
    files = {**GO, **MOD, **module("github.com/t/x/sub", "sub/go.mod"), "sub/s.go": "package s\n"}
    x = asked(
        go,
        tmp_path,
        line(Step(files, tags=["sub/v0.1.0", "v2.0.0"]), Step(files, tags=["v0.5.0", "sub2/v0.9.0", "osub/v0.9.0"])),
    )
    x.answers({
        "/sub@v0.1.0": "v0.1.0", "/sub@main": "v0.1.1-0.{p[main]}", "@main": "v0.5.0", "/sub@v0.5.0": "unknown revision sub/v0.5.0",
    })  # fmt: skip
    x.lists({"": "v0.5.0", "/sub": "v0.1.0"})
    x.latest({"/sub": "v0.1.0"})
    origin = json.loads(x.built(Op.INFO, "/sub", "v0.1.0").info)["Origin"]
    assert (origin["Subdir"], origin["Ref"]) == ("sub", "refs/tags/sub/v0.1.0")
    assert names(x, "/sub", "v0.1.0") == ["go.mod", "s.go"]
    assert names(x, "", "v0.5.0") == ["a.go", "go.mod"]


def test_a_deep_directory(go: GoTool, tmp_path: Path) -> None:
    """(case 67)"""
    files = {**MOD, **module("github.com/t/x/a/b.c/d-e", "a/b.c/d-e/go.mod")}
    x = asked(go, tmp_path, line(Step(files, tags=["a/b.c/d-e/v1.0.0"])))
    x.answers(
        {
            "/a/b.c/d-e@v1.0.0": "v1.0.0",
            "/a/b.c@v1.0.0": "unknown revision a/b.c/v1.0.0",
            "/a@main": "missing github.com/t/x/a/go.mod",
        }
    )


def test_a_major_suffix_may_be_a_directory(go: GoTool, tmp_path: Path) -> None:
    """The tag has the directory without it, wherever the go.mod is (case 68)."""
    files = {
        **MOD,
        **module("github.com/t/x/sub/v2", "sub/v2/go.mod"),
        "sub/v2/s.go": "package s\n",
        "sub/old.go": "package old\n",
    }
    x = asked(go, tmp_path, line(Step(files, tags=["sub/v2.1.0", "sub/v2/v2.9.0"]), Step(files)))
    x.answers({
        "/sub/v2@v2.1.0": "v2.1.0", "/sub/v2@v2.9.0": "unknown revision sub/v2.9.0", "/sub/v2@main": "v2.1.1-0.{p[main]}",
        "/sub@main": "missing github.com/t/x/sub/go.mod",
    })  # fmt: skip
    x.lists({"/sub/v2": "v2.1.0"})
    assert names(x, "/sub/v2", "v2.1.0") == ["go.mod", "s.go"]
    assert json.loads(x.built(Op.INFO, "/sub/v2", "v2.1.0").info)["Origin"]["Subdir"] == "sub"


def test_a_major_suffix_may_be_no_directory(go: GoTool, tmp_path: Path) -> None:
    """(case 68)"""
    files = {**module("github.com/t/x/v3"), **module("github.com/t/x/sub/v2", "sub/go.mod")}
    x = asked(go, tmp_path, line(Step(files, tags=["v3.0.0", "sub/v2.1.0"])))
    x.answers({"/v3@v3.0.0": "v3.0.0", "/sub/v2@v2.1.0": "v2.1.0", "@main": "go.mod has post-v0 module path"})
    assert names(x, "/sub/v2", "v2.1.0") == ["go.mod"]


def test_a_major_in_two_places_is_in_none(go: GoTool, tmp_path: Path) -> None:
    """(case 69)"""
    both = {**module("github.com/t/x/v2"), **module("github.com/t/x/v2", "v2/go.mod")}
    x = asked(go, tmp_path, line(Step(both, tags=["v2.0.0"])))
    reason = "github.com/t/x/go.mod and .../v2/go.mod both have .../v2 module paths at revision"
    x.answers({"/v2@v2.0.0": reason, "/v2@main": reason})
    x.lists({"/v2": "v2.0.0"})


def test_a_major_directory_of_another_major_hides_the_root(go: GoTool, tmp_path: Path) -> None:
    """Its tag is listed and cannot be had (case 70)."""
    x = asked(go, tmp_path, line(
        Step({**module("github.com/t/x/v3"), **module("github.com/t/x", "v3/go.mod")}, tags=["v3.0.0"], branch="three"),
        Step({**MOD, "v4/go.mod": "// nothing\n"}, tags=["v4.0.0"], branch="four"),
    ))  # fmt: skip
    reason = 'github.com/t/x/v3/go.mod has non-.../v3 module path "github.com/t/x" at revision '
    x.answers({
        "/v3@three": reason, "/v3@v3.0.0": reason + "v3.0.0",
        "/v4@v4.0.0": "github.com/t/x/v4/go.mod is missing module path at revision v4.0.0",
    })  # fmt: skip
    x.lists({"/v3": "v3.0.0", "/v4": "v4.0.0"})


def test_a_directory_without_go_mod_lists_its_tags_and_gives_none(go: GoTool, tmp_path: Path) -> None:
    """Listing looks into no tag (case 71)."""
    x = asked(
        go, tmp_path, line(Step({**MOD, "nogomod/a.go": "package a\n"}, tags=["nogomod/v1.0.0", "nothere/v1.0.0"]))
    )
    x.lists({"/nogomod": "v1.0.0", "/nothere": "v1.0.0"})
    x.answers({
        f"/{name}@v1.0.0": f"missing github.com/t/x/{name}/go.mod at revision {name}/v1.0.0" for name in ("nogomod", "nothere")
    })  # fmt: skip
    x.latest({"/nogomod": ""})


def test_a_path_that_is_no_module_has_neither_list_nor_latest(go: GoTool, tmp_path: Path) -> None:
    """So that clients go on to the next prefix of an import path, or to their next proxy (case 72)."""
    x = asked(go, tmp_path, line(Step({**MOD, "pkg/a.go": "package pkg\n"}, tags=["v1.0.0"])))
    paths = ("/pkg", "/nosuch", "/v2", "/pkg/v2", "/go.mod")
    x.lists(dict.fromkeys(paths))
    x.latest(dict.fromkeys(paths, ""))
    for path in paths:
        for op in (Op.LIST, Op.LATEST):
            assert x.refusal(op, path) == f'module github.com/t/x{path}: no matching versions for query "latest"'


# ---- what go.mod says


def test_only_the_major_of_the_declared_path_counts(go: GoTool, tmp_path: Path) -> None:
    """A fork keeps its go.mod; the client compares the rest (case 73)."""
    fork = {
        **module("example.com/other"),
        **module("example.com/else/v2", "v2/go.mod"),
        **module("example.com/third", "sub/go.mod"),
    }
    x = asked(go, tmp_path, line(Step(fork, tags=["v1.0.0", "v2.0.0", "v2/v2.0.0", "sub/v1.0.0"])))
    x.answers({
        "@v1.0.0": "v1.0.0", "/v2@v2.0.0": "v2.0.0", "/v2/v2@v2.0.0": "v2.0.0", "/sub@v1.0.0": "v1.0.0",
        "/sub/v2@main": "has non-.../v2 module path",
    })  # fmt: skip
    assert x.built(Op.INFO, "", "v1.0.0").gomod == b"module example.com/other\n"


NO_PATH: dict[str, Content] = {
    "empty": "",
    "no module line": "go 1.20\n",
    "only a comment": "// module github.com/t/x\n",
    "byte order mark": "\ufeffmodule github.com/t/x\n",
    "no space": 'module"github.com/t/x"\n',
    "another verb": "modulex github.com/t/x\n",
    "nothing after it": "module\n",
    "an unclosed string": 'module "github.com/t/x\n',
    "a symbolic link": (SYMLINK, "other.mod"),
}

PATHS = {
    "quoted": ('module "github.com/t/x"\n', ""),
    "in backquotes": ("module `github.com/t/x`\n", ""),
    "in a comment's company": ("// about\nmodule github.com/t/x // mine\n", ""),
    "with tabs and CRLF": ("\tmodule\t github.com/t/x \r\n", ""),
    "of two words": ("module a b\n", ""),
    "in single quotes": ("module 'x'\n", ""),
    "the first line of two": ("module github.com/t/x\nmodule github.com/t/x/v2\n", ""),
    "after a byte order mark's line": ("\ufeff\nmodule github.com/t/x\n", ""),
    "a block": ("module (\n\tgithub.com/t/x/v2\n)\n", ""),
    "gopkg.in": ("module gopkg.in/foo.v3\n", ""),
    "a link to it": ((SYMLINK, "module github.com/t/x"), ""),
    "v1": ("module github.com/t/x/v1\n", 'go.mod has malformed module path "github.com/t/x/v1" at revision'),
    "v0": ("module github.com/t/x/v0\n", "go.mod has malformed module path"),
    "v02": ("module github.com/t/x/v02\n", "go.mod has malformed module path"),
    "v2": ("module github.com/t/x/v2\n", 'go.mod has post-v0 module path "github.com/t/x/v2" at revision'),
}


def test_a_go_mod_without_module_path_is_refused(go: GoTool, tmp_path: Path) -> None:
    """The first line that begins with `module` and white space decides, as bytes and not as a grammar (case 74)."""
    steps = line(*(Step({**GO, "go.mod": text}, tags=[f"v0.1.{n}"]) for n, text in enumerate(NO_PATH.values())))
    asked(go, tmp_path, steps).answers({
        f"@v0.1.{number}": f"go.mod is missing module path at revision v0.1.{number}" for number in range(len(NO_PATH))
    })  # fmt: skip


def test_the_forms_of_a_module_line(go: GoTool, tmp_path: Path) -> None:
    """What is there counts for its major alone, and may be no path at all (cases 74, 75, 76)."""
    steps = line(*(Step({**GO, "go.mod": text}, tags=[f"v0.1.{n}"]) for n, (text, _) in enumerate(PATHS.values())))
    x = asked(go, tmp_path, steps)
    x.answers({f"@v0.1.{n}": reason or f"v0.1.{n}" for n, (_, reason) in enumerate(PATHS.values())})
    for number, (text, reason) in enumerate(PATHS.values()):
        if not reason:
            raw = text[1] if isinstance(text, tuple) else text
            assert x.built(Op.INFO, "", f"v0.1.{number}").gomod == str(raw).encode()


def test_a_factored_module_line_has_no_major(go: GoTool, tmp_path: Path) -> None:
    """(case 76)"""
    block = {**GO, "go.mod": "module (\n\tgithub.com/t/x/v2\n)\n"}
    x = asked(go, tmp_path, line(Step(block, tags=["v2.0.0"]), Step(block, tags=["v1.0.0"])))
    reason = 'has non-.../v2 module path "(" (and .../v2/go.mod does not exist) at revision v2.0.0'
    x.answers({"/v2@v2.0.0": reason, "@v1.0.0": "v1.0.0"})
    assert x.built(Op.INFO, "", "v1.0.0").gomod == block["go.mod"].encode()


def test_a_module_without_go_mod_gets_one_of_a_single_line(go: GoTool, tmp_path: Path) -> None:
    """Only as its `.mod`; a directory or a submodule of that name is no go.mod (case 77)."""
    repo = GitRepo(tmp_path / "repos" / "x")
    trees: list[dict[str | bytes, Content]] = [
        {**GO}, {**GO, "go.mod/inside": "x"}, {**GO, "go.mod": ("160000", "1" * 40)}, {**GO, "Gopkg.lock": "", "vendor/vendor.json": "{}"},
    ]  # fmt: skip
    for number, files in enumerate(trees):
        repo.commit(files, tags=[f"v0.1.{number}"])
    x = Asked(repo, go, tmp_path)
    x.answers({f"@v0.1.{number}": f"v0.1.{number}" for number in range(len(trees))})
    for number in range(len(trees)):
        assert x.built(Op.INFO, "", f"v0.1.{number}").gomod == b"module github.com/t/x\n"
    assert names(x, "", "v0.1.0") == ["a.go"]
    assert names(x, "", "v0.1.1") == ["a.go", "go.mod/inside"]
    assert names(x, "", "v0.1.2") == ["a.go"]


@pytest.mark.parametrize(
    "text",
    ["module github.com/t/x\r\n\r\ngo 1.20\r\n", "\ufeff\nmodule github.com/t/x\n", "module github.com/t/x // é\xff"],
)
def test_a_go_mod_is_given_byte_for_byte(go: GoTool, tmp_path: Path, text: str) -> None:
    """Its hash in go.sum is of those bytes (case 78)."""
    raw = text.encode("latin-1") if "\xff" in text else text.encode()
    x = asked(go, tmp_path, line(Step({**GO, "go.mod": raw}, tags=["v0.1.0"])))
    found = x.answers({"@v0.1.0": "v0.1.0"})
    assert x.built(Op.INFO, "", "v0.1.0").gomod == raw
    assert found["@v0.1.0"].gomod_h1 == dirhash.hash_gomod(raw)


def test_a_repository_may_be_named_like_a_major(go: GoTool, tmp_path: Path) -> None:
    """Then its own root is the major, and only v2 tags are versions (case 79)."""
    path = tmp_path / "repos" / "v2"
    repo = build(
        path,
        line(Step(GO, tags=["v1.0.0", "v2.0.0"]), Step({**GO, **module("github.com/t/v2")}, tags=["v1.1.0", "v2.1.0"])),
    )
    x = Asked(repo, go, tmp_path)
    x.answers({
        "@v1.0.0": "missing github.com/t/v2/go.mod at revision v1.0.0", "@v2.0.0": "missing github.com/t/v2/go.mod at revision v2.0.0",
        "@v1.1.0": "module path includes a major version suffix, so major version must match", "@v2.1.0": "v2.1.0",
    })  # fmt: skip
    x.lists({"": "v2.0.0 v2.1.0"})
    x.latest({"": "v2.1.0"})


def test_a_module_that_needs_a_newer_go_keeps_its_info_and_go_mod(go: GoTool, tmp_path: Path) -> None:
    """This go makes no zip of it; we do, unless told what the newest Go is (case 81)."""
    newer = {**GO, "go.mod": MOD["go.mod"] + "go 1.28\n"}
    steps = line(Step({**GO, "go.mod": MOD["go.mod"] + 'go "1.99"\n'}, tags=["v0.2.0"]), Step(newer, tags=["v0.1.0"]))
    x = asked(go, tmp_path, steps)
    x.answers({"@v0.2.0": "v0.2.0"})
    want = x.direct.download(x.cache, ["github.com/t/x@v0.1.0"])["github.com/t/x@v0.1.0"]
    assert "requires go >= 1.28 (running go 1.27.3" in want.error
    info = x.built(Op.INFO, "", "v0.1.0")
    stored = x.cache / "cache/download/github.com/t/x/@v"
    assert (info.info, info.gomod) == ((stored / "v0.1.0.info").read_bytes(), (stored / "v0.1.0.mod").read_bytes())
    assert x.built(Op.ZIP, "", "v0.1.0").zip_h1
    root = RepoRoot("github.com/t/x", x.repo.url, "", "https://github.com/t/x")
    for number, (limit, kind) in enumerate({"1.27.3": Failed, "1.28": Built, "1.28rc1": Built, "": Built}.items()):
        workspace = tmp_path / f"limit{number}"
        workspace.mkdir()
        for op, expected in ((Op.ZIP, kind), (Op.INFO, Built)):
            job = Job(op, "github.com/t/x", "v0.1.0", root, str(tmp_path / "mirrors"), str(workspace), go_limit=limit)
            assert isinstance(run(job), expected), (limit, op)


# ---- gopkg.in

FOO = line(
    Step(GO, tags=["v1.0.0"], branch="plain"),
    Step({**GO, **module("gopkg.in/foo.v1")}, tags=["v1.1.0"]),
    Step({**GO, **module("github.com/t/foo")}, tags=["v1.2.0"]),
    Step({**GO, **module("gopkg.in/foo.v1-unstable")}, tags=["v1.3.0"]),
    Step({**GO, **module("gopkg.in/foo.v2")}, tags=["v1.4.0", "v2.1.0"]),
    Step({**GO, **module("example.com/foo/v1")}, tags=["v1.5.0"]),
    Step({**GO, **module("gopkg.in/foo.v0")}, tags=["v0.1.0"]),
    Step(GO, tags=["v2.0.0"]),
    Step(GO),
)


@dataclass(frozen=True)
class GoBehindProxy(GoTool):
    """`go` that finds no HTTPS anywhere and asks for the pages of gopkg.in over HTTP, at one address."""

    pages: str = ""

    def env(self, **extra: str) -> dict[str, str]:
        names = {"HTTP_PROXY": self.pages, "HTTPS_PROXY": "http://127.0.0.1:1", "GOINSECURE": "gopkg.in"}
        return super().env(**names, **extra)


class Gopkg:
    """gopkg.in/foo.vN for both sides, all of one repository."""

    def __init__(self, go: GoTool, work: Path, host: GitHost) -> None:
        self.x = Asked(build(work / "repos" / "foo", FOO), go, work)
        self.direct = DirectGo(GoBehindProxy(go.home, host.url), work / "repos")
        self.work, self.count = work, 0
        for major in ("v0", "v1", "v2", "v1-unstable", "v2-unstable"):
            tag = f'<meta name="go-import" content="gopkg.in/foo.{major} git https://{PREFIX}foo">'
            page = (200, {"Content-Type": "text/html"}, f"<html><head>{tag}</head></html>".encode())
            host.pages[f"http://gopkg.in/foo.{major}?go-get=1"] = page

    def ask(self, op: Op, path: str, query: str = "") -> Result:
        self.count += 1
        workspace = self.work / f"gopkg{self.count}"
        workspace.mkdir()
        root = RepoRoot(path, self.x.repo.url, "", f"https://{PREFIX}foo")
        return run(Job(op, path, query, root, str(self.work / "mirrors"), str(workspace)))

    def download(self, path: str, query: str) -> Outcome:
        info = self.ask(Op.INFO, path, query)
        if isinstance(info, Failed):
            return Outcome(error=info.message)
        assert isinstance(info, Built)
        zipped = self.ask(Op.ZIP, path, info.version)
        assert isinstance(zipped, Built), zipped
        value = json.loads(info.info)
        return Outcome(
            info.version, value["Time"], value["Origin"]["Hash"], zipped.zip_h1, dirhash.hash_gomod(info.gomod)
        )


@pytest.fixture
def gopkg(go: GoTool, tmp_path: Path) -> Iterator[Gopkg]:
    with GitHost(tmp_path / "nothing").running() as host:
        yield Gopkg(go, tmp_path, host)


def test_the_major_of_a_gopkg_in_path_comes_after_a_dot(gopkg: Gopkg) -> None:
    """No go.mod is needed for any major, one that is there must be of the same, and v0 belongs to v1 (case 80)."""
    expected = {
        ".v1@v1.0.0": "v1.0.0", ".v1@v1.1.0": "v1.1.0",
        ".v1@v1.2.0": 'go.mod has non-....v1 module path "github.com/t/foo" at revision v1.2.0',
        ".v1@v1.3.0": "go.mod has non-....v1 module path", ".v1@v1.4.0": "go.mod has non-....v1 module path",
        ".v1@v1.5.0": "go.mod has non-....v1 module path", ".v1@v0.1.0": "go.mod has non-....v1 module path",
        ".v1@v2.0.0": "major version must match", ".v2@v2.0.0": "v2.0.0", ".v2@v2.1.0": "v2.1.0", ".v2@v1.0.0": "major version must match",
        ".v0@v0.1.0": "v0.1.0", ".v1@plain": "v1.0.0",
        ".v1@v0.0.0-{p[plain]}": "v0.0.0-{p[plain]}", ".v1@v1.0.0-{p[plain]}": "v1.0.0-{p[plain]}", ".v1@main": "v1.5.1-0.{p[main]}",
        ".v2@main": "v2.1.1-0.{p[main]}", ".v2@v2.0.0-{p[plain]}": "v2.0.0-{p[plain]}",
        ".v1-unstable@v1.0.0": "v1.0.0", ".v1-unstable@v1.3.0": "v1.3.0", ".v1-unstable@v1.1.0": "go.mod has non-....v1-unstable module path",
        ".v2-unstable@v2.0.0": "v2.0.0",
    }  # fmt: skip
    table = {f"gopkg.in/foo{gopkg.x.say(query)}": gopkg.x.say(answer) for query, answer in expected.items()}
    want = gopkg.direct.download(gopkg.work / "cache", list(table))
    for question, answer in table.items():
        path, _, query = question.partition("@")
        have = gopkg.download(path, query)
        for got in (have, want[question]):
            if answer.startswith("v"):
                assert (got.version, got.error) == (answer, ""), (question, got)
            else:
                assert answer in got.error, (question, got)
        assert have.same(want[question]), (question, have, want[question])


def test_lists_of_gopkg_in_paths(gopkg: Gopkg) -> None:
    """An unstable path lists nothing (case 80)."""
    expected = {
        "gopkg.in/foo.v0": "v0.1.0", "gopkg.in/foo.v1": "v1.0.0 v1.1.0 v1.2.0 v1.3.0 v1.4.0 v1.5.0", "gopkg.in/foo.v2": "v2.0.0 v2.1.0",
        "gopkg.in/foo.v1-unstable": "", "gopkg.in/foo.v2-unstable": "",
    }  # fmt: skip
    for path, versions in expected.items():
        listed = gopkg.ask(Op.LIST, path)
        assert isinstance(listed, Listed), listed
        assert list(listed.versions) == versions.split() == gopkg.direct.versions(gopkg.work / "cache", path), path
