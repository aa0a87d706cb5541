"""How a GitHub App asks for a token: the JWT that it signs, and what the API's answers mean.

Source: GitHub's documentation, "Generating a JSON Web Token (JWT) for a GitHub App" and "Authenticating as a GitHub App
installation"; RFC 7519.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from vcsproxy import errors
from vcsproxy.secret import Secret

USER = "x-access-token"
_BEHIND, _AHEAD = 60, 540  # seconds: for clocks that differ, and GitHub's ten minutes at most


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
        return Secret(jwt.encode(claims, self.key, algorithm="RS256"))


@dataclass(frozen=True, slots=True)
class Token:
    """An installation's token; `expires`: seconds since 1970."""

    value: Secret
    expires: float


def token(status: int, body: bytes, name: str) -> Token:
    """The token in the API's answer. Raises AccessDenied, HostUnreachable or UpstreamFailed; name: the credential's."""
    if status == 201:
        try:
            value = json.loads(body)
            expires = datetime.fromisoformat(value["expires_at"]).timestamp()
            return Token(Secret(str(value["token"])), expires)
        except (ValueError, KeyError, TypeError):
            raise errors.UpstreamFailed(f"GitHub's answer for the credential {name} has no token") from None
    raise _refusal(status, name)


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
    if status >= 500:
        return errors.HostUnreachable(f"GitHub answered HTTP {status} for a token of the credential {name}")
    return errors.UpstreamFailed(f"GitHub answered HTTP {status} for a token of the credential {name}")
