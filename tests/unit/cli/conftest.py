"""The command line over modules that know their answers beforehand."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from vcsproxy.cli.main import main
from vcsproxy.config import VARIABLE, Settings
from vcsproxy.mod import dirhash
from vcsproxy.mod.proxypath import Kind, ProxyRequest
from vcsproxy.proxy.service import Answer
from vcsproxy.store import Kind as Artifact
from vcsproxy.store import Stored
from vcsproxy.web.modules import FixedModules

PATH = "example.test/M"
GOMOD = b"module example.test/M\n\ngo 1.24\n"
FILES = {"go.mod": GOMOD, "a.go": b"package m\n"}
INFO = {
    "Version": "v1.0.0",
    "Time": "2024-03-01T00:00:00Z",
    "Origin": {"VCS": "git", "URL": "https://example.test/M", "Hash": "a" * 40, "Ref": "refs/tags/v1.0.0"},
}


def zip_of(files: dict[str, bytes], prefix: str = f"{PATH}@v1.0.0/") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(prefix + name), content)
    return out.getvalue()


ZIP = zip_of(FILES)
ZIP_H1 = dirhash.hash_zip(io.BytesIO(ZIP))
SUMS = f"{PATH} v1.0.0 {ZIP_H1}\n{PATH} v1.0.0/go.mod {dirhash.hash_gomod(GOMOD)}\n"


def stored(kind: Artifact, data: bytes | None, file: Path | None = None, h1: str = "") -> Stored:
    return Stored(kind, len(ZIP), 0.0, f'"{hashlib.sha256(data or b"").hexdigest()}"', h1, data, file)


@pytest.fixture(autouse=True)
def _closed_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No configuration of this machine, and logging as it was before."""
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def modules(tmp_path: Path) -> FixedModules:
    file = tmp_path / "v1.0.0.zip"
    file.write_bytes(ZIP)
    info = stored(Artifact.INFO, json.dumps(INFO).encode())
    return FixedModules(
        {
            ProxyRequest(Kind.LIST, PATH): Answer(stored(Artifact.INFO, b"v0.9.0\nv1.0.0\n"), immutable=False),
            ProxyRequest(Kind.LATEST, PATH): Answer(info, immutable=False),
            ProxyRequest(Kind.INFO, PATH, "main"): Answer(info, immutable=False),
            ProxyRequest(Kind.INFO, PATH, "v1.0.0"): Answer(info, immutable=True),
            ProxyRequest(Kind.MOD, PATH, "v1.0.0"): Answer(stored(Artifact.MOD, GOMOD), immutable=True),
            ProxyRequest(Kind.ZIP, PATH, "v1.0.0"): Answer(stored(Artifact.ZIP, None, file, ZIP_H1), immutable=True),
        }
    )


Run = Callable[..., Result]


@pytest.fixture
def run(modules: FixedModules) -> Run:
    """Run the command with arguments; `opened` of the function are the settings it was given."""

    @contextlib.asynccontextmanager
    async def open_modules(settings: Settings) -> AsyncIterator[FixedModules]:
        opened.append(settings)
        yield modules

    def invoke(*args: str | Path) -> Result:
        return CliRunner().invoke(main, [str(arg) for arg in args], obj=open_modules)

    opened: list[Settings] = []
    invoke.opened = opened  # type: ignore[attr-defined]
    return invoke
