"""Bundles: what goes in, what comes out, and every way in which one can be wrong."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.moduletree import A1, A2, OLD, SEVERAL, B, Version, proxy_tree
from tests.support.oddzips import BAD, GOOD
from tests.unit.mirror.conftest import expected, h1s
from vcsproxy import errors
from vcsproxy.mirror import bundle, bundleformat, bundleread, intake, signature, tarstream
from vcsproxy.mirror.admit import Outcome, Result
from vcsproxy.mirror.bundle import Wish
from vcsproxy.mirror.bundleformat import File, Manifest, Packed
from vcsproxy.mod import gosum
from vcsproxy.store import Artifacts
from vcsproxy.store.disk import DiskStore


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[DiskStore]:
    """Another store, empty."""
    opened = DiskStore(tmp_path / "other" / "store", tmp_path / "other" / "tmp", small_bytes=0)
    yield opened
    await opened.close()


async def filled(store: DiskStore, tree: Path, *versions: Version) -> None:
    results: list[Result] = []
    await intake.take_in(store, intake.search(proxy_tree(tree, *versions), None)[1], {}, results.append)
    assert {result.outcome for result in results} == {Outcome.ADDED}


async def pack(store: DiskStore, out: Path, wishes: Iterable[Wish] | None = None, **more: Any) -> Manifest:
    return await bundle.create(store, await bundle.everything(store) if wishes is None else wishes, out, **more)


async def unpack(store: DiskStore, data: bytes | Path, key: Any = None) -> dict[str, list[str]]:
    """What became of the versions: outcome -> sorted "path@version" or, if refused, reasons."""
    results: list[Result] = []
    with io.BytesIO(data.read_bytes() if isinstance(data, Path) else data) as stream:
        opened = bundleread.open_bundle(stream, key)
        await bundleread.import_bundle(store, opened, results.append)
    return told(results)


def told(results: list[Result]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in results:
        found.setdefault(each.outcome.value, []).append(each.reason or f"{each.path}@{each.version}")
    return {outcome: sorted(texts) for outcome, texts in found.items()}


async def verified(data: bytes) -> dict[str, list[str]]:
    results: list[Result] = []
    with io.BytesIO(data) as stream:
        await bundleread.verify(bundleread.open_bundle(stream, None), results.append)
    return told(results)


NAMES = sorted(expected(*SEVERAL))


# --- there and back ---


async def test_a_bundle_brings_a_store_to_another_place(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    await filled(store, tmp_path / "tree", *SEVERAL)
    await store.publish("example.com/small", "v1.0.0", small("example.com/small"))
    manifest = await pack(store, tmp_path / "b")
    everything = sorted([*NAMES, "example.com/small@v1.0.0"])
    assert manifest.count == len(everything)
    assert await verified((tmp_path / "b").read_bytes()) == {"sound": everything}
    assert await unpack(other, tmp_path / "b") == {"added": everything}
    assert await h1s(other) == await h1s(store) == expected(*SEVERAL) | {"example.com/small@v1.0.0": ""}
    assert await unpack(other, tmp_path / "b") == {"present": everything}
    again = await pack(other, tmp_path / "again")
    assert again.sha256 == manifest.sha256
    assert (tmp_path / "again").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again", "b", "data", "other", "tree"]
    assert list((tmp_path / "other" / "tmp").glob("*/work-*")) == []


def small(path: str) -> Artifacts:
    return Artifacts(b'{"Version":"v1.0.0","Time":"2024-03-01T00:00:00Z"}', f"module {path}\n".encode(), None, "")


async def test_order_and_time_do_not_change_a_byte(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    await filled(store, tmp_path / "tree", *SEVERAL)
    await filled(other, tmp_path / "elsewhere", *reversed(SEVERAL))
    await pack(store, tmp_path / "a", [Wish(each.path, each.version) for each in SEVERAL])
    await pack(other, tmp_path / "b", [Wish(each.path, each.version) for each in reversed(SEVERAL)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


async def test_go_sum_chooses_zips_and_go_mod_files(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    await filled(store, tmp_path / "tree", *SEVERAL)
    text = A1.sums + f"{B.path} {B.version}/go.mod {B.gomod_h1}\n"
    await pack(store, tmp_path / "b", bundle.wishes_of(gosum.parse(text)))
    await unpack(other, tmp_path / "b")
    assert await h1s(other) == expected(A1) | {f"{B.path}@{B.version}": ""}


@pytest.mark.parametrize("forged", ["zip", "gomod"])
async def test_a_go_sum_that_says_otherwise(store: DiskStore, tmp_path: Path, forged: str) -> None:
    await filled(store, tmp_path / "tree", A1)
    wish = replace(Wish(A1.path, A1.version, True, A1.h1, A1.gomod_h1), **{f"{forged}_h1": B.h1})
    with pytest.raises(errors.Refused, match=r"go\.sum has"):
        await pack(store, tmp_path / "b", [wish])
    assert not (tmp_path / "b").exists()


async def test_what_the_store_does_not_have_is_named(store: DiskStore, tmp_path: Path) -> None:
    await store.publish("example.com/small", "v1.0.0", small("example.com/small"))
    wishes = [Wish(A1.path, A1.version), Wish("example.com/small", "v1.0.0", whole=True)]
    with pytest.raises(errors.NotFound, match=r"example.com/a@v1.0.0, example.com/small@v1.0.0") as caught:
        await pack(store, tmp_path / "b", wishes)
    assert caught.value.hint
    assert not (tmp_path / "b").exists()


async def test_an_incremental_bundle_has_only_what_is_new(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    await filled(store, tmp_path / "one", A1, OLD)
    await store.publish("example.com/b", "v1.0.0", small("example.com/b"))
    first = await pack(store, tmp_path / "first")
    await filled(store, tmp_path / "two", A2, B)
    second = await pack(store, tmp_path / "second", bases=[bundleread.read_manifest(tmp_path / "first")])
    assert second.bases == (first.sha256,)
    assert [each.version for each in second.versions()] == [B.version, A2.version]
    (tmp_path / "manifest.json").write_bytes(second.data)
    bases = [first, bundleread.read_manifest(tmp_path / "manifest.json")]
    assert (await pack(store, tmp_path / "third", bases=bases)).count == 0
    assert await unpack(other, tmp_path / "third") == {}
    await unpack(other, tmp_path / "first")
    await unpack(other, tmp_path / "second")
    assert await h1s(other) == await h1s(store)


async def test_a_zip_that_came_later_makes_a_version_new(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    await store.publish(A1.path, A1.version, Artifacts(A1.info, A1.mod, None, ""))
    first = await pack(store, tmp_path / "first")
    await filled(store, tmp_path / "tree", A1)
    assert (await pack(store, tmp_path / "second", bases=[first])).count == 1
    await unpack(other, tmp_path / "first")
    assert await unpack(other, tmp_path / "second") == {"added": ["example.com/a@v1.0.0"]}
    assert await h1s(other) == expected(A1)


# --- signatures ---


@dataclass(frozen=True)
class Keys:
    private: Path
    public: Path

    @classmethod
    def make(cls, directory: Path, name: str) -> Keys:
        key = Ed25519PrivateKey.generate()
        keys = cls(directory / f"{name}.pem", directory / f"{name}.pub")
        keys.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        keys.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return keys


async def test_a_signature_is_demanded_and_checked(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    mine, yours = Keys.make(tmp_path, "mine"), Keys.make(tmp_path, "yours")
    await filled(store, tmp_path / "tree", A1)
    await pack(store, tmp_path / "plain")
    await pack(store, tmp_path / "signed", key=signature.private_key(mine.private))
    for data, key, why in (
        (tmp_path / "plain", mine.public, "not signed"),
        (tmp_path / "signed", yours.public, "not by this key"),
    ):
        with pytest.raises(errors.Refused, match=why):
            await unpack(other, data, signature.public_key(key))
    assert await h1s(other) == {}
    assert await unpack(other, tmp_path / "signed", signature.public_key(mine.public)) == {"added": [NAMES[1]]}
    assert await unpack(other, tmp_path / "signed") == {"present": [NAMES[1]]}


async def test_a_signed_manifest_cannot_be_changed(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    keys = Keys.make(tmp_path, "mine")
    await filled(store, tmp_path / "tree", A1)
    key = signature.private_key(keys.private)
    manifest = await pack(store, tmp_path / "b", key=key)
    forged = bundleformat.write([], [replace(each, commit="b" * 40) for each in manifest.versions()])
    with pytest.raises(errors.Refused, match="or the manifest was changed"):
        await unpack(other, forge(forged, contents_of(A1), key.sign(manifest.data)), signature.public_key(keys.public))


async def test_openssl_makes_the_keys_and_checks_the_signature(store: DiskStore, tmp_path: Path) -> None:
    def openssl(*args: object) -> None:
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)

    try:
        openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl here that knows Ed25519")
    openssl("pkey", "-in", tmp_path / "key.pem", "-pubout", "-out", tmp_path / "pub.pem")
    await filled(store, tmp_path / "tree", A1)
    manifest = await pack(store, tmp_path / "b", key=signature.private_key(tmp_path / "key.pem"))
    with (tmp_path / "b").open("rb") as stream:
        bundleread.open_bundle(stream, signature.public_key(tmp_path / "pub.pem"))
    (tmp_path / "manifest").write_bytes(manifest.data)
    (tmp_path / "sig").write_bytes(signature.private_key(tmp_path / "key.pem").sign(manifest.data))
    check = ("pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "pub.pem", "-rawin")
    openssl(*check, "-in", tmp_path / "manifest", "-sigfile", tmp_path / "sig")


def test_keys_that_are_none(tmp_path: Path) -> None:
    keys = Keys.make(tmp_path, "mine")
    (tmp_path / "none").write_text("secret text")
    for load, file in (
        (signature.private_key, keys.public), (signature.public_key, keys.private),
        (signature.private_key, tmp_path / "none"), (signature.public_key, tmp_path / "none"),
        (signature.public_key, tmp_path / "missing"),
    ):  # fmt: skip
        with pytest.raises(errors.InvalidRequest) as caught:
            load(file)
        assert "secret" not in str(caught.value)


# --- bundles that somebody else made ---


def contents_of(version: Version) -> list[bytes]:
    return [version.info, version.mod, version.h1.encode(), version.zip]


def described(version: Version, contents: list[bytes] | None = None, **more: Any) -> Packed:
    datas = contents_of(version) if contents is None else contents
    names = bundleformat.names(version.path, version.version, whole=len(datas) == 4)
    files = tuple(File(name, len(data), sha256(data).hexdigest()) for name, data in zip(names, datas, strict=True))
    packed = Packed(version.path, version.version, version.commit, version.time, version.h1, version.gomod_h1, files)
    return replace(packed, **more)


def forge(manifest: Manifest | bytes, contents: list[bytes], signed: bytes | None = None) -> bytes:
    """A bundle with this manifest; contents in the order of its files, under its names."""
    out = io.BytesIO()
    writer = tarstream.Writer(out)
    data = manifest if isinstance(manifest, bytes) else manifest.data
    writer.member("manifest.json", len(data), [data])
    if signed is not None:
        writer.member("manifest.sig", 64, [signed])
    names = [file.name for each in manifest.versions() for file in each.files] if isinstance(manifest, Manifest) else []
    for name, content in zip(names, contents, strict=True):
        writer.member(name, len(content), [content])
    writer.close()
    return out.getvalue()


async def test_what_others_pack_is_packed_anew(other: DiskStore, tmp_path: Path) -> None:
    version = Version("example.com/m", "v1.0.0")
    data = GOOD["descriptors without the mark"]
    contents = [version.info, b"module example.com/m\n\ngo 1.20\n", version.h1.encode(), data]
    found = forge(bundleformat.write([], [described(version, contents)]), contents)
    assert await unpack(other, found) == {"added": ["example.com/m@v1.0.0"]}
    stored = next((tmp_path / "other" / "store").rglob("*.zip")).read_bytes()
    assert stored != data


LYING: dict[str, tuple[str, Callable[[], tuple[Packed, list[bytes]]]]] = {
    "the h1": ("zip hash differs", lambda: (described(A1, [*contents_of(A1)[:2], B.h1.encode(), A1.zip], zip_h1=B.h1), [*contents_of(A1)[:2], B.h1.encode(), A1.zip])),
    "the h1 of go.mod": ("go.mod hash differs", lambda: (described(A1, gomod_h1=B.gomod_h1), contents_of(A1))),
    ".ziphash": (".ziphash has another h1", lambda: (described(A1, lied := [A1.info, A1.mod, B.h1.encode(), A1.zip]), lied)),
    "the commit": (".info has another commit", lambda: (described(A1, commit="b" * 40), contents_of(A1))),
    "the time": (".info has another commit or time", lambda: (described(A1, time="2020-01-01T00:00:00Z"), contents_of(A1))),
    "the SHA-256 of the zip": ("v1.0.0.zip has SHA-256", lambda: (described(A1), [*contents_of(A1)[:3], A1.zip[:-1] + b"\1"])),
    "the SHA-256 of .info": ("v1.0.0.info has SHA-256", lambda: (described(A1), [A1.info[:-1] + b" ", *contents_of(A1)[1:]])),
    "the version in .info": (".info is that of version", lambda: (described(A1, lied := [A2.info, *contents_of(A1)[1:]]), lied)),
    "the zip": ("zip: ", lambda: (described(A1, lied := [*contents_of(A1)[:3], BAD["a way out"]]), lied)),
}  # fmt: skip


@pytest.mark.parametrize("what", LYING)
async def test_a_version_with_a_lie_is_refused_and_the_others_come_in(other: DiskStore, what: str) -> None:
    pattern, make = LYING[what]
    packed, contents = make()
    manifest = bundleformat.write([], [packed, described(A2)])
    data = forge(manifest, [*contents, *contents_of(A2)])
    for found in (await verified(data), await unpack(other, data)):
        (reason,) = found["refused"]
        assert pattern in reason
    assert await h1s(other) == expected(A2)


async def test_i2_a_bundle_changes_nothing_that_was_published(store: DiskStore, tmp_path: Path) -> None:
    await filled(store, tmp_path / "tree", A1)
    evil = replace(A1, files={"m.go": b"package evil\n"})
    found = await unpack(store, forge(bundleformat.write([], [described(evil)]), contents_of(evil)))
    assert found == {"refused": [f"zip has changed: published as {A1.h1}, now {evil.h1}"]}
    assert await h1s(store) == expected(A1)


async def test_a_truncated_bundle_imports_only_what_came_whole(
    store: DiskStore, other: DiskStore, tmp_path: Path
) -> None:
    await filled(store, tmp_path / "tree", *SEVERAL)
    await pack(store, tmp_path / "b")
    data = (tmp_path / "b").read_bytes()
    right = expected(*SEVERAL)
    for end in sorted({*range(1, len(data), 211), len(data) - 1}):
        with pytest.raises(errors.Refused, match=r"ends too early|damaged"):
            await unpack(other, data[:end])
        assert (await h1s(other)).items() <= right.items()
    await unpack(other, data)
    assert await h1s(other) == right


MANIFEST = bundleformat.write([], [described(A1), described(A2)]).data
LINES = MANIFEST.split(b"\n")


def edited(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The manifest with another first version, written as ours are."""
    value = json.loads(LINES[1].rstrip(b","))
    value = change(value) or value
    return b"\n".join([LINES[0], json.dumps(value, separators=(",", ":")).encode() + b",", *LINES[2:]])


def with_file(number: int, **fields: Any) -> bytes:
    return edited(lambda value: value["files"][number].update(fields))


WRONG_MANIFESTS = {
    "empty": b"",
    "no JSON": b"{",
    "another format": MANIFEST.replace(b'"version":1', b'"version":2', 1),
    "not ours": MANIFEST.replace(b"vcsproxy-bundle", b"some-bundle", 1),
    "written with blanks": MANIFEST.replace(b'"path":', b'"path": ', 1),
    "an unknown field": edited(lambda value: value.update(more=1)),
    "a missing field": edited(lambda value: value.pop("commit") and None),
    "a field twice": MANIFEST.replace(b'"path":', b'"path":"example.com/x","path":', 1),
    "a number as a path": edited(lambda value: value.update(path=1)),
    "no object": edited(lambda value: [value]),
    "a path that is none": edited(lambda value: value.update(path="../../etc")),
    "a version that is none": edited(lambda value: value.update(version="v1.0")),
    "no h1": edited(lambda value: value.update(zip_h1="h1:")),
    "no h1 of go.mod": edited(lambda value: value.update(gomod_h1="")),
    "no zip and an h1": edited(lambda value: value["files"].pop() and None),
    "a zip and no h1": edited(lambda value: value.update(zip_h1="")),
    "a name that leads elsewhere": with_file(0, name="../../../etc/passwd"),
    "an absolute name": with_file(0, name="/etc/passwd"),
    "a name of another version": with_file(0, name="example.com/a/@v/v1.1.0.info"),
    "a file more": edited(lambda value: value["files"].append(value["files"][0])),
    "files in another order": edited(lambda value: value["files"].reverse()),
    "a negative size": with_file(3, size=-1),
    "a size that is true": with_file(3, size=True),
    "a large .info": with_file(0, size=(1 << 20) + 1),
    "a large zip": with_file(3, size=(500 << 20) + 1),
    "a SHA-256 in capitals": with_file(0, sha256="A" * 64),
    "a version twice": b"\n".join([LINES[0], LINES[1], LINES[1], *LINES[2:]]),
    "versions in another order": b"\n".join([LINES[0], LINES[2] + b",", LINES[1].rstrip(b","), *LINES[3:]]),
    "no comma": MANIFEST.replace(b"]},\n", b"]}\n", 1),
    "a comma too many": MANIFEST.replace(b"]}\n]}", b"]},\n]}", 1),
    "a line more": MANIFEST + b"\n",
    "no last line": MANIFEST[:-1],
    "bases that are none": MANIFEST.replace(b'"bases":[]', b'"bases":["x"]', 1),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_MANIFESTS)
async def test_a_manifest_that_is_not_right_imports_nothing(other: DiskStore, what: str) -> None:
    assert bundleformat.read(MANIFEST).count == 2
    with pytest.raises(errors.Refused):
        bundleformat.read(WRONG_MANIFESTS[what])
    with pytest.raises(errors.Refused):
        await unpack(other, forge(WRONG_MANIFESTS[what], []))
    assert await h1s(other) == {}


async def test_a_file_that_is_not_where_the_manifest_says_ends_the_import(other: DiskStore) -> None:
    out = io.BytesIO()
    writer = tarstream.Writer(out)
    writer.member("manifest.json", len(MANIFEST), [MANIFEST])
    for name, data in zip(bundleformat.names(A1.path, A1.version, whole=True), contents_of(A1), strict=True):
        writer.member(name, len(data), [data])
    writer.member("example.com/a/@v/v9.9.9.info", len(A2.info), [A2.info])
    writer.close()
    with pytest.raises(errors.Refused, match=r"v1\.1\.0\.info where its manifest says"):
        await unpack(other, out.getvalue())
    assert await h1s(other) == expected(A1)


def test_files_that_are_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "zip").write_bytes(A1.zip)
    with pytest.raises(errors.Refused, match="damaged, or none"):
        bundleread.read_manifest(tmp_path / "zip")
    with pytest.raises(errors.InvalidRequest):
        bundleread.read_manifest(tmp_path / "none")
