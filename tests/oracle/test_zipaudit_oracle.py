"""Foreign zips, to us and to golang.org/x/mod/zip: whatever Go refuses is refused (T6).

Go's side is CheckZip and then Unzip, which is what the go command does with a zip that it has fetched. We may refuse
more; what we take, Go must take with the same h1.
"""

from __future__ import annotations

import io
import os
import random
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.gotool import GoTool, ask
from tests.support.oddzips import BAD, GOOD, PATH, VERSION, many
from vcsproxy import errors
from vcsproxy.mirror.admit import check_names
from vcsproxy.mod import zipaudit
from vcsproxy.mod.zipwriter import ZipWriter

HELPER = r"""
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

func judge(work string, data []byte, m module.Version, unzip bool) (string, string) {
	file := filepath.Join(work, "x.zip")
	dir := filepath.Join(work, "x")
	os.RemoveAll(dir)
	if err := os.WriteFile(file, data, 0666); err != nil {
		panic(err)
	}
	checked, err := zip.CheckZip(m, file)
	if err == nil {
		err = checked.Err()
	}
	if err == nil && unzip {
		err = zip.Unzip(dir, m, file)
	}
	if err != nil {
		return err.Error(), ""
	}
	h1, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		return err.Error(), ""
	}
	return "", h1
}

func main() {
	work, err := os.MkdirTemp(os.Args[1], "judge")
	if err != nil {
		panic(err)
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	decoder := json.NewDecoder(in)
	for {
		var q struct{ Path, Version string; Data []byte; Unzip bool }
		if decoder.Decode(&q) != nil {
			return
		}
		fault, h1 := judge(work, q.Data, module.Version{Path: q.Path, Version: q.Version}, q.Unzip)
		out.Encode(map[string]string{"fault": fault, "h1": h1})
	}
}
"""

ROUNDS = 40_000 if os.environ.get("VCSPROXY_FUZZ") else 2_000


@pytest.fixture(scope="module")
def judge(go: GoTool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper, as a script that names its directory."""
    binary = go.build_helper("zipaudit", HELPER)
    script = binary.with_name("judge")
    script.write_text(f"#!/bin/sh\nexec {binary} {tmp_path_factory.mktemp('judge')}\n")
    script.chmod(0o755)
    return script


def asked(judge: Path, zips: list[bytes], version: str = VERSION) -> list[dict[str, str]]:
    """What Go says; of tens of thousands of files it is not made to write each one."""
    questions = [
        {"Path": PATH, "Version": version, "Data": b64encode(data).decode(), "Unzip": len(data) < 1 << 20}
        for data in zips
    ]
    answers: list[dict[str, str]] = ask(judge, questions)
    return answers


def ours(data: bytes) -> str:
    """The h1, "" if it is refused."""
    try:
        return zipaudit.audit(io.BytesIO(data), len(data), PATH, VERSION).h1()
    except errors.Refused:
        return ""


def test_go_reads_what_writers_write_and_what_we_make_of_it(judge: Path) -> None:
    for zips in (list(GOOD.values()), [repacked(data) for data in GOOD.values()], [many(0xFFFF)]):
        answers = asked(judge, zips)
        assert [answer["h1"] for answer in answers] == [ours(data) for data in zips]
        assert {answer["fault"] for answer in answers} == {""}


def repacked(data: bytes) -> bytes:
    out = io.BytesIO()
    zipaudit.audit(io.BytesIO(data), len(data), PATH, VERSION).repack(ZipWriter(out, PATH, VERSION))
    return out.getvalue()


def test_go_refuses_much_of_the_corpus_and_takes_some_of_it(judge: Path) -> None:
    """Were it all one or all the other, the corpus would not tell our rules from Go's."""
    faults = [answer["fault"] for answer in asked(judge, list(BAD.values()))]
    assert sum(bool(fault) for fault in faults) >= 40
    assert sum(not fault for fault in faults) >= 20


def mutated(chance: random.Random) -> bytes:
    """A good zip with bytes changed, moved, doubled or cut out, mostly where its records are."""
    data = bytearray(chance.choice([zipped for zipped in GOOD.values() if len(zipped) < 4000]))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(data))
        match chance.randrange(8):
            case 0 | 1:
                data[at] = chance.choice((0, 1, 8, 0x10, 0x20, 0xFF, data[at] ^ 1, data[at] ^ 0x80))
            case 2:
                del data[at : at + chance.randrange(1, 40)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            case 4:
                data[at:at] = bytes(chance.randrange(1, 40))
            case _:
                at = chance.choice(_marks(data)) + chance.randrange(46)
                if at < len(data):
                    data[at] = chance.choice((0, 1, 8, 0x10, 0xFF, data[at] ^ 1, data[at] ^ 0x20, data[at] ^ 0x80))
        if not data:
            return b""
    return bytes(data)


def _marks(data: bytearray) -> list[int]:
    return [at for at in range(len(data) - 3) if data[at : at + 2] == b"PK"] or [0]


def test_whatever_go_refuses_is_refused(judge: Path) -> None:
    chance = random.Random(20240301)
    zips = [mutated(chance) for _ in range(ROUNDS)]
    taken = refused = 0
    for data, answer in zip(zips, asked(judge, zips), strict=True):
        h1 = ours(data)
        if h1:
            assert answer == {"fault": "", "h1": h1}, data.hex()
        taken += bool(h1)
        refused += bool(answer["fault"])
    assert taken > ROUNDS // 50
    assert refused > ROUNDS // 4


@pytest.mark.parametrize("version", ["v1.0", "v1.0.0+meta", "v2.0.0", "1.0.0", "v01.0.0"])
def test_versions_that_no_zip_can_have(judge: Path, version: str) -> None:
    """The version is `admit`'s to check; it must not take one that Go refuses."""
    assert asked(judge, [GOOD["plain"]], version)[0]["fault"]
    with pytest.raises(errors.InvalidRequest):
        check_names(PATH, version)
