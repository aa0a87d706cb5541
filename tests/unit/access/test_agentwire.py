"""Signatures that an agent gives, checked with the public key; requests that it refuses; files of public keys."""

from __future__ import annotations

import struct
from base64 import b64encode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from tests.support.linear import assert_linear
from vcsproxy.access.agentwire import MAX_MESSAGE, Key, answer, public_lines

ED = Key.of(ed25519.Ed25519PrivateKey.generate())
RSA = Key.of(rsa.generate_private_key(65537, 2048))
CURVES = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
FAILURE = b"\x05"


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def request(key: Key, data: bytes, flags: int = 0) -> bytes:
    return b"\x0d" + string(key.blob) + string(data) + struct.pack(">I", flags)


def strings(data: bytes) -> list[bytes]:
    """All of them, to the last byte."""
    found = []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        found.append(data[4 : 4 + size])
        assert len(found[-1]) == size
        data = data[4 + size :]
    return found


def signature(key: Key, data: bytes, flags: int = 0) -> list[bytes]:
    """(algorithm, signature) in the agent's answer."""
    said = answer(request(key, data, flags), key)
    assert said[:1] == b"\x0e", said
    (inner,) = strings(said[1:])
    return strings(inner)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_ed25519_whatever_the_flags(data: bytes, flags: int) -> None:
    algorithm, signed = signature(ED, data, flags)
    assert algorithm == b"ssh-ed25519"
    ED.private.public_key().verify(signed, data)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", CURVES)
def test_ecdsa_in_numbers_that_ssh_can_read(name: str) -> None:
    """Often enough that numbers with a high first bit, and short ones, are among them."""
    curve, digest = CURVES[name]
    private = ec.generate_private_key(curve)
    key = Key.of(private)
    for i in range(40):
        algorithm, both = signature(key, b"data%d" % i)
        assert algorithm == b"ecdsa-sha2-" + name.encode()
        r, s = strings(both)
        assert all(number[0] < 0x80 and (number[0] or number[1] >= 0x80) for number in (r, s)), "the shortest mpint"
        der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        private.public_key().verify(der, b"data%d" % i, ec.ECDSA(digest))


@pytest.mark.parametrize(
    ("flags", "algorithm", "digest"),
    [
        (2, b"rsa-sha2-256", hashes.SHA256()),
        (4, b"rsa-sha2-512", hashes.SHA512()),
        (6, b"rsa-sha2-512", hashes.SHA512()),
    ],
)
def test_rsa_as_the_flags_say(flags: int, algorithm: bytes, digest: hashes.HashAlgorithm) -> None:
    said, signed = signature(RSA, b"data", flags)
    assert said == algorithm
    public = RSA.private.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signed, b"data", padding.PKCS1v15(), digest)
    with pytest.raises(InvalidSignature):
        public.verify(signed, b"other", padding.PKCS1v15(), digest)


@pytest.mark.parametrize("flags", [0, 1, 8, 1 << 31])
def test_rsa_with_sha1_is_refused(flags: int) -> None:
    assert answer(request(RSA, b"data", flags), RSA) == FAILURE


def test_a_request_that_is_too_short_or_too_long_is_refused() -> None:
    whole = request(ED, b"data")
    for end in range(len(whole)):
        assert answer(whole[:end], ED) == FAILURE, end
    assert answer(whole + b"\0", ED) == FAILURE
    assert answer(b"\x0b\0", ED) == FAILURE


@given(st.binary(max_size=300), st.sampled_from([ED, RSA]))
def test_any_bytes_get_an_answer(data: bytes, key: Key) -> None:
    for message in (data, b"\x0d" + data, b"\x0d" + string(key.blob) + data, b"\x0d" + string(key.blob) + string(data)):
        said = answer(message, key)
        assert said == FAILURE or said[:1] in (b"\x0c", b"\x0e")


def test_time_grows_with_the_message() -> None:
    for make in (lambda n: b"\x0d" + string(b"x" * n), lambda n: b"\x0d" + b"\0" * n, lambda n: request(ED, b"x" * n)):
        assert_linear(lambda message: answer(message, ED), make, MAX_MESSAGE)


def test_a_key_of_another_kind_is_refused() -> None:
    for private, words in ((ec.generate_private_key(ec.SECP256K1()), "secp256k1"), ("text", "not an Ed25519")):
        with pytest.raises(ValueError, match=words):
            Key.of(private)


def test_a_file_of_public_keys() -> None:
    text = f"# mine\n\n{ED.line} me@laptop\r\n  {RSA.line}\n"
    assert public_lines(text) == (ED.line, RSA.line)


OTHER = b64encode(string(b"ssh-rsa") + b"x").decode()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no public key"),
        ("# only a comment\n", "no public key"),
        ("ssh-ed25519", "line 1 is not"),
        ("ssh-ed25519 !!!!", "line 1 is not"),
        (f"ssh-ed25519 {OTHER}", "line 1 is not"),
        (f"{ED.line}\n-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 2 is not"),
        ('command="x" ssh-ed25519 AAAA', "line 1 is not"),
        ("ssh-ed25519 \u00e9", "line 1 is not"),
    ],
)
def test_a_file_that_has_something_else(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        public_lines(text)
