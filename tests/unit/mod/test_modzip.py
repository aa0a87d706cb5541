"""modzip: which files belong in a module zip, and the layout of the zip."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Iterator

import pytest

from vcsproxy.errors import NotFound
from vcsproxy.mod import dirhash, modzip, zipwriter
from vcsproxy.mod.modzip import FileFact, Kind

VENDORED = "file is in vendor directory"
OTHER_MODULE = "file is in another module"


def check(*files: str | FileFact, go: str = "") -> modzip.Checked:
    return modzip.check_files([f if isinstance(f, FileFact) else FileFact(f, 1) for f in files], go)


def kept(*files: str | FileFact, go: str = "") -> list[str]:
    return [file.path for file in check(*files, go=go).valid]


def fault(*files: str | FileFact) -> str:
    with pytest.raises(NotFound) as caught:
        check(*files).raise_for_problems()
    return caught.value.message


VENDOR_FILES = [
    *("vendor/modules.txt", "vendor/f.go", "vendor/a/b.go", "pkg/vendor/vendor.go", "x/vendor/modules.txt"),
    *("a/b/vendor/q.go", "x/vendor/a/b.go", "vendored/x.go", "ab/vendor1/x/y"),
]


@pytest.mark.parametrize("go", ["", "1.20", "1.23", "1.23.9", "nonsense", "1.24.1rc1"])
def test_vendor_before_go_1_24(go: str) -> None:
    """Cases 82 and 84."""
    assert kept(*VENDOR_FILES, go=go) == ["vendor/modules.txt", "vendor/f.go", "vendored/x.go", "ab/vendor1/x/y"]


@pytest.mark.parametrize("go", ["1.24", "1.24rc1", "1.24.0", "1.25.1", "1.100", "2.0"])
def test_vendor_from_go_1_24(go: str) -> None:
    """Cases 83 and 84."""
    found = check(*VENDOR_FILES, go=go)
    dropped = ["vendor/modules.txt", "vendor/a/b.go", "x/vendor/a/b.go"]
    assert [file.path for file in found.valid] == [name for name in VENDOR_FILES if name not in dropped]
    assert found.omitted == tuple((name, VENDORED) for name in dropped)
    assert not modzip.is_vendored_package("pkg/vendor/vendor.go", go)
    assert modzip.is_vendored_package("pkg/vendor/vendor.go", "1.23")


def test_nested_modules() -> None:
    """Case 85; the root's own go.mod makes no nested module of it."""
    assert kept("go.mod", "a.go", "n/go.mod", "n/a.go", "n/m/b.go", "m/GO.MOD", "m/x", "nn/a.go") == [
        "go.mod",
        "a.go",
        "nn/a.go",
    ]
    assert kept(FileFact("n/go.mod", 1, Kind.SYMLINK), "n/a.go") == ["n/a.go"]
    assert kept("n/go.mod/x", "n/a.go") == ["n/go.mod/x", "n/a.go"]
    assert kept("a/b/go.mod", "a/b/c/d/e", "a/c", "a/b/c/go.mod") == ["a/c"]
    assert check("n/go.mod").omitted == (("n/go.mod", OTHER_MODULE),)


def test_symlinks_and_other_kinds() -> None:
    """Case 86."""
    found = check(FileFact("l", 5, Kind.SYMLINK), FileFact("s", 0, Kind.OTHER), ".gitmodules", ".gitattributes")
    assert [file.path for file in found.valid] == [".gitmodules", ".gitattributes"]
    assert found.omitted == (("l", "file is a symbolic link"), ("s", "not a regular file"))
    found.raise_for_problems()


def test_symlinks_with_bad_names() -> None:
    """Case 87."""
    assert fault(FileFact("bad:link", 1, Kind.SYMLINK)) == (
        "create zip: bad:link: malformed file path \"bad:link\": invalid char ':'"
    )
    assert "collision" in fault("a", FileFact("A", 1, Kind.SYMLINK))


@pytest.mark.parametrize("name", ["a:b", "\udcff", "sub/NUL", "x/y./z", "e\u0301", "vendor/a:b"])
def test_bad_names(name: str) -> None:
    """Case 88; the path in the message is fit to be sent."""
    message = fault("go.mod", name)
    assert message.startswith("create zip: " + name.replace("\udcff", "\ufffd") + ": malformed file path ")
    message.encode()


def test_good_names() -> None:
    """Case 89."""
    names = [
        "a b.go",
        "x ",
        " ",
        "é.go",
        "\U00020000",
        "-dash",
        "..foo",
        ".hidden",
        "go.mod.bak",
        "a!b#$%&()+,-.=@[]^_{}",
    ]
    assert kept(*names) == names


def test_bad_names_that_are_left_out() -> None:
    """Case 90."""
    found = check("vendor/x/a:b", "n/go.mod", "n/a:b", ".hg_archival.txt", "x/.hg_archival.txt")
    assert [file.path for file in found.valid] == ["x/.hg_archival.txt"]
    assert [path for path, _ in found.omitted] == ["vendor/x/a:b", "n/go.mod", "n/a:b", ".hg_archival.txt"]
    assert not found.invalid


def test_gomod_in_another_case() -> None:
    """Case 91."""
    assert fault("Go.mod") == "create zip: Go.mod: go.mod files must have lowercase names"
    assert fault("go.mod", "GO.MOD") == "create zip: GO.MOD: go.mod files must have lowercase names"


@pytest.mark.parametrize(
    ("first", "second", "collision"),
    [
        ("Foo.go", "foo.go", '"Foo.go" and "foo.go"'),
        ("Dir/a", "dir/b", '"Dir" and "dir"'),
        ("k", "\u212a", '"k" and "\u212a"'),
        ("s", "ſ", '"s" and "ſ"'),
        ("ß", "ẞ", '"ß" and "ẞ"'),
        ("Σ", "ς", '"Σ" and "ς"'),
        ("LICENSE", "license", '"LICENSE" and "license"'),
        ("a/B/c/d", "a/b/C/e", '"a/B/c" and "a/b/C"'),
    ],
)
def test_collisions(first: str, second: str, collision: str) -> None:
    """Case 92."""
    assert fault(first, second) == f"create zip: {second}: case-insensitive file name collision: {collision}"


def test_no_collisions() -> None:
    """Case 92."""
    for pair in (("ß", "ss"), ("I", "ı"), ("İ", "i")):
        assert kept(*pair) == [*pair]


def test_file_and_directory() -> None:
    assert fault("a/x", "a") == 'create zip: a: entry "a" is both a file and a directory'
    assert fault("LICENSE/x", "b", "LICENSE") == 'create zip: LICENSE: entry "LICENSE" is both a file and a directory'
    assert fault("a", "a/x/y") == 'create zip: a/x/y: entry "a" is both a file and a directory'
    assert fault("a", "a") == 'create zip: a: multiple entries for file "a"'


def test_a_collision_of_directories_is_told_for_each_file() -> None:
    assert fault("D/a", "d/b", "d/c", "d/e/f").count('case-insensitive file name collision: "D" and "d"') == 3


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a//b", "clean"),
        ("./a", "clean"),
        ("a/", "clean"),
        ("a/../b", "clean"),
        ("", "clean"),
        ("/a", "relative"),
        ("//a", "clean"),
        ("/", "relative"),
        ("/..", "clean"),
        ("../../../a/..", "clean"),
    ],
)
def test_odd_paths(path: str, reason: str) -> None:
    assert check(path).invalid == ((path, f"file path is not {reason}"),)


@pytest.mark.parametrize("path", [".", "..", "../a", "../../a"])
def test_clean_paths_that_no_file_has(path: str) -> None:
    assert check(path).invalid[0][1].startswith("malformed file path")


def test_all_problems_are_told() -> None:
    assert fault("a:", "b", "B").split("\n") == [
        "create zip: a:: malformed file path \"a:\": invalid char ':'",
        'B: case-insensitive file name collision: "b" and "B"',
    ]


def test_total_size() -> None:
    """Case 99."""
    too_large = "create zip: module source tree too large (max size is 524288000 bytes)"
    check(FileFact("a", 524288000 - 1), "b").raise_for_problems()
    assert fault(FileFact("a", 524288000), "b") == too_large
    assert fault(FileFact("a", 524288001), "b:") == too_large
    left_out = [FileFact("vendor/a/b", 10**12), FileFact("l", 10**12, Kind.SYMLINK)]
    check(FileFact("a", 524288000), *left_out).raise_for_problems()


def test_sizes_of_single_files() -> None:
    """Case 99."""
    for name in ("go.mod", "LICENSE"):
        check(FileFact(name, 16777216)).raise_for_problems()
        assert (
            fault(FileFact(name, 16777217)) == f"create zip: {name}: {name} file too large (max size is 16777216 bytes)"
        )
    check(FileFact("x/LICENSE", 16777217)).raise_for_problems()


def test_deep_and_wide_trees() -> None:
    """Work grows with the names' length: a quadratic rule would not end here."""
    deep = [FileFact("/".join([f"d{i}", *["x" * 20] * 126, "f"]), 1) for i in range(200)]
    wide = [FileFact(f"p{i % 20}/q{i % 2000}/f{i}", 1) for i in range(20_000)]
    found = modzip.check_files([*deep, *wide], "1.24")
    assert len(found.valid) == len(deep) + len(wide)
    one = modzip.check_files([FileFact("/".join("a" * 5000), 1)], "")
    assert len(one.valid) == 1


# ---- writing


def write(*files: tuple[str, bytes], path: str = "example.com/m", version: str = "v1.0.0") -> tuple[bytes, str]:
    out = io.BytesIO()
    writer = zipwriter.ZipWriter(out, path, version)
    for name, data in files:
        writer.add(name, data)
    h1 = writer.close()
    return out.getvalue(), h1


def test_empty_module() -> None:
    """Case 98."""
    data, h1 = write()
    assert len(data) == 22
    assert h1 == "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_vector() -> None:
    files = [("go.mod", b"module example.com/m\n"), ("a b.go", b"package m\n"), ("é.go", b"package m\n")]
    data, h1 = write(*files)
    assert h1 == "h1:4JxzP8EGZTRtY31XRzCS+NdHXvhdXbcM6HfDdu6LiZk="
    assert dirhash.hash_zip(io.BytesIO(data)) == h1
    assert write(*reversed(files))[1] == h1


def test_layout() -> None:
    names = ["a", "b~", "é", "c}", "d e"]
    data, _ = write(*((name, b"x" * 100) for name in names))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        assert [e.filename for e in entries] == [f"example.com/m@v1.0.0/{name}" for name in names]
        assert [e.flag_bits for e in entries] == [0x8, 0x808, 0x808, 0x8, 0x8]
        for e in entries:
            assert (e.compress_type, e.create_version, e.extract_version, e.create_system) == (8, 20, 20, 0)
            assert (e.external_attr, e.internal_attr, e.extra, e.comment) == (0, 0, b"", b"")
            assert e.date_time == (1980, 0, 0, 0, 0, 0)
            assert archive.read(e) == b"x" * 100


def test_flag_of_the_whole_name() -> None:
    data, _ = write(("a", b""), path="example.com/~x")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.infolist()[0].flag_bits == 0x808


def test_chunks_do_not_count() -> None:
    content = random.Random(1).randbytes(3 << 20) + bytes(3 << 20)

    def pieces(size: int) -> Iterator[bytes]:
        yield from (content[at : at + size] for at in range(0, len(content), size))

    whole = write(("a", content))
    for size in (1 << 20, 1000):
        out = io.BytesIO()
        writer = zipwriter.ZipWriter(out, "example.com/m", "v1.0.0")
        writer.add("a", pieces(size))
        assert writer.close() == whole[1]
        with zipfile.ZipFile(out) as archive:
            assert archive.read("example.com/m@v1.0.0/a") == content
    assert write(("a", content)) == whole


def test_writes_to_what_cannot_seek() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return 0

    out = Pipe()
    writer = zipwriter.ZipWriter(out, "example.com/m", "v1.0.0")  # type: ignore[arg-type]
    writer.add("a", b"x")
    assert (writer.close(), bytes(out.data)) == write(("a", b"x"))[::-1]


def deflated(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(content) + deflate.flush()


def test_streams_that_exist_already() -> None:
    content = b"package m\n" * 300_000
    out = io.BytesIO()
    writer = zipwriter.ZipWriter(out, "example.com/m", "v1.0.0")
    writer.add_whole("a", content, deflated(content))
    writer.add_whole("b", b"", deflated(b""))
    assert writer.close() == write(("a", content), ("b", b""))[1]
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert archive.read("example.com/m@v1.0.0/a") == content


def new_writer() -> zipwriter.ZipWriter:
    return zipwriter.ZipWriter(io.BytesIO(), "example.com/m", "v1.0.0")


def test_name_too_long() -> None:
    with pytest.raises(NotFound, match=r"FileHeader\.Name too long$"):
        new_writer().add("x" * 65536, b"")


def test_closed() -> None:
    writer = new_writer()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.add("a", b"")
