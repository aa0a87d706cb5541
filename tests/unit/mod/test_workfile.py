"""workfile: what go.work files say, and what is wrong with those that say it badly."""

from __future__ import annotations

import pytest

from vcsproxy.mod.modfile import Fault, ModFileError, Replace
from vcsproxy.mod.workfile import WorkFile, parse


def test_every_directive_is_read() -> None:
    text = b"""// a workspace
go 1.24.1
toolchain go1.27.3
godebug default=go1.21
use ./one // the first
use (
	"two words"
	"../three"
	.
)
replace example.com/x => ./x
replace (
	example.com/y v1.2.3 => example.com/z v1.0.0
)
godebug (
	panicnil=1
)
"""
    assert parse(text) == WorkFile(
        go="1.24.1",
        toolchain="go1.27.3",
        godebug=(("default", "go1.21"), ("panicnil", "1")),
        use=("./one", "two words", "../three", "."),
        replace=(
            Replace("example.com/x", "", "./x", ""),
            Replace("example.com/y", "v1.2.3", "example.com/z", "v1.0.0"),
        ),
    )


def test_an_empty_file_says_nothing() -> None:
    assert parse(b"") == parse(b"// nothing\n") == WorkFile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"go 1.21\n\nmodule m\n", "go.work:3: unknown directive: module"),
        (b"go 1.21\ngo 1.21\n", "go.work:2: repeated go statement"),
        (b"go v1.21.x\n", "go.work:1: invalid go version 'v1.21.x': must match format 1.23.0"),
        (b"go 1.21 1.22\n", "go.work:1: go directive expects exactly one argument"),
        (b"toolchain 1.21\n", "go.work:1: invalid toolchain version '1.21': must match format go1.23.0 or default"),
        (b"use a b\n", "go.work:1: usage: use local/dir"),
        (b"use (\n\ta'b\n)\n", "go.work:2:2: invalid quoted string: unquoted string cannot contain quote"),
        (b"go (\n\t1.21\n)\n", "go.work:1: unknown block type: go"),
        (b"use dirs (\n\ta\n)\n", "go.work:1: unknown block type: use dirs"),
        (b"use (\n", "go.work:2: syntax error (unterminated block started at go.work:1:1)"),
        (b"/* no */\n", "go.work:1: mod files must use // comments (not /* */ comments)"),
        (b"x\ny\n", "go.work:1: unknown directive: x\ngo.work:2: unknown directive: y"),
    ],
)
def test_faults_have_gos_words_and_the_line(text: bytes, message: str) -> None:
    with pytest.raises(ModFileError) as caught:
        parse(text)
    assert str(caught.value) == message
    assert all(fault.file == "go.work" for fault in caught.value.faults)


def test_a_fault_can_be_compared() -> None:
    with pytest.raises(ModFileError) as caught:
        parse(b"use\n")
    assert caught.value.faults == (Fault(1, "usage: use local/dir", file="go.work"),)
