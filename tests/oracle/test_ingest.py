"""A pack read in one pass: the same index as git's own, byte for byte, and the same refusals."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.gitrepo import GitRepo, git_env
from tests.support.history import Step, build
from vcsproxy import errors
from vcsproxy.build.job import Limits
from vcsproxy.vcs.ingest import Base, Ingest

STEPS = [
    Step({f"f{n}.txt": "".join(f"line {n} {i * 7919 % 1009}\n" for i in range(200)) + f"version {v}\n" for n in range(25)} | {"big.bin": f"{v}" * 300_000},
         [v - 1] if v else [], f"{1709251200 + v * 86400} +0000", annotated=[f"v1.0.{v}"])
    for v in range(8)
]  # fmt: skip


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def repo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    return build(tmp_path_factory.mktemp(request.param) / "x", STEPS, request.param)


def pack(repo: GitRepo, revs: str, *options: str) -> bytes:
    """What pack-objects makes of revisions, one a line; `^rev` leaves out."""
    command = ["git", "-C", str(repo.path), "pack-objects", "--revs", "--stdout", "-q", *options]
    return subprocess.run(command, input=revs.encode(), env=git_env(), capture_output=True, check=True).stdout


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def ingest(
    data: bytes, work: Path, form: str = "sha1", base: Base = lambda _: None, size: int = 65_000, limits: Limits | None = None
) -> Path:  # fmt: skip
    """Read a pack; the file of the pack, with its index beside it."""
    file = work / "ours.pack"
    with file.open("w+b") as out, file.with_suffix(".idx").open("wb") as index:
        reader = Ingest(out, form, limits or Limits(), base)
        reader.write_index(index, reader.read(pieces(data, size)))
    return file


def index_pack(data: bytes, file: Path, form: str) -> bytes | None:
    """git's index of a pack; None when git refuses it."""
    file.write_bytes(data)
    command = ["git", "index-pack", f"--object-format={form}", "-o", str(file.with_suffix(".idx")), str(file)]
    done = subprocess.run(command, env=git_env(), capture_output=True, check=False)
    return file.with_suffix(".idx").read_bytes() if done.returncode == 0 else None


def form_of(repo: GitRepo) -> str:
    return repo.git("rev-parse", "--show-object-format")


@pytest.mark.parametrize(
    "options", [("--delta-base-offset",), (), ("--window=250", "--depth=250", "--delta-base-offset")]
)
@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_the_index_is_gits(repo: GitRepo, options: tuple[str, ...], size: int, tmp_path: Path) -> None:
    data = pack(repo, "v1.0.7\nv1.0.3\n", *options)
    ours = ingest(data, tmp_path, form_of(repo), size=size)
    assert ours.read_bytes() == data
    assert ours.with_suffix(".idx").read_bytes() == index_pack(data, tmp_path / "git.pack", form_of(repo))


def test_deltas_before_their_bases_are_resolved(tmp_path: Path) -> None:
    base, target = b"x" * 1000, b"x" * 1000 + b"tail"
    delta = hostile.varint(1000) + hostile.varint(1004) + b"\xb0\xe8\x03" + b"\x04tail"
    name = hostile.oid(hostile.BLOB, base)
    data = hostile.pack([hostile.entry(hostile.REF_DELTA, delta, name), hostile.entry(hostile.BLOB, base)])
    ours = ingest(data, tmp_path)
    assert hostile.oid(hostile.BLOB, target) in ours.with_suffix(".idx").read_bytes()
    assert ours.with_suffix(".idx").read_bytes() == index_pack(data, tmp_path / "git.pack", "sha1")


def test_a_thin_pack_is_made_whole(repo: GitRepo, tmp_path: Path) -> None:
    data = pack(repo, "v1.0.7\n^v1.0.6\n", "--thin", "--delta-base-offset")
    assert index_pack(data, tmp_path / "thin.pack", form_of(repo)) is None, "the pack is not thin"
    asked = []

    def base(name: bytes) -> tuple[int, bytes] | None:
        asked.append(name)
        kind = repo.git("cat-file", "-t", name.hex())
        command = ["git", "-C", str(repo.path), "cat-file", kind, name.hex()]
        content = subprocess.run(command, env=git_env(), capture_output=True, check=True).stdout
        return {"commit": 1, "tree": 2, "blob": 3, "tag": 4}[kind], content

    ours = ingest(data, tmp_path, form_of(repo), base)
    assert asked
    assert ours.with_suffix(".idx").read_bytes() == index_pack(ours.read_bytes(), tmp_path / "git.pack", form_of(repo))


def test_a_thin_pack_without_its_bases_is_refused(repo: GitRepo, tmp_path: Path) -> None:
    data = pack(repo, "v1.0.7\n^v1.0.6\n", "--thin", "--delta-base-offset")
    with pytest.raises(errors.HostUnreachable, match="no base"):
        ingest(data, tmp_path, form_of(repo))


def test_no_flipped_byte_and_no_cut_passes(repo: GitRepo, tmp_path: Path) -> None:
    data = pack(repo, "v1.0.1\n", "--delta-base-offset")
    chance = random.Random(7)
    damaged = [data[:at] for at in chance.sample(range(len(data)), 40)] + [data + b"x"]
    for _ in range(200):
        at = chance.randrange(len(data))
        damaged.append(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
    for each in damaged:
        with pytest.raises((errors.HostUnreachable, errors.Refused)):
            ingest(each, tmp_path, form_of(repo))


def test_what_is_not_in_the_cache_any_more_is_read_from_the_file(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcsproxy.vcs.ingest._CACHE", 1)
    data = pack(repo, "v1.0.7\n", "--window=250", "--depth=250", "--delta-base-offset")
    ours = ingest(data, tmp_path, form_of(repo))
    assert ours.with_suffix(".idx").read_bytes() == index_pack(data, tmp_path / "git.pack", form_of(repo))


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (hostile.delta_bomb(1 << 32)[0], Limits()),
        (hostile.delta_bomb(1 << 20)[0], Limits(object=1 << 19)),
        (hostile.pack([hostile.entry(hostile.BLOB, b"x" * 100_000)]), Limits(object=99_999)),
        (hostile.pack([hostile.entry(hostile.BLOB, b"%d" % n) for n in range(11)]), Limits(objects=10)),
    ],
    ids=["4 GiB delta", "delta beyond the limit", "blob beyond the limit", "too many objects"],
)
def test_limits_hold_before_anything_is_made(data: bytes, limits: Limits, tmp_path: Path) -> None:
    with pytest.raises(errors.Refused):
        ingest(data, tmp_path, limits=limits)
