"""Whole Git histories in one `git fast-import`: quick enough for random ones."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.gitrepo import SUBMODULE, Content, GitRepo, git_env


@dataclass(frozen=True)
class Step:
    """One commit: its whole tree, its parents (indexes of earlier steps), raw date, branch, tags, annotated tags."""

    files: Mapping[str, Content]
    parents: Sequence[int] = ()
    date: str = "1709251200 +0000"
    branch: str = "main"
    tags: Sequence[str] = ()
    annotated: Sequence[str] = field(default=())


def _data(content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return b"data %d\n%s\n" % (len(raw), raw)


def _quoted(path: str) -> bytes:
    return b'"' + path.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def stream(steps: Sequence[Step]) -> bytes:
    """The fast-import stream of a history."""
    out: list[bytes] = []
    for number, step in enumerate(steps, 1):
        out.append(
            f"commit refs/heads/{step.branch}\nmark :{number}\ncommitter C <c@example.com> {step.date}\n".encode()
        )
        out.append(_data("m"))
        for position, parent in enumerate(step.parents):
            out.append(f"{'merge' if position else 'from'} :{parent + 1}\n".encode())
        out.append(b"deleteall\n")
        for path, content in step.files.items():
            mode, body = content if isinstance(content, tuple) else ("100644", content)
            if mode == SUBMODULE:
                out.append(f"M {mode} {body} ".encode() + _quoted(path) + b"\n")
            else:
                out.append(f"M {mode} inline ".encode() + _quoted(path) + b"\n" + _data(body))
        out.append(b"\n")
        out += [f"reset refs/tags/{tag}\nfrom :{number}\n\n".encode() for tag in step.tags]
        for tag in step.annotated:
            out.append(f"tag {tag}\nfrom :{number}\ntagger T <t@example.com> 1893456000 +0000\n".encode() + _data("t"))
    return b"".join(out)


def build(path: Path, steps: Sequence[Step], object_format: str = "sha1") -> GitRepo:
    """Write the history into a new bare repository."""
    repo = GitRepo(path, object_format)
    command = ["git", "fast-import", "--quiet", "--force", "--date-format=raw-permissive"]
    subprocess.run(command, input=stream(steps), env=git_env(GIT_DIR=str(path)), check=True, capture_output=True)
    return repo
