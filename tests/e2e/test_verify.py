"""`vcsproxy verify` with go.sum files of every kind: right, tampered with, of other Gos and other machines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.gitrepo import git_env
from tests.support.history import Step, build
from tests.support.proxyserver import serving
from vcsproxy.mod import dirhash

X = "git.test/x"
OLD_GO = {"go.mod": f"module {X}\n\ngo 1.21\n", "x.go": "package x\n", "pkg/vendor/v.go": "package vendor\n"}
ZIPPED = {name: OLD_GO[name] for name in ("go.mod", "x.go")}  # for a go line below 1.24, see test_zip_contents
LINES = {
    "go.mod": "module git.test/lines\n",
    "x.go": "package x\n",
    "t.txt": "a\nb\n",
    ".gitattributes": "t.txt text eol=crlf\n",
}
MONO = {"LICENSE": "free\n", "sub/go.mod": "module git.test/mono/sub\n", "sub/x.go": "package sub\n"}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
LFS = {"go.mod": "module git.test/lfs\n", "big.bin": POINTER}


def digests(files: Mapping[str, str], prefix: str) -> list[tuple[str, str]]:
    return [(f"{prefix}/{name}", sha256(text.encode()).hexdigest()) for name, text in files.items()]


def h1(files: Mapping[str, str], target: str) -> str:
    """The dirhash of files as those of a module version, made without any of the rules."""
    return dirhash.hash1(digests(files, target))


def gomod_h1(text: str) -> str:
    return dirhash.hash1([("go.mod", sha256(text.encode()).hexdigest())])


@dataclass(frozen=True)
class Site:
    work: Path

    def verify(self, text: str, *args: str, cwd: Path | None = None) -> tuple[int, Any, str]:
        """(exit code, JSON report, standard error) for a go.sum on standard input, or for targets."""
        program = str(Path(sys.executable).with_name("vcsproxy"))
        command = [program, "verify", "--json", "--config", str(self.work / "vcsproxy.toml"), *(args or ("-",))]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.work)}
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=120, env=env, cwd=cwd, check=False
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def finding(self, line: str) -> dict[str, Any]:
        _, report, said = self.verify(line + "\n")
        assert report is not None, said
        found: dict[str, Any] = report["findings"][0]
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    work = tmp_path_factory.mktemp("verify")
    repos = work / "repos"
    build(repos / "x", [Step(OLD_GO, tags=["v1.0.0"])])
    build(repos / "lines", [Step(LINES, tags=["v1.0.0"])])
    build(repos / "mono", [Step(MONO, tags=["sub/v1.0.0"])])
    build(repos / "old", [Step({"x.go": "package x\n"}, tags=["v2.0.0"])])
    build(repos / "lfs", [Step(LFS, tags=["v1.0.0"])])
    build(repos / "moves", [
        Step({"go.mod": "module git.test/moves\n", "x.go": "package x\n"}, tags=["v1.0.0"]),
        Step({"go.mod": "module git.test/moves\n", "x.go": "package y\n"}, [0], branch="next"),
    ])  # fmt: skip
    (work / "vcsproxy.toml").write_text(
        f'[server]\ndata = "data"\n[freshness]\nrefs = "0s"\n'
        f'[[source]]\nroot = "git.test/{{repo}}"\nurl = "file://{repos}/{{repo}}"\n'
        f'[[source]]\nroot = "down.test/{{repo}}"\nurl = "https://127.0.0.1:1/{{repo}}"\n'
        f'[modules]\ndeny = "denied.test"\n'
    )
    return Site(work)


def test_right_lines_are_ok_and_the_second_run_takes_them_from_the_store(site: Site) -> None:
    text = f"{X} v1.0.0 {h1(ZIPPED, f'{X}@v1.0.0')}\n{X} v1.0.0/go.mod {gomod_h1(OLD_GO['go.mod'])}\n"
    for _ in range(2):
        code, report, _ = site.verify(text)
        assert (code, report["results"]) == (0, {"ok": 2})


CRLF = {name: text.replace("\n", "\r\n") for name, text in LINES.items()}
SUB = {"go.mod": MONO["sub/go.mod"], "x.go": MONO["sub/x.go"]}
EXPLAINED = {
    f"git.test/lines v1.0.0 {h1(LINES, 'git.test/lines@v1.0.0')}": ["not-converted"],
    f"git.test/lines v1.0.0 {h1(CRLF, 'git.test/lines@v1.0.0')}": ["crlf"],
    f"git.test/lines v1.0.0/go.mod {gomod_h1(CRLF['go.mod'])}": ["crlf"],
    f"{X} v1.0.0/go.mod {gomod_h1(f'module {X}{chr(10)}')}": ["no-go.mod"],
    f"{X} v1.0.0 {h1({**ZIPPED, 'pkg/vendor/v.go': OLD_GO['pkg/vendor/v.go']}, f'{X}@v1.0.0')}": ["vendor-rule"],
    f"{X} v1.0.0 {h1({'go.mod': 'other'}, f'{X}@v1.0.0')}": ["unknown"],
    f"git.test/mono/sub v1.0.0 {h1(SUB, 'git.test/mono/sub@v1.0.0')}": ["no-license"],
    f"git.test/old v2.0.0+incompatible {h1({'x.go': OLD_GO['x.go']}, 'git.test/old@v2.0.0')}": ["incompatible"],
    f"git.test/lfs v1.0.0 {h1({**LFS, 'big.bin': 'hello'}, 'git.test/lfs@v1.0.0')}": ["lfs"],
}


def test_a_difference_is_explained(site: Site) -> None:
    code, report, said = site.verify("".join(line + "\n" for line in EXPLAINED))
    assert code == 1, said
    found = {f"{each['path']} {each['version']} {each['expected']}": each["causes"] for each in report["findings"]}
    assert found == EXPLAINED
    assert all(each["reason"] and each["result"] == "differs" for each in report["findings"])


def test_one_changed_character(site: Site) -> None:
    right = site.finding(f"{X} v1.0.0 h1:{'B' * 43}=")["found"]
    other = right[:20] + ("A" if right[20] != "A" else "B") + right[21:]
    found = site.finding(f"{X} v1.0.0 {other}")
    assert (found["result"], found["causes"], found["found"]) == ("differs", ["altered"], right)


def test_a_tag_that_moved_after_it_was_served(site: Site) -> None:
    path, repo = "git.test/moves", site.work / "repos" / "moves"
    first = {"go.mod": f"module {path}\n", "x.go": "package x\n"}
    second = {**first, "x.go": "package y\n"}
    assert site.finding(f"{path} v1.0.0 {h1(first, f'{path}@v1.0.0')}")["result"] == "ok"
    subprocess.run(["git", "tag", "-f", "v1.0.0", "next"], cwd=repo, env=git_env(), check=True, capture_output=True)
    assert site.finding(f"{path} v1.0.0 {h1(first, f'{path}@v1.0.0')}")["result"] == "ok"
    found = site.finding(f"{path} v1.0.0 {h1(second, f'{path}@v1.0.0')}")
    assert (found["result"], found["causes"]) == ("differs", ["tag-moved"])
    crlf = {name: text.replace("\n", "\r\n") for name, text in second.items()}
    assert site.finding(f"{path} v1.0.0 {h1(crlf, f'{path}@v1.0.0')}")["causes"] == ["tag-moved", "crlf"]


def test_what_cannot_be_told_is_not_a_difference(site: Site) -> None:
    any_hash = f"h1:{'A' * 43}="
    text = "".join(
        f"{path} v1.0.0 {any_hash}\n"
        for path in ("down.test/x", "no-such-host.invalid/x", "denied.test/x", "git.test/none")
    )
    code, report, _ = site.verify(text + f"{X} v1.9.0 {any_hash}\n")
    assert code == 2
    assert [each["result"] for each in report["findings"]] == [
        "unreachable",
        "unreachable",
        "refused",
        "absent",
        "absent",
    ]


def test_malformed_files_and_missing_ones(site: Site, tmp_path: Path) -> None:
    code, report, said = site.verify(f"{X} v1.0.0\n")
    assert (code, report) == (2, None)
    assert "line 1: wrong number of fields 2" in said
    code, report, said = site.verify("", str(tmp_path))
    assert (code, report) == (1, None)
    assert "no go.sum" in said


def test_only_the_lines_of_a_change(site: Site, tmp_path: Path) -> None:
    """--since-commit, a directory, a go.mod and SARIF with the right line."""

    def git(*args: str) -> None:
        subprocess.run(["git", *args], cwd=tmp_path, env=git_env(), check=True, capture_output=True)

    (tmp_path / "go.mod").write_text("module git.test/main\n")
    (tmp_path / "go.sum").write_text(f"git.test/none v1.0.0 h1:{'A' * 43}=\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "m")
    wrong = f"h1:{'C' * 43}="
    with (tmp_path / "go.sum").open("a") as file:
        file.write(f"{X} v1.0.0 {wrong}\n")
    for target in ([], ["go.mod"], ["go.sum"], [str(tmp_path)]):
        code, report, said = site.verify("", *target, "--since-commit", "HEAD", "--sarif", "out.sarif", cwd=tmp_path)
        assert (code, report["lines"], report["results"]) == (1, 1, {"differs": 1}), said
    results = json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["results"]
    place = results[0]["locations"][0]["physicalLocation"]
    assert (results[0]["ruleId"], place["region"]["startLine"]) == ("go-sum/differs", 2)
    code, _, said = site.verify("", "--since-commit", "nothing", cwd=tmp_path)
    assert code == 1
    assert "there is no commit nothing" in said


def test_a_posted_go_sum_is_reported_over_http(site: Site, tmp_path: Path) -> None:
    """POST gives an address at once; GET gives the report. Too much, nonsense and other methods are refused in words."""
    text = f"{X} v1.0.0 {h1(ZIPPED, f'{X}@v1.0.0')}\n{X} v1.0.0/go.mod h1:{'A' * 43}=\n"
    config = (site.work / "vcsproxy.toml").read_text().replace('[server]\ndata = "data"\n', "")
    with serving(tmp_path, config) as proxy, urllib3.PoolManager() as pool:
        posted = pool.request("POST", f"{proxy.base}/-/verify", body=text.encode())
        assert posted.status == 202
        place = posted.headers["Location"]
        report = proxy.get(place).json()
        began = time.monotonic()
        while report["state"] == "running" and time.monotonic() - began < 60:
            time.sleep(0.1)
            report = proxy.get(place).json()
        assert (report["state"], report["results"], report["total"]) == ("done", {"differs": 1, "ok": 1}, 2)
        assert [each["line"] for each in report["findings"]] == [1, 2]
        for method, path, body, status in (
            ("POST", "/-/verify", b"x" * (5 << 20), 422),
            ("POST", "/-/verify", b"one two\n", 400),
            ("POST", "/-/verify", f"{X} v1.0.0 h1:x\n".encode() * 20_001, 422),
            ("POST", place, b"", 405),
            ("GET", "/-/verify", None, 405),
            ("GET", "/-/verify/" + "0" * 32, None, 404),
            ("POST", f"/{X}/@v/list", b"", 405),
        ):
            response = pool.request(method, proxy.base + path, body=body, retries=False)
            assert response.status == status, (method, path, response.data)
