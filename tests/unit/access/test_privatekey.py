"""Private keys in every format in which people keep them, as ssh-keygen writes them, and what is wrong with the others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from vcsproxy.access.privatekey import app_key, ssh_key
from vcsproxy.secret import Secret

PASSPHRASE = "canary-5b1e77"
NONE = Secret("")


def keygen(file: Path, *words: str) -> tuple[Secret, str]:
    """(private key, public key) that the real ssh-keygen has made."""
    subprocess.run(["ssh-keygen", "-q", "-C", "", "-f", str(file), *words], check=True, capture_output=True)
    public = file.with_name(file.name + ".pub").read_text().split()
    return Secret(file.read_text()), " ".join(public[:2])


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
@pytest.mark.parametrize("form", ["RFC4716", "PKCS8", "PEM"])
@pytest.mark.parametrize(
    "kind", [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")]
)
def test_what_ssh_keygen_writes(tmp_path: Path, kind: tuple[str, str], form: str, passphrase: str) -> None:
    words = ("-t", kind[0], "-b", kind[1], "-N", passphrase, "-a", "2")
    text, public = keygen(tmp_path / "k", *words, *(() if form == "RFC4716" else ("-m", form)))
    assert ssh_key(text, Secret(passphrase)).line == public
    assert ssh_key(Secret(text.reveal().replace("\n", "\r\n").rstrip()), Secret(passphrase)).line == public
    wrong = "has no passphrase, and one is given" if not passphrase else "is the passphrase right"
    with pytest.raises(ValueError, match=wrong):
        ssh_key(text, Secret("another"))
    if passphrase:
        with pytest.raises(ValueError, match=r"^needs a passphrase$"):
            ssh_key(text, NONE)


ED = ed25519.Ed25519PrivateKey.generate()
PEM = ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: str = "") -> str:
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def openssh(key: ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


WRONG = {
    "text": ("canary-5b1e77", "^cannot be read$"),
    "public": (openssh(ED), "is a public key"),
    "a certificate": ("-----BEGIN CERTIFICATE-----\ncanary-5b1e77\n-----END CERTIFICATE-----", "is a certificate"),
    "PuTTY's": ("PuTTY-User-Key-File-3: ssh-ed25519\ncanary-5b1e77", "puttygen"),
    "cut off": (PEM[:60], "^cannot be read$"),
    "damaged": (PEM.replace("M", "N"), "^cannot be read$"),
    "empty OpenSSH": (
        "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary+5b1e77\n-----END OPENSSH PRIVATE KEY-----",
        "^cannot be read$",
    ),
    "of another curve": (pem(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
    "short": (pem(rsa.generate_private_key(65537, 1024)), "less than 2048 bits"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_key_for_ssh(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        ssh_key(Secret(text), NONE)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PEM, "is no RSA key"),
        (pem(rsa.generate_private_key(65537, 1024)), "less than 2048 bits"),
        (pem(rsa.generate_private_key(65537, 2048), PASSPHRASE), "needs a passphrase"),
        ("nothing", "cannot be read"),
    ],
)
def test_what_is_no_key_of_an_app(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        app_key(Secret(text))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_apps_key_in_the_form_that_github_gives_and_the_newer_one(form: PrivateFormat) -> None:
    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    assert app_key(Secret(text)).private_numbers() == key.private_numbers()
