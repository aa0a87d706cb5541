"""T7: bombs in packs, trees, histories, attributes and go.mod files; hosts that never end are in test_f5_hosts.py.

Each costs one worker, for a bounded time, and nobody else anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.arena import LIMITS, Arena, arena
from tests.support.toxgit import Tox


def lying_count() -> tuple[bytes, str]:
    """A pack that says to hold four thousand million objects."""
    data, head = hostile.repository(hostile.PLAIN)
    return data[:8] + struct.pack(">I", 0xFFFFFFFF) + data[12:], head


def big_gomod() -> tuple[bytes, str]:
    return hostile.repository({b"go.mod": b"module m.test/x\n" + b"// x\n" * (17 * hostile.MIB // 5)})


BOMBS = {
    "delta": lambda: hostile.delta_bomb(4 << 30),
    "tree": lambda: hostile.tree_bomb(8),
    "zlib": lambda: hostile.zlib_bomb(4096),
    "zlibshort": lambda: hostile.zlib_bomb(4096, claimed=10),
    "zliblong": lambda: hostile.zlib_bomb(1, claimed=1 << 40),
    "object": lambda: hostile.repository({**hostile.PLAIN, b"big": bytes(20 * hostile.MIB)}),
    "deep": lambda: hostile.deep_tree(4000),
    "wide": lambda: hostile.wide_tree(30_000),
    "chain": lambda: hostile.delta_chain(6000),
    "tags": lambda: hostile.nested_tags(200),
    "count": lying_count,
    "gomod": big_gomod,
}
REFUSALS = {
    "delta": "larger than", "tree": "entries", "zlib": "", "zlibshort": "", "zliblong": "", "object": "larger than",
    "deep": "deeper", "wide": "entries", "chain": "", "tags": "nested", "count": "objects", "gomod": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("bombs"), *BOMBS) as there:
        yield there


@pytest.mark.parametrize("name", BOMBS)
def test_T7_bomb_in_a_pack(name: str, bombs: Arena) -> None:
    """An answer within the limits that is no absence; the next question to the same host is answered."""
    data, head = BOMBS[name]()
    bombs.tox.plays[name] = Tox.of(head, data)
    got = bombs.ask(f"/{name}.test/x/@v/v1.0.0.zip")
    expected = (200, 404, 422) if name == "chain" else (404, 422) if name == "gomod" else (422, 502)
    assert got.status in expected, got
    assert REFUSALS[name] in got.body
    assert got.seconds < 8, got
    bombs.assert_quiet()
    assert b"Traceback" not in bombs.server.log.read_bytes()
    good, head = hostile.repository(hostile.PLAIN)
    bombs.tox.plays[name] = Tox.of(head, good)
    assert bombs.ask(f"/{name}.test/y/@v/v1.0.0.zip").status == 200


def test_T7_bombs_in_packs_that_system_git_takes(tmp_path: Path) -> None:
    """The second engine, within the same budgets: all of them at once."""
    with arena(tmp_path, *BOMBS, engine="git", limits=LIMITS.replace('wall = "5s"', 'wall = "3s"')) as bombs:
        for name, make in BOMBS.items():
            data, head = make()
            bombs.tox.plays[name] = Tox.of(head, data)
        answers = bombs.ask_all([f"/{name}.test/x/@v/v1.0.0.zip" for name in BOMBS])
        assert [
            (name, got) for name, got in zip(BOMBS, answers, strict=True) if got.status not in (422, 502, 504)
        ] == []
        bombs.assert_quiet()
        assert b"Traceback" not in bombs.server.log.read_bytes()


def test_T7_history_without_end(bombs_of_history: Arena) -> None:
    """A commit that no ref names has to be looked for in all of history; that is not walked for ever."""
    data, head = hostile.long_history(4000)
    _, oldest = hostile.long_history(1)
    bombs_of_history.tox.plays["history"] = Tox.of(head, data)
    got = bombs_of_history.ask(f"/history.test/x/@v/{oldest[:12]}.info")
    assert (got.status, "commits" in got.body) == (422, True), got
    bombs_of_history.assert_quiet()


@pytest.fixture(scope="module")
def bombs_of_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("history"), "history", "attributes", "gomods") as there:
        yield there


def test_T7_attributes_that_match_for_ever(bombs_of_history: Arena) -> None:
    """Patterns of many stars over many long names: bounded by the job's time."""
    star = b"*a" * 60
    lines = b"".join(star + b"%d export-ignore\n" % number for number in range(4000))
    files = {b".gitattributes": lines, **{b"%04d" % n + b"a" * 200: b"" for n in range(3000)}, **hostile.PLAIN}
    data, head = hostile.repository(files)
    bombs_of_history.tox.plays["attributes"] = Tox.of(head, data)
    got = bombs_of_history.ask("/attributes.test/x/@v/v1.0.0.zip")
    assert got.status in (200, 422, 504), got
    assert got.seconds < 12
    bombs_of_history.assert_quiet()


def test_T7_gomod_that_is_slow_to_read(bombs_of_history: Arena) -> None:
    """As large as Go allows, in pieces as small as they get."""
    lines = b"module gomods.test/x\n" + b"retract v1.0.0\n" * 400_000
    data, head = hostile.repository({b"go.mod": lines})
    bombs_of_history.tox.plays["gomods"] = Tox.of(head, data)
    got = bombs_of_history.ask("/gomods.test/x/@v/v1.0.0.info")
    assert got.status in (200, 404, 422, 504), got
    assert got.seconds < 12
    bombs_of_history.assert_quiet()
