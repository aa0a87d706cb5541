"""From a real GOMODCACHE into a bundle, out of it into an empty store, and served by it to the real go, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from tests.support.gotool import GoTool
from tests.support.moduletree import A2, OLD, PSEUDO, Version, proxy_tree

TOP = Path(__file__).resolve().parents[2]
LIB = Version(
    "example.com/Lib", "v1.2.0", "module {path}\n\ngo 1.20\n\nrequire example.com/old v3.0.0+incompatible\n",
    {"lib.go": b'package lib\n\nimport "example.com/old"\n\nfunc Hello() string { return old.Hello() }\n'},
)  # fmt: skip
OLD_LIB = Version(OLD.path, OLD.version, "", {"old.go": b'package old\n\nfunc Hello() string { return "hello" }\n'})
MAIN = {
    "go.mod": "module main.test/m\n\ngo 1.20\n\nrequire (\n\texample.com/Lib v1.2.0\n\texample.com/old v3.0.0+incompatible\n)\n",
    "main.go": 'package main\n\nimport "example.com/Lib"\n\nfunc main() { println(lib.Hello()) }\n',
}


def vcsproxy(cwd: Path, *args: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "vcsproxy", *map(str, args)],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": os.defpath, "PYTHONPATH": str(TOP), "HOME": str(cwd)},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


def vendored(go: GoTool, program: Path, tree: Path) -> dict[str, bytes]:
    """The files that the program needs, as go gets them with nothing but this tree; it compares with go.sum."""
    flags = "-mod=mod -modcacherw"
    done = go.run("mod", "vendor", "-o", str(tree / "vendor"), cwd=program, GOPROXY=f"file://{tree}", GOFLAGS=flags)
    assert done.returncode == 0, done.stderr
    return {file.name: file.read_bytes() for file in (tree / "vendor").rglob("*.go")}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    directory = tmp_path / "program"
    directory.mkdir()
    for name, text in MAIN.items():
        (directory / name).write_text(text)
    return directory


def test_a_module_cache_travels_in_a_bundle_to_where_no_network_is(go: GoTool, program: Path, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", LIB, OLD_LIB, A2, PSEUDO)
    go.fresh_cache()
    got = go.run("mod", "download", "-x", "all", cwd=program, GOPROXY=f"file://{tree}")
    assert got.returncode == 0, got.stderr
    sums = (program / "go.sum").read_text()
    assert LIB.h1 in sums

    value = json.loads(vcsproxy(tmp_path, "import", go.home / "modcache", "--data", "here", "--json"))
    assert (value["From"], value["Added"], value["Refused"]) == ("modcache", 2, [])
    assert json.loads(vcsproxy(tmp_path, "import", tree, "--data", "here", "--json"))["Added"] == 2
    vcsproxy(tmp_path, "bundle", "create", "-o", "b", "--from", program / "go.sum", "--data", "here")
    assert json.loads(vcsproxy(tmp_path, "bundle", "verify", "b", "--json"))["Sound"] == 2
    vcsproxy(tmp_path, "bundle", "import", "b", "--data", "there")
    vcsproxy(tmp_path, "store", "check", "--data", "there")

    go.fresh_cache()
    assert vendored(go, program, tmp_path / "there" / "store") == LIB.files | OLD_LIB.files
    assert (program / "go.sum").read_text() == sums
    listed = go.json("list", "-m", "-json", "-versions", "example.com/Lib", GOPROXY=f"file://{tmp_path}/there/store")
    assert listed["Versions"] == ["v1.2.0"]
    missing = go.run("mod", "download", f"{A2.path}@{A2.version}", GOPROXY=f"file://{tmp_path}/there/store")
    assert missing.returncode != 0


def test_an_extracted_bundle_is_a_goproxy_tree(go: GoTool, program: Path, tmp_path: Path) -> None:
    """By hand, where there is no vcsproxy: any zstd and any tar."""
    vcsproxy(tmp_path, "import", proxy_tree(tmp_path / "tree", LIB, OLD_LIB), "--data", "here")
    vcsproxy(tmp_path, "bundle", "create", "-o", "b", "--data", "here")
    with (
        (tmp_path / "b").open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        archive.extractall(tmp_path / "by-hand", filter="data")
    go.fresh_cache()
    (program / "go.sum").write_text(LIB.sums + OLD_LIB.sums)
    assert vendored(go, program, tmp_path / "by-hand") == LIB.files | OLD_LIB.files


def test_go_takes_every_zip_that_an_import_made(go: GoTool, tmp_path: Path) -> None:
    versions = (LIB, OLD_LIB, A2, PSEUDO)
    vcsproxy(tmp_path, "import", proxy_tree(tmp_path / "tree", *versions), "--data", "here")
    go.fresh_cache()
    names = [f"{each.path}@{each.version}" for each in versions]
    done = go.run("mod", "download", "-json", *names, GOPROXY=f"file://{tmp_path}/here/store")
    assert done.returncode == 0, done.stdout
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), {}
    while text:
        value, end = decoder.raw_decode(text)
        found[value["Path"]] = (value["Sum"], value["GoModSum"])
        text = text[end:].strip()
    assert found == {each.path: (each.h1, each.gomod_h1) for each in versions}
