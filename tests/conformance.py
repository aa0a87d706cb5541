"""Run an external conformance checker against a server of ours: `make conformance`.

The checker's expected files come with maps (`NAME.map.json` beside `NAME.jsonl`) from module path prefixes to
repositories; this program turns the maps into `[[source]]` tables, starts `vcsproxy serve` on a free port of 127.0.0.1
with an empty data directory, and runs the checker against it. Its exit status is the checker's.

With --http the repositories are fetched from a smart HTTP host instead of being read in place: `whole` is a host that
gives whole commits only, `sparse` one that leaves out what is not wanted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.githost import GitHost


@contextlib.contextmanager
def host(kind: str, places: dict[str, str], work: Path) -> Iterator[dict[str, str]]:
    """Where the repositories of each place are: in their directories, or below an HTTP host that serves those."""
    if not kind:
        yield {name: f"file://{place}" for name, place in places.items()}
        return
    (work / "repos").mkdir()
    for name, place in places.items():
        if place:
            (work / "repos" / name).symlink_to(Path(place).resolve())
    config = {"uploadpack.allowFilter": "true"} if kind == "sparse" else {}
    with GitHost(work / "repos", config=config).running() as running:
        yield {name: f"{running.url}/{name}" for name in places}


def sources(maps: list[Path], places: dict[str, str]) -> str:
    """TOML `[[source]]` tables of all maps, longest prefix first because the first match wins."""
    entries: list[dict[str, Any]] = []
    for path in maps:
        entries += json.loads(path.read_text())["entries"]
    tables = []
    for entry in sorted(entries, key=lambda e: -len(e["prefix"])):
        url = entry["file"]
        for name, place in places.items():
            url = url.replace(f"file://{name}", place)
        fields = {"root": entry["prefix"], "url": url, "origin": entry["url"]}
        if entry.get("subdir"):
            fields["subdir"] = entry["subdir"]
        tables.append("[[source]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()))
    return "\n".join(tables)


@contextlib.contextmanager
def server(config: Path, data: Path, log: Path) -> Iterator[str]:
    """A running server; yields its base URL."""
    command = [str(Path(sys.executable).with_name("vcsproxy")), "serve", "--config", str(config), "--data", str(data)]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=out, stderr=subprocess.STDOUT)
    try:
        yield wait_ready(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(300):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text(errors="replace"))
        if found:
            with contextlib.suppress(OSError), urllib.request.urlopen(found[0] + "/readyz", timeout=5):
                return found[0]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checker", required=True, help="the checker's program")
    parser.add_argument("--mirrors", default="", help="directory of bare public repositories, OWNER+NAME/repo")
    parser.add_argument("--synth", default="", help="directory of synthetic repositories")
    parser.add_argument("--keep", default="", help="keep data and log in this directory")
    parser.add_argument(
        "--http", choices=["whole", "sparse"], default="", help="fetch by HTTP instead of reading in place"
    )
    parser.add_argument("expected", nargs="+", help="expected files, *.jsonl with *.map.json beside them")
    options, rest = parser.parse_known_args()
    work = Path(options.keep or tempfile.mkdtemp(prefix="conformance-"))
    work.mkdir(exist_ok=True)
    maps = [Path(name).with_suffix("").with_suffix(".map.json") for name in options.expected]
    config = work / "vcsproxy.toml"
    places = {"SYNTH": options.synth, "MIRRORS": options.mirrors}
    try:
        with host(options.http, places, work) as urls, contextlib.ExitStack() as stack:
            config.write_text(sources(maps, urls))
            base = stack.enter_context(server(config, work / "data", work / "log"))
            checker = [sys.executable, options.checker, "--base", base, *rest, *options.expected]
            return subprocess.run(checker, check=False).returncode
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
