"""The protocol of git's credential helpers: what to ask one, and what its answer says.

Source: git-credential(1), gitcredentials(7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from vcsproxy.secret import Secret

MAX_ANSWER = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What a helper knows. `expires`: seconds since 1970, infinity if it does not say."""

    username: str
    password: Secret
    expires: float = math.inf


def question(url: str, answer: Answer | None = None) -> bytes:
    """What a helper reads for an https URL; `answer` goes with store and erase. ValueError for odd characters."""
    parts = urlsplit(url)
    fields = {"protocol": parts.scheme, "host": parts.netloc.rpartition("@")[2], "path": parts.path.lstrip("/")}
    if answer is not None:
        fields |= {"username": answer.username, "password": answer.password.reveal()}
    for value in fields.values():
        if any(c in value for c in "\n\0\r"):
            raise ValueError("a newline cannot be asked for")
    return "".join(f"{key}={value}\n" for key, value in fields.items() if value).encode() + b"\n"


def parse(data: bytes) -> Answer:
    """A helper's answer. Raises ValueError, never with a value in it."""
    if len(data) > MAX_ANSWER:
        raise ValueError("the answer is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("the answer is not UTF-8") from None
    values: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if not line:
            continue
        if not equals or "\0" in value or "\r" in value:
            raise ValueError("the answer has a line that is not KEY=VALUE")
        values[key] = value
    if values.get("quit") in ("1", "true"):
        raise ValueError("it has asked to give up")
    if not values.get("password"):
        raise ValueError("the answer has no password")
    expiry = values.get("password_expiry_utc", "")
    expires = float(expiry) if expiry.isascii() and expiry.isdigit() and len(expiry) < 16 else math.inf
    return Answer(values.get("username", ""), Secret(values["password"]), expires)
