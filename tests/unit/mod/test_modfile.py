"""modfile: the module path line, lax and strict files, retractions, and go.mod files made to hurt."""

from __future__ import annotations

import contextlib
import time

import pytest

from vcsproxy.mod import modlex
from vcsproxy.mod.modfile import (
    MAX_FAULTS,
    Exclude,
    Fault,
    GoMod,
    ModFileError,
    Replace,
    Require,
    Retract,
    go_mod_lookup_go,
    legacy_gomod,
    module_path,
    parse,
    parse_lax,
    retracted,
)


def fault(data: bytes, *, strict: bool = True) -> str:
    with pytest.raises(ModFileError) as caught:
        (parse if strict else parse_lax)(data)
    return str(caught.value)


# --- the module path line ---


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b"module example.com/m\n", "example.com/m"),
        (b"module example.com/m", "example.com/m"),
        (b"module example.com/m // note\r\n", "example.com/m"),
        (b"module example.com/m\r\n", "example.com/m"),
        (b"// c\n\n\t module \t example.com/m\n", "example.com/m"),
        (b"require x v1\nmodule a\nmodule b\n", "a"),
        (b'module "example.com/m"\n', "example.com/m"),
        (b"module `example.com/m`\n", "example.com/m"),
        (b'module "a\\tb"\n', "a\tb"),
        (b'module "a\n', ""),
        (b'module "a" b\nmodule c\n', ""),
        (b"module (\n\texample.com/m\n)\n", "("),
        (b"module a b\n", "a b"),
        (b"module 'x'\n", "'x'"),
        (b'module"x"\nmodulex y\nmodule z\n', "z"),
        (b"\xef\xbb\xbfmodule example.com/m\n", ""),
        (b"\xef\xbb\xbf\nmodule example.com/m\n", "example.com/m"),
        (b"module // c\nmodule\nmodule \nmodule ok\n", "ok"),
        (b"module\xc2\xa0x\xe3\x80\x80\n", "x"),
        (b"module\x1cx\n", ""),
        (b"module x\x1c\n", "x\x1c"),
        (b"module \xff\n", "\udcff"),
        (b"", ""),
        (b"../target/go.mod", ""),
        (b"module example.com/m//v2\n", "example.com/m"),
    ],
)
def test_module_path(data: bytes, path: str) -> None:
    assert module_path(data) == path


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (b"module x\n\ngo 1.28\n", "1.28"),
        (b"  go\t1.28 // c\r\n", "1.28"),
        (b'go "1.99"\n', '"1.99"'),
        (b"go (\n1.99\n)\n", "("),
        (b"go 1.20\ngo 1.21\n", "1.20"),
        (b"go // c\ngo 1.21\n", ""),
        (b"go\ngo \ngo1.20\ngo\v1.20\ngo 1.21", "1.21"),
        (b"", ""),
    ],
)
def test_go_line(data: bytes, version: str) -> None:
    assert go_mod_lookup_go(data) == version


def test_the_stand_in_for_no_file() -> None:
    assert legacy_gomod("github.com/t/x") == b"module github.com/t/x\n"


# --- a whole file ---

FULL = b"""// Deprecated: use example.com/n
// instead.
module example.com/m // yes

go 1.24.0

toolchain go1.24.3

godebug default=go1.21

require "example.com/a" v1.2.3
require (
\texample.com/b/v2 v2.0.1 // indirect
\texample.com/c v3.0.0+incompatible //indirect; more
\tgopkg.in/d.v1 v0.0.0-20200101000000-abcdefabcdef // not indirect
)

replace (
\texample.com/a v1.2.3 => ./a
\texample.com/b/v2 => example.com/fork/v2 v2.1.0
)

exclude example.com/a v1.2

// All of them.
retract (
\tv1.0.0
\t[v1.1.0, v1.2.0] // these

\t// and this
\tv1.9.9
)

tool example.com/m/cmd
ignore ./dist
"""


def test_a_full_file() -> None:
    assert parse(FULL) == GoMod(
        module="example.com/m",
        go="1.24.0",
        toolchain="go1.24.3",
        require=(
            Require("example.com/a", "v1.2.3"),
            Require("example.com/b/v2", "v2.0.1", indirect=True),
            Require("example.com/c", "v3.0.0+incompatible", indirect=True),
            Require("gopkg.in/d.v1", "v0.0.0-20200101000000-abcdefabcdef"),
        ),
        replace=(
            Replace("example.com/a", "v1.2.3", "./a", ""),
            Replace("example.com/b/v2", "", "example.com/fork/v2", "v2.1.0"),
        ),
        exclude=(Exclude("example.com/a", "v1.2.0"),),
        retract=(
            Retract("v1.0.0", "v1.0.0", "All of them."),
            Retract("v1.1.0", "v1.2.0", "these"),
            Retract("v1.9.9", "v1.9.9", "and this"),
        ),
        tool=("example.com/m/cmd",),
        godebug=(("default", "go1.21"),),
        ignore=("./dist",),
        deprecated="use example.com/n\ninstead.\nyes",
    )


def test_a_lax_reader_leaves_out_what_is_for_the_main_module() -> None:
    strict, lax = parse(FULL), parse_lax(FULL)
    assert (lax.module, lax.go, lax.require, lax.retract, lax.ignore, lax.deprecated) == (
        (strict.module, strict.go, strict.require, strict.retract, strict.ignore, strict.deprecated)
    )
    assert (lax.toolchain, lax.replace, lax.exclude, lax.tool, lax.godebug) == ("", (), (), (), ())


def test_an_empty_file() -> None:
    assert parse(b"") == parse_lax(b"// nothing\n\n") == GoMod()


@pytest.mark.parametrize(
    "data",
    [
        b"unknown x\nunknown (\n\ty\n)\nfoo bar (\n\tz\n)\n",
        b"exclude nonsense\nreplace a\ntool\ntoolchain 1 2\ngodebug\n",
        b"go (\n\t1.24\n)\n",
        b"retract\nretract (\n\t[v1.0.0\n\t'v1'\n)\n",
    ],
)
def test_lax_passes_over(data: bytes) -> None:
    assert parse_lax(data) == GoMod()
    fault(data)


@pytest.mark.parametrize(
    ("line", "go"),
    [("1.24", "1.24"), ("1.24.1foo", "1.24"), ("v1.24.1", "1.24"), ("1.24rc1", "1.24rc1"), ("1.24.x", "1.24")],
)
def test_lax_mends_go_versions(line: str, go: str) -> None:
    assert parse_lax(f"go {line}\n".encode()).go == go


@pytest.mark.parametrize("line", ["v1.24", "1", "01.24", "1.024", '"1.24"', "go1.24"])
def test_go_versions_beyond_repair(line: str) -> None:
    message = f"go.mod:1: invalid go version '{line}': must match format 1.23.0"
    assert fault(f"go {line}\n".encode(), strict=False) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"module a\nmodule b\n", "go.mod:2: repeated module statement"),
        (b"go 1.20\ngo 1.21\n", "go.mod:2: repeated go statement"),
        (b"module a b\n", "go.mod:1: usage: module module/path"),
        (b"go 1.20 x\n", "go.mod:1: go directive expects exactly one argument"),
        (b"ignore\n", "go.mod:1: ignore directive expects exactly one argument"),
        (b"module `a`\n", "go.mod:1: invalid quoted string: unquoted string cannot contain quote"),
        (b'module "\\q"\n', "go.mod:1: invalid quoted string: invalid syntax"),
        (b"require a.com/b\n", "go.mod:1: usage: require module/path v1.2.3"),
        (
            b"require (\n\ta.com/b latest\n)\n",
            'go.mod:2:2: require a.com/b: version "latest" invalid: must be of the form v1.2.3',
        ),
        (b"require a.com/v1 v1.0.0\n", "go.mod:1: invalid module path"),
        (
            b"require a.com/b v2.0.0\n",
            'go.mod:1: require a.com/b: version "v2.0.0" invalid: should be v0 or v1, not v2',
        ),
        (
            b"require gopkg.in/b.v3-unstable v2.0.0\n",
            'go.mod:1: require gopkg.in/b.v3-unstable: version "v2.0.0" invalid: should be v3, not v2',
        ),
        (b"a /* b */\n", "go.mod:1:3: mod files must use // comments (not /* */ comments)"),
        (b"a/* b */\n", "go.mod:1:2: mod files must use // comments (not /* */ comments)"),
        (b"\xef\xbb\xbfmodule a\n", "go.mod:1: unexpected input character '\\ufeff'"),
        (b"module a\x00\n", "go.mod:1:9: unexpected input character '\\x00'"),
        (b'x\n "open\n', "go.mod:2:7: unexpected newline in string"),
        (b'x\n "open', "go.mod:2:2: unexpected EOF in string"),
        (b"x `a\\", "go.mod:1:3: unexpected EOF in string"),
        (b"x (\n", "go.mod:2: syntax error (unterminated block started at go.mod:1:1)"),
        (b"x (\n) y\n", "go.mod:2:4: syntax error (expected newline after closing paren)"),
    ],
)
def test_lax_faults(data: bytes, message: str) -> None:
    assert fault(data, strict=False) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"use x\n", "unknown directive: use"),
        (b"use (\nx\n)\n", "unknown block type: use"),
        (b"require x (\n)\n", "unknown block type: require x"),
        (b"toolchain go1.2\ntoolchain go1.2\n", "repeated toolchain statement"),
        (b"toolchain local\n", "invalid toolchain version 'local': must match format go1.23.0 or default"),
        (b"godebug a\n", "usage: godebug key=value"),
        (b"godebug a=b c\n", "usage: godebug key=value"),
        (b"godebug a=`b\n", "usage: godebug key=value"),
        (b"replace a\n", "usage: replace module/path [v1.2.3] => other/module v1.4"),
        (b"replace a.com/v1 => ./x\n", "replace a.com/v1: invalid module path"),
        (b"replace a.com/b => c.com/d\n", "replacement module without version must be directory path"),
        (b"replace a.com/b => c.com/d@v1\n", "must match format 'path version', not 'path@version'"),
        (b"replace a.com/b => ./d v1.0.0\n", 'replacement module directory path "./d" cannot have version'),
        (b"replace a.com/b => .\\d\n", "replacement directory appears to be Windows path"),
        (b"retract\n", "expected '[' or version"),
        (b"retract [\n", "expected version after '['"),
        (b"retract [v1 v2]\n", "expected ',' after version"),
        (b"retract [v1,\n", "expected version after ','"),
        (b"retract [v1,v2\n", "expected ']' after version"),
        (b"retract 'v1'\n", "retract: version \"'v1'\" invalid: unquoted string cannot contain quote"),
        (b"retract v1.0.0 v2\n", 'unexpected token after version: "v2"'),
        (b'require "" v2.0.0\n', 'go.mod:1: require: version "v2.0.0" invalid: should be v0 or v1, not v2'),
    ],
)
def test_strict_faults(data: bytes, message: str) -> None:
    assert message in fault(data)


def test_all_faults_are_listed() -> None:
    with pytest.raises(ModFileError) as caught:
        parse(b"module a\n\ngo x\n\tuse y\n")
    assert caught.value.faults == (
        Fault(3, "invalid go version 'x': must match format 1.23.0"),
        Fault(4, "unknown directive: use", column=2),
    )
    assert str(caught.value) == (
        "go.mod:3: invalid go version 'x': must match format 1.23.0\ngo.mod:4:2: unknown directive: use"
    )


def test_faults_can_be_encoded_and_are_bounded() -> None:
    with pytest.raises(ModFileError) as caught:
        parse(b"\xff\n" * 1000)
    assert len(caught.value.faults) == MAX_FAULTS
    str(caught.value).encode()


# --- comments ---


def test_blank_lines_in_a_block_hide_its_comment() -> None:
    data = b"// all\nretract (\n\tv1.0.0\n\tv1.1.0\n\n\tv1.2.0\n)\n"
    assert [r.rationale for r in parse(data).retract] == ["all", "all", ""]


def test_a_deprecation_is_a_paragraph() -> None:
    assert parse(b"// A module.\n//\n// Deprecated:  gone\n// away\n//\n// more\nmodule a\n").deprecated == "gone\naway"
    assert parse(b"// not Deprecated: x\nmodule a\n").deprecated == ""
    assert parse(b"module a // Deprecated: yes\n").deprecated == "yes"
    assert parse(b"// Deprecated: far\n\nmodule a\n").deprecated == ""


def test_a_comment_behind_a_string_over_two_lines_goes_to_the_line_before() -> None:
    assert parse_lax(b'require a.com/b v1.0.0\nx "\\\n" // indirect\n').require == (Require("a.com/b", "v1.0.0", True),)


def test_crlf_files() -> None:
    f = parse(FULL.replace(b"\n", b"\r\n"))
    assert f == parse(FULL)


# --- retractions ---


def test_retracted() -> None:
    intervals = parse_lax(b"retract [v1.1.0, v1.2.0]\nretract v1.5.0\nretract v1.6.0 more\nretract nonsense\n").retract
    assert len(intervals) == 4
    inside = ["v1.1.0", "v1.1.5", "v1.2.0", "v1.5.0", "v1.5.0+meta", "v1.2.0-rc.1", "v1.6.0"]
    outside = ["v1.0.9", "v1.1.0-rc.1", "v1.2.1", "v1.5.1", "v2.0.0"]
    assert all(retracted(intervals, version) for version in inside)
    assert not any(retracted(intervals, version) for version in outside)
    assert not retracted((), "v1.0.0")


def test_an_interval_that_begins_with_no_version_begins_at_the_start() -> None:
    assert retracted(parse_lax(b"retract [all, v1.2.0]\n").retract, "v0.0.1")


# --- hostile files ---

SIZE = 1 << 18


@pytest.mark.parametrize(
    "data",
    [
        b" " * SIZE,
        b"\n" * SIZE,
        b"\v" * SIZE,
        b"(" * SIZE,
        b'"' * SIZE,
        b'"' + b"\\" * SIZE,
        b"a/" * (SIZE // 2),
        b"//\n" * (SIZE // 3),
        b"x (\n" * (SIZE // 4),
        b"module\n" * (SIZE // 7),
        b"retract v1\n" * (SIZE // 11),
        b"//x\n" * 20_000 + b"retract (\n" + b"v1\n" * 20_000 + b")\n",
        b"go 1." + b"1" * SIZE,
        b"require a.b/" + b"1" * SIZE + b" v1.0.0-" + b"a." * SIZE,
        b'module "' + b"\\x41" * (SIZE // 4) + b'"',
        b"\xff" * SIZE,
        "\u4e2d".encode() * (SIZE // 3),
    ],
)
def test_hostile_files_take_linear_time(data: bytes) -> None:
    begun = time.process_time()
    module_path(data)
    go_mod_lookup_go(data)
    for read in (parse, parse_lax):
        with contextlib.suppress(ModFileError):
            read(data)
    assert time.process_time() - begun < 8


def test_too_many_words_are_refused() -> None:
    assert "words" in fault(b"a " * (modlex.MAX_TOKENS + 1), strict=False)
