"""The ssh-agent protocol for one private key: which messages there are, and what an agent with that key answers.

Only two requests are known, listing the key and signing with it; everything else fails. SHA-1 signatures are refused.

Source: draft-miller-ssh-agent; RFC 4253 section 6.6; RFC 5656; RFC 8332; RFC 8709.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

MAX_MESSAGE = 256 << 10
_FAILURE, _LIST, _IDENTITIES, _SIGN, _SIGNED = 5, 11, 12, 13, 14
_SHA256, _SHA512 = 2, 4  # flags of a signing request with an RSA key
_CURVES: dict[str, tuple[bytes, hashes.HashAlgorithm]] = {
    "secp256r1": (b"ecdsa-sha2-nistp256", hashes.SHA256()),
    "secp384r1": (b"ecdsa-sha2-nistp384", hashes.SHA384()),
    "secp521r1": (b"ecdsa-sha2-nistp521", hashes.SHA512()),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A private key as an agent offers it; `blob` is the public key in SSH's encoding."""

    private: PrivateKey
    blob: bytes
    line: str  # as in authorized_keys, without a comment

    @classmethod
    def of(cls, private: object) -> Key:
        """Raises ValueError for a kind of key that SSH does not use."""
        if not isinstance(private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("is not an Ed25519, ECDSA or RSA key")
        if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name not in _CURVES:
            raise ValueError(f"is on the curve {private.curve.name}, which SSH does not use")
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return cls(private, b64decode(line.split(b" ")[1]), line.decode())


def public_lines(text: str) -> tuple[str, ...]:
    """The keys in a file of public keys, one line each, without comments. Raises ValueError with the line's number."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.lstrip().startswith("#"):
            continue
        try:
            name, _ = _take(b64decode(words[1], validate=True))
        except (IndexError, ValueError):
            name = None
        if name != words[0].encode():
            raise ValueError(f"line {number} is not a public key such as ssh-ed25519 AAAA...")
        found.append(f"{words[0]} {words[1]}")
    if not found:
        raise ValueError("there is no public key in it")
    return tuple(found)


def answer(message: bytes, key: Key) -> bytes:
    """The agent's answer to the body of one message; FAILURE for whatever is not understood."""
    kind = message[0] if message else 0
    if kind == _LIST and len(message) == 1:
        return bytes([_IDENTITIES]) + struct.pack(">I", 1) + _string(key.blob) + _string(b"vcsproxy")
    if kind == _SIGN:
        signature = _signed(message[1:], key)
        if signature is not None:
            return bytes([_SIGNED]) + _string(signature)
    return bytes([_FAILURE])


def _signed(request: bytes, key: Key) -> bytes | None:
    """The signature that a request asks for, None if it may not be given."""
    blob, rest = _take(request)
    data, rest = _take(rest)
    if blob != key.blob or data is None or len(rest) != 4:
        return None
    (flags,) = struct.unpack(">I", rest)
    private = key.private
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return _string(b"ssh-ed25519") + _string(private.sign(data))
    if isinstance(private, ec.EllipticCurvePrivateKey):
        name, digest = _CURVES[private.curve.name]
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
        return _string(name) + _string(_mpint(r) + _mpint(s))
    if flags & _SHA512:
        return _string(b"rsa-sha2-512") + _string(private.sign(data, padding.PKCS1v15(), hashes.SHA512()))
    if flags & _SHA256:
        return _string(b"rsa-sha2-256") + _string(private.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    return None


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _mpint(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _take(data: bytes) -> tuple[bytes | None, bytes]:
    """(string at the beginning, what follows); (None, b"") where there is none."""
    if len(data) < 4:
        return None, b""
    (size,) = struct.unpack(">I", data[:4])
    if size > len(data) - 4:
        return None, b""
    return data[4 : 4 + size], data[4 + size :]
