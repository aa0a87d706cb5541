"""gosum: lines of go.sum."""

from __future__ import annotations

import pytest

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import gosum

ZIP, MOD = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "h1:flS2VctbRrTv+sBE+VKgxx6hlkMGPVz9MGOmzMYFg3k="
EMPTY = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="


def test_round_trip() -> None:
    text = gosum.format_lines("example.com/m", "v1.0.0", ZIP, MOD)
    assert text == f"example.com/m v1.0.0 {ZIP}\nexample.com/m v1.0.0/go.mod {MOD}\n"
    lines = gosum.parse(text)
    assert lines == [gosum.Line("example.com/m", "v1.0.0", ZIP), gosum.Line("example.com/m", "v1.0.0/go.mod", MOD)]
    assert [line.is_gomod for line in lines] == [False, True]
    assert {line.module_version for line in lines} == {"v1.0.0"}
    assert "".join(f"{line}\n" for line in lines) == text


def test_as_lenient_as_go() -> None:
    text = f"\n \t\r\n  a.b/c\u00a0v1.0.0 \t{ZIP}\r\n\na.b/d v1.0.0 h2:other"
    assert gosum.parse(text) == [gosum.Line("a.b/c", "v1.0.0", ZIP), gosum.Line("a.b/d", "v1.0.0", "h2:other")]
    assert gosum.parse("") == []


def test_hash_of_an_empty_gomod_is_dropped() -> None:
    assert gosum.parse(f"a.b/c v1.0.0/go.mod {EMPTY}\n") == []


@pytest.mark.parametrize(("line", "count"), [("a b", 2), ("a b c d", 4), ("a", 1), ("a b\x1cc", 2)])
def test_wrong_number_of_fields(line: str, count: int) -> None:
    with pytest.raises(InvalidRequest, match=f"^malformed go.sum: line 3: wrong number of fields {count}$"):
        gosum.parse(f"a b c\n\n{line}\n")
