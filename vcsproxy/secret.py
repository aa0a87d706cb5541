"""A secret value that cannot be shown by accident, and taking secrets out of text by value.

`str`, `repr` and formatting give stars; `reveal()` is the only way out. It knows nothing of where secrets come from
(that is `proxy/keyring.py`) nor what they are for.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote

_STARS = "****"
_SHORTEST = 4  # characters; what is shorter would take ordinary words out of every text


class Secret:
    """Text that only `reveal()` gives away; equal by value, compared in constant time, neither hashed nor pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that sends it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({_STARS!r})" if self._value else "Secret('')"

    def __str__(self) -> str:
        return _STARS if self._value else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(errors="replace"), other._value.encode(errors="replace"))

    __hash__ = None  # type: ignore[assignment]  # a hash of it would be something to compare with

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """As plain text in JSON between our own processes, stars in every other dump."""
        from pydantic_core import core_schema  # noqa: PLC0415 - the pure rooms load without it

        return core_schema.no_info_after_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            core_schema.union_schema([core_schema.is_instance_schema(cls), core_schema.str_schema()]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.reveal, when_used="json"),
        )


class Redactor:
    """Takes known secrets out of text, in the forms in which they travel."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._forms = tuple(sorted({form for secret in secrets for form in _forms(secret.reveal())}, key=len)[::-1])

    def __call__(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, _STARS)
        return text


def _forms(value: str) -> set[str]:
    """The value, its lines if it has several, and it in a URL, in hexadecimal and in base64."""
    pieces = [line for line in value.splitlines() if line.strip()] if "\n" in value else [value]
    found = {form for piece in pieces for form in (piece, quote(piece, safe=""), *_encoded(piece))}
    return {form for form in found if len(form) >= _SHORTEST}


def _encoded(value: str) -> list[str]:
    """In hexadecimal, and in both alphabets of base64 wherever it may begin there (after `USER:` for one)."""
    raw = value.encode(errors="surrogateescape")
    found = [raw.hex()]
    for before in range(3):
        code = base64.b64encode(bytes(before) + raw).decode()
        own = code[(0, 2, 3)[before] : len(code) - (0, 3, 2)[(before + len(raw)) % 3]]
        found += [own, own.replace("+", "-").replace("/", "_")]
    return found
