"""What `git archive` makes of a regular file's blob: the bytes of a work tree file.

Covers `git -c core.autocrlf=input -c core.eol=lf archive` without any other configuration, so filters do nothing and
only three conversions remain, in this order: `ident`, then LF to CRLF, then `working-tree-encoding`. Symbolic links are
never converted; callers keep them from here. Not here: which attributes a file has (see `attributes`), export-subst.

A blob is converted in memory, whole. FORMAT: above core.bigFileThreshold (512 MiB) git archives blobs unconverted; this
does not, because Go refuses any archive of more than 500 MiB.

DIFFERS: git asks the machine's iconv about encodings, whose answers vary from one C library to the next. The reference
here is GNU libc 2.36 on a little-endian machine, without locale. Its encodings that Python does not know, or knows
otherwise for a character at hand, are refused: a wrong byte would break the module's hash for good.

Source: gitattributes(5), "Checking-out and checking-in"; behaviour verified against git 2.39 and GNU iconv 2.36.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from vcsproxy import errors
from vcsproxy.vcs.attributes import Attributes, State, Value


def convert_to_working_tree(attrs: Attributes, blob: bytes, oid_hex: str) -> bytes:
    """The archived bytes of the regular file with these attributes; `oid_hex` is the blob's hash in hexadecimal.

    Returns `blob` itself when nothing changes. Content that the wanted encoding cannot hold, or that is not UTF-8,
    stays as it was before that step, as in git. Raises Refused where git gives up (an encoding without a name) and
    where its bytes cannot be told (see DIFFERS).
    """
    plan = _plan(attrs)
    if plan.noop:
        return blob
    data = blob
    if plan.ident:
        data = _expand_ident(data, oid_hex)
    if plan.crlf is not _Crlf.NEVER and b"\n" in data and (plan.crlf is _Crlf.ALWAYS or _is_lf_text(data)):
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return plan.encode(data) if plan.encode and data else data


def is_noop(attrs: Attributes) -> bool:
    """Whether every file with these attributes is archived as its blob. Raises Refused like conversion itself."""
    return _plan(attrs).noop


class _Crlf(enum.Enum):
    NEVER = "never"
    ALWAYS = "always"
    IF_TEXT = "if text"


@dataclass(frozen=True, slots=True)
class _Plan:
    ident: bool
    crlf: _Crlf
    encode: Callable[[bytes], bytes] | None

    @property
    def noop(self) -> bool:
        return not self.ident and self.crlf is _Crlf.NEVER and self.encode is None


@lru_cache(maxsize=1024)
def _plan(attrs: Attributes) -> _Plan:
    return _Plan(attrs.ident is State.SET, _crlf(attrs), _encoder(attrs.working_tree_encoding))


def _crlf(attrs: Attributes) -> _Crlf:
    """Text without an `eol` gets LF by core.eol, so only eol=crlf changes anything."""
    text = attrs.text
    if not _says_text(text):
        text = attrs.crlf  # the old name of `text`
    if text is State.UNSET or attrs.eol != b"crlf":
        return _Crlf.NEVER
    return _Crlf.IF_TEXT if text == b"auto" else _Crlf.ALWAYS


def _says_text(value: Value) -> bool:
    return value in (State.SET, State.UNSET, b"auto", b"input")


_UNPRINTABLE = bytes({*range(32), 127} - set(b"\b\t\n\f\r\x1b"))


def _is_lf_text(data: bytes) -> bool:
    """Git's guess for text=auto: no CR (binary, or CRLF in the repository), no NUL, hardly a control character."""
    if b"\r" in data or b"\0" in data:
        return False
    unprintable = len(data) - len(data.translate(None, _UNPRINTABLE))
    printable = len(data) - unprintable - data.count(b"\n")
    if data.endswith(b"\x1a"):  # DOS ended text files with one
        unprintable -= 1
    return unprintable <= printable >> 7


# What stands between colon and dollar may only have a space as its first or last byte: with spaces elsewhere, another
# version control system wrote it, it stays, and its closing dollar may open the next keyword.
_IDENT = re.compile(rb"\$Id(?::(?:[^$\n](?:[^$\n ]*[^$\n])?)?)?\$")


def _expand_ident(data: bytes, oid_hex: str) -> bytes:
    return _IDENT.sub(b"$Id: " + oid_hex.encode("ascii") + b" $", data) if b"$Id" in data else data


_UTF8 = re.compile(rb"utf-?8", re.IGNORECASE)
_UTF16_BOM = re.compile(rb"utf-?16([lb])e-bom", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(rb"[^-A-Za-z0-9_.,:/]+")
_TAGS = re.compile("[\U000e0000-\U000e007f]+")  # iconv drops these where a character set has no place for them

_UTF = {
    "UTF-16": (b"\xff\xfe", "utf_16_le"),
    "UTF-16LE": (b"", "utf_16_le"),
    "UTF-16BE": (b"", "utf_16_be"),
    "UTF-32": (b"\xff\xfe\0\0", "utf_32_le"),
    "UTF-32LE": (b"", "utf_32_le"),
    "UTF-32BE": (b"", "utf_32_be"),
}
_UTF |= {name.replace("-", ""): way for name, way in _UTF.items()}

# Python's codec and the names that GNU libc has for the same character set.
_CHARSETS = """
    ascii ASCII US-ASCII US ANSI_X3.4 ANSI_X3.4-1968 ISO646-US ISO_646.IRV:1991
    latin_1 ISO_8859-1:1987 ISO-IR-100 CP819 IBM819 L1 LATIN1
    iso8859_2 L2 LATIN2
    iso8859_3 L3 LATIN3
    iso8859_4 L4 LATIN4
    iso8859_5 CYRILLIC
    iso8859_6 ARABIC
    iso8859_7 GREEK GREEK8
    iso8859_8 HEBREW
    iso8859_9 L5 LATIN5
    iso8859_10 L6 LATIN6
    iso8859_13 L7 LATIN7 BALTIC
    iso8859_14 L8 LATIN8
    iso8859_15 LATIN-9 LATIN9
    iso8859_16 L10 LATIN10
    cp1250 MS-EE
    cp1251 MS-CYRL
    cp1252 MS-ANSI
    cp1253 MS-GREEK
    cp1254 MS-TURK
    cp1256 MS-ARAB
    cp1257 WINBALTRIM
    cp874 CP874 IBM874 WINDOWS-874
    koi8_r KOI8-R KOI8R
    koi8_u KOI8-U KOI8U
    mac_roman MAC MACINTOSH
    gb2312 GB2312 EUC-CN EUCCN CN-GB
    gbk GBK CP936 MS936 WINDOWS-936
    gb18030 GB18030
    shift_jis SHIFT_JIS SHIFT-JIS SJIS MS_KANJI
    euc_jp EUC-JP EUCJP UJIS
    cp949 CP949 UHC MSCP949
"""
_CODECS = {name: line.split()[0] for line in _CHARSETS.strip().split("\n") for name in line.split()[1:]}
_CODECS |= {
    f"{prefix}{part}": "latin_1" if part == 1 else f"iso8859_{part}"
    for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)
    for prefix in ("ISO-8859-", "ISO8859-", "ISO8859", *(() if part in (11, 13) else ("ISO_8859-",)))
}
_CODECS |= {
    f"{prefix}{page}": f"cp{page}"
    for page in (437, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 866, 869)
    for prefix in ("CP", "IBM")
}
_CODECS |= {
    f"{prefix}{page}": f"cp{page}"
    for page in (1250, 1251, 1252, 1253, 1254, 1256, 1257)
    for prefix in ("CP", "WINDOWS-")
}

# Characters for which Python and GNU libc (or two versions of either) disagree.
_DOUBTFUL = {
    "gbk": re.compile("€"),
    "gb18030": re.compile(
        "[ḿ\u9fb4-\u9fbb\ue000-\uf8ff\ufe10-\ufe19\U00020087\U00020089\U000200cc\U000215d7\U0002298f\U000241fe]"
    ),
    "shift_jis": re.compile("[￠-￢]"),
    "euc_jp": re.compile("[\x80-\x9f～]"),
    "mac_roman": re.compile("[Δ∆\ue01e\uf8ff]"),
}

# Every other name that GNU libc knows, and a few that it does not.
_FOREIGN = re.compile(
    r"""[0-9]+(V1|NAV)? | 8859_[1-9] | 10646-1:1993 | ANSI_X3.* | ARABIC7 | ARMSCII.* | ASMO.* | BIG-?(5|FIVE).* | BRF
    | BS_4730 | C[AN] | CN-BIG5 | CP([0-9]{3,4}|10007|12712|16804|IBM861|-AR|-GR|-HU|866NAV) | CS[A-Z_0-9].* | CUBA
    | CWI.* | D[EK] | DEC.* | DIN_66003 | DS_?2089 | E13B | EBCDIC.* | ECMA.* | ELOT_928 | ES2? | EUC.* | F[IR] | GB
    | GB13000 | GB_.* | GEORGIAN-.* | GOST_.* | GREEK.* | HP.* | HU | IBM-?[0-9]{3,5}(NAV)? | IEC_P27.* | INIS.*
    | ISIRI.* | ISO-?10646.* | ISO-2022-.* | ISO2022.* | ISO-CELTIC | ISO-IR-.* | ISO646-.* | ISO6937
    | ISO.?8859.*[:E].* | ISO.?11548.* | ISO_.*[0-9].* | IT | JIS_.* | JOHAB | JP(-OCR-B)? | JS | JUS_.* | KOI.*
    | KSC5636 | LATIN-?GREEK.* | MAC.* | MIK | MS-.* | MS932 | MSCP1361 | MSMAC.* | MSZ_.* | NAPLPS | NATS.*
    | N[CF]_.* | NO2? | NS_.* | OS2LATIN1 | OSF[0-9A-F]{8} | PT(2|154)? | R[89] | RK1048 | ROMAN[89] | RUSCII | SE2?
    | SEN_.* | SHIFT_?JISX0213 | SJIS-(OPEN|WIN) | SS636127 | ST_SEV.* | STRK1048.* | T\.61.* | TCVN.* | THAI8
    | TIS-?620.* | TS-5881 | TSCII | TURKISH8 | UCS.* | UK | UNICODE.* | UTF-?7(-IMAP)? | VISCII | WCHAR_T
    | WIN-?SAMI-?2 | WINDOWS-(31J|1255|1258) | WS2 | YU | .*/.*""",
    re.VERBOSE,
)


def _encoder(value: Value) -> Callable[[bytes], bytes] | None:
    """From post-CRLF bytes to archived bytes; None when the attribute changes nothing."""
    if value is State.SET:
        raise errors.Refused(
            "true/false are no valid working-tree-encodings",
            "git archive fails on this commit: its .gitattributes must give working-tree-encoding a name",
        )
    if not isinstance(value, bytes) or not value or _UTF8.fullmatch(value):
        return None
    if bom := _UTF16_BOM.fullmatch(value):
        return _utf_encoder(*((b"\xff\xfe", "utf_16_le") if bom[1] in b"lL" else (b"\xfe\xff", "utf_16_be")))
    name = _NOT_IN_NAMES.sub(b"", value).decode("ascii").upper()
    if value.upper() == b"LATIN-1":
        name = "LATIN1"  # a name of git's own
    if name in _UTF:
        return _utf_encoder(*_UTF[name])
    if name in _CODECS:
        return _charset_encoder(_CODECS[name], name)
    if not name or _FOREIGN.fullmatch(name):  # iconv takes an empty name for that of the locale
        raise errors.Refused(f"working-tree-encoding {name or 'of the locale'} is not supported", _HINT)
    return None


_HINT = "the bytes that git archive would write cannot be reproduced here; exclude this module from the proxy"


def _utf_encoder(bom: bytes, codec: str) -> Callable[[bytes], bytes]:
    def encode(data: bytes) -> bytes:
        try:
            return bom + data.decode("utf-8").encode(codec)
        except UnicodeError:
            return data

    return encode


def _charset_encoder(codec: str, name: str) -> Callable[[bytes], bytes]:
    doubtful = _DOUBTFUL.get(codec)

    def encode(data: bytes) -> bytes:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return data
        if codec != "gb18030":
            text = _TAGS.sub("", text)
        if doubtful and (odd := doubtful.search(text)):
            raise errors.Refused(f"working-tree-encoding {name}: cannot convert U+{ord(odd[0]):04X}", _HINT)
        try:
            return text.encode(codec)
        except UnicodeEncodeError:
            return data

    return encode
