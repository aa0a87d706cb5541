"""F5: Git hosts that hang, drip, lie about lengths, break off or never end.

Each is answered within its time, with what is known: that is never that something is absent.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.arena import arena
from tests.support.toxgit import GREETING, Step, Tox, cut, drip, endless, hang, head_of, lie, never, raw, wire
from vcsproxy.vcs.pktline import Special, encode

PACK, TOP = hostile.repository(hostile.PLAIN)
HONEST = Tox.of(TOP, PACK)
assert isinstance(HONEST.refs, bytes)
assert isinstance(HONEST.fetch, bytes)


def progress(_number: int) -> bytes:
    return encode(b"\2" + b"counting\n" * 100)


def noise(_number: int) -> bytes:
    return encode(b"\1" + os.urandom(60000))


def many_refs(number: int) -> bytes:
    return encode(b"%040x refs/tags/v0.0.%d\n" % (number, number))


def zipped(data: bytes) -> Step:
    return lambda handler: wire(handler, head_of(handler, len(data), "Content-Encoding: gzip") + data)


BLOB_HEAD = b"PACK" + struct.pack(">II", 2, 1) + hostile.entry_head(hostile.BLOB, 1 << 40) + zlib.compress(b"")[:2]
LONG_REF = encode(*(b"%040x refs/tags/%s\n" % (n, b"v" * 60000) for n in range(100)), Special.FLUSH)
GZIP_BOMB = gzip.compress(bytes(2000), 1)[:10] + hostile.zeros(4096)[2:-4] + bytes(8)

# name: what the host says, the status, a word of the reason
HOSTS: dict[str, tuple[Tox, tuple[int, ...], str]] = {
    "silent": (Tox(greet=never), (504,), "stopped answering"),
    "hanggreet": (Tox(greet=hang(GREETING, 5)), (504,), "stopped answering"),
    "hangrefs0": (Tox(refs=hang(HONEST.refs, 0)), (504,), "stopped answering"),
    "hangrefs": (Tox(refs=hang(HONEST.refs, len(HONEST.refs) // 2)), (504,), "stopped answering"),
    "hangpack0": (Tox(HONEST.refs, hang(HONEST.fetch, 0)), (504,), "stopped answering"),
    "hangpack": (Tox(HONEST.refs, hang(HONEST.fetch, len(HONEST.fetch) // 2)), (504,), "stopped answering"),
    "hanglast": (Tox(HONEST.refs, hang(HONEST.fetch, len(HONEST.fetch) - 1)), (504,), "stopped answering"),
    "dripgreet": (Tox(greet=drip(GREETING, 3)), (504,), "took longer"),
    "driprefs": (Tox(refs=drip(HONEST.refs, 3)), (504,), "took longer"),
    "drippack": (Tox(HONEST.refs, drip(HONEST.fetch, 20)), (504,), "took longer"),
    "driphead": (Tox(greet=raw(b"")), (502, 504), ""),
    "cutgreet": (Tox(greet=cut(GREETING, 9)), (502,), ""),
    "cutrefs": (Tox(refs=cut(HONEST.refs, 60)), (502,), ""),
    "cutpack": (Tox(HONEST.refs, cut(HONEST.fetch, 60)), (502,), ""),
    "endlessrefs": (Tox(refs=endless(b"", many_refs)), (422,), "refs"),
    "longrefs": (Tox(refs=LONG_REF), (422,), "larger than"),
    "endlesscaps": (Tox(greet=endless(encode(b"version 2\n"), encode(b"x" * 1000 + b"\n"))), (422,), "larger than"),
    "endlessprogress": (Tox(HONEST.refs, endless(encode(b"packfile\n"), progress)), (422,), "progress"),
    "endlesspack": (Tox(HONEST.refs, endless(encode(b"packfile\n", b"\1" + BLOB_HEAD), noise)), (422, 502), ""),
    "endlesshead": (Tox(greet=raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000)), (502,), ""),
    "longline": (Tox(greet=raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * (4 << 20) + b"\r\n\r\n")), (502,), ""),
    "nothttp": (Tox(greet=raw(b"220 ftp ready\r\n" * 1000)), (502,), ""),
    "chunks": (Tox(refs=raw(lambda h: head_of(h, None, "Transfer-Encoding: chunked") + b"ffffffffffffffff\r\nx")), (502,), ""),
    "chunkline": (Tox(refs=raw(lambda h: head_of(h, None, "Transfer-Encoding: chunked") + b"f" * (4 << 20))), (502,), ""),
    "longer": (Tox(refs=lie(HONEST.refs, len(HONEST.refs) * 2)), (200, 502), ""),
    "shorter": (Tox(refs=lie(HONEST.refs, len(HONEST.refs) // 2)), (502,), ""),
    "negative": (Tox(refs=lie(HONEST.refs, -1)), (200, 502), ""),
    "huge": (Tox(refs=lie(HONEST.refs, "9" * 400)), (200, 502), ""),
    "twolengths": (Tox(refs=lie(HONEST.refs, 7, f"Content-Length: {len(HONEST.refs)}")), (502,), ""),
    "gziprefs": (Tox(refs=zipped(GZIP_BOMB)), (422, 502), ""),
    "gzipgreet": (Tox(greet=zipped(GZIP_BOMB)), (422, 502), ""),
    "gzipjunk": (Tox(refs=zipped(b"\x1f\x8bnot at all")), (502,), ""),
    "badref": (Tox(refs=encode(b"xyz refs/heads/main\n", Special.FLUSH)), (502,), "malformed hash"),
    "badpkt": (Tox(refs=b"zzzz" * 50), (502,), "protocol"),
    "junkpack": (Tox(HONEST.refs, encode(b"packfile\n", b"\1" + b"x" * 5000, Special.FLUSH)), (502,), "no pack"),
    "nopack": (Tox(HONEST.refs, encode(Special.FLUSH)), (502,), ""),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["dulwich", "git"])
def test_F5_hosts_that_hang_drip_lie_or_never_end(engine: str, tmp_path: Path) -> None:
    """All at once: each is answered in its time with what is known, which is never that something is absent.

    System git has words of its own, and buffers some of what our own client refuses as it comes.
    """
    with arena(tmp_path, *HOSTS, engine=engine) as hosts:
        hosts.tox.plays.update({name: play for name, (play, _, _) in HOSTS.items()})
        answers = hosts.ask_all([f"/{name}.test/x/@v/v1.0.0.zip" for name in HOSTS])
        wrong = []
        for (name, (_, expected, reason)), got in zip(HOSTS.items(), answers, strict=True):
            fits = (
                (got.status in expected and reason in got.body)
                if engine == "dulwich"
                else got.status in (422, 502, 504)
            )
            if not fits or got.seconds > 20:
                wrong.append((name, expected, reason, got))
        assert not wrong
        hosts.assert_quiet()
        assert hosts.ask("/longrefs.test/x/@v/list").status == 422
        assert b"Traceback" not in hosts.server.log.read_bytes()
