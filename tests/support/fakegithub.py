"""A GitHub of our own on loopback, over HTTPS: an API that gives installation tokens, and Git that takes only those.

It checks what GitHub checks: the JWT's signature, issuer and times, the installation, and that a token has not ended or
been taken back. Every token given is in `tokens`; `answers` are given instead, each once, in order.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.authority import Authority
from tests.support.githost import GitHost, Handler, Page

_MOST_AHEAD = 600  # seconds: what GitHub allows between its clock and the end of a JWT


@dataclass
class FakeGitHub:
    """One app with one installation; `root` has the bare repositories that its tokens may read."""

    root: Path
    authority: Authority
    name: str = "github.test"
    app_id: str = "12345"
    installation_id: str = "67890"
    lives: float = 3600.0  # seconds that a token is good
    skew: float = 0.0  # seconds that its clock is ahead of ours
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    answers: list[Page] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # why requests for a token were turned away
    host: GitHost = field(init=False)

    def __post_init__(self) -> None:
        self.host = GitHost(self.root, self.authority.server_context(self.name), script=self._script)
        self._ends: dict[str, float] = {}

    @property
    def url(self) -> str:
        return f"https://{self.name}:{self.host.port}"

    @property
    def api(self) -> str:
        return f"{self.url}/api/v3"

    @property
    def pem(self) -> str:
        """The app's private key as GitHub gives it."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeGitHub]:
        with self.host.running():
            yield self

    def revoke(self) -> None:
        """Take every token back that was given so far."""
        self._ends.clear()

    def _now(self) -> float:
        return time.time() + self.skew

    def _script(self, handler: Handler) -> bool:
        if handler.path.startswith("/api/v3/"):
            handler.reply(*self._api(handler))
            return True
        if self._may_read(handler.headers.get("Authorization", "")):
            return False
        handler.reply(401, {"WWW-Authenticate": 'Basic realm="GitHub"'}, b"")
        return True

    def _may_read(self, said: str) -> bool:
        known = (token for token, ends in self._ends.items() if self._now() < ends)
        return said in {"Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode() for token in known}

    def _api(self, handler: Handler) -> Page:
        if self.answers:
            return self.answers.pop(0)
        problem = self._problem(handler.headers.get("Authorization", ""))
        if problem:
            self.refused.append(problem)
            return 401, {}, json.dumps({"message": problem}).encode()
        if (
            handler.command != "POST"
            or handler.path != f"/api/v3/app/installations/{self.installation_id}/access_tokens"
        ):
            return 404, {}, b'{"message": "Not Found"}'
        self.tokens.append(token := "ghs_" + secrets.token_hex(18))
        self._ends[token] = self._now() + self.lives
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._ends[token]))
        return 201, {}, json.dumps({"token": token, "expires_at": ends}).encode()

    def _problem(self, said: str) -> str:
        """Why GitHub would not take this for the app, "" if it would."""
        options = {"require": ["exp", "iat", "iss"], "verify_exp": False, "verify_iat": False}
        try:
            claims = jwt.decode(
                said.removeprefix("Bearer "), self.key.public_key(), algorithms=["RS256"], issuer=self.app_id,
                options=options,
            )  # fmt: skip
        except jwt.InvalidTokenError as err:
            return f"A JSON web token could not be decoded: {type(err).__name__}"
        if claims["iat"] > self._now():
            return "'Issued at' claim ('iat') must be an Integer representing a time in the past"
        if not self._now() < claims["exp"] <= self._now() + _MOST_AHEAD:
            return "'Expiration time' claim ('exp') is too far in the future, or over"
        return ""
