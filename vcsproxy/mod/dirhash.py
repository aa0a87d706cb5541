"""The `h1:` hashes of go.sum: one SHA-256 over the sorted lines `SHA-256 of the file, two blanks, name`.

Not a hash of the zip's bytes: order, compression and times of a zip do not count, its names and contents do.

Source: golang.org/x/mod/sumdb/dirhash (Hash1, HashZip, HashDir); cmd/go/internal/modfetch (goModSum).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import BinaryIO

from vcsproxy.errors import Corrupt, NotFound

_CHUNK = 1 << 18
_UTF8_NAME = 0x800
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error)


def hash1(pairs: Iterable[tuple[str, str]]) -> str:
    """h1 of (name, hexadecimal SHA-256 of the content) pairs in any order. Raises NotFound for a newline in a name."""
    return _hash1((name.encode("utf-8", "surrogateescape"), digest) for name, digest in pairs)


def hash_gomod(data: bytes) -> str:
    """h1 of a `.mod` file: the hash of one file that is called go.mod."""
    return hash1([("go.mod", sha256(data).hexdigest())])


def hash_dir(files: Iterable[tuple[str, bytes | Callable[[], BinaryIO]]], prefix: str = "") -> str:
    """h1 of files, each with its content or with what opens it; names get `prefix/` in front (PATH@VERSION).

    An opened file is closed again.
    """
    start = prefix + "/" if prefix else ""
    return hash1((start + name, _content_hash(content)) for name, content in files)


def hash_zip(fileobj: BinaryIO) -> str:
    """h1 of a zip, over every entry of its central directory, directories too; `fileobj` can seek and stays open.

    Holds one chunk in memory. Raises Corrupt when the zip cannot be read to its end.
    """
    try:
        with zipfile.ZipFile(fileobj) as archive:
            return _hash1(_zip_pairs(archive))
    except _UNREADABLE as err:
        raise Corrupt(f"cannot read zip: {err}", "the file is damaged; fetch it again") from err


def _hash1(pairs: Iterable[tuple[bytes, str]]) -> str:
    total = sha256()
    for name, digest in sorted(pairs):
        if b"\n" in name:
            raise NotFound("dirhash: filenames with newlines are not supported")
        total.update(digest.encode() + b"  " + name + b"\n")
    return "h1:" + b64encode(total.digest()).decode()


def _zip_pairs(archive: zipfile.ZipFile) -> Iterator[tuple[bytes, str]]:
    # Of several entries with one name Go reads the last, each time.
    last = {_raw_name(entry): entry for entry in archive.infolist()}
    digests = {name: _entry_hash(archive, entry) for name, entry in last.items()}
    for entry in archive.infolist():
        name = _raw_name(entry)
        yield name, digests[name]


def _raw_name(entry: zipfile.ZipInfo) -> bytes:
    """The name's bytes: zipfile changes `filename`, and decodes by a code page where the UTF-8 flag is not set."""
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8_NAME else "cp437")


def _entry_hash(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    if entry.orig_filename.endswith("/"):
        return sha256().hexdigest()
    with archive.open(entry) as stream:
        return _stream_hash(stream.read)


def _content_hash(content: bytes | Callable[[], BinaryIO]) -> str:
    if isinstance(content, bytes):
        return sha256(content).hexdigest()
    with content() as stream:
        return _stream_hash(stream.read)


def _stream_hash(read: Callable[[int], bytes]) -> str:
    digest = sha256()
    while chunk := read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
