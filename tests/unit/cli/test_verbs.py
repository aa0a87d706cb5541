"""What the verbs print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import FILES, GOMOD, INFO, PATH, SUMS, ZIP, ZIP_H1, Run, zip_of
from vcsproxy import errors
from vcsproxy.mod import dirhash
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.web.modules import FixedModules

EVERY_COMMAND = [
    (), ("serve",), ("mod",), ("mod", "info"), ("mod", "gomod"), ("mod", "zip"), ("mod", "versions"), ("hash",),
    ("config",), ("config", "check"), ("tags",), ("tags", "moved"), ("explain",),
    ("import",), ("bundle",), ("bundle", "create"), ("bundle", "verify"), ("bundle", "import"), ("store",),
    ("store", "check"),
]  # fmt: skip


# --- help and usage ---


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_command_has_help_that_names_the_exit_codes(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.exit_code == 0
    assert "Exit codes: 0 done" in done.stdout
    assert run(*command, "-h").stdout == done.stdout


@pytest.mark.parametrize("command", [c for c in EVERY_COMMAND if c != ("config",)], ids=" ".join)
def test_help_has_an_example(run: Run, command: tuple[str, ...]) -> None:
    assert "    vcsproxy " in run(*command, "--help").stdout


def test_version(run: Run) -> None:
    assert run("--version").stdout.startswith("vcsproxy 0.")


@pytest.mark.parametrize(
    "args",
    [
        ["nope"], ["--nope"], ["mod", "nope"], ["mod", "info"], ["mod", "info", "a.b/c", "extra"],
        ["mod", "info", "no-dot"], ["mod", "info", "a.b/c@"], ["mod", "info", "a.b/../c"], ["mod", "info", "a.b/c@-x"],
        ["mod", "info", "a.b/c@x/y"], ["mod", "info", "a.b/c@a..b"], ["mod", "info", "a.b/c@ü"], ["mod", "info", ""],
        ["mod", "versions", f"{PATH}@v1.0.0"], ["hash"], ["hash", PATH], ["hash", "--dir", "."],
        ["hash", "--as", "a.b/c@v1.0.0", "--zip", "x"], ["hash", "--zip", "x", f"{PATH}@v1.0.0"],
        ["hash", "--dir", ".", "--as", "a.b/c@main"], ["hash", "--dir", ".", "--as", "a.b/c@v2.0.0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_one_line_and_2(run: Run, modules: FixedModules, args: list[str]) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("vcsproxy: error: ")
    assert [line[:6] for line in rest] in ([], ["hint: "])
    assert modules.asked == []


# --- mod ---


def test_info(run: Run) -> None:
    done = run("mod", "info", PATH)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "Version: v1.0.0", "Time:    2024-03-01T00:00:00Z", "URL:     https://example.test/M",
        "Ref:     refs/tags/v1.0.0", "Hash:    " + "a" * 40,
    ]  # fmt: skip
    assert done.stderr == ""


@pytest.mark.parametrize("query", ["", "@latest", "@main", "@v1.0.0"])
def test_info_as_json_has_the_hashes(run: Run, query: str) -> None:
    done = run("mod", "info", PATH + query, "--json")
    assert json.loads(done.stdout) == {
        "Path": PATH, "Sum": ZIP_H1, "GoModSum": dirhash.hash_gomod(GOMOD), **INFO
    }  # fmt: skip


def test_gomod(run: Run) -> None:
    assert run("mod", "gomod", f"{PATH}@main").stdout_bytes == GOMOD


def test_zip_names_the_file_in_the_store_or_copies_it(run: Run, tmp_path: Path) -> None:
    assert run("mod", "zip", PATH).stdout == f"{tmp_path}/v1.0.0.zip\n"
    done = run("mod", "zip", f"{PATH}@v1.0.0", "-o", tmp_path / "out.zip")
    assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / "out.zip").read_bytes() == ZIP


def test_zip_into_a_place_that_is_none(run: Run, tmp_path: Path) -> None:
    done = run("mod", "zip", PATH, "-o", tmp_path / "missing" / "out.zip")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"vcsproxy: error: {tmp_path}/missing/out.zip: No such file or directory\n"


def test_versions(run: Run) -> None:
    assert run("mod", "versions", PATH).stdout == "v0.9.0\nv1.0.0\n"
    assert json.loads(run("mod", "versions", PATH, "--json").stdout) == {
        "Path": PATH, "Versions": ["v0.9.0", "v1.0.0"]
    }  # fmt: skip


def test_options_reach_the_settings(run: Any, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[freshness]\nrefs = "5s"\n')
    run("mod", "versions", PATH, "--config", tmp_path / "c.toml", "--data", "some/where")
    (settings,) = run.opened
    assert settings.freshness.refs == 5
    assert settings.server.data == tmp_path / "some" / "where"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("gone away"), 3),
        (errors.Gone("withdrawn"), 3),
        (errors.InvalidRequest("bad"), 2),
        (errors.UpstreamFailed("host is down"), 1),
        (errors.ModuleChanged("changed"), 1),
        (errors.Corrupt("broken"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors(run: Run, modules: FixedModules, error: errors.VCSProxyError, code: int) -> None:
    error.hint = "try this"
    modules.answers[ProxyRequest(Kind.LATEST, PATH)] = error
    done = run("mod", "info", PATH)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == f"vcsproxy: error: {error.message}\nhint: try this\n"


def test_hostile_text_has_no_controls_on_the_terminal(run: Run, modules: FixedModules) -> None:
    modules.answers[ProxyRequest(Kind.LATEST, PATH)] = errors.NotFound("a\x1b[31m\nb\u202e https://u:canary@x")
    done = run("mod", "info", PATH)
    assert len(done.stderr.splitlines()) == 1
    assert all(c.isprintable() or c == "\n" for c in done.stderr)
    assert "canary" not in done.stderr


# --- hash ---


def test_hash_prints_go_sum_lines(run: Run) -> None:
    assert run("hash", f"{PATH}@v1.0.0", f"{PATH}@main").stdout == SUMS * 2


def test_hash_of_a_zip(run: Run, tmp_path: Path) -> None:
    assert run("hash", "--zip", tmp_path / "v1.0.0.zip").stdout == SUMS
    (one,) = json.loads(run("hash", "--zip", tmp_path / "v1.0.0.zip", "--json").stdout)
    assert one == {"Path": PATH, "Version": "v1.0.0", "Sum": ZIP_H1, "GoModSum": dirhash.hash_gomod(GOMOD)}


def test_hash_of_a_zip_without_go_mod(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of({"a.go": b""}))
    lines = run("hash", "--zip", tmp_path / "x.zip").stdout.splitlines()
    assert lines[1].split()[2] == dirhash.hash_gomod(f"module {PATH}\n".encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"no zip", zip_of({}), zip_of({"a": b""}, ""), zip_of({"a": b""}, "a.b/c@main/"),
     zip_of({"a": b""}, "x@v1.0.0/"), ZIP[: len(ZIP) // 2]],
    ids=["empty", "no zip", "no names", "no prefix", "no version", "no module", "half"],
)  # fmt: skip
def test_what_is_no_module_zip(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    done = run("hash", "--zip", tmp_path / "x.zip")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"vcsproxy: error: {tmp_path}/x.zip: not a module zip: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_zip_or_directory_that_is_not_there(run: Run) -> None:
    assert "No such file" in run("hash", "--zip", "nowhere").stderr
    done = run("hash", "--dir", "nowhere", "--as", "a.b/c@v1.0.0")
    assert (done.exit_code, done.stderr) == (1, "vcsproxy: error: nowhere: No such file or directory\n")


def test_hash_of_a_directory_takes_the_files_of_a_module_zip(run: Run, tmp_path: Path) -> None:
    top = tmp_path / "src"
    more = {
        "sub/go.mod": b"module x\n", "sub/x.go": b"", "vendor/a.example/b/b.go": b"", "vendor/modules.txt": b"",
        ".git/config": b"", "d/.hg/x": b"",
    }  # fmt: skip
    for name, content in {**FILES, **more}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    (top / "link.go").symlink_to("a.go")
    (top / "linked").symlink_to("sub")
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    assert run("hash", "--dir", top, "--as", f"{PATH}@v1.0.0").stdout == SUMS


def test_a_directory_that_cannot_be_a_module(run: Run, tmp_path: Path) -> None:
    top = tmp_path / "src"
    top.mkdir()
    (top / "a").write_text("")
    (top / "A").write_text("")
    done = run("hash", "--dir", top, "--as", f"{PATH}@v1.0.0")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "case-insensitive file name collision" in done.stderr


def test_hash_of_a_directory_is_what_go_says(run: Run, tmp_path: Path, go: Any) -> None:
    """A directory that Go packs itself, through a file system proxy of our own making."""
    top = tmp_path / "src"
    top.mkdir()
    for name, content in {**FILES, "größe.txt": b"x", "a b": b"y"}.items():
        (top / name).write_bytes(content)
    lines = run("hash", "--dir", top, "--as", f"{PATH}@v1.0.0").stdout.splitlines()
    versions = tmp_path / "proxy" / "example.test" / "!m" / "@v"
    versions.mkdir(parents=True)
    (versions / "v1.0.0.info").write_text('{"Version":"v1.0.0"}')
    (versions / "v1.0.0.mod").write_bytes(GOMOD)
    (versions / "v1.0.0.zip").write_bytes(zip_of({f.name: f.read_bytes() for f in top.iterdir()}))
    found = go.json("mod", "download", "-json", f"{PATH}@v1.0.0", GOPROXY=f"file://{tmp_path}/proxy")
    assert [line.split()[2] for line in lines] == [found["Sum"], found["GoModSum"]]


# --- config check ---


def test_config_check_says_what_a_file_means(run: Run, tmp_path: Path) -> None:
    (tmp_path / "vcsproxy.toml").write_text(
        '[server]\nlisten = "127.0.0.1:1"\n[[source]]\nroot = "a.example/{x}"\nurl = "https://t@b.example/{x}"\n'
    )
    done = run("config", "check")
    assert done.exit_code == 0
    assert "vcsproxy.toml: no faults\nlisten   127.0.0.1:1\n" in done.stdout
    assert "source   a.example/{x} -> https://****@b.example/{x}\n" in done.stdout
    found = json.loads(run("config", "check", "--json").stdout)
    assert (found["file"], found["faults"]) == ("vcsproxy.toml", [])
    assert found["settings"]["source"][0]["root"] == "a.example/{x}"


def test_config_check_without_any_file(run: Run) -> None:
    done = run("config", "check")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "no configuration file; these are the defaults")


def test_config_check_prints_every_fault(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[server]\nlisten = 1\n[log]\nlevel = "x"\n[limits]\nwall = "y"\n')
    done = run("config", "check", tmp_path / "c.toml")
    assert (done.exit_code, done.stdout) == (1, "")
    keys = [line.split(": ")[2] for line in done.stderr.splitlines() if line.startswith("vcsproxy: error: ")]
    assert sorted(keys) == ["limits.wall", "log.level", "server.listen"]
    as_json = run("config", "check", tmp_path / "c.toml", "--json")
    assert (as_json.exit_code, len(json.loads(as_json.stdout)["faults"])) == (1, 3)


def test_serve_with_a_faulty_configuration_prints_every_fault(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\nx = 1\ny = 2\n")
    done = run("serve", "--config", tmp_path / "c.toml")
    assert done.exit_code == 1
    assert done.stderr.count("vcsproxy: error: server.") == 2


# --- what is loaded ---


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    code = "from vcsproxy.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded(code) & {"aiohttp", "pydantic", "structlog", "rich", "asyncio", "dulwich", "vcsproxy.server"}


def test_the_serving_process_loads_nothing_that_parses_git() -> None:
    found = loaded("import vcsproxy.server")
    assert "aiohttp" in found
    assert not {name for name in found if name.split(".")[0] in ("dulwich", "urllib3", "git")}
    assert not {name for name in found if name.startswith("vcsproxy.vcs")}
    assert not found & {"vcsproxy.build.run", "vcsproxy.build.coderepo", "vcsproxy.build.assemble"}
