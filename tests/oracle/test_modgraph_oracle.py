"""modgraph against the real go: random universes of modules, and what `go` selects, reads and fetches in them."""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.gotool import GoTool
from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import modfile, workfile
from vcsproxy.mod.modgraph import MainModule, ModuleGraph, ModuleVersion

FUZZ = bool(os.environ.get("VCSPROXY_FUZZ"))
CASES = 400 if FUZZ else 4
BUILDS = 1 if FUZZ else 4  # every how many cases are built
GO_LINES = ("", "go 1.16\n", "go 1.17\n", "go 1.21\n")
VERSIONS = ("v0.1.0", "v1.0.0", "v1.1.0-rc.1", "v1.1.0", "v1.2.0")
FORK = "example.com/fork"
MAIN = "example.com/main"


@dataclass
class Module:
    """One module version, or one directory: its go.mod file, and what its only package imports."""

    gomod: str
    imports: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        return "package x\n" + "".join(f'import _ "{path}"\n' for path in self.imports)


@dataclass
class Case:
    """What is published, by path and version, and a project: directories by name, and a go.work file or none."""

    published: dict[ModuleVersion, Module]
    project: dict[str, Module]
    work: str = ""
    mains: tuple[str, ...] = (".",)
    gosum: str = ""

    def write(self, root: Path) -> Path:
        for name, module in self.project.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / "go.mod").write_text(module.gomod)
            (root / name / "x.go").write_text(module.package)
        if self.work:
            (root / "go.work").write_text(self.work)
        if self.gosum:
            (root / "go.sum").write_text(self.gosum)
        return root

    def graph(self) -> ModuleGraph:
        """Our graph, each go.mod file supplied when it is wanted."""
        mains = [MainModule(modfile.parse(self.project[name].gomod.encode()), name) for name in self.mains]
        graph = ModuleGraph(mains, workfile.parse(self.work.encode()) if self.work else None)
        while wanted := graph.wanted():
            one = wanted[len(wanted) // 2]
            if one.is_directory:
                graph.supply(one, self.project[one.path.removeprefix("./")].gomod.encode())
            elif one in self.published:
                graph.supply(one, self.published[one].gomod.encode())
            else:
                graph.missing(one)
        return graph


def publish(root: Path, modules: dict[ModuleVersion, Module], gomods: Collection[ModuleVersion] = ()) -> str:
    """A GOPROXY=file:// tree with the modules, and with no more than the go.mod file of `gomods`; the URL."""
    for (path, version), module in modules.items():
        where = root / path / "@v"
        where.mkdir(parents=True, exist_ok=True)
        (where / f"{version}.mod").write_text(module.gomod)
        if (path, version) in gomods:
            continue
        (where / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2024-01-01T00:00:00Z"}))
        with zipfile.ZipFile(where / f"{version}.zip", "w") as archive:
            archive.writestr(f"{path}@{version}/go.mod", module.gomod)
            archive.writestr(f"{path}@{version}/x.go", module.package)
        with (where / "list").open("a") as versions:
            versions.write(f"{version}\n")
    return f"file://{root}"


class Run:
    """One go command in a copy of a project, with an empty module cache."""

    def __init__(self, go: GoTool, case: Case, root: Path, proxy: str, *args: str, flags: str = "") -> None:
        self.cache = root / "cache"
        self.project = case.write(root / "project")
        self.done = go.run(
            *args, cwd=self.project, GOPROXY=proxy, GOMODCACHE=str(self.cache), GOFLAGS=f"-modcacherw {flags}".strip(),
            GOWORK=str(self.project / "go.work") if case.work else "off",
        )  # fmt: skip

    def fetched(self, suffix: str) -> set[ModuleVersion]:
        download = self.cache / "cache" / "download"
        found = download.rglob(f"*{suffix}")
        return {ModuleVersion(str(f.parent.parent.relative_to(download)), f.name.removesuffix(suffix)) for f in found}

    def build_list(self) -> list[ModuleVersion]:
        """What `go list -m -json all` printed, but for the main modules."""
        decoder, text, listed = json.JSONDecoder(), self.done.stdout.strip(), []
        while text:
            one, end = decoder.raw_decode(text)
            text = text[end:].strip()
            if not one.get("Main"):
                listed.append(ModuleVersion(one["Path"], one["Version"]))
        return listed


# ---- random universes


def gomod(path: str, go: str, requires: Iterable[ModuleVersion], rest: str = "") -> str:
    return f"module {path}\n{go}" + "".join(f"require {path} {version}\n" for path, version in requires) + rest


def random_module(rng: random.Random, path: str, among: list[ModuleVersion], most: int) -> Module:
    """A module that requires up to `most` others, now and then one twice, and imports what it can of them."""
    others = [one for one in among if one.path != path or rng.random() < 0.05]
    requires = rng.sample(others, min(len(others), rng.choice((0, *range(1, most + 1), *range(1, most + 1)))))
    if rng.random() < 0.85:
        requires = list({one.path: one for one in requires}.values())
    imports = {one.path for one in requires if MAIN > one.path > path or MAIN in path} - {MAIN}  # never in a circle
    return Module(gomod(path, rng.choice(GO_LINES + GO_LINES[2:] * 3), requires), tuple(sorted(imports)))


def random_case(seed: int, *, workspace: bool) -> Case:
    rng = random.Random(seed)
    names = [f"example.com/{letter}" for letter in "abcdefgh"[: rng.randint(4, 8)]]
    among = [ModuleVersion(name, version) for name in names for version in rng.sample(VERSIONS, rng.randint(2, 5))]
    if rng.random() < 0.3:
        among += [ModuleVersion("example.com/a/v2", "v2.0.0"), ModuleVersion("example.com/b", "v2.1.0+incompatible")]
    if rng.random() < 0.3:
        among.append(ModuleVersion(MAIN, "v1.0.0"))
    published = {one: random_module(rng, one.path, later(rng, one, among), 3) for one in among}
    published[ModuleVersion(FORK, "v1.0.0")] = Module(
        gomod(rng.choice((FORK, names[0])), rng.choice(GO_LINES), among[:2])
    )
    mains = ("one", "two") if workspace else (".",)
    start = [one for one in among if one.path < "example.com/d"]
    project = {name: random_module(rng, MAIN, start if rng.random() < 0.7 else among, 4) for name in mains}
    project["dir"] = Module(random_module(rng, "example.com/dir", among, 3).gomod)
    for number, name in enumerate(mains):
        project[name].gomod = project[name].gomod.replace(f"module {MAIN}\n", f"module {MAIN}{number or ''}\n")
        project[name].gomod += exclusions(rng, among)
        if not workspace or rng.random() < 0.4:
            project[name].gomod += replacements(rng, names[number::2], among, "../dir" if workspace else "./dir")
    work = "go 1.21\nuse ./one\nuse ./two\n" + replacements(rng, names, among, "./dir") if workspace else ""
    return Case(published, project, work, mains)


def later(rng: random.Random, one: ModuleVersion, among: list[ModuleVersion]) -> list[ModuleVersion]:
    """What a module may require: mostly its neighbours further down the alphabet, which makes graphs deep."""
    near = [other for other in among if 0 < ord(other.path[12]) - ord(one.path[12]) < 3]
    return among if rng.random() < 0.15 else near


def exclusions(rng: random.Random, among: list[ModuleVersion]) -> str:
    return "".join(f"exclude {path} {version}\n" for path, version in rng.sample(among, rng.choice((0, 0, 1, 2))))


def replacements(rng: random.Random, names: list[str], among: list[ModuleVersion], directory: str) -> str:
    lines = []
    for name in rng.sample(names, min(len(names), rng.choice((0, 0, 1, 2)))):
        old = rng.choice([name, *(f"{path} {version}" for path, version in among if path == name)])
        new = rng.choice((directory, f"{FORK} v1.0.0", *(f"{p} {v}" for p, v in among if p == name)))
        lines.append(f"replace {old} => {new}\n")
    return "".join(lines)


# ---- comparisons


def compare_list(go: GoTool, case: Case, graph: ModuleGraph, root: Path, proxy: str) -> bool:
    """Whether `go` takes the project; if so it selects what we do, and if not we know of a fault."""
    listed = Run(go, case, root / "list", proxy, "list", "-m", "-json", "all", flags="" if case.work else "-mod=mod")
    if listed.done.returncode:
        assert graph.faults(), listed.done.stderr
        return False
    assert not graph.faults()
    assert listed.build_list() == graph.build_list()
    assert listed.fetched(".mod") <= graph.gomods()
    return True


def compare_downloads(go: GoTool, case: Case, graph: ModuleGraph, root: Path, proxy: str, *, tidy: bool) -> None:
    """What `go mod download all` and `go mod download` fetch: just what we say, or a part of it if go.mod is untidy."""
    everything = Run(go, case, root / "all", proxy, "mod", "download", "all")
    assert everything.done.returncode == 0, everything.done.stderr
    assert everything.fetched(".info") == everything.fetched(".zip")
    if tidy:
        assert everything.fetched(".mod") == graph.gomods()
        assert everything.fetched(".zip") == graph.zips()
    assert everything.fetched(".mod") <= graph.gomods()
    assert everything.fetched(".zip") <= graph.zips()
    some = Run(go, case, root / "some", proxy, "mod", "download")
    assert some.fetched(".zip") == graph.downloads(), some.done.stderr
    assert some.fetched(".mod") <= graph.gomods()


def compare_mirror(go: GoTool, case: Case, graph: ModuleGraph, root: Path, proxy: str, *, build: bool) -> None:
    """With no more than our go.mod files and zips at hand, `go` gives the answers that it gives with everything."""
    files = {one: case.published[one] for one in graph.gomods()}
    mirror = publish(root / "mirror", files, graph.gomods() - graph.zips())
    packages = [f"./{name}/..." for name in case.mains]
    listing = ["list", "-test", "-deps", "-f", "{{.ImportPath}} {{.Module}}", *packages]
    commands = [["list", "-m", "all"], listing, ["build", *packages]] if build else [listing]
    for number, args in enumerate(commands):
        ours = Run(go, case, root / f"ours{number}", mirror, *args)
        theirs = Run(go, case, root / f"theirs{number}", proxy, *args)
        assert (ours.done.returncode, ours.done.stdout) == (theirs.done.returncode, theirs.done.stdout), (
            ours.done.stderr
        )
        # Of a requirement that it excludes itself, go may say that go.mod needs updates even when it is tidy.
        assert case.work or ours.done.returncode == 0 or "exclude" in case.project["."].gomod, ours.done.stderr
        assert ours.fetched(".mod") <= graph.gomods()


@pytest.mark.parametrize("seed", range(CASES))
def test_a_module_has_gos_build_list_and_files(go: GoTool, tmp_path: Path, seed: int) -> None:
    """As it is written first, then as `go mod tidy` leaves it."""
    case = random_case(seed, workspace=False)
    proxy = publish(tmp_path / "proxy", case.published)
    if compare_list(go, case, graph := case.graph(), tmp_path, proxy):
        compare_downloads(go, case, graph, tmp_path, proxy, tidy=False)
    tidied = Run(go, case, tmp_path / "tidied", proxy, "mod", "tidy")
    if tidied.done.returncode:
        return  # it cannot be put in order
    gosum = tidied.project / "go.sum"
    main = replace(case.project["."], gomod=(tidied.project / "go.mod").read_text())
    tidy = replace(case, project=case.project | {".": main}, gosum=gosum.read_text() if gosum.exists() else "")
    graph = tidy.graph()
    assert compare_list(go, tidy, graph, tmp_path / "tidy", proxy)
    compare_downloads(go, tidy, graph, tmp_path / "tidy", proxy, tidy=True)
    compare_mirror(go, tidy, graph, tmp_path / "tidy", proxy, build=seed % BUILDS == 0)


@pytest.mark.parametrize("seed", range(CASES))
def test_a_workspace_has_gos_build_list_and_files(go: GoTool, tmp_path: Path, seed: int) -> None:
    case = random_case(seed, workspace=True)
    proxy = publish(tmp_path / "proxy", case.published)
    try:
        graph = case.graph()
    except InvalidRequest as refused:
        words = refused.message.partition(":")[0]
    else:
        if compare_list(go, case, graph, tmp_path, proxy):
            compare_downloads(go, case, graph, tmp_path, proxy, tidy=True)
            compare_mirror(go, case, graph, tmp_path, proxy, build=seed % BUILDS == 0)
        return
    assert words in Run(go, case, tmp_path / "list", proxy, "list", "-m", "all").done.stderr


# ---- graphs that chance seldom draws


def drawn(mains: str, modules: str, work: str = "") -> Case:
    """A line a module: name, version or `main`, go version, requirements as name@version."""
    published, project = {}, {}
    for line in (mains + modules).strip().splitlines():
        name, version, go, *required = line.split()
        pairs = [ModuleVersion(f"example.com/{one}", at) for one, _, at in (text.partition("@") for text in required)]
        module = Module(gomod(f"example.com/{name}", f"go {go}\n", pairs))
        if version == "main":
            project[name if work else "."] = module
        else:
            published[ModuleVersion(f"example.com/{name}", version)] = module
    return Case(published, project, work and work + "".join(f"use ./{name}\n" for name in project), tuple(project))


@pytest.mark.parametrize(
    "case",
    [
        drawn(  # of two requirements of a only the higher counts
            "m main 1.17 a@v1.0.0 a@v1.1.0 b@v1.0.0\n",
            "a v1.0.0 1.17 b@v1.1.0\na v1.1.0 1.17\nb v1.0.0 1.17\nb v1.1.0 1.17\n",
        ),
        drawn(  # raising a raises c, which raises d; what the lower c required goes
            "m main 1.17 a@v1.0.0 b@v1.0.0 c@v1.0.0\n",
            "a v1.0.0 1.17\na v1.1.0 1.17 c@v1.1.0\nb v1.0.0 1.17 a@v1.1.0\nc v1.0.0 1.16 e@v1.0.0\n"
            "c v1.1.0 1.16 d@v1.0.0\nd v1.0.0 1.17 f@v1.0.0\ne v1.0.0 1.16\nf v1.0.0 1.17\n",
        ),
        drawn(  # the main module at a version of its own
            "m main 1.17 a@v1.0.0 m@v1.0.0\n",
            "a v1.0.0 1.16 m@v1.1.0\nm v1.0.0 1.17 b@v1.0.0\nm v1.1.0 1.17 c@v1.0.0\nb v1.0.0 1.17\nc v1.0.0 1.17\n",
        ),
        drawn(  # an upgrade in a workspace, and one that this brings about
            "m main 1.17 b@v1.0.0\nn main 1.17 a@v1.0.0 c@v1.0.0\n",
            "a v1.0.0 1.17 b@v1.1.0\nb v1.0.0 1.17\nb v1.1.0 1.17 c@v1.1.0\nc v1.0.0 1.17\nc v1.1.0 1.17 d@v1.0.0\n"
            "d v1.0.0 1.17 e@v1.0.0\ne v1.0.0 1.17\n",
            "go 1.21\n",
        ),
        drawn(  # one main module of a workspace requires the other, whose published file is read as well
            "m main 1.17 n@v1.0.0\nn main 1.16\n", "n v1.0.0 1.17 a@v1.0.0\na v1.0.0 1.17\n", "go 1.21\n"
        ),
    ],
)
def test_drawn_graphs_are_as_go_has_them(go: GoTool, tmp_path: Path, case: Case) -> None:
    graph, proxy = case.graph(), publish(tmp_path / "proxy", case.published)
    assert compare_list(go, case, graph, tmp_path, proxy)
    compare_downloads(go, case, graph, tmp_path, proxy, tidy=bool(case.work))


# ---- refusals

A, B = "example.com/a", "example.com/b"
REPLACED = [f"replace {A} => {FORK} v1.{minor}.0\n" for minor in range(2)]


def small_case(*rests: str, work: str = "", published: str = f"module {A}\n") -> Case:
    """One main module, or with a go.work file one a directory, that require A."""
    names = ("one", "two")[: len(rests)] if work else (".",)
    mains = {
        name: Module(f"module {MAIN}{number}\ngo 1.17\nrequire {A} v1.0.0\n{rest}")
        for number, (name, rest) in enumerate(zip(names, rests, strict=True))
    }
    files = {
        ModuleVersion(A, "v1.0.0"): published,
        **{ModuleVersion(FORK, f"v1.{n}.0"): f"module {A}\n" for n in range(2)},
    }
    uses = "".join(f"use ./{name}\n" for name in names)
    return Case({one: Module(text) for one, text in files.items()}, mains, work and work + uses, names)


@pytest.mark.parametrize(
    "case",
    [
        small_case("".join(REPLACED)),
        small_case("", "", work="go 1.21\n" + "".join(REPLACED)),
        small_case(REPLACED[0], REPLACED[1], work="go 1.21\n"),
        small_case("", "", work=f"go 1.21\nreplace {MAIN}0 => {FORK} v1.0.0\n"),
    ],
)
def test_replacements_that_go_refuses_are_refused_in_its_words(go: GoTool, tmp_path: Path, case: Case) -> None:
    with pytest.raises(InvalidRequest) as refused:
        case.graph()
    done = Run(go, case, tmp_path, publish(tmp_path / "proxy", case.published), "list", "-m", "all").done
    assert done.returncode
    assert refused.value.message in done.stderr


@pytest.mark.parametrize(
    "case",
    [
        small_case("", published=f"module {B}\n"),
        small_case("", published="go 1.17\n"),
        small_case("", published="module\n"),
        small_case(f"require {B} v1.0.0\n"),
        small_case(f"replace {A} => {FORK} v1.0.1\n"),
        small_case(REPLACED[0], f"replace {A} v1.0.0 => {FORK} v1.1.0\n", work="go 1.21\n"),
    ],
)
def test_files_that_go_refuses_are_faults_in_its_words(go: GoTool, tmp_path: Path, case: Case) -> None:
    (fault,) = case.graph().faults().values()
    flags = "" if case.work else "-mod=mod"
    proxy = publish(tmp_path / "proxy", case.published)
    done = Run(go, case, tmp_path, proxy, "list", "-m", "all", flags=flags).done
    assert done.returncode
    if "missing go.mod" not in fault:
        assert fault.partition(" defined by")[0] in done.stderr


@pytest.mark.parametrize(
    "case",
    [
        small_case(f"replace {A} v1.0.0 => {FORK} v1.1.0\n", REPLACED[0], work="go 1.21\n"),
        small_case("".join(REPLACED[:1]), REPLACED[1], work=f"go 1.21\nreplace {A} v1.9.0 => {FORK} v1.0.0\n"),
        small_case("".join(REPLACED[:1]), REPLACED[1], work=f"go 1.21\nreplace {A} => {FORK} v1.1.0\n"),
    ],
)
def test_of_several_replacements_gos_choice_is_taken(go: GoTool, tmp_path: Path, case: Case) -> None:
    graph, proxy = case.graph(), publish(tmp_path / "proxy", case.published)
    assert compare_list(go, case, graph, tmp_path, proxy)
    compare_downloads(go, case, graph, tmp_path, proxy, tidy=True)


# ---- go.work files


@pytest.mark.parametrize(
    "text",
    [
        'go 1.21\ntoolchain go1.27.3\ngodebug (\n\ta=b\n)\nuse (\n\t./a\n\t"b c"\n)\nreplace a.com/x v1.0.0 => ./x\n',
        "use ./a\nuse ./a\nreplace a.com/x => a.com/y v1.0.0\n",
        "",
        "module m\n",
        "\n\nrequire a.com/x v1.0.0\n",
        "go 1.x\nuse a b\n",
        "use (\n\t'a'\n)\n",
        "go (\n)\nexclude ()\n",
        "replace a.com/x => b\n",
        "godebug a\ntoolchain 1.2\ngo 1.21\ngo 1.21\n",
        "use (",
    ],
)
def test_a_go_work_file_is_read_as_go_reads_it(go: GoTool, tmp_path: Path, text: str) -> None:
    (tmp_path / "go.work").write_text(text)
    done = go.run("work", "edit", "-json", cwd=tmp_path, GOWORK=str(tmp_path / "go.work"))
    ours, refusal = workfile.WorkFile(), ""
    try:
        ours = workfile.parse(text.encode())
    except modfile.ModFileError as bad:
        refusal = f"{bad}\n"
    assert done.stderr.rpartition("errors parsing go.work:\n")[2] == refusal
    if refusal:
        return
    theirs = json.loads(done.stdout)
    assert ours.go == theirs.get("Go", "")
    assert ours.toolchain == theirs.get("Toolchain", "")
    assert list(ours.use) == [use["DiskPath"] for use in theirs.get("Use") or []]
    pairs = [(one["Old"], one["New"]) for one in theirs.get("Replace") or []]
    assert list(ours.replace) == [
        modfile.Replace(old["Path"], old.get("Version", ""), new["Path"], new.get("Version", "")) for old, new in pairs
    ]
