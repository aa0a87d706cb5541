"""Laws of mod/ for inputs that hypothesis makes up; each docstring has the sentence it proves."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from hashlib import sha256
from random import Random
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vcsproxy.errors import InvalidRequest, NotFound
from vcsproxy.mod import dirhash, glob, gosum, gover, letters, module, modzip, proxypath, pseudo, semver, zipwriter

steady = settings(max_examples=150, derandomize=True, deadline=None, database=None)

any_text = st.text(st.characters(codec=None, categories=None), max_size=40) | st.binary(max_size=40).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)
numbers = st.sampled_from(["0", "1", "2", "9", "10", "11", "99", "100"]) | st.integers(0, 10**30).map(str)
identifiers = numbers | st.text("ab-Z", min_size=1, max_size=3)
prereleases = st.just("") | st.lists(identifiers, min_size=1, max_size=3).map(lambda ids: "-" + ".".join(ids))
builds = st.sampled_from(["", "", "+incompatible", "+meta.01", "+x-y"])
full_versions = st.tuples(numbers, numbers, numbers, prereleases, builds).map(
    lambda parts: f"v{parts[0]}.{parts[1]}.{parts[2]}{parts[3]}{parts[4]}"
)
versions = (
    full_versions | st.tuples(numbers, numbers).map(lambda parts: f"v{parts[0]}.{parts[1]}") | numbers.map("v".__add__)
)
hosts = st.lists(st.text("ab0-", min_size=1, max_size=4), min_size=2, max_size=3).map(".".join)
elements = st.text("abXY01-_~.", min_size=1, max_size=8)
paths = st.tuples(hosts, st.lists(elements, max_size=4)).map(lambda parts: "/".join([parts[0], *parts[1]]))
file_names = st.text(
    st.characters(codec="utf-8", categories=["L", "Nd"]) | st.sampled_from("-._ ~!"), min_size=1, max_size=6
)
file_paths = st.lists(
    file_names | st.sampled_from(["go.mod", "vendor", "n", "N", "LICENSE"]), min_size=1, max_size=4
).map("/".join)
seconds = st.integers(-62135596800, 253402300799)
revs = st.text("0123456789abcdef", min_size=12, max_size=12)


def accepted(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except InvalidRequest:
        return False
    return True


# ---- semver


@steady
@given(versions | any_text, versions | any_text, versions | any_text)
def test_precedence_is_a_total_order(u: str, v: str, w: str) -> None:
    """compare() is antisymmetric and transitive, and equality is shared."""
    assert semver.compare(v, w) == -semver.compare(w, v)
    low, middle, high = semver.sort([u, v, w])
    assert semver.compare(low, middle) <= 0
    assert semver.compare(middle, high) <= 0
    assert semver.compare(low, high) == max(semver.compare(low, middle), semver.compare(middle, high), key=abs) or (
        semver.compare(low, middle) == semver.compare(middle, high) == 0
    )


@steady
@given(versions)
def test_canonical_is_a_fixed_point_of_equal_precedence(v: str) -> None:
    """The canonical form of a version is canonical and equal to it."""
    canonical = semver.canonical(v)
    assert semver.canonical(canonical) == canonical
    assert semver.compare(v, canonical) == 0
    assert semver.major_minor(v).startswith(semver.major(v) + ".")


@steady
@given(st.lists(versions | any_text, max_size=12), st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter_to_sort(vs: list[str], rand: Random) -> None:
    """sort() gives one order for one set of strings."""
    mixed = list(vs)
    rand.shuffle(mixed)
    assert semver.sort(mixed) == semver.sort(vs)


@steady
@given(any_text, any_text)
def test_gover_takes_any_text(x: str, y: str) -> None:
    """Whatever is no version is less than one and equal to its like."""
    assert gover.compare(x, y) == -gover.compare(y, x)
    assert bool(gover.lang(x)) == gover.is_valid(x)


# ---- module


@steady
@given(paths)
def test_escaped_paths_come_back(path: str) -> None:
    """unescape_path(escape_path(path)) == path, and the escaped form has no upper case."""
    assume(accepted(module.check_path, path))
    escaped = module.escape_path(path)
    assert escaped == escaped.lower()
    assert module.unescape_path(escaped) == path


@steady
@given(full_versions | file_names)
def test_escaped_versions_come_back(version: str) -> None:
    """unescape_version(escape_version(version)) == version."""
    assume(accepted(module.escape_version, version))
    assert module.unescape_version(module.escape_version(version)) == version


@steady
@given(any_text | paths)
def test_what_comes_out_of_unescape_is_valid(text: str) -> None:
    """No escaped form leads around the checks, and one path has one escaped form."""
    if accepted(module.unescape_path, text):
        path = module.unescape_path(text)
        module.check_path(path)
        assert module.escape_path(path) == text
    if accepted(module.unescape_version, text):
        assert "/" not in module.unescape_version(text)
        module.check_file_path(module.unescape_version(text))


@steady
@given(any_text | paths)
def test_split_loses_nothing(path: str) -> None:
    """prefix + path_major == path; a valid path splits well."""
    prefix, major, ok = module.split_path_version(path)
    assert prefix + major == path
    assert ok or not major
    if accepted(module.check_path, path):
        assert ok
        module.check_import_path(path)
        module.check_file_path(path)


@steady
@given(any_text, any_text)
@example("\ud800", "\udcff")
def test_any_text_gets_an_answer(text: str, other: str) -> None:
    """Only InvalidRequest is raised, whatever comes."""
    for check in (module.check_path, module.check_import_path, module.check_file_path, module.escape_path):
        accepted(check, text)
    for check in (
        module.escape_version,
        module.path_major_prefix,
        pseudo.pseudo_version_base,
        pseudo.pseudo_version_time,
    ):
        accepted(check, text)
    accepted(lambda v: module.check(other, v), text)
    assert module.match_path_major(text, other) == accepted(lambda v: module.check_path_major(v, other), text)
    module.match_prefix_patterns(text, other)
    glob.match(text, other)
    module.canonical_version(text)
    letters.fold(text)


@steady
@given(st.text("ab/*?[]\\", max_size=8), st.text("ab/", max_size=6))
def test_a_trailing_star_stops_at_a_slash(pattern: str, name: str) -> None:
    """What a pattern matches, it matches with any name behind it once a star is at its end."""
    assume(not pattern.endswith("\\"))
    if glob.match(pattern, name):
        assert glob.match(pattern + "*", name + "ab")


@steady
@given(st.text(max_size=20))
def test_folding_is_a_fixed_point(name: str) -> None:
    """fold(fold(name)) == fold(name), character by character."""
    assert letters.fold(letters.fold(name)) == letters.fold(name)
    assert letters.fold(name) == "".join(map(letters.fold, name))


# ---- pseudo


@steady
@given(st.sampled_from(["", "v0", "v1", "v2", "v10"]), full_versions | st.just(""), seconds, revs)
def test_pseudo_versions_come_apart_as_they_were_made(major: str, older: str, time: int, rev: str) -> None:
    """Time, revision and base of a pseudo-version are those it was made of, and it comes right after its base."""
    v = pseudo.pseudo_version(major, older, time, rev)
    assert pseudo.is_pseudo_version(v)
    assert pseudo.pseudo_version_time(v) == time
    assert pseudo.pseudo_version_rev(v) == rev
    assert pseudo.pseudo_version_base(v) == semver.canonical(older) + semver.build(older)
    if older:
        assert semver.compare(older, v) < 0


@steady
@given(seconds)
def test_timestamps_come_back(time: int) -> None:
    """A timestamp names its second."""
    assert pseudo.pseudo_version_time(f"v0.0.0-{pseudo.timestamp(time)}-a") == time


@steady
@given(st.integers())
@example(-62135596801)
@example(253402300800)
@example(2**63)
def test_any_time_gets_an_answer(time: int) -> None:
    """T41: 14 digits or NotFound, nothing else."""
    try:
        assert len(pseudo.timestamp(time)) == 14
    except NotFound:
        assert not -62135596800 <= time <= 253402300799


# ---- zip and hashes

facts = st.builds(modzip.FileFact, file_paths, st.integers(0, 10**9), st.sampled_from(modzip.Kind))


@steady
@given(st.lists(facts, max_size=12, unique_by=lambda file: file.path), st.sampled_from(["", "1.23", "1.24"]))
def test_every_file_is_in_one_group(files: list[modzip.FileFact], go: str) -> None:
    """Valid, omitted and invalid files are all files, once, each group in their order."""
    found = modzip.check_files(files, go)
    groups = [
        [file.path for file in found.valid],
        [path for path, _ in found.omitted],
        [path for path, _ in found.invalid],
    ]
    assert sorted(path for group in groups for path in group) == sorted(file.path for file in files)
    order = [file.path for file in files]
    assert all(group == sorted(group, key=order.index) for group in groups)


@steady
@given(st.lists(facts, max_size=12, unique_by=lambda file: file.path), st.sampled_from(["", "1.23", "1.24"]))
def test_valid_files_stay_valid(files: list[modzip.FileFact], go: str) -> None:
    """Checking what was kept keeps it: a zip of a zip's files is the same zip."""
    kept = modzip.check_files(files, go).valid
    again = modzip.check_files(kept, go)
    assert again.valid == kept
    assert not again.omitted
    assert not again.invalid


@steady
@given(st.lists(st.binary(min_size=1, max_size=6), max_size=8), st.sampled_from(["", "1.24"]))
def test_any_name_of_bytes_gets_an_answer(names: list[bytes], go: str) -> None:
    """Names of any bytes are judged, and the message for them can be encoded."""
    files = [modzip.FileFact(name.decode("utf-8", "surrogateescape"), 1) for name in names]
    try:
        modzip.check_files(files, go).raise_for_problems()
    except NotFound as err:
        err.message.encode()


@steady
@given(st.dictionaries(file_paths, st.binary(max_size=300), max_size=6))
def test_zips_hold_what_was_put_in(files: dict[str, bytes]) -> None:
    """Another reader finds the names and contents, and h1 of the zip, of the files and of the writer agree."""
    out = io.BytesIO()
    writer = zipwriter.ZipWriter(out, "example.com/m", "v1.0.0")
    for name, data in files.items():
        writer.add(name, data)
    h1 = writer.close()
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        found = {name.removeprefix("example.com/m@v1.0.0/"): archive.read(name) for name in archive.namelist()}
    assert found == files
    assert h1 == dirhash.hash_zip(out) == dirhash.hash_dir(files.items(), "example.com/m@v1.0.0")


@steady
@given(st.dictionaries(file_paths, st.binary(max_size=8), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_h1_knows_names_and_contents_only(files: dict[str, bytes], rand: Random) -> None:
    """Order does not count, each name and each byte does."""
    pairs = [(name, sha256(data).hexdigest()) for name, data in files.items()]
    h1 = dirhash.hash1(pairs)
    mixed = list(pairs)
    rand.shuffle(mixed)
    assert dirhash.hash1(mixed) == h1
    name, data = next(iter(files.items()))
    assert dirhash.hash1([(name, sha256(data + b"x").hexdigest()), *pairs[1:]]) != h1
    assert dirhash.hash1([(name + "x", sha256(data).hexdigest()), *pairs[1:]]) != h1


@steady
@given(st.lists(st.builds(gosum.Line, *[st.text("abc/.@+:=0", min_size=1, max_size=9)] * 3), max_size=6))
def test_gosum_lines_come_back(lines: list[gosum.Line]) -> None:
    """Lines that are written are read as they were."""
    assert gosum.parse("".join(f"{line}\n" for line in lines)) == lines


# ---- proxypath


def encode_some(text: str, rand: Random) -> str:
    """Percent-encode the characters that have to be and some others, but no slash."""
    return "".join(c if c == "/" else f"%{ord(c):02x}" if rand.random() < 0.3 else quote(c, safe="!+") for c in text)


@steady
@given(paths, full_versions, st.sampled_from(proxypath.Kind), st.randoms(use_true_random=False))
def test_requests_come_back(path: str, version: str, kind: proxypath.Kind, rand: Random) -> None:
    """Whatever a client encodes, the request is the same, and it was decoded once."""
    assume(accepted(module.escape_path, path))
    assume(".." not in version)
    tail = f"@v/{module.escape_version(version)}.{kind.value}"
    if kind is proxypath.Kind.LIST:
        tail, version = "@v/list", ""
    elif kind is proxypath.Kind.LATEST:
        tail, version = "@latest", ""
    raw = "/" + encode_some(f"{module.escape_path(path)}/{tail}", rand)
    assert proxypath.parse(raw) == proxypath.ProxyRequest(kind, path, version)


requests = st.lists(
    st.sampled_from(
        ["a.com", "/", "@v", "/@v/", "@latest", "..", "%2e", "%2f", "%00", "%", "%25", "list", ".info", "v1", "!a"]
    )
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@settings(steady, max_examples=600)
@given(requests | any_text)
def test_any_path_gets_an_answer(raw: str) -> None:
    """T1: a request whose path and version obey Go's rules, or InvalidRequest in one printable line."""
    try:
        request = proxypath.parse(raw)
    except InvalidRequest as refused:
        message = refused.message
    else:
        message = ""
    assert message.isprintable()
    if message:
        return
    module.check_path(request.path)
    assert bool(request.version) == (request.kind not in (proxypath.Kind.LIST, proxypath.Kind.LATEST))
    if request.version:
        module.check_file_path(request.version)
        assert not request.version.startswith("-")
        assert not any(mark in request.version for mark in ("/", "..", "@{", ":", "\\", "\0", "\n"))


@pytest.mark.parametrize(
    "evil", ["v1.2.3-" + "1." * 50_000 + "!", "v0.0.0-" + "0.20240301000000-a." * 5_000 + "!", "!" * 100_000]
)
def test_long_nonsense_ends(evil: str) -> None:
    """No rule takes more than a moment for 100 kB of what almost fits."""
    assert not semver.is_valid(evil)
    assert not pseudo.is_pseudo_version(evil)
    assert not accepted(module.unescape_version, evil)
    assert not accepted(module.check_path, "a.com/" + evil)
