"""Foreign zips: what is read, and what is refused before or while it is read (T6, T7)."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import pytest

from tests.support.oddzips import BAD, GOOD, MOD, PATH, VERSION, Part, build, deflated, many
from vcsproxy import errors
from vcsproxy.mod import dirhash, modzip, zipaudit, zipstructure
from vcsproxy.mod.zipwriter import ZipWriter


def audited(data: bytes) -> zipaudit.Audit:
    return zipaudit.audit(io.BytesIO(data), len(data), PATH, VERSION)


def contents(data: bytes) -> dict[str, bytes]:
    found = audited(data)
    return {entry.path: b"".join(found.contents(entry)) for entry in found.entries}


@pytest.mark.parametrize("what", GOOD)
def test_what_writers_write_is_read(what: str) -> None:
    data = GOOD[what]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        expected = {name.partition("/m@v1.0.0/")[2]: archive.read(name) for name in archive.namelist()}
    assert contents(data) == expected
    assert audited(data).h1() == dirhash.hash_zip(io.BytesIO(data))
    assert audited(data).gomod() == expected.get("go.mod")


@pytest.mark.parametrize("what", BAD)
def test_t6_a_malformed_zip_is_refused(what: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        audited(BAD[what]).h1()
    assert caught.value.message.startswith("zip: ")
    assert caught.value.message.isprintable()


def test_t6_the_corpus_is_large_enough() -> None:
    assert len(BAD) >= 40
    assert len(set(BAD.values())) == len(BAD)


@pytest.mark.parametrize("what", GOOD)
def test_t6_what_is_packed_anew_is_ours_alone(what: str) -> None:
    """The same files give the same zip, whoever packed them first, with the same h1."""
    out, again = io.BytesIO(), io.BytesIO()
    found = audited(GOOD[what])
    h1 = found.repack(ZipWriter(out, PATH, VERSION))
    assert h1 == found.h1() == dirhash.hash_zip(out)
    assert audited(out.getvalue()).repack(ZipWriter(again, PATH, VERSION)) == h1
    assert again.getvalue() == out.getvalue()


def test_t6_every_cut_and_every_changed_byte_is_noticed_or_harmless() -> None:
    good = GOOD["descriptors with the mark"]
    expected = contents(good)
    for at in range(len(good)):
        for data in (good[:at], good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]):
            try:
                assert contents(data) == expected, at
            except errors.Refused:
                continue
            assert len(data) == len(good), at


def test_t7_a_bomb_costs_no_memory() -> None:
    """Megabytes in a stream that declares ten bytes, and megabytes that are declared."""
    stream = deflated(bytes(24 << 20))
    lying = build(MOD, Part("m.go", bytes(10), raw=stream))
    honest = build(MOD, Part("zeros", bytes(24 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(errors.Refused, match="larger than declared"):
            audited(lying).h1()
        audited(honest).h1()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_zips_with_64_bit_end_records_are_read() -> None:
    found = audited(many(0xFFFF))
    assert len(found.entries) == 0xFFFF
    assert found.entries[-1].path == f"d/{0xFFFF - 2:x}"


def test_contents_come_in_small_chunks() -> None:
    found = audited(build(MOD, Part("zeros", bytes(5 << 20))))
    sizes = [len(chunk) for chunk in found.contents(found.entries[1])]
    assert sum(sizes) == 5 << 20
    assert max(sizes) <= 1 << 18


def test_more_files_and_directories_than_any_module_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipstructure, "MAX_ENTRIES", 99)
    with pytest.raises(errors.Refused, match="100 files, more than 99"):
        audited(many(100))
    monkeypatch.setattr(zipstructure, "MAX_ENTRIES", 100)
    assert len(audited(many(100)).entries) == 100
    monkeypatch.setattr(zipaudit, "MAX_PARENTS", 98)
    with pytest.raises(errors.Refused, match="more than 98 directories"):
        audited(many(100))
    monkeypatch.setattr(zipaudit, "MAX_PARENTS", 99)
    monkeypatch.setattr(zipstructure, "MAX_NAMES", 1000)
    with pytest.raises(errors.Refused, match="names have more than 1000 bytes"):
        audited(many(100))


def test_a_zip_above_gos_limit() -> None:
    with pytest.raises(errors.Refused, match="too large"):
        zipaudit.audit(io.BytesIO(), modzip.MAX_ZIP_FILE + 1, PATH, VERSION)
