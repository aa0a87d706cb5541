"""The same question to `go` in direct mode and to our worker's code, answers in one shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gotool import GoTool
from vcsproxy.build.job import Built, Failed, Job, Limits, Listed, Op, Result
from vcsproxy.build.run import run
from vcsproxy.errors import VCSProxyError
from vcsproxy.mod import dirhash, module
from vcsproxy.mod.reporoot import SourceRule, static_root

PREFIX = "github.com/t/"


@dataclass(frozen=True)
class Outcome:
    """What a version query came to; `error` is the text, every other field "" then."""

    version: str = ""
    time: str = ""
    commit: str = ""
    h1: str = ""
    gomod_h1: str = ""
    error: str = ""

    def same(self, other: Outcome) -> bool:
        """Equal answers, or both refused; a zip that only one side could make is a difference."""
        if bool(self.error) != bool(other.error):
            return False
        return bool(self.error) or self == other


class DirectGo:
    """`go` with GOPROXY=direct, where https://github.com/t/NAME is the repository ROOT/NAME."""

    def __init__(self, go: GoTool, root: Path) -> None:
        self._go = go
        self._config = root.parent / f"{root.name}.gitconfig"
        self._config.write_text(
            f'[safe]\n\tdirectory = *\n[protocol "file"]\n\tallow = always\n'
            f'[url "file://{root}/"]\n\tinsteadOf = https://{PREFIX}\n'
        )

    def _env(self, cache: Path) -> dict[str, str]:
        return {"GOPROXY": "direct", "GIT_CONFIG_GLOBAL": str(self._config), "GOMODCACHE": str(cache)}

    def download(self, cache: Path, queries: Sequence[str]) -> dict[str, Outcome]:
        """`go mod download -json` of all queries at once, in a module cache of their own."""
        done = self._go.run("mod", "download", "-json", *queries, **self._env(cache))
        found: dict[str, Outcome] = {}
        for value in objects(done.stdout):
            query = f"{value['Path']}@{value.get('Query') or value['Version']}"
            if value.get("Error") and not value.get("Sum"):
                found[query] = Outcome(error=value["Error"])
            else:
                info = json.loads(Path(value["Info"]).read_text())
                found[query] = Outcome(
                    value["Version"], info["Time"], info["Origin"]["Hash"], value["Sum"], value["GoModSum"]
                )
        missing = [q for q in queries if q not in found]
        assert not missing, (missing, done.stderr)
        return found

    def versions(self, cache: Path, path: str) -> list[str] | None:
        """`go list -m -retracted -versions`, None when it is refused."""
        value = self._go.json("list", "-m", "-e", "-retracted", "-json", "-versions", path, **self._env(cache))
        return None if value.get("Error") else value.get("Versions", [])

    def latest(self, cache: Path, path: str) -> str:
        """The version that `go list -m PATH@latest` names, "" when it is refused."""
        value = self._go.json("list", "-m", "-e", "-json", f"{path}@latest", **self._env(cache))
        return "" if value.get("Error") else value["Version"]


def objects(text: str) -> Iterable[dict[str, Any]]:
    """The JSON objects of a stream of them."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        while at < len(text) and text[at].isspace():
            at += 1


class Ours:
    """Our worker's code, called in this process, over the repositories in ROOT."""

    def __init__(self, root: Path, work: Path, limits: Limits | None = None) -> None:
        self._rules = [SourceRule(PREFIX + "{repo}", f"file://{root}/{{repo}}", f"https://{PREFIX}{{repo}}")]
        self._work = work
        self._limits = limits or Limits()
        self._count = 0

    def ask(self, op: Op, path: str, query: str = "") -> Result:
        self._count += 1
        workspace = self._work / f"w{self._count}"
        workspace.mkdir(parents=True)
        try:
            target = static_root(path, self._rules)
        except VCSProxyError as err:
            return Failed.of(err)
        mirrors = str(self._work / "mirrors")
        job = Job(op, path, query, target, mirrors, str(workspace), refs_ttl=0, limits=self._limits)
        return run(job)

    def download(self, path: str, query: str) -> Outcome:
        """What `.info`, `.mod` and `.zip` say, as a client would ask them."""
        info = self.ask(Op.INFO, path, query)
        if not isinstance(info, Built):
            return Outcome(error=_text(info))
        zipped = self.ask(Op.ZIP, path, info.version)
        if not isinstance(zipped, Built):
            return Outcome(error=_text(zipped))
        assert zipped.gomod == info.gomod
        assert zipped.info == info.info
        with open(zipped.zip, "rb") as file:
            assert dirhash.hash_zip(file) == zipped.zip_h1
        value = json.loads(info.answer)
        return Outcome(
            info.version, value["Time"], value["Origin"]["Hash"], zipped.zip_h1, dirhash.hash_gomod(info.gomod)
        )

    def versions(self, path: str) -> list[str] | None:
        listed = self.ask(Op.LIST, path)
        return list(listed.versions) if isinstance(listed, Listed) else None

    def latest(self, path: str) -> str:
        found = self.ask(Op.LATEST, path)
        return found.version if isinstance(found, Built) else ""


def _text(result: Result) -> str:
    assert isinstance(result, Failed), result
    assert result.error in ("NotFound", "InvalidRequest"), result
    return result.message


def is_sendable(query: str) -> bool:
    """Whether `go` passes a query to a proxy as it is, instead of resolving it from the list."""
    return "/" not in query and (query == module.canonical_version(query) or not query.startswith("v"))
