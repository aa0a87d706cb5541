"""Module versions as others keep them: GOPROXY file trees and Athens' disk storage, made of plain files."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from vcsproxy.mod import dirhash, module

TIME = "2024-03-01T00:00:00Z"
COMMIT = "a" * 40


@dataclass(frozen=True)
class Version:
    """One module version with its files; `gomod` "" for a module without a go.mod file."""

    path: str
    version: str
    gomod: str = "module {path}\n\ngo 1.20\n"
    files: dict[str, bytes] = field(default_factory=lambda: {"m.go": b"package m\n"})
    time: str = TIME
    commit: str = COMMIT

    @property
    def mod(self) -> bytes:
        return (self.gomod or "module {path}\n").format(path=self.path).encode()

    @property
    def info(self) -> bytes:
        origin = {"VCS": "git", "URL": f"https://{self.path}", "Hash": self.commit}
        value = {"Version": self.version, "Time": self.time} | ({"Origin": origin} if self.commit else {})
        return json.dumps(value).encode()

    @property
    def zip(self) -> bytes:
        files = ({"go.mod": self.mod} if self.gomod else {}) | self.files
        return zip_of({f"{self.path}@{self.version}/{name}": data for name, data in files.items()})

    @property
    def h1(self) -> str:
        return dirhash.hash_zip(io.BytesIO(self.zip))

    @property
    def gomod_h1(self) -> str:
        return dirhash.hash_gomod(self.mod)

    @property
    def sums(self) -> str:
        """Its lines of go.sum."""
        return f"{self.path} {self.version} {self.h1}\n{self.path} {self.version}/go.mod {self.gomod_h1}\n"


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def proxy_tree(root: Path, *versions: Version, hashes: bool = False) -> Path:
    """A GOPROXY=file:// tree; with `.ziphash` if `hashes`."""
    for each in versions:
        directory = root / module.escape_path(each.path) / "@v"
        directory.mkdir(parents=True, exist_ok=True)
        base = module.escape_version(each.version)
        files = {".info": each.info, ".mod": each.mod, ".zip": each.zip} | (
            {".ziphash": each.h1.encode()} if hashes else {}
        )
        for ending, data in files.items():
            (directory / (base + ending)).write_bytes(data)
        with (directory / "list").open("a") as out:
            out.write(each.version + "\n")
    return root


def athens_tree(root: Path, *versions: Version) -> Path:
    """Athens' disk storage: nothing is escaped."""
    for each in versions:
        directory = root / each.path / each.version
        directory.mkdir(parents=True)
        for name, data in (("go.mod", each.mod), ("source.zip", each.zip), (f"{each.version}.info", each.info)):
            (directory / name).write_bytes(data)
    return root


A1 = Version("example.com/a", "v1.0.0")
A2 = Version("example.com/a", "v1.1.0", files={"a.go": b"package a\n", "LICENSE": b"free\n"})
B = Version("example.com/Upper/b/v2", "v2.0.0-RC1")
OLD = Version("example.com/old", "v3.0.0+incompatible", gomod="", commit="")
PSEUDO = Version("example.com/p", "v0.0.0-20240301000000-0123456789ab")
SEVERAL = (A1, A2, B, OLD, PSEUDO)
