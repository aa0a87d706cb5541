"""Ed25519 signatures over the manifest of a bundle, with keys in PEM files.

The signature is the 64 bytes of RFC 8032 over the manifest as it is in the bundle, so that common tools can make and
check it. The manifest names its own format at its beginning: no other signed file can be taken for one.

Source: RFC 8032; keys as `openssl genpkey -algorithm ed25519` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from vcsproxy import errors

LENGTH = 64
"""Bytes of a signature."""
_MAX_KEY = 64 << 10
_MAKE = (
    "make a pair with: openssl genpkey -algorithm ed25519 -out KEY.pem; openssl pkey -in KEY.pem -pubout -out PUB.pem"
)


def private_key(file: Path) -> Ed25519PrivateKey:
    """The key in a PEM file without a passphrase. Raises InvalidRequest."""
    key = _loaded(file, lambda data: load_pem_private_key(data, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise errors.InvalidRequest(f"{file}: not an Ed25519 private key without a passphrase in PEM format", _MAKE)
    return key


def public_key(file: Path) -> Ed25519PublicKey:
    """The public key in a PEM file. Raises InvalidRequest."""
    key = _loaded(file, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise errors.InvalidRequest(f"{file}: not an Ed25519 public key in PEM format", _MAKE)
    return key


def check(key: Ed25519PublicKey, signature: bytes | None, manifest: bytes) -> None:
    """Raise Refused unless the key's owner signed exactly these bytes."""
    if signature is None:
        raise errors.Refused("the bundle is not signed, and a signature is demanded")
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        raise errors.Refused("the bundle's signature is not by this key, or the manifest was changed") from None


def _loaded(file: Path, load: Callable[[bytes], object]) -> object:
    """What is in the file, None if it is no key of any kind: the library's words might repeat what is in there."""
    try:
        with file.open("rb") as stream:
            return load(stream.read(_MAX_KEY))
    except OSError as err:
        raise errors.InvalidRequest(f"{file}: {err.strerror}") from err
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
