"""How a GitHub App asks for a token: the JWT that it signs, and what the API's answers mean.

It sends nothing: the request goes through a worker.

Source: GitHub's documentation, "Generating a JSON Web Token (JWT) for a GitHub App" and "Authenticating as a GitHub App
installation"; RFC 7519.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from vcsproxy import errors
from vcsproxy.secret import Secret

USER = "x-access-token"
ACCEPT = "application/vnd.github+json"
_BEHIND, _AHEAD = 60, 540  # seconds: for clocks that differ, and GitHub's ten minutes at most
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class App:
    """An app, one of its installations, and the API; `key` is the app's private key."""

    app_id: str
    installation_id: str
    api: str
    key: RSAPrivateKey

    @property
    def url(self) -> str:
        """Where an installation's token is asked for, by POST."""
        return f"{self.api.rstrip('/')}/app/installations/{self.installation_id}/access_tokens"

    def jwt(self, now: float) -> Secret:
        """What says who we are, for nine minutes; now: seconds since 1970."""
        claims = {"iss": self.app_id, "iat": int(now) - _BEHIND, "exp": int(now) + _AHEAD}
        import jwt  # noqa: PLC0415 - loads an HTTP client, and few configurations have such an app

        return Secret(jwt.encode(claims, self.key, algorithm="RS256"))


@dataclass(frozen=True, slots=True)
class Token:
    """An installation's token; `expires`: seconds since 1970."""

    value: Secret
    expires: float


def token(status: int, body: bytes, name: str) -> Token:
    """The token in the API's answer. Raises UpstreamFailed and its kin; name: the credential's."""
    if status != 201:
        raise _refusal(status, name)
    try:
        said = json.loads(body)
        value, ends = said["token"], datetime.fromisoformat(said["expires_at"])
        if not _TOKEN.fullmatch(value) or ends.tzinfo is None:
            raise ValueError
        return Token(Secret(value), ends.timestamp())
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        message = f"GitHub's answer for the credential {name} has no token that makes sense"
        raise errors.UpstreamFailed(message, "is api the URL of GitHub's API?") from None


def _refusal(status: int, name: str) -> errors.UpstreamFailed:
    if status == 401:
        hint = "check app_id, the app's private key, and the clock of this machine"
        return errors.AccessDenied(f"GitHub does not accept the app of the credential {name}", hint)
    if status == 404:
        hint = "check installation_id: it is in the URL of the app's settings in the organisation"
        return errors.AccessDenied(f"GitHub knows no such installation of the app of the credential {name}", hint)
    if status == 403:
        hint = "the installation may be suspended, or asked too often"
        return errors.AccessDenied(f"GitHub gives no token for the credential {name}", hint)
    message = f"GitHub answered HTTP {status} for a token of the credential {name}"
    if status == 429:
        return errors.HostBusy(message, "it asks for patience", _PATIENCE)
    if status >= 500:
        return errors.HostUnreachable(message, "GitHub is in trouble; try again")
    return errors.UpstreamFailed(message, "is api the URL of GitHub's API?")
