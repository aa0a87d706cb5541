"""modfile against golang.org/x/mod/modfile itself: the same bytes to both, results and error texts compared."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gotool import GoTool, ask
from vcsproxy.mod import gotext, modfile

HELPER = r"""
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strconv"
	"unicode"

	"golang.org/x/mod/modfile"
)

type row = [][]byte

type result struct {
	Err   []byte
	Ok    bool
	Items map[string][]row
}

func bs(texts ...string) row {
	r := row{}
	for _, t := range texts {
		r = append(r, []byte(t))
	}
	return r
}

func describe(f *modfile.File, err error) result {
	if err != nil {
		return result{Err: []byte(err.Error())}
	}
	m := map[string][]row{}
	if f.Module != nil {
		m["module"] = []row{bs(f.Module.Mod.Path)}
		m["deprecated"] = []row{bs(f.Module.Deprecated)}
	}
	if f.Go != nil {
		m["go"] = []row{bs(f.Go.Version)}
	}
	if f.Toolchain != nil {
		m["toolchain"] = []row{bs(f.Toolchain.Name)}
	}
	for _, r := range f.Require {
		m["require"] = append(m["require"], bs(r.Mod.Path, r.Mod.Version, strconv.FormatBool(r.Indirect)))
	}
	for _, r := range f.Replace {
		m["replace"] = append(m["replace"], bs(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version))
	}
	for _, r := range f.Exclude {
		m["exclude"] = append(m["exclude"], bs(r.Mod.Path, r.Mod.Version))
	}
	for _, r := range f.Retract {
		m["retract"] = append(m["retract"], bs(r.Low, r.High, r.Rationale))
	}
	for _, r := range f.Tool {
		m["tool"] = append(m["tool"], bs(r.Path))
	}
	for _, r := range f.Godebug {
		m["godebug"] = append(m["godebug"], bs(r.Key, r.Value))
	}
	for _, r := range f.Ignore {
		m["ignore"] = append(m["ignore"], bs(r.Path))
	}
	return result{Ok: true, Items: m}
}

func printable() []int {
	var edges []int
	last := false
	for r := rune(0); r <= unicode.MaxRune+1; r++ {
		if p := r <= unicode.MaxRune && unicode.IsPrint(r); p != last {
			edges, last = append(edges, int(r)), p
		}
	}
	return edges
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	enc := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var data []byte
		if err := json.Unmarshal(line, &data); err != nil {
			panic(err)
		}
		if string(data) == "printable?" {
			enc.Encode(printable())
			continue
		}
		unquoted, err := strconv.Unquote(string(data))
		enc.Encode(map[string]any{
			"path":     []byte(modfile.ModulePath(data)),
			"go":       []byte(GoModLookup(data, "go")),
			"quoted":   []byte(strconv.Quote(string(data))),
			"unquoted": bs(unquoted, strconv.FormatBool(err == nil)),
			"lax":      describe(modfile.ParseLax("go.mod", data, nil)),
			"strict":   describe(modfile.Parse("go.mod", data, nil)),
		})
	}
}
"""


@pytest.fixture(scope="module")
def helper(go: GoTool) -> Path:
    return go.build_helper("modfile", HELPER, {"gomod.go": "cmd/go/internal/gover/gomod.go"})


def text_of(encoded: str | None) -> str:
    return gotext.decode(base64.b64decode(encoded or ""))


def go_result(answer: dict[str, Any]) -> dict[str, list[tuple[str, ...]]] | str:
    if not answer["Ok"]:
        return gotext.scrub(text_of(answer["Err"]))
    return {verb: [tuple(map(text_of, row)) for row in rows] for verb, rows in answer["Items"].items()}


def our_result(read: Callable[[bytes], modfile.GoMod], data: bytes) -> dict[str, list[tuple[str, ...]]] | str:
    try:
        f = read(data)
    except modfile.ModFileError as bad:
        return str(bad)
    return {
        "module": [(f.module,)],
        "deprecated": [(f.deprecated,)],
        "go": [(f.go,)],
        "toolchain": [(f.toolchain,)],
        "require": [(r.path, r.version, str(r.indirect).lower()) for r in f.require],
        "replace": [(r.old_path, r.old_version, r.new_path, r.new_version) for r in f.replace],
        "exclude": [(r.path, r.version) for r in f.exclude],
        "retract": [(r.low, r.high, r.rationale) for r in f.retract],
        "tool": [(path,) for path in f.tool],
        "godebug": list(f.godebug),
        "ignore": [(path,) for path in f.ignore],
    }


def without_empty(result: dict[str, list[tuple[str, ...]]] | str) -> dict[str, list[tuple[str, ...]]] | str:
    if isinstance(result, str):
        return result
    return {verb: rows for verb, rows in result.items() if rows not in ([], [("",)])}


def our_unquoted(text: str) -> tuple[str, str]:
    try:
        return gotext.unquote(text), "true"
    except ValueError:
        return "", "false"


def compare(helper: Path, documents: list[bytes]) -> None:
    answers = ask(helper, [base64.b64encode(data).decode() for data in documents])
    for data, answer in zip(documents, answers, strict=True):
        assert modfile.module_path(data) == text_of(answer["path"]), data
        assert modfile.go_mod_lookup_go(data) == text_of(answer["go"]), data
        assert without_empty(our_result(modfile.parse_lax, data)) == without_empty(go_result(answer["lax"])), data
        assert without_empty(our_result(modfile.parse, data)) == without_empty(go_result(answer["strict"])), data


# --- generated files: realistic lines, odd tokens, then bytes struck out, doubled or put in ---


def words(text: str) -> list[str]:
    return text.split(" ")


PATHS = (
    "example.com/m",
    "example.com/m/v2",
    "example.com/m/v1",
    "gopkg.in/yaml.v2",
    "gopkg.in/x",
    "gopkg.in/x.v1-unstable",
    '"example.com/q"',
    '"example.com/\\u00e9\\xff"',
    "`example.com/b`",
    "'x'",
    '""',
    'a"b',
    "../dir",
    ".\\dir",
    "C:x",
    "/abs",
    "x@v1.0.0",
    "ex\u00e4mple.com/\u4e2d",
)
VERSIONS = (
    "v1.2.3",
    "v0.0.0-20200101000000-abcdefabcdef",
    "v2.0.0",
    "v2.0.0+incompatible",
    "v1.0.0+meta",
    "v1",
    "v1.2",
    "1.2.3",
    "latest",
    '"v1.5.0"',
    "`v1.0.0`",
    "v3.0.0-pre.1+incompatible",
)
GO_VERSIONS = ("1.21", "1.24.0", "1.25rc1", "1", "v1.24", "1.24.1foo", "1.2.x", "01.2", "1.24\u00e9", "go1.2", '"1.2"')
VERBS = (*words("module go toolchain godebug require replace exclude retract tool ignore use unknown"), '"module"')
COMMENTS = (
    "// indirect",
    "//indirect; more",
    "// indirect more",
    "//",
    "// Deprecated: use v2",
    "// Deprecated:  gone",
    "// note \u00a0",
    "//\tx",
    "// \udcff",
)
ODD = (
    *words("( ) [ ] { } , => = // /* / \\ \" ` ' ( ) () [v1.0.0,v1.1.0] [v1.0.0, v1.9.0]"),
    *words("a=b a=b=c default go1.21.0"),
    '"open',
    '"a\\\nb"',
    "`raw",
    "\ufeff",
    "\x00",
    "\x1c",
    "\u00a0",
    "\u00ad",
    "\u2028",
    "\udc80",
    "\udced\udca0\udc80",
    "a//b",
    "a/*b",
    "a/b",
    "\r",
    "\v",
)

GOOD = {
    "module": ("example.com/m", '"example.com/q"', "gopkg.in/yaml.v2", "ex\u00e4mple.com/\u4e2d"),
    "go": ("1.21", "1.24.0", "1.25rc1"),
    "toolchain": ("go1.21.0", "default"),
    "godebug": ("a=b", "a=b=c", "=", "default=go1.21"),
    "require": ("example.com/m v1.2.3", '"b.com/c" v1', "b.com/d v2.0.0+incompatible", "b.com/d/v2 v2.1.0+meta"),
    "exclude": ("example.com/m v1.2.3", "gopkg.in/yaml.v2 v2.1.0", "gopkg.in/x.v1 v0.0.0-20200101000000-abcdefabcdef"),
    "replace": (
        "a.com/b => ./d",
        "a.com/b v1.0.0 => b.com/m v1.0.0",
        'a.com/b/v3 => "../x y"',
        "a.com/b => c.com/d v0.1",
    ),
    "retract": ("v1.0.0", "[v1.0.0, v1.9.0]", "[v1.0.0,v1.9.0]", "latest", '["v1",x]'),
    "tool": ("example.com/m/cmd", '"x"'),
    "ignore": ("./dir", "dir"),
}
word = st.sampled_from(PATHS + VERSIONS + GO_VERSIONS + VERBS + ODD)
blank = st.sampled_from((" ", " ", " ", "\t", "  ", "", "\r"))
comment = st.sampled_from(("", "", "", *COMMENTS))


@st.composite
def bad_arguments(draw: st.DrawFn, verb: str) -> str:
    path, version = draw(st.sampled_from(PATHS)), draw(st.sampled_from(VERSIONS))
    shapes = {
        "go": GO_VERSIONS,
        "toolchain": ("go1", "go2", "local", "go1.2 x"),
        "godebug": ("a", "a=`b", "a=b c"),
        "require": (f"{path} {version}", path),
        "exclude": (f"{path} {version}", f"{path} {version} x"),
        "replace": (
            f"{path} => {path}",
            f"{path} {version} => b.com/m v1.0.0",
            f"{path} => {path} {version}",
            "a => b",
        ),
        "retract": (version, f"[{version}, v1.9.0]", f"[v1.0.0,{version}]", f"{version} x", "[v1.0.0]", "(", "[v1 v2]"),
    }
    return draw(st.one_of(st.sampled_from(shapes.get(verb, (path, "a b"))), st.lists(word, max_size=6).map(" ".join)))


def arguments(verb: str, nasty: bool) -> st.SearchStrategy[str]:
    good = st.sampled_from(GOOD.get(verb, ("x",)))
    return st.one_of(good, bad_arguments(verb)) if nasty else good


@st.composite
def statement(draw: st.DrawFn, nasty: bool, verb: str) -> str:
    kind = draw(st.integers(0, 3))
    before = draw(st.sampled_from(("", "", "\n", "// Deprecated: use v2\n", "// one\n//\n// two\n", "// three\n\n")))
    if kind < 2 or (verb in ("go", "toolchain") and not nasty):
        return f"{before}{verb} {draw(arguments(verb, nasty))}{draw(blank)}{draw(comment)}"
    lines = [
        draw(st.sampled_from(("", "", "// why\n\t", "\n", "// Deprecated: no\n", "\n\n// gap\n")))
        + f"\t{draw(arguments(verb, nasty))}{draw(blank)}{draw(comment)}"
        for _ in range(draw(st.integers(0, 3)) if verb != "module" else 1)
    ]
    opening = draw(st.sampled_from((" (", "(", " ( // open", *((" x (", " (\r", " ( y") if nasty else ()))))
    closing = draw(st.sampled_from((")", "\n)", ") // end", *((") x", "", "))") if nasty else ()))))
    return "\n".join([before + verb + opening, *lines, closing]) if lines or nasty else f"{before}{verb} () // none"


@st.composite
def good_document(draw: st.DrawFn) -> bytes:
    """A file that strict parsing accepts, or nearly so."""
    once = draw(st.permutations(("module", "go", "toolchain")))[: draw(st.integers(1, 3))]
    verbs = [*once, *draw(st.lists(st.sampled_from([*GOOD][3:]), max_size=4))]
    end = draw(st.sampled_from(("\n", "\r\n", "\n\n")))
    return (end.join(draw(statement(False, verb)) for verb in verbs) + end).encode("utf-8", "surrogateescape")


@st.composite
def nasty_document(draw: st.DrawFn) -> bytes:
    """A file with odd lines in it, then bytes struck out or put in."""
    verbs = draw(st.lists(st.sampled_from(VERBS), max_size=4))
    text = "\n".join([draw(statement(True, verb)) for verb in verbs]) + draw(st.sampled_from(("", "\n")))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(("", *ODD, "\n"))) + text[at + draw(st.integers(0, 2)) :]
    return text.encode("utf-8", "surrogateescape")


checked = settings(
    derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None, report_multiple_bugs=False
)


@settings(checked, max_examples=120)
@given(st.lists(good_document(), min_size=5, max_size=5))
def test_generated_files_are_read_as_go_reads_them(helper: Path, documents: list[bytes]) -> None:
    compare(helper, documents)


@settings(checked, max_examples=120)
@given(st.lists(nasty_document(), min_size=5, max_size=5))
def test_odd_files_are_read_or_refused_as_go_does(helper: Path, documents: list[bytes]) -> None:
    compare(helper, documents)


def test_go_mod_files_of_the_toolchain_are_read_as_go_reads_them(helper: Path, go: GoTool) -> None:
    paths = sorted(path for path in (go.goroot() / "src").rglob("*.mod") if path.is_file())
    assert paths
    compare(helper, [path.read_bytes() for path in paths])


def test_the_table_of_printable_characters_is_gos(helper: Path) -> None:
    (edges,) = ask(helper, [base64.b64encode(b"printable?").decode()])
    ours, last = [], False
    for code in range(0x110001):
        now = code < 0x110000 and gotext.is_print(chr(code))
        if now != last:
            ours.append(code)
            last = now
    assert ours == edges


QUOTES = (
    *words(r'"a" `a` "a\n" "\x41\xff" "\u00e9\U0001F600" "\ud800" "\400" "\377" "\\" "\"" "" `` " ` "a"b" `a`b`'),
    '"\\\'"',
    "`a\rb`",
    '"a\nb"',
    '"\\',
    '"\\"',
    "a",
    "",
    '"\udcff"',
    '"\udcff\\n"',
    "`\udcff`",
    "\x00\x1b\x7f\u00ad\u2028\ue000\U0001f600\U000e0001\udc80\t\v\a\\\"'",
)


def test_quoting_is_gos(helper: Path) -> None:
    documents = [text.encode("utf-8", "surrogateescape") for text in QUOTES]
    for text, answer in zip(QUOTES, ask(helper, [base64.b64encode(d).decode() for d in documents]), strict=True):
        assert gotext.quote(text) == text_of(answer["quoted"])
        assert our_unquoted(text) == tuple(map(text_of, answer["unquoted"]))
