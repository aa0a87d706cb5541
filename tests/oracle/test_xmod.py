"""The rules of mod/ against Go's own code: the same inputs to us and to golang.org/x/mod, answers and words compared.

A small Go program is compiled against the copy of x/mod that the toolchain ships. Each rule gets a large batch of
mutated inputs, always the same ones, and some that hypothesis makes up.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import warnings
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gotool import GoTool, ask
from vcsproxy import errors
from vcsproxy.mod import dirhash, glob, gotext, gover, letters, module, modzip, pseudo, semver, zipwriter

# ruff: noqa: SIM905 - lists of odd names read better without their quotes

HELPER = r"""
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

type file struct {
	Path []byte
	Kind string
	Size int64
	Data []byte
}

type zipFile struct{ f file }

func (z zipFile) Path() string                 { return string(z.f.Path) }
func (z zipFile) Lstat() (os.FileInfo, error)  { return info{z.f}, nil }
func (z zipFile) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(z.f.Data)), nil }

type info struct{ f file }

func (i info) Name() string       { return path.Base(string(i.f.Path)) }
func (i info) Size() int64        { return i.f.Size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	switch i.f.Kind {
	case "symlink":
		return fs.ModeSymlink | 0777
	case "other":
		return fs.ModeNamedPipe
	}
	return 0644
}

type question struct {
	Op    string
	Args  [][]byte
	Files []file
}

type answer struct {
	Out [][]byte
	Bad []byte
	No  bool
}

func out(texts ...string) answer {
	a := answer{Out: [][]byte{}}
	for _, t := range texts {
		a.Out = append(a.Out, []byte(t))
	}
	return a
}

func fail(err error, texts ...string) answer {
	if err == nil {
		return out(texts...)
	}
	return answer{No: true, Bad: []byte(err.Error())}
}

func yes(b bool) answer { return out(strconv.FormatBool(b)) }

func checkZip(m module.Version, name string) answer {
	cf, err := modzip.CheckZip(m, name)
	if err != nil {
		return fail(err)
	}
	if err := modzip.Unzip(name+".out", m, name); err != nil {
		return fail(err)
	}
	h, err := dirhash.HashZip(name, dirhash.Hash1)
	return fail(err, append([]string{h}, cf.Valid...)...)
}

func create(name string, m module.Version, files []modzip.File) (string, error) {
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := modzip.Create(f, m, files); err != nil {
		return "", err
	}
	return dirhash.HashZip(name, dirhash.Hash1)
}

func manyEntries(name string, prefix string, count int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for i := range count {
		if _, err := w.Create(prefix + strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return w.Close()
}

func list(errs []modzip.FileError) string {
	var lines []string
	for _, e := range errs {
		lines = append(lines, fmt.Sprintf("%x %x", e.Path, e.Err.Error()))
	}
	return strings.Join(lines, "\n")
}

func tables() answer {
	var letters, folds []string
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if unicode.IsLetter(r) {
			letters = append(letters, fmt.Sprintf("%x", r))
		}
		small := r
		for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
			small = min(small, s)
		}
		if small != r {
			folds = append(folds, fmt.Sprintf("%x %x", r, small))
		}
	}
	sum := func(lines []string) string {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "\n"))))
	}
	return out(unicode.Version, sum(letters), sum(folds))
}

func handle(q question) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{No: true, Bad: []byte("panic")}
		}
	}()
	var s [4]string
	for i := range min(len(q.Args), len(s)) {
		s[i] = string(q.Args[i])
	}
	switch q.Op {
	case "CheckPath":
		return fail(module.CheckPath(s[0]))
	case "CheckImportPath":
		return fail(module.CheckImportPath(s[0]))
	case "CheckFilePath":
		return fail(module.CheckFilePath(s[0]))
	case "Check":
		return fail(module.Check(s[0], s[1]))
	case "EscapePath":
		v, err := module.EscapePath(s[0])
		return fail(err, v)
	case "EscapeVersion":
		v, err := module.EscapeVersion(s[0])
		return fail(err, v)
	case "UnescapePath":
		v, err := module.UnescapePath(s[0])
		return fail(err, v)
	case "UnescapeVersion":
		v, err := module.UnescapeVersion(s[0])
		return fail(err, v)
	case "SplitPathVersion":
		prefix, major, ok := module.SplitPathVersion(s[0])
		return out(prefix, major, strconv.FormatBool(ok))
	case "PathMajorPrefix":
		return out(module.PathMajorPrefix(s[0]))
	case "CheckPathMajor":
		return fail(module.CheckPathMajor(s[0], s[1]))
	case "CanonicalVersion":
		return out(module.CanonicalVersion(s[0]))
	case "MatchPrefixPatterns":
		return yes(module.MatchPrefixPatterns(s[0], s[1]))
	case "Match":
		ok, _ := path.Match(s[0], s[1])
		return yes(ok)
	case "semver":
		v := s[0]
		return out(strconv.FormatBool(semver.IsValid(v)), semver.Canonical(v), semver.Major(v),
			semver.MajorMinor(v), semver.Prerelease(v), semver.Build(v))
	case "Compare":
		return out(strconv.Itoa(semver.Compare(s[0], s[1])))
	case "Sort":
		var vs []string
		for _, v := range q.Args {
			vs = append(vs, string(v))
		}
		semver.Sort(vs)
		return out(vs...)
	case "PseudoVersion":
		sec, _ := strconv.ParseInt(s[2], 10, 64)
		return out(module.PseudoVersion(s[0], s[1], time.Unix(sec, 0), s[3]))
	case "IsPseudoVersion":
		return yes(module.IsPseudoVersion(s[0]))
	case "PseudoVersionTime":
		t, err := module.PseudoVersionTime(s[0])
		return fail(err, strconv.FormatInt(t.Unix(), 10))
	case "PseudoVersionRev":
		v, err := module.PseudoVersionRev(s[0])
		return fail(err, v)
	case "PseudoVersionBase":
		v, err := module.PseudoVersionBase(s[0])
		return fail(err, v)
	case "gover":
		return out(strconv.FormatBool(IsValid(s[0])), Lang(s[0]), strconv.Itoa(Compare(s[0], s[1])))
	case "tables":
		return tables()
	case "CheckFiles", "Create":
		var files []modzip.File
		for _, f := range q.Files {
			files = append(files, zipFile{f})
		}
		cf, err := modzip.CheckFiles(files)
		size := ""
		if cf.SizeError != nil {
			size = cf.SizeError.Error()
		}
		text := ""
		if err != nil {
			text = "create zip: " + err.Error()
		}
		res := out(size, text, list(cf.Omitted), list(cf.Invalid), "")
		if q.Op == "Create" {
			h, err := create(s[2], module.Version{Path: s[0], Version: s[1]}, files)
			if err != nil {
				return fail(err)
			}
			res.Out[4] = []byte(h)
		}
		for _, v := range cf.Valid {
			res.Out = append(res.Out, []byte(v))
		}
		return res
	case "ManyEntries":
		n, _ := strconv.Atoi(s[2])
		return fail(manyEntries(s[0], s[1], n))
	case "CheckZip":
		return checkZip(module.Version{Path: s[0], Version: s[1]}, s[2])
	case "HashZip":
		h, err := dirhash.HashZip(s[0], dirhash.Hash1)
		return fail(err, h)
	}
	return answer{No: true, Bad: []byte("unknown op")}
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	enc := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		if err := enc.Encode(handle(q)); err != nil {
			panic(err)
		}
	}
}
"""

BATCH = 3000
Answer = list[str] | str
"""What Go returned, or the text of its error behind `error: `."""


def raw(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def text_of(data: str) -> str:
    return b64decode(data).decode("utf-8", "surrogateescape")


def read_answer(answer: dict[str, Any]) -> Answer:
    if answer["No"]:
        return "error: " + text_of(answer["Bad"])
    return [text_of(item) for item in answer["Out"]]


@dataclass
class Oracle:
    """The helper program: `many` in one go, `one` over a pipe that stays open."""

    binary: str
    pipe: subprocess.Popen[str]

    def many(self, op: str, rows: Sequence[Sequence[str]]) -> list[Answer]:
        return [read_answer(a) for a in ask(self.binary, [question(op, row) for row in rows])]  # type: ignore[arg-type]

    def one(self, op: str, *args: str) -> Answer:
        return read_answer(self.send(question(op, args)))

    def send(self, value: dict[str, Any]) -> dict[str, Any]:
        assert self.pipe.stdin is not None
        assert self.pipe.stdout is not None
        self.pipe.stdin.write(json.dumps(value) + "\n")
        self.pipe.stdin.flush()
        answer: dict[str, Any] = json.loads(self.pipe.stdout.readline())
        return answer


def question(op: str, args: Sequence[str]) -> dict[str, Any]:
    return {"op": op, "args": [raw(arg) for arg in args]}


@pytest.fixture(scope="session")
def oracle(go: GoTool) -> Iterator[Oracle]:
    binary = str(go.build_helper("xmod", HELPER, {"gover.go": "internal/gover/gover.go"}))
    pipe = subprocess.Popen(
        [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": os.defpath}
    )
    yield Oracle(binary, pipe)
    assert pipe.stdin is not None
    assert pipe.stdout is not None
    pipe.stdin.close()
    pipe.wait(10)
    pipe.stdout.close()


# ---- inputs


def mutants(seeds: Sequence[str], tokens: Sequence[str], *, count: int = BATCH, seed: int = 1) -> list[str]:
    """The seeds and their mutants: cut, copied, joined, with tokens put in; as bytes, so that UTF-8 breaks too."""
    rand = random.Random(seed)
    raws = [s.encode("utf-8", "surrogateescape") for s in seeds]
    marks = [t.encode("utf-8", "surrogateescape") for t in tokens]
    out = list(raws)
    while len(out) < count:
        value = rand.choice(raws)
        for _ in range(rand.choice([1, 1, 1, 2, 2, 3, 5])):
            value = mutate(value, rand, raws, marks)
        out.append(value)
    return [value.decode("utf-8", "surrogateescape") for value in out]


def mutate(value: bytes, rand: random.Random, raws: Sequence[bytes], marks: Sequence[bytes]) -> bytes:
    low, high = sorted((rand.randint(0, len(value)), rand.randint(0, len(value))))
    match rand.randrange(6):
        case 0:
            return value[:low] + value[low + 1 :]
        case 1 | 2:
            return value[:low] + rand.choice(marks) + value[low:]
        case 3:
            return value[:low] + rand.choice(marks) + value[low + 1 :]
        case 4:
            return (value[:high] + value[low:])[:300]
        case _:
            other = rand.choice(raws)
            return (value[:low] + other[rand.randint(0, len(other)) :])[:300]


PATHS = """
github.com/a/b golang.org/x/text rsc.io/quote/v2 rsc.io/quote/v3 example.com/A/B/v10 gopkg.in/yaml.v2 gopkg.in/yaml
gopkg.in/yaml.v2/abc gopkg.in/x.v0 gopkg.in/x.v01 gopkg.in/x.v1-unstable gopkg.in/a/b.v3 gopkg.in/x.v-unstable
gopkg.in/x.v0-unstable localhost/x Example.com/x -a.com/x a.com/.x a.com/x. a.com/con.z a.com/x~1 a.com/x~1.y a.com/a+b
ex_ample.com/x a.com/v1 a.com/v0 a.com/v01 a.com/v2.0 a.com/v1.2 127.0.0.1/x a.com a.com/-x a.com/a..b a.com/COM0
a.com/x~ a.com/x~1b a.com/a.v2 a.com/x1.2 a.com/v2.3.4/x a.com/v2/v3 a.com/... a.com/LPT9.x a.com//x a.com/x/ /a.com
a.com/x~1~2 a.com/aux a.com/prn.a.b v2 /v2 x/v a.com/v a.com/v2 a.com/v22
""".split()
PATH_TOKENS = [
    *"/.-_~+v0129aZ!@: \t\n\\'\"",
    "..",
    "/v2",
    ".v1",
    "-unstable",
    "\xe9",
    "☺",
    "\udcff",
    "con",
    "~1",
    "\x7f",
]

FILES = """
go.mod a/b.go vendor/a/b.go x_test.go README.md LICENSE con.go sub/NUL aux.tar.gz x. x/y./z ... a:b a*b a?b a'b a"b a<b
a|b a`b` a\\b a;b ☺.go ١.go Ⅷ COM¹.txt é.go ª 𠀀 foo~1 com0.x -dash ..foo .hidden go.mod.bak %41
a!b#$%&()+,-.=@[]^_{}~ CON nul.TXT lpt1 K K.go ſ.go x/./y x/../y /abs ./x a//b . .. ../x
""".split()
FILE_TOKENS = [
    *"/.-_~+ v0aZ!@:\t\n\\'\"*;`",
    "..",
    "é",
    "e\u0301",
    "☺",
    "\u01c5",
    "𠀀",
    "\udcff",
    "\udc80",
    "\u2028",
    "con",
    "\0",
]

VERSIONS = """
v1.2.3 v1 v1.2 v0.0.0 v2.0.0+incompatible v1.2.3-rc.1 v1.2.3-rc1 v1.2.3-rc.10 v1.2.3+meta.01 v1.2.3-0 v1.2.3-01
v1.2.3-0a v01.2.3 v1.02.3 V1.2.3 1.2.3 v1.2.3-a..b v1.2.3-a.b- v1.2.3--- v1.2.3+ v2+incompatible v1.2.3-alpha.1+b-c
v99999999999999999999.0.1 v1.2.3-99999999999999999999 v1.2.3-1.0.20240301000000-ABC
v0.0.0-20240301000000-0123456789ab v1.2.3-0.20240301000000-0123456789ab v1.2.3-rc1.0.20240301000000-0123456789ab
v1.2.0-20240301000000-0123456789ab v2.0.0-20240301000000-0123456789ab+incompatible
v2.3.4-0.20240301000000-0123456789ab+incompatible v1.2.0-0.20240301000000-0123456789ab
v1.10.100-0.20241301000000-0123456789ab v1.2.3-0.20240230235960-0123456789ab v0.0.0-00000101000000-000000000000
v0.0.0-00010101000000-000000000000 v0.0.0-00000229000000-a v0.0.0-99991231235959-a v0.0.0-20240301240000-a
v1.2.3-a.0.20240301000000-b.0.20240301000000-c v1.2.3-0.0.20240301000000-x v5.6.200-0.20240301000000-x
v0.0.0-20230229000000-x v0.0.0-19000229000000-x v0.0.0-20000229000000-x
""".split()
VERSION_TOKENS = [
    *".-+v0129aZ_! ",
    "-0.",
    ".0.",
    "+incompatible",
    "20240301000000-",
    "-rc.1",
    "\n",
    "\udcff",
    "٣",
    "-20",
]

PATTERNS = r"""
*.corp.com github.com/secret/* a.b/c rsc.io/private/ * */* ? a?c [a-c]x [^a]b [a-] [] [^] [ab \ \* a\?b a* *a *a*b* **
*[/]* [^/]x *?? *[é] ab[e-g] [\-x] [x\-] [-x] [a-b-c] []a] ab[^c] a*/b a*b?c*x [!a] a[ *.go corp.com,*.x.org ,, /,a/
""".split()
PATTERN_TOKENS = [*"*?[]^-\\/,.abcx", "[a-c]", "[^a]", "\\*", "é", "☺", "\udcff", "**"]
NAMES = (
    "github.com/secret/x a.corp.com/x corp.com abxbbxdbxebxczzx a/b a/b/c abc a.b/c/d é ☺x a-x a*b a\\b x a[".split()
)

GO_VERSIONS = (
    "1 1.0 1.2 1.20 1.20.1 1.20rc1 1.21 1.21rc1 1.21.0 1.21.3rc1 1.24rc 2 2.0 2.1.5 01 1.x 1.24beta2 1.".split()
)


# ---- one rule after another

SEMVER = (semver.canonical, semver.major, semver.major_minor, semver.prerelease, semver.build)


def boolean(value: bool) -> str:
    return "true" if value else "false"


def checked(check: Callable[..., None]) -> Callable[..., list[str]]:
    def run(*args: str) -> list[str]:
        check(*args)
        return []

    return run


def split_path_version(path: str) -> list[str]:
    prefix, major, ok = module.split_path_version(path)
    return [prefix, major, boolean(ok)]


def listed(function: Callable[..., object]) -> Callable[..., list[str]]:
    def run(*args: str) -> list[str]:
        value = function(*args)
        return [boolean(value) if isinstance(value, bool) else str(value)]

    return run


RULES: dict[str, Callable[..., list[str]]] = {
    "CheckPath": checked(module.check_path),
    "CheckImportPath": checked(module.check_import_path),
    "CheckFilePath": checked(module.check_file_path),
    "Check": checked(module.check),
    "EscapePath": listed(module.escape_path),
    "EscapeVersion": listed(module.escape_version),
    "UnescapePath": listed(module.unescape_path),
    "UnescapeVersion": listed(module.unescape_version),
    "SplitPathVersion": split_path_version,
    "PathMajorPrefix": listed(module.path_major_prefix),
    "CheckPathMajor": checked(module.check_path_major),
    "CanonicalVersion": listed(module.canonical_version),
    "MatchPrefixPatterns": listed(module.match_prefix_patterns),
    "Match": listed(glob.match),
    "semver": lambda v: [boolean(semver.is_valid(v)), *(part(v) for part in SEMVER)],
    "Compare": listed(semver.compare),
    "Sort": lambda *vs: semver.sort(vs),
    "PseudoVersion": lambda major, older, t, rev: [pseudo.pseudo_version(major, older, int(t), rev)],
    "IsPseudoVersion": listed(pseudo.is_pseudo_version),
    "PseudoVersionTime": listed(pseudo.pseudo_version_time),
    "PseudoVersionRev": listed(pseudo.pseudo_version_rev),
    "PseudoVersionBase": listed(pseudo.pseudo_version_base),
    "gover": lambda x, y: [boolean(gover.is_valid(x)), gover.lang(x), str(gover.compare(x, y))],
}


def ours(op: str, args: Sequence[str]) -> Answer:
    try:
        return RULES[op](*args)
    except errors.InvalidRequest as err:
        return f"error: {err}"


def plain(answer: Answer) -> Answer:
    """Answers are compared word for word, but where our words are better than `internal error` and `panic`."""
    return "error" if isinstance(answer, str) and answer.startswith(OWN_WORDS) else answer


OWN_WORDS = (
    "error: internal error",
    "error: panic",
    "error: malformed module path: ",
)


def compare_all(oracle: Oracle, op: str, rows: Sequence[Sequence[str]]) -> None:
    wrong = []
    for row, answer in zip(rows, oracle.many(op, rows), strict=True):
        mine, theirs = plain(ours(op, row)), plain(answer)
        if op == "EscapeVersion" and isinstance(mine, str) and isinstance(theirs, str):
            continue  # Go calls a letter beyond ASCII an internal error here
        if mine != theirs:
            wrong.append(f"{op}{tuple(row)!r}: ours {mine!r}, Go's {theirs!r}")
    assert not wrong, f"{len(wrong)} of {len(rows)} differ:\n" + "\n".join(wrong[:20])


def singles(values: Sequence[str]) -> list[tuple[str]]:
    return [(value,) for value in values]


def pairs(first: Sequence[str], second: Sequence[str], seed: int = 7) -> list[tuple[str, str]]:
    rand = random.Random(seed)
    return [(value, rand.choice(second)) for value in first]


def escaped(values: Sequence[str]) -> list[str]:
    rand = random.Random(3)
    return [v if rand.random() < 0.1 else "".join("!" + c.lower() if "A" <= c <= "Z" else c for c in v) for v in values]


ALL_PATHS = mutants(PATHS, PATH_TOKENS)
ALL_FILES = mutants(FILES, FILE_TOKENS)
ALL_VERSIONS = mutants(VERSIONS, VERSION_TOKENS)
MAJORS = ["", "/v2", "/v10", ".v1", ".v2", ".v0", ".v2-unstable", ".v1-unstable", "v2", "/v0", "/v1"]
TIMES = ["0", "-1", "1709251200", "-62135596800", "253402300799", "951782400", "-2203891200", "4107542399"]
REVS = ["0123456789ab", "a", "abc-def", ""]

CASES: dict[str, list[tuple[str, ...]]] = {
    "CheckPath": [*singles(ALL_PATHS)],
    "CheckImportPath": [*singles(mutants(PATHS, PATH_TOKENS, seed=2))],
    "CheckFilePath": [*singles(ALL_FILES)],
    "Check": [*pairs(ALL_PATHS, VERSIONS)],
    "EscapePath": [*singles(mutants(PATHS, PATH_TOKENS, seed=3))],
    "EscapeVersion": [*singles(mutants([*VERSIONS, *FILES], [*VERSION_TOKENS, *FILE_TOKENS], seed=4))],
    "UnescapePath": [*singles(escaped(mutants(PATHS, [*PATH_TOKENS, "!a", "!!"], seed=5)))],
    "UnescapeVersion": [*singles(escaped(mutants([*VERSIONS, *FILES], [*VERSION_TOKENS, "!a", "!!"], seed=6)))],
    "SplitPathVersion": [*singles(ALL_PATHS)],
    "PathMajorPrefix": [*singles(mutants(MAJORS, [*"/.v0129-", "-unstable"], seed=8))],
    "CheckPathMajor": [*pairs(ALL_VERSIONS, mutants(MAJORS, [*"/.v0129-", "-unstable"], count=200))],
    "CanonicalVersion": [*singles(ALL_VERSIONS)],
    "MatchPrefixPatterns": [*pairs(mutants(PATTERNS, PATTERN_TOKENS), mutants(NAMES, PATTERN_TOKENS, count=300))],
    "Match": [*pairs(mutants(PATTERNS, PATTERN_TOKENS, seed=9), mutants(NAMES, PATTERN_TOKENS, count=300))],
    "semver": [*singles(ALL_VERSIONS)],
    "Compare": [*pairs(ALL_VERSIONS, mutants(VERSIONS, [*VERSION_TOKENS, "9" * 5000], seed=10, count=500))],
    "Sort": [tuple(ALL_VERSIONS[at : at + 30]) for at in range(0, BATCH, 30)],
    "PseudoVersion": [
        (major, older, t, rev)
        for major in ("", "v1", "v7")
        for older in ["", *VERSIONS[:20], *VERSIONS[-3:], "v1.2.999", "v1.2.0"]
        for t in TIMES
        for rev in REVS
    ],
    "IsPseudoVersion": [*singles(mutants(VERSIONS[20:], VERSION_TOKENS, seed=11))],
    "PseudoVersionTime": [*singles(mutants(VERSIONS[20:], [*"0123456789"], seed=12))],
    "PseudoVersionRev": [*singles(mutants(VERSIONS[20:], VERSION_TOKENS, seed=13))],
    "PseudoVersionBase": [*singles(mutants(VERSIONS[20:], [*VERSION_TOKENS, "00", "10"], seed=14))],
    "gover": [*pairs(mutants(GO_VERSIONS, [*"0129.rcbeta", "21", "rc1"]), GO_VERSIONS)],
}


@pytest.mark.parametrize("op", RULES)
def test_mutants(oracle: Oracle, op: str) -> None:
    compare_all(oracle, op, CASES[op])


def test_mutants_are_not_all_refused() -> None:
    """The batches mean something only if both answers are common."""
    for op in ("CheckPath", "CheckFilePath", "UnescapePath", "UnescapeVersion", "PseudoVersionBase", "Check"):
        refused = sum(isinstance(ours(op, row), str) for row in CASES[op])
        assert BATCH / 20 < refused < BATCH * 19 / 20, op
    matched = sum(ours("Match", row) == ["true"] for row in CASES["Match"])
    assert matched > BATCH / 50


ANY_TEXT = st.binary(max_size=30).map(lambda data: data.decode("utf-8", "surrogateescape"))
ONE_ARGUMENT = {
    "CheckPath": st.from_regex(r"\A[a-z.]{1,5}(/[A-Za-z0-9._~+-]{0,6}){0,3}\Z") | ANY_TEXT,
    "CheckFilePath": st.text(max_size=12) | ANY_TEXT,
    "UnescapePath": st.from_regex(r"\A[a-z.]{1,5}(/[a-z0-9._~!-]{0,6}){0,3}\Z") | ANY_TEXT,
    "UnescapeVersion": st.text(max_size=12) | ANY_TEXT,
    "SplitPathVersion": st.from_regex(r"\A(gopkg\.in/|a\.b/)?[a-z./]{0,4}[/.]?v[0-9.]{0,4}(-unstable)?\Z") | ANY_TEXT,
    "semver": st.from_regex(r"\Av[0-9]{1,3}(\.[0-9]{1,3}){0,3}(-[0-9a-z.-]{0,5})?(\+[0-9a-z.-]{0,5})?\Z") | ANY_TEXT,
    "PseudoVersionBase": st.from_regex(
        r"\Av[0-9]\.[0-9]{1,3}\.[0-9]{1,3}-([a-z0-9]{0,2}\.)?0?\.?[0-9]{14}-[a-z0-9]{1,3}\Z"
    ),
}


@pytest.mark.parametrize("op", ONE_ARGUMENT)
def test_made_up(oracle: Oracle, op: str) -> None:
    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    @given(ONE_ARGUMENT[op])
    def same(value: str) -> None:
        assert plain(ours(op, [value])) == plain(oracle.one(op, value))

    same()


@pytest.mark.parametrize("op", ["Match", "MatchPrefixPatterns"])
def test_made_up_patterns(oracle: Oracle, op: str) -> None:
    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(st.text("*?[]^-\\/,ab\xe9", max_size=10), st.text("ab/-\xe9", max_size=8))
    def same(pattern: str, name: str) -> None:
        assert ours(op, [pattern, name]) == oracle.one(op, pattern, name)

    same()


def test_letters_and_folding(oracle: Oracle) -> None:
    def total(lines: list[str]) -> str:
        return sha256("\n".join(lines).encode()).hexdigest()

    points = range(0x110000)
    ours_letters = [f"{c:x}" for c in points if letters.is_letter(c)]
    folds = [f"{c:x} {letters.smallest_fold(c):x}" for c in points if letters.smallest_fold(c) != c]
    assert oracle.one("tables") == ["17.0.0", total(ours_letters), total(folds)]


# ---- zips

GO_MODS = [
    (b"module m\n", ""),
    (b"module m\n\ngo 1.20\n", "1.20"),
    (b"module m\n\ngo 1.23.9\n", "1.23"),
    (b"module m\n\ngo 1.24\n", "1.24"),
    (b"module m\n\ngo 1.24rc1\n", "1.24rc1"),
    (b"module m\n\ngo 1.25.1\n", "1.25"),
    (b"module m\n\ngo 1.25.1\nrequire x\n", ""),
]
NAMES_OF_FILES = """
go.mod GO.MOD Go.mod LICENSE license README a.go A.go b vendor vendor/modules.txt vendor/a/b.go vendor/f.go n/go.mod
x/vendor/v.go x/vendor/modules.txt x/y/vendor/q.go x/vendor/a/b.go vendored/x.go n/a.go n/m/a.go N/a.go n/GO.MOD
n2/Go.Mod n2/a:b vendor/x/a:b n/a:b vendor/a:b .hg_archival.txt x/.hg_archival.txt Dir/a dir/b dir/a Dir Foo.go/foo.go
k K \u212a s ſ ß ẞ Σ ς ss I ı İ i é.go e\u0301 bad:name con.go x. /abs a//b ./a ../a a/../b x/./y a/ . .. .git/config
LICENSE/a x/LICENSE
""".split()


@dataclass(frozen=True)
class Tree:
    files: list[dict[str, Any]]
    go_version: str

    def facts(self) -> list[modzip.FileFact]:
        return [modzip.FileFact(text_of(f["path"]), f["size"], modzip.Kind(f["kind"])) for f in self.files]

    def contents(self) -> dict[str, bytes]:
        return {text_of(f["path"]): b64decode(f["data"]) for f in self.files}


def entry(path: str, data: bytes = b"", kind: str = "regular", size: int | None = None) -> dict[str, Any]:
    shown = len(data) if size is None else size
    return {"path": raw(path), "kind": kind, "size": shown, "data": b64encode(data).decode()}


def make_tree(rand: random.Random, *, odd: bool) -> Tree:
    gomod, version = rand.choice(GO_MODS)
    names = rand.choices(NAMES_OF_FILES + rand.choices(ALL_FILES, k=20 * odd), k=rand.randint(0, 9))
    files, language = [], ""
    for name in names:
        kind = rand.choice(["regular"] * 8 + ["symlink", "other"])
        files.append(entry(name, gomod if name == "go.mod" else rand.randbytes(rand.randint(0, 40)), kind))
        if name == "go.mod" and kind == "regular":
            language = version
    return Tree(files, language)


def unquoted(text: str) -> list[tuple[str, str]]:
    """The helper's lines: hexadecimal path and reason."""
    rows = [line.split(" ") for line in text.split("\n") if line]
    return [tuple(bytes.fromhex(x).decode("utf-8", "surrogateescape") for x in row) for row in rows]  # type: ignore[misc]


def problems(found: modzip.Checked) -> str:
    try:
        found.raise_for_problems()
    except errors.NotFound as err:
        return err.message
    return ""


def compare_tree(tree: Tree, out: list[str]) -> modzip.Checked:
    found = modzip.check_files(tree.facts(), tree.go_version)
    size, text, omitted, invalid, _, *valid = out
    context = [(text_of(f["path"]), f["kind"]) for f in tree.files]
    assert [f.path for f in found.valid] == valid, context
    assert list(found.omitted) == unquoted(omitted), context
    assert list(found.invalid) == unquoted(invalid), context
    assert found.size_error == size
    assert problems(found) == gotext.scrub(text)
    return found


def write_zip(path: str, version: str, files: Sequence[tuple[str, bytes]]) -> tuple[bytes, str]:
    out = io.BytesIO()
    writer = zipwriter.ZipWriter(out, path, version)
    for name, data in files:
        writer.add(name, data)
    h1 = writer.close()
    return out.getvalue(), h1


def skeleton(data: bytes) -> list[tuple[bytes, ...]]:
    """Every byte of a zip but deflated data, their lengths and what follows from these."""
    end = data.rfind(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", data[end + 10 : end + 20])
    rows: list[tuple[bytes, ...]] = [(data[end : end + 16], data[end + 20 :], str(end - start - size).encode())]
    at = start
    for _ in range(count):
        compressed, name_length = struct.unpack("<I4xH", data[at + 20 : at + 30])
        (offset,) = struct.unpack("<I", data[at + 42 : at + 46])
        after = at + 46 + name_length
        central = data[at : at + 20] + data[at + 24 : at + 42] + data[at + 46 : after]
        local = data[offset : offset + 30 + name_length]
        body = offset + len(local)
        descriptor = data[body + compressed : body + compressed + 16]
        content = zlib.decompress(data[body : body + compressed], -zlib.MAX_WBITS)
        rows.append((central, local, descriptor[:8] + descriptor[12:], content))
        at = after
    assert at == start + size
    return rows


def test_check_files(oracle: Oracle) -> None:
    """Also with what no Git tree holds: paths that are not clean, one path twice."""
    rand = random.Random(20)
    trees = [make_tree(rand, odd=index % 2 == 1) for index in range(BATCH)]
    answers = ask(oracle.binary, [{"op": "CheckFiles", "files": tree.files} for tree in trees])  # type: ignore[arg-type]
    good = 0
    for tree, answer in zip(trees, answers, strict=True):
        out = read_answer(answer)
        assert isinstance(out, list)
        good += not problems(compare_tree(tree, out))
    assert BATCH / 10 < good < BATCH * 9 / 10


def test_created_zips(oracle: Oracle, tmp_path: Path) -> None:
    rand = random.Random(21)
    trees = [tree for tree in (make_tree(rand, odd=False) for _ in range(4000)) if not problems_of(tree)][:300]
    place = "example.com/M~x/v2", "v2.0.0-RC1"
    for tree in trees:
        args = [raw(arg) for arg in (*place, str(tmp_path / "zip"))]
        out = read_answer(oracle.send({"op": "Create", "args": args, "files": tree.files}))
        assert isinstance(out, list), out
        found = compare_tree(tree, out)
        contents = tree.contents()
        mine, h1 = write_zip(*place, [(file.path, contents[file.path]) for file in found.valid])
        theirs = (tmp_path / "zip").read_bytes()
        assert [h1, h1] == [out[4], dirhash.hash_zip(io.BytesIO(theirs))]
        assert skeleton(mine) == skeleton(theirs)


def problems_of(tree: Tree) -> str:
    return problems(modzip.check_files(tree.facts(), tree.go_version))


def test_sizes(oracle: Oracle) -> None:
    limit, license_limit = modzip.MAX_ZIP_FILE, modzip.MAX_LICENSE
    trees = [
        Tree([entry("a", size=limit)], ""),
        Tree([entry("a", size=limit + 1)], ""),
        Tree([entry("a", size=limit), entry("b", size=1), entry("c:", size=1)], ""),
        Tree([entry("a", size=limit), entry("l", kind="symlink", size=9), entry("n/go.mod"), entry("n/x", size=9)], ""),
        Tree([entry("go.mod", size=license_limit), entry("LICENSE", size=license_limit)], ""),
        Tree([entry("go.mod", size=license_limit + 1), entry("LICENSE", size=license_limit + 1)], ""),
        Tree([entry("x/LICENSE", size=license_limit + 1)], ""),
        Tree([entry("go.mod", size=limit + 1)], ""),
    ]
    for tree in trees:
        out = read_answer(oracle.send({"op": "CheckFiles", "files": tree.files}))
        assert isinstance(out, list)
        compare_tree(tree, out)


def test_go_takes_our_zips(oracle: Oracle, tmp_path: Path) -> None:
    """golang.org/x/mod/zip checks and unpacks what ZipWriter wrote, and hashes it to the same h1."""
    rand = random.Random(22)
    for version in ("v1.0.0", "v1.2.3-RC.1", "v2.0.0+incompatible"):
        names = ["go.mod", "a b.go", "é.go", "x~1", "LICENSE", "d/e/f/g.txt", "𠀀", "empty"]
        files = [(name, rand.randbytes(rand.choice([0, 1, 100, 70_000, 3_000_000]))) for name in names]
        data, h1 = write_zip("example.com/m", version, files)
        (tmp_path / version).write_bytes(data)
        out = oracle.one("CheckZip", "example.com/m", version, str(tmp_path / version))
        assert out == [h1, *(f"example.com/m@{version}/{name}" for name, _ in files)]
        assert dirhash.hash_zip(io.BytesIO(data)) == h1


def test_streams_that_exist_already(oracle: Oracle, tmp_path: Path) -> None:
    content = b"package m\n" * 50
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    with (tmp_path / "zip").open("wb") as out:
        writer = zipwriter.ZipWriter(out, "example.com/m", "v1.0.0")
        writer.add_whole("m.go", content, deflate.compress(content) + deflate.flush())
        writer.add("n.go", iter([content, b"", content]))
        h1 = writer.close()
    answer = oracle.one("CheckZip", "example.com/m", "v1.0.0", str(tmp_path / "zip"))
    assert answer == [h1, "example.com/m@v1.0.0/m.go", "example.com/m@v1.0.0/n.go"]


@pytest.mark.parametrize("count", [0, 1, 65534, 65535])
def test_many_entries(oracle: Oracle, tmp_path: Path, count: int) -> None:
    """Byte for byte, as nothing is compressed; from 65535 entries on there are 64-bit records at the end."""
    zip_path = tmp_path / "zip"
    assert oracle.one("ManyEntries", str(zip_path), "a.b/c@v1.0.0/", str(count)) == []
    mine, h1 = write_zip("a.b/c", "v1.0.0", [(str(number), b"") for number in range(count)])
    assert sha256(mine).hexdigest() == sha256(zip_path.read_bytes()).hexdigest()
    assert oracle.one("HashZip", str(zip_path)) == [h1]


def test_hash_of_foreign_zips(oracle: Oracle, tmp_path: Path) -> None:
    """Entries of directories count, the last of two entries with one name counts twice, names are bytes."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in [("b", b"1"), ("dir/", b""), ("b", b"3"), ("é", b"4"), ("𠀀", b"5"), ("ﬀ", b"6")]:
            archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED if content == b"5" else None)
    broken = out.getvalue().replace("é".encode(), b"\xff\x81")
    for data in (out.getvalue(), without_utf8_flag(out.getvalue()), without_utf8_flag(broken)):
        (tmp_path / "zip").write_bytes(data)
        assert oracle.one("HashZip", str(tmp_path / "zip")) == [dirhash.hash_zip(io.BytesIO(data))]
    with pytest.raises(errors.Corrupt):
        dirhash.hash_zip(io.BytesIO(broken))


def without_utf8_flag(data: bytes) -> bytes:
    """Clear flag 0x800 in every header."""
    for signature, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        parts = data.split(signature)
        data = signature.join([parts[0], *(p[: at - 4] + bytes([p[at - 4] & 0xF7]) + p[at - 3 :] for p in parts[1:])])
    return data
