"""Git repositories with fixed dates, made through GitPython's `git.Git` command runner (never its Repo wrappers).

`GitRepo` writes objects directly (hash-object, mktree, commit-tree): any mode, any name of bytes, any history, and no
work tree that a file system could spoil.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import git

REGULAR = "100644"
EXECUTABLE = "100755"
SYMLINK = "120000"
SUBMODULE = "160000"

Content = bytes | str | tuple[str, bytes | str]  # plain bytes, or (mode, content); a submodule's content is a hash


def git_env(**extra: str) -> dict[str, str]:
    """Git's environment without anything of this machine's configuration."""
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "C",
        "GIT_COMMITTER_EMAIL": "c@example.com",
    }
    env.update(extra)
    return env


@dataclass
class GitRepo:
    """A bare repository at `path`; commits get committer dates 2024-03-01, -02, ... 00:00Z unless told otherwise."""

    path: Path
    object_format: str = "sha1"
    clock: int = field(default=1709251200)  # 2024-03-01T00:00:00Z

    def __post_init__(self) -> None:
        if not self.path.exists():
            self.path.mkdir(parents=True)
            self.git("init", "-q", "--bare", f"--object-format={self.object_format}", "-b", "main", str(self.path))

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run git on this repository; standard output without the final newline."""
        full = git_env(GIT_DIR=str(self.path), **(env or {}))
        if stdin is None:
            out = git.Git(str(self.path)).execute(["git", *args], env=full, stdout_as_string=True)
            return str(out)
        done = subprocess.run(["git", *args], input=stdin, capture_output=True, env=full, check=True)
        return done.stdout.decode().rstrip("\n")

    def blob(self, content: bytes | str) -> str:
        data = content.encode() if isinstance(content, str) else content
        return self.git("hash-object", "-w", "--stdin", "--literally", stdin=data)

    def tree(self, files: Mapping[str | bytes, Content]) -> str:
        """Write nested trees for {path: content}; names are bytes or UTF-8."""
        children: dict[bytes, Mapping[str | bytes, Content] | Content] = {}
        for name, content in files.items():
            raw = name.encode() if isinstance(name, str) else name
            head, _, rest = raw.partition(b"/")
            if rest:
                sub = children.setdefault(head, {})
                assert isinstance(sub, dict)
                sub[rest] = content
            else:
                children[head] = content
        lines = []
        for raw, child in children.items():
            if isinstance(child, dict):
                mode, kind, oid = "040000", "tree", self.tree(child)
            elif isinstance(child, tuple):
                mode, kind, oid = child[0], "blob", ""
                if mode == SUBMODULE:
                    kind, oid = "commit", str(child[1])
                else:
                    oid = self.blob(child[1])
            else:
                assert not isinstance(child, Mapping)
                mode, kind, oid = REGULAR, "blob", self.blob(child)
            lines.append(f"{mode} {kind} {oid}\t".encode() + raw + b"\0")
        return self.git("mktree", "-z", "--missing", stdin=b"".join(lines))

    def commit(
        self,
        files: Mapping[str | bytes, Content],
        *,
        parents: Sequence[str] = (),
        branch: str | None = "main",
        tags: Sequence[str] = (),
        date: str | None = None,
    ) -> str:
        """Commit exactly `files`; parents default to the branch tip; `date` is Git's raw form `SECONDS ZONE`.

        Returns the commit's hash.
        """
        if date is None:
            date = f"{self.clock} +0000"
            self.clock += 86400
        if not parents and branch:
            tip = self.try_rev(f"refs/heads/{branch}")
            parents = [tip] if tip else []
        args = ["commit-tree", self.tree(files), "-m", "message"]
        for parent in parents:
            args += ["-p", parent]
        oid = self.git(*args, env={"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": "946684800 +0900"})
        if branch:
            self.git("update-ref", f"refs/heads/{branch}", oid)
        for tag in tags:
            self.tag(tag, oid)
        return oid

    def tag(self, name: str, target: str, *, annotated: bool = False) -> str:
        """Make refs/tags/NAME; returns what the ref holds (the tag object's hash if annotated)."""
        if not annotated:
            self.git("update-ref", f"refs/tags/{name}", target)
            return target
        date = {"GIT_COMMITTER_DATE": "1893456000 +0000"}
        self.git("tag", "-f", "-a", "-m", "tag", "--end-of-options", name, target, env=date)
        return self.git("rev-parse", f"refs/tags/{name}")

    def try_rev(self, name: str) -> str:
        try:
            return self.git("rev-parse", "-q", "--verify", name)
        except git.GitCommandError:
            return ""
