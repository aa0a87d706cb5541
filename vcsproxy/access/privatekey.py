"""Private keys as people keep them: of SSH in OpenSSH's or PEM format, of a GitHub App in PEM format.

Everything wrong with one is a ValueError whose text goes behind "the key ...", and says nothing of what is in it.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from vcsproxy.access.agentwire import Key
from vcsproxy.secret import Secret

_LEAST_RSA = 2048  # bits
_MISTAKEN = (
    ("PuTTY-User-Key-File", "is one of PuTTY's: convert it with puttygen -O private-openssh"),
    ("ssh-", "is a public key"),
    ("ecdsa-sha2-", "is a public key"),
    ("-----BEGIN PUBLIC KEY", "is a public key"),
    ("-----BEGIN CERTIFICATE", "is a certificate"),
)


def ssh_key(text: Secret, passphrase: Secret) -> Key:
    """A key for SSH, with its passphrase if it has one. Takes as long as that was made to take, up to a second."""
    key = Key.of(_loaded(text, passphrase))
    if isinstance(key.private, RSAPrivateKey):
        _check_length(key.private)
    return key


def app_key(text: Secret) -> RSAPrivateKey:
    """The key of a GitHub App; it has no passphrase."""
    key = _loaded(text, Secret(""))
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is no RSA key, and GitHub's apps have RSA keys")
    _check_length(key)
    return key


def _loaded(text: Secret, passphrase: Secret) -> object:
    # Variables and programs lose the last newline, and the formats want it.
    data = text.reveal().replace("\r\n", "\n").strip() + "\n"
    password = passphrase.reveal().encode() or None
    for beginning, mistake in _MISTAKEN:
        if data.startswith(beginning):
            raise ValueError(mistake)
    load = load_ssh_private_key if data.startswith("-----BEGIN OPENSSH PRIVATE KEY-----") else load_pem_private_key
    try:
        return load(data.encode(), password)
    except TypeError:
        raise ValueError("has no passphrase, and one is given" if password else "needs a passphrase") from None
    except UnsupportedAlgorithm:
        raise ValueError("is of a kind that is not known here") from None
    except ValueError:
        raise ValueError("cannot be read" + (": is the passphrase right?" if password else "")) from None


def _check_length(key: RSAPrivateKey) -> None:
    if key.key_size < _LEAST_RSA:
        raise ValueError(f"is an RSA key of less than {_LEAST_RSA} bits")
