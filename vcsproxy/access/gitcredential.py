"""The protocol of git's credential helpers: what to ask one, and what its answer says.

It runs nothing. No message repeats what a helper said.

Source: git-credential(1), gitcredentials(7); git/credential.c (credential_read, credential_write).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from vcsproxy.secret import Secret

MAX_ANSWER = 64 << 10
_YES = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a helper knows. `expires`: seconds since 1970, infinity if it does not say."""

    username: str
    password: Secret
    expires: float = math.inf


def question(url: str, user: str = "", wrong: Secret | None = None) -> bytes:
    """What a helper reads for an https URL and perhaps a user; `wrong` goes with erase: the password to forget.

    Raises ValueError for a character that would begin another line.
    """
    parts = urlsplit(url)
    fields = {
        "protocol": parts.scheme,
        "host": parts.netloc.rpartition("@")[2],
        "path": parts.path.strip("/"),
        "username": user,
        "password": wrong.reveal() if wrong is not None else "",
    }
    if any(c in value for value in fields.values() for c in "\n\0\r"):
        raise ValueError("a newline cannot be asked for")
    return "".join(f"{key}={value}\n" for key, value in fields.items() if value).encode() + b"\n"


def parse(data: bytes) -> Answer:
    """A helper's answer, up to the first empty line. Raises ValueError, never with a value in it."""
    values = _values(data)
    if values.get("quit", "").lower() in _YES:
        raise ValueError("it has asked to give up")
    if not values.get("password"):
        raise ValueError("the answer has no password")
    if ":" in values.get("username", ""):
        raise ValueError("the user's name has a colon, which cannot be sent")
    expiry = values.get("password_expiry_utc", "")
    expires = float(expiry) if expiry.isascii() and expiry.isdigit() and len(expiry) < 16 else math.inf
    return Answer(values.get("username", ""), Secret(values["password"]), expires)


def _values(data: bytes) -> dict[str, str]:
    if len(data) > MAX_ANSWER:
        raise ValueError("the answer is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("the answer is not UTF-8") from None
    values: dict[str, str] = {}
    for line in text.split("\n"):
        if not line:
            break
        key, equals, value = line.partition("=")
        if not equals or "\0" in line or "\r" in line:
            raise ValueError("the answer has a line that is not KEY=VALUE")
        values[key] = value
    return values
