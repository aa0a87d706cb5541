"""modgraph: pruning, replacements, exclusions and answers in any order; tests/oracle compares all of it with go."""

from __future__ import annotations

import random

import pytest

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod.modfile import parse
from vcsproxy.mod.modgraph import MainModule, ModuleGraph, ModuleVersion
from vcsproxy.mod.workfile import WorkFile
from vcsproxy.mod.workfile import parse as parse_work

NEW, OLD = "go 1.17", "go 1.16"


def v(text: str) -> ModuleVersion:
    """`a@v1.0.0` below example.com, or a directory."""
    path, _, version = text.partition("@")
    return ModuleVersion(f"example.com/{path}" if version else path, version)


def vs(text: str) -> set[ModuleVersion]:
    return {v(word) for word in text.split()}


def gomod(path: str, go: str, requires: str = "", rest: str = "") -> bytes:
    lines = "".join(f"require {one.path} {one.version}\n" for one in map(v, requires.split()))
    return f"module example.com/{path}\n{go}\n{lines}{rest}".encode()


def universe(text: str) -> dict[ModuleVersion, bytes]:
    """A line each: the module, its go line's version or `-`, what it requires."""
    found = {}
    for line in text.strip().splitlines():
        one, go, *requires = line.split()
        found[v(one)] = gomod(one.partition("@")[0], "" if go == "-" else f"go {go}", " ".join(requires))
    return found


def main(go: str, requires: str, rest: str = "", path: str = "main", directory: str = ".") -> MainModule:
    return MainModule(parse(gomod(path, go, requires, rest)), directory)


def load(graph: ModuleGraph, published: dict[ModuleVersion, bytes], rng: random.Random | None = None) -> ModuleGraph:
    while wanted := graph.wanted():
        one = rng.choice(wanted) if rng else wanted[0]
        graph.supply(one, published[one])
    return graph


CHAIN = universe("""
    a@v1.0.0 1.17 b@v1.0.0
    b@v1.0.0 1.17 c@v1.0.0
    c@v1.0.0 1.17 d@v1.0.0
    d@v1.0.0 1.17
""")


def test_a_pruned_graph_ends_with_what_the_roots_require() -> None:
    """b is in the build list, but its go.mod is fetched for its zip only, and c is not even known of."""
    graph = load(ModuleGraph([main(NEW, "a@v1.0.0")]), {v("a@v1.0.0"): CHAIN[v("a@v1.0.0")]})
    assert set(graph.build_list()) == graph.gomods() == graph.zips() == vs("a@v1.0.0 b@v1.0.0")
    assert graph.downloads() == vs("a@v1.0.0")


def test_an_unpruned_graph_has_everything() -> None:
    graph = load(ModuleGraph([main(OLD, "a@v1.0.0")]), CHAIN)
    assert set(graph.build_list()) == graph.gomods() == graph.zips() == graph.downloads() == set(CHAIN)


def test_a_root_that_does_not_prune_brings_all_that_it_reaches() -> None:
    published = CHAIN | universe("a@v1.0.0 - b@v1.0.0")
    assert load(ModuleGraph([main(NEW, "a@v1.0.0")]), published).gomods() == set(CHAIN)


def test_the_highest_version_is_selected_and_the_others_are_read() -> None:
    published = universe("""
        a@v1.0.0 1.16 c@v1.2.0
        b@v1.0.0 1.16 c@v1.10.0-rc.1
        c@v1.2.0 1.16 b@v1.0.0
        c@v1.10.0-rc.1 1.16
    """)
    graph = load(ModuleGraph([main(OLD, "a@v1.0.0 b@v1.0.0")]), published)
    assert graph.build_list() == [v("a@v1.0.0"), v("b@v1.0.0"), v("c@v1.10.0-rc.1")]
    assert graph.gomods() == set(published)
    assert graph.gomods() - graph.zips() == vs("c@v1.2.0")


def test_roots_below_what_is_selected_are_raised_as_mod_mod_does() -> None:
    """The raised root requires more; what was required as it stands is kept for a build that does not look further."""
    published = universe("""
        a@v1.0.0 1.17
        a@v1.1.0 1.17 c@v1.0.0
        b@v1.0.0 1.17 a@v1.1.0
    """)
    graph = load(ModuleGraph([main(NEW, "a@v1.0.0 b@v1.0.0")]), published)
    assert graph.build_list() == [v("a@v1.1.0"), v("b@v1.0.0"), v("c@v1.0.0")]
    assert graph.zips() == vs("a@v1.0.0 a@v1.1.0 b@v1.0.0 c@v1.0.0")


def test_an_excluded_requirement_is_dropped_not_raised() -> None:
    published = universe("""
        a@v1.0.0 1.16 b@v1.0.0 c@v1.0.0
        c@v1.0.0 1.16
    """)
    graph = load(ModuleGraph([main(OLD, "a@v1.0.0", "exclude example.com/b v1.0.0\n")]), published)
    assert graph.build_list() == [v("a@v1.0.0"), v("c@v1.0.0")]


def test_what_replaces_a_module_is_read_and_fetched_in_its_place() -> None:
    rest = "replace example.com/a v1.0.0 => example.com/b v1.5.0\nreplace example.com/a => example.com/b v1.6.0\n"
    published = universe("b@v1.5.0 1.16 a@v1.1.0\nb@v1.6.0 1.16")
    graph = load(ModuleGraph([main(OLD, "a@v1.0.0", rest)]), published)
    assert graph.build_list() == [v("a@v1.1.0")]
    assert graph.gomods() == set(published)
    assert graph.zips() == vs("b@v1.6.0")


def test_a_directory_is_wanted_as_one_and_has_no_zip() -> None:
    graph = ModuleGraph([main(OLD, "a@v1.0.0", "replace example.com/a => ./x/../a/\n")])
    assert graph.wanted() == [ModuleVersion("./a", "")]
    assert graph.wanted()[0].is_directory
    graph.supply(
        ModuleVersion("./a", ""), b"require example.com/c v1.0.0\n"
    )  # anything goes, even without a module line
    graph.supply(v("c@v1.0.0"), CHAIN[v("c@v1.0.0")])
    graph.supply(v("d@v1.0.0"), CHAIN[v("d@v1.0.0")])
    assert graph.gomods() == graph.zips() == vs("c@v1.0.0 d@v1.0.0")
    assert not graph.faults()


@pytest.mark.parametrize(
    ("directory", "path", "wanted"),
    [
        (".", "../a", "../a"),
        (".", "./", "."),
        ("one", "../a", "./a"),
        ("./one/two", "./../../..", ".."),
        ("/abs/one", "../a", "/abs/a"),
        ("one", "/abs/a", "/abs/a"),
    ],
)
def test_directories_are_relative_to_the_module_that_names_them(directory: str, path: str, wanted: str) -> None:
    one = main(OLD, "a@v1.0.0", f"replace example.com/a => {path}\n", directory=directory)
    assert ModuleGraph([one], WorkFile()).wanted() == [ModuleVersion(wanted, "")]


def test_a_workspace_reads_on_from_what_was_upgraded() -> None:
    """two has b at a higher version than one thinks, so the requirements of that version count for one as well."""
    published = universe("""
        a@v1.0.0 1.17 b@v1.1.0
        b@v1.0.0 1.17
        b@v1.1.0 1.17 c@v1.0.0
        c@v1.0.0 1.17 d@v1.0.0
    """)
    mains = [main(NEW, "b@v1.0.0", path="one"), main(NEW, "a@v1.0.0", path="two")]
    graph = load(ModuleGraph(mains, WorkFile()), published)
    assert graph.build_list() == [v("a@v1.0.0"), v("b@v1.1.0"), v("c@v1.0.0"), v("d@v1.0.0")]
    assert graph.gomods() == set(published) | vs("d@v1.0.0")
    assert graph.downloads() == graph.zips() == vs("a@v1.0.0 b@v1.1.0 c@v1.0.0 d@v1.0.0")


def test_main_modules_are_their_own_replacement_in_a_workspace() -> None:
    """A published version that something requires is read all the same, as go does."""
    mains = [main(OLD, "a@v1.0.0", path="one"), main(OLD, "", path="two")]
    published = universe("a@v1.0.0 1.16 two@v1.0.0\ntwo@v1.0.0 1.16")
    graph = load(ModuleGraph(mains, WorkFile()), published)
    assert graph.zips() == vs("a@v1.0.0")
    assert graph.gomods() == set(published)


def test_go_work_has_the_last_word_on_replacements() -> None:
    work = parse_work(b"replace example.com/a => example.com/a v1.3.0\n")
    mains = [
        main(OLD, "a@v1.0.0", f"replace example.com/a => example.com/a v1.{n}.0\n", path=f"m{n}") for n in range(2)
    ]
    assert ModuleGraph(mains, work).wanted() == [v("a@v1.3.0")]
    with pytest.raises(InvalidRequest, match="conflicting replacements for example"):
        ModuleGraph(mains, WorkFile())


def test_refusals_of_main_modules() -> None:
    with pytest.raises(InvalidRequest, match=r"module example\.com/main appears multiple times in workspace"):
        ModuleGraph([main(OLD, ""), main(OLD, "")], WorkFile())
    with pytest.raises(InvalidRequest, match="missing module declaration"):
        ModuleGraph([MainModule(parse(b"go 1.21\n"))])
    with pytest.raises(ValueError, match="2 main modules"):
        ModuleGraph([main(OLD, ""), main(OLD, "", path="two")])


def test_what_cannot_be_read_is_a_fault_and_the_rest_goes_on() -> None:
    graph = ModuleGraph([main(OLD, "a@v1.0.0 b@v1.0.0 c@v1.0.0 d@v1.0.0")])
    graph.supply(v("a@v1.0.0"), b"require x\n")
    graph.supply(v("b@v1.0.0"), gomod("other", OLD, "x@v1.0.0"))
    graph.missing(v("c@v1.0.0"), "404")
    graph.supply(v("d@v1.0.0"), parse(gomod("d", OLD, "a@v1.0.1")))
    assert graph.wanted() == [v("a@v1.0.1")]
    graph.supply(v("a@v1.0.1"), gomod("a", OLD))
    graph.missing(v("a@v1.0.1"), "too late")
    graph.missing(v("z@v1.0.0"), "never wanted")
    assert graph.faults() == {
        v("a@v1.0.0"): "parsing go.mod: go.mod:1: usage: require module/path v1.2.3",
        v("b@v1.0.0"): "parsing go.mod:\n\tmodule declares its path as: example.com/other\n"
        "\t        but was required as: example.com/b",
        v("c@v1.0.0"): "404",
    }
    assert graph.build_list() == [v("a@v1.0.1"), v("b@v1.0.0"), v("c@v1.0.0"), v("d@v1.0.0")]
    assert graph.gomods() == vs("a@v1.0.1 b@v1.0.0 d@v1.0.0")


def test_answers_may_come_in_any_order_and_before_they_are_wanted() -> None:
    rng = random.Random(7)
    names = [f"{letter}@v1.{minor}.0" for letter in "abcdefgh" for minor in range(3)]
    lines = (f"{name} {rng.choice(('1.16', '1.17'))} {' '.join(rng.sample(names, 3))}" for name in names)
    published = universe("\n".join(lines))
    for go in (OLD, NEW):
        mains = [main(go, " ".join(names[:4]))]
        first = load(ModuleGraph(mains), published)
        for _ in range(20):
            other = ModuleGraph(mains)
            for early in rng.sample(sorted(published), 5):
                other.supply(early, published[early])
            load(other, published, rng)
            assert (other.build_list(), other.gomods(), other.zips()) == (
                first.build_list(), first.gomods(), first.zips(),
            )  # fmt: skip


def test_a_long_chain_needs_no_recursion() -> None:
    published = universe("\n".join(f"m{n}@v1.0.0 1.16 m{n + 1}@v1.0.0" for n in range(3000)) + "\nm3000@v1.0.0 1.16")
    assert len(load(ModuleGraph([main(OLD, "m0@v1.0.0")]), published).build_list()) == 3001
