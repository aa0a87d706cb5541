"""`vcsproxy import`, `vcsproxy bundle` and `vcsproxy store check`: what they print, and their exit codes."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.moduletree import A1, A2, OLD, SEVERAL, B, Version, athens_tree, proxy_tree
from tests.support.oddzips import BAD
from tests.support.oddzips import PATH as ODD_PATH
from tests.support.oddzips import VERSION as ODD_VERSION
from tests.unit.cli.conftest import Run
from tests.unit.mirror.test_bundle import Keys
from vcsproxy.cli import stores
from vcsproxy.cli.main import main

DATA = ("--data", "data")


def imported(run: Run, *args: str | Path) -> dict[str, Any]:
    done = run("import", *args, *DATA, "--json")
    value: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == bool(value["Refused"])
    return value


def test_import_says_what_became_of_it(run: Run, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", *SEVERAL)
    done = run("import", tree, *DATA)
    assert (done.exit_code, done.stdout) == (0, "imported 5 versions, 0 already there, 0 refused\n")
    assert done.stderr == ""
    (tree / "example.com/a/@v/v1.0.0.info").unlink()
    proxy_tree(tree, Version("example.com/new", "v1.0.0"))
    done = run("import", tree, *DATA)
    assert (done.exit_code, done.stdout) == (1, "imported 1 version, 4 already there, 1 refused\n")
    first, hint = done.stderr.splitlines()
    assert first.startswith("vcsproxy: refused: example.com/a@v1.0.0: it has no .info")
    assert hint.startswith("hint: run go mod download")


def test_import_as_json(run: Run, tmp_path: Path) -> None:
    tree = athens_tree(tmp_path / "tree", A1, A2)
    (tree / "example.com/a/v1.0.0/go.mod").write_text("module example.com/a/v9\n")
    value = imported(run, tree)
    assert value == {
        "From": "athens", "Added": 1, "Present": 0, "Refused": [
            {"Path": A1.path, "Version": A1.version, "Reason": value["Refused"][0]["Reason"], "Hint": ""}
        ],
    }  # fmt: skip
    assert "does not fit" in value["Refused"][0]["Reason"]


def test_import_compares_with_a_go_sum(run: Run, tmp_path: Path) -> None:
    (tmp_path / "go.sum").write_text(A1.sums.replace(A1.h1, B.h1))
    value = imported(run, proxy_tree(tmp_path / "tree", A1), "--sums", tmp_path / "go.sum")
    assert "by go.sum" in value["Refused"][0]["Reason"]


def test_t6_import_of_any_malformed_zip_exits_1_and_stores_nothing(run: Run, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", Version(ODD_PATH, ODD_VERSION))
    for what, data in BAD.items():
        (tree / ODD_PATH / "@v" / f"{ODD_VERSION}.zip").write_bytes(data)
        value = imported(run, tree)
        assert (value["Added"], value["Present"], len(value["Refused"])) == (0, 0, 1), what
    assert [file for file in (tmp_path / "data").rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("layout", ["modcache", "proxy"])
def test_import_of_a_named_layout(run: Run, tmp_path: Path, layout: str) -> None:
    assert imported(run, "--from", layout, proxy_tree(tmp_path / "tree", A1))["Added"] == 1


def test_import_prints_no_control_characters(run: Run, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", A1)
    (tree / "example.com/a/@v/v1\x1b[31m.mod").touch()
    done = run("import", tree, *DATA)
    assert done.exit_code == 1
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    "args",
    [
        ["import"], ["import", "missing"], ["import", "."], ["import", ".", "--from", "else"],
        ["import", "tree", "--sums", "missing"], ["bundle", "verify", "missing"], ["bundle", "import", "missing"],
        ["bundle", "create"], ["bundle", "create", "-o", "x", "example.com/a"],
        ["bundle", "create", "-o", "x", "--from", "missing"], ["bundle", "create", "-o", "x", "--since", "missing"],
        ["bundle", "create", "-o", "x", "--sign", "missing"], ["bundle", "verify", "file", "--key", "file"],
        ["store", "check", "--sample", "0"], ["store", "check", "--sample", "101"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_2_and_touches_nothing(run: Run, tmp_path: Path, args: list[str]) -> None:
    proxy_tree(tmp_path / "tree", A1)
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    args = ["empty" if arg == "." else arg for arg in args]
    done = run(*args)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("vcsproxy: error: ")
    assert not (tmp_path / "data").exists()


# --- bundle ---


@pytest.fixture
def bundled(run: Run, tmp_path: Path) -> Path:
    """A bundle of SEVERAL, made from a store in `data`."""
    imported(run, proxy_tree(tmp_path / "tree", *SEVERAL))
    done = run("bundle", "create", "-o", "all.bundle", *DATA)
    assert done.exit_code == 0
    assert done.stdout.startswith("packed 5 versions, ")
    return tmp_path / "all.bundle"


def test_bundle_there_and_back(run: Run, bundled: Path) -> None:
    done = run("bundle", "verify", bundled)
    assert (done.exit_code, done.output) == (0, "5 versions: 5 sound; not signed\n")
    for expected in ("5 imported", "5 already there"):
        done = run("bundle", "import", bundled, "--data", "elsewhere")
        assert (done.exit_code, done.output) == (0, f"5 versions: {expected}; not signed\n")
    assert run("bundle", "create", "-o", "again", "--data", "elsewhere").exit_code == 0
    assert Path("again").read_bytes() == bundled.read_bytes()
    assert run("store", "check", "--data", "elsewhere").exit_code == 0


def test_bundle_verify_as_json(run: Run, bundled: Path) -> None:
    value = json.loads(run("bundle", "verify", bundled, "--json").stdout)
    assert value.pop("Bytes") > 1000
    assert len(value.pop("Manifest")) == 64
    assert value == {
        "Bases": [], "Signed": False, "Verified": False, "Versions": 5, "Added": 0, "Present": 0, "Sound": 5, "Missing": 0,
        "Refused": [], "Error": "",
    }  # fmt: skip


def test_bundle_of_what_is_named(run: Run, bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "go.sum").write_text(A1.sums + OLD.sums)
    for args in (["--from", "go.sum"], [f"{A1.path}@{A1.version}", f"{OLD.path}@{OLD.version}"]):
        value = json.loads(run("bundle", "create", "-o", "some", *args, *DATA, "--json").stdout)
        assert value["Versions"] == 2
    assert run("bundle", "create", "-o", "x", "--from", "go.sum", f"{A1.path}@{A1.version}", *DATA).exit_code == 2


def test_bundle_reads_go_sum_from_standard_input(run: Run, bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["bundle", "create", "-o", "x", "--from", "-", *DATA], input=A1.sums)
    assert done.exit_code == 0
    assert done.stdout.startswith("packed 1 version, ")


def test_bundle_since_another(run: Run, bundled: Path) -> None:
    done = run("bundle", "create", "-o", "more", "--since", bundled, *DATA, "--json")
    value = json.loads(done.stdout)
    base = json.loads(run("bundle", "verify", bundled, "--json").stdout)["Manifest"]
    assert (value["Versions"], value["Bases"]) == (0, [base])
    done = run("bundle", "import", "more", *DATA)
    assert (done.exit_code, done.output) == (0, "0 versions: nothing to do; not signed\n")


def test_bundle_with_a_signature(run: Run, bundled: Path, tmp_path: Path) -> None:
    keys = Keys.make(tmp_path, "mine")
    assert run("bundle", "create", "-o", "signed", "--sign", keys.private, *DATA).exit_code == 0
    done = run("bundle", "verify", "signed", "--key", keys.public)
    assert (done.exit_code, done.output) == (0, "5 versions: 5 sound; signature verified\n")
    assert run("bundle", "verify", "signed").stdout == "5 versions: 5 sound; signed, by whom --key would tell\n"
    done = run("bundle", "import", bundled, "--key", keys.public, "--data", "elsewhere")
    assert done.exit_code == 1
    assert "not signed" in done.stderr
    assert list(Path("elsewhere").rglob("*.info")) == []


def test_a_bundle_that_was_cut_off_says_how_far_it_got(run: Run, tmp_path: Path) -> None:
    noise = Version("example.com/z", "v1.0.0", files={"noise": random.Random(1).randbytes(400_000)})
    imported(run, proxy_tree(tmp_path / "tree", A1, A2, B, OLD, noise))
    bundled = tmp_path / "all.bundle"
    assert run("bundle", "create", "-o", bundled, *DATA).exit_code == 0
    bundled.write_bytes(bundled.read_bytes()[:-100_000])
    for verb in ("verify", "import"):
        done = run("bundle", verb, bundled, *(() if verb == "verify" else ("--data", "elsewhere")))
        assert done.exit_code == 1
        assert (
            done.stdout == f"5 versions: 4 {'sound' if verb == 'verify' else 'imported'}, 1 not reached; not signed\n"
        )
        assert "ends too early" in done.stderr
    value = json.loads(run("bundle", "verify", bundled, "--json").stdout)
    assert (value["Missing"], value["Sound"]) == (1, 4)
    assert "ends too early" in value["Error"]


def test_a_bundle_of_what_is_not_there(run: Run, bundled: Path) -> None:
    done = run("bundle", "create", "-o", "x", "example.com/none@v1.0.0", *DATA)
    assert done.exit_code == 3
    assert "not in the store: example.com/none@v1.0.0" in done.stderr
    assert run("bundle", "create", "-o", "missing/x", *DATA).exit_code == 1
    assert run("bundle", "create", "-o", "x", "--data", "none").exit_code == 1
    assert not Path("x").exists()


# --- store check ---


def test_store_check(run: Run, bundled: Path, tmp_path: Path) -> None:
    done = run("store", "check", *DATA)
    assert (done.exit_code, done.output) == (0, "checked 5 of 5 versions: 0 faults, 0 notes\n")
    at_v = tmp_path / "data/store/example.com/a/@v"
    (at_v / "v1.1.0.ziphash").unlink()
    done = run("store", "check", *DATA)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "note: example.com/a/@v/v1.1.0.zip: left by a publish that did not end"
    (at_v / "v1.0.0.mod").unlink()
    done = run("store", "check", *DATA, "--json")
    assert done.exit_code == 4
    value = json.loads(done.stdout)
    assert value["Faults"] == [{"Path": A1.path, "File": "example.com/a/@v/v1.0.0.mod", "What": "missing"}]
    assert len(value["Notes"]) == 1
    assert (value["Modules"], value["Versions"], value["Checked"]) == (4, 5, 5)
    assert json.loads(run("store", "check", *DATA, "--sample", "0.0001", "--json").stdout)["Checked"] < 5


def test_store_check_of_nothing(run: Run) -> None:
    done = run("store", "check", "--data", "none")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no store there" in done.stderr


def test_trouble_with_the_store_ends_it(run: Run, tmp_path: Path) -> None:
    tree = proxy_tree(tmp_path / "tree", A1)
    (tmp_path / "data").write_text("in the way")
    done = run("import", tree, *DATA)
    assert done.exit_code == 1
    assert done.stderr.startswith("vcsproxy: error: store: ")


def test_progress_is_shown_on_a_terminal(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(stores.sys, "stderr", shown)
    with stores.counted("Importing", 2) as step:
        step("example.com/a@v1.0.0")
        step("[red]\x1b[31m")
    assert "Importing" in shown.getvalue()
    assert "2/2" in shown.getvalue()
