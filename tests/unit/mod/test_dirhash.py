"""dirhash: h1 of files, zips and go.mod, with the vectors of the specification."""

from __future__ import annotations

import io
import zipfile
from base64 import b64decode
from hashlib import sha256

import pytest

from vcsproxy.errors import Corrupt, NotFound
from vcsproxy.mod import dirhash

EMPTY = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
EXAMPLE = "h1:4JxzP8EGZTRtY31XRzCS+NdHXvhdXbcM6HfDdu6LiZk="
FILES = [("go.mod", b"module example.com/m\n"), ("a b.go", b"package m\n"), ("é.go", b"package m\n")]
PREFIX = "example.com/m@v1.0.0"


def make_zip(files: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(f"{PREFIX}/{name}", data)
    return out


def test_gomod_vectors() -> None:
    assert dirhash.hash_gomod(b"module example.com/m\n") == "h1:flS2VctbRrTv+sBE+VKgxx6hlkMGPVz9MGOmzMYFg3k="
    assert dirhash.hash_gomod(b"") == "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="


def test_zip_vectors() -> None:
    """Case 98: an empty zip; case 100: order and method do not count."""
    assert dirhash.hash_zip(make_zip([])) == EMPTY
    assert dirhash.hash_zip(make_zip(FILES)) == EXAMPLE
    assert dirhash.hash_zip(make_zip(FILES[::-1], zipfile.ZIP_STORED)) == EXAMPLE


def test_directory_entries_count() -> None:
    """Case 100."""
    assert dirhash.hash_zip(make_zip([*FILES, ("dir/", b"")])) != EXAMPLE


def test_dir() -> None:
    assert dirhash.hash_dir(FILES, PREFIX) == EXAMPLE
    opened = io.BytesIO(FILES[0][1])
    assert dirhash.hash_dir([("go.mod", lambda: opened), *FILES[1:]], PREFIX) == EXAMPLE
    assert opened.closed
    assert dirhash.hash_dir([]) == EMPTY


def test_hash1_sorts_by_bytes() -> None:
    """U+FFFD sorts before U+10000, though its UTF-16 form sorts after."""
    pairs = [(name, sha256(name.encode()).hexdigest()) for name in ("\U00010000", "\ufffd", "a", "Z", "a b", "a/b")]
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(pairs))
    wanted = dirhash.hash1(pairs)
    assert wanted == dirhash.hash1(reversed(pairs))
    assert wanted.startswith("h1:")
    assert sha256(text.encode()).digest() == b64decode(wanted[3:])


def test_newline_in_a_name() -> None:
    with pytest.raises(NotFound, match=r"^dirhash: filenames with newlines are not supported$"):
        dirhash.hash1([("a\nb", "")])


def test_damaged_zips() -> None:
    data = make_zip(FILES, zipfile.ZIP_STORED).getvalue()
    for damaged in (b"", data[:-1], data[:40], data.replace(b"package", b"pocket!", 1), b"PK" + bytes(40)):
        with pytest.raises(Corrupt, match=r"^cannot read zip: "):
            dirhash.hash_zip(io.BytesIO(damaged))


def test_zip_stays_open() -> None:
    out = make_zip(FILES)
    dirhash.hash_zip(out)
    assert not out.closed
