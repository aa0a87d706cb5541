"""A Git host for the examples: `python -m tests.support.standin https|ssh|github`, until it is killed.

It prints `port N` when it is ready, and one line for each token that it gives. Files that its users need, such as its
authority or its host key, are written to --files.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.authority import Authority
from tests.support.githost import GitHost, Handler, Script
from tests.support.gitrepo import git_env


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def wants_password(passwords: dict[str, str]) -> Script:
    """Turns away whoever has not the password of the organisation that the path begins with; any user name will do."""

    def script(handler: Handler) -> bool:
        wanted = passwords.get(handler.path.strip("/").partition("/")[0])
        sent = handler.headers.get("Authorization", "").removeprefix("Basic ")
        given = base64.b64decode(sent).decode().partition(":")[2]
        if wanted is not None and secrets.compare_digest(given, wanted):
            return False
        handler.reply(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"who are you?\n")
        return True

    return script


def github(app: str, installation: str, key: Path) -> Script:
    """The API that gives an app tokens for an installation, and Git that takes only those."""
    private = load_pem_private_key(key.read_bytes(), None)
    tokens: set[str] = set()

    def script(handler: Handler) -> bool:
        if handler.path == f"/api/v3/app/installations/{installation}/access_tokens":
            sent = handler.headers.get("Authorization", "").removeprefix("Bearer ")
            try:
                jwt.decode(sent, private.public_key(), algorithms=["RS256"], issuer=app)  # type: ignore[arg-type]
            except jwt.InvalidTokenError:
                handler.reply(401, {}, b'{"message": "A JSON web token could not be decoded"}')
                return True
            tokens.add(token := "ghs_" + secrets.token_hex(18))
            print("token given", flush=True)
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            handler.reply(201, {}, json.dumps({"token": token, "expires_at": ends}).encode())
            return True
        if handler.headers.get("Authorization") in {basic("x-access-token", token) for token in tokens}:
            return False
        handler.reply(401, {"WWW-Authenticate": 'Basic realm="GitHub"'}, b"")
        return True

    return script


def serve_https(name: str, repos: Path, files: Path, script: Script) -> None:
    authority = Authority.create(files)
    host = GitHost(repos, authority.server_context(name), script=script)
    with host.running():
        print(f"port {host.port}", flush=True)
        while True:
            time.sleep(3600)


async def serve_ssh(name: str, repos: Path, files: Path, authorized: Path | None) -> None:
    """Runs git-upload-pack for whoever has the key; nothing else. authorized None: for nobody."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    nobodys = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    keys = asyncssh.import_authorized_keys(authorized.read_text() if authorized else nobodys)

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        program, _, path = (process.command or "").partition(" ")
        repo = (repos / path.strip("'").lstrip("/")).resolve()
        if program != "git-upload-pack" or repos.resolve() not in repo.parents or not repo.is_dir():
            process.stderr.write(b"fatal: '" + path.strip("'").encode() + b"' does not appear to be a git repository\n")
            process.exit(128)
            return
        env = git_env(GIT_PROTOCOL=process.env.get("GIT_PROTOCOL", ""))
        child = await asyncio.create_subprocess_exec(
            "git", "upload-pack", str(repo), env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        await process.redirect(stdin=child.stdin, stdout=child.stdout)
        process.exit(await child.wait())

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[key],
        authorized_client_keys=keys,
        process_factory=run,
        encoding=None,
    )
    port = server.get_port()
    public = key.export_public_key().decode().strip()
    files.mkdir(parents=True, exist_ok=True)
    (files / "known_hosts").write_text(f"[{name}]:{port} {public}\n")
    print(f"port {port}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["https", "ssh", "github"])
    parser.add_argument("--name", required=True)
    parser.add_argument("--repos", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--password", action="append", default=[], metavar="ORGANISATION:PASSWORD")
    parser.add_argument("--authorized", type=Path)
    parser.add_argument("--app")
    parser.add_argument("--installation")
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    if given.kind == "ssh":
        asyncio.run(serve_ssh(given.name, given.repos, given.files, given.authorized))
    elif given.kind == "https":
        passwords = dict(each.split(":", 1) for each in given.password)
        serve_https(given.name, given.repos, given.files, wants_password(passwords))
    else:
        serve_https(given.name, given.repos, given.files, github(given.app, given.installation, given.key))


if __name__ == "__main__":
    if subprocess.run(["git", "--version"], stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit("git is needed")
    main()
