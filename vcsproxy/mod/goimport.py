"""go-import pages: which repository a page names for an import path. It reads pages; it never fetches them.

A page says `<meta name="go-import" content="PREFIX VCS ROOT [SUBDIR]">` in its head. `parse_meta` collects such tags,
`match` picks the one for an import path, `check_root` says whether it can be used. GoImportError carries Go's words
without the page's address, which the caller knows.

Source: cmd/go/internal/vcs/discovery.go (parseMetaGoImports), vcs.go (matchGoImport, validateRepoSubDir,
validateRepoRoot, vcsByCmd); net/url/url.go (parse); specification sections 2.4 and 2.5.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vcsproxy.mod import gotext
from vcsproxy.mod.rawxml import EndTag, StartTag, XMLError, raw_tags
from vcsproxy.mod.reporoot import VCS_NAMES, check_vcs, has_path_prefix

_MAX_MISMATCHES = 5  # named in a message; Go names all


class GoImportError(ValueError):
    """A page that does not say where the import path lives; the text is Go's and can always be encoded."""

    def __init__(self, message: str) -> None:
        super().__init__(gotext.scrub(message))


@dataclass(frozen=True, slots=True)
class MetaImport:
    """One go-import tag: module path prefix, version control system ("git", "mod", ...), repository URL, directory."""

    prefix: str
    vcs: str
    repo_root: str
    subdir: str = ""


def parse_meta(page: bytes) -> tuple[MetaImport, ...]:
    """The go-import tags of a page's head: those of vcs "mod" first, then the others whose prefix no "mod" tag has.

    A fault in the page ends the reading. The tags before it count; if there are none, GoImportError is raised.
    """
    found: list[MetaImport] = []
    try:
        _collect(page, found)
    except XMLError as bad:
        if not found:
            raise GoImportError(str(bad)) from None
    mods = tuple(tag for tag in found if tag.vcs == "mod")
    taken = {tag.prefix for tag in mods}
    return mods + tuple(tag for tag in found if tag.vcs != "mod" and tag.prefix not in taken)


def _collect(page: bytes, found: list[MetaImport]) -> None:
    """Append the tags to `found`, which keeps those before a fault."""
    for tag in raw_tags(page):
        name = tag.name.lower()
        if isinstance(tag, EndTag):
            if name == "head":
                return
        elif name == "body":
            return
        elif name == "meta" and _attribute(tag, "name") == "go-import":
            content = gotext.fields(_attribute(tag, "content"))
            if len(content) in (3, 4):
                found.append(MetaImport(*content))


def _attribute(tag: StartTag, name: str) -> str:
    """The value of the first attribute of that name, in any case, or ""."""
    return next((value for key, value in tag.attrs if key.lower() == name), "")


def match(imports: Sequence[MetaImport], import_path: str) -> MetaImport:
    """The one tag whose prefix begins `import_path`; `imports` in parse_meta's order.

    Raises GoImportError if none does or several do. A "mod" tag wins over tags of other systems.
    """
    fitting = [tag for tag in imports if has_path_prefix(import_path, tag.prefix)]
    mods = [tag for tag in fitting if tag.vcs == "mod"]
    if not fitting:
        raise GoImportError(f"no go-import meta tags ({_mismatches(imports, import_path)})")
    if len(mods or fitting) > 1:
        raise GoImportError(f"multiple meta tags match import path {gotext.quote(import_path)}")
    return (mods or fitting)[0]


def _mismatches(imports: Sequence[MetaImport], import_path: str) -> str:
    texts = [f"meta tag {tag.prefix} did not match import path {import_path}" for tag in imports[:_MAX_MISMATCHES]]
    if len(imports) > _MAX_MISMATCHES:
        texts.append(f"and {len(imports) - _MAX_MISMATCHES} more")
    return ", ".join(texts)


def check_root(meta: MetaImport) -> None:
    """Refuse a tag that cannot be used.

    Raises GoImportError for a directory, URL or system that Go does not accept, NotFound for a system other than Git.
    "mod" (a module proxy) passes: its `repo_root` is the proxy's URL.
    """
    if meta.subdir.startswith(("/", "-")):
        fault = "leading slash" if meta.subdir[0] == "/" else "leading hyphen"
        raise GoImportError(f"invalid subdirectory {gotext.quote(meta.subdir)}: {fault}")
    try:
        scheme = _url_scheme(meta.repo_root)
        if scheme in ("", "file"):
            raise ValueError("file scheme disallowed" if scheme else "no scheme")
    except ValueError as bad:
        raise GoImportError(f"invalid repo root {gotext.quote(meta.repo_root)}: {bad}") from None
    if meta.vcs == "mod":
        return
    if meta.vcs not in VCS_NAMES:
        raise GoImportError(f"unknown vcs {gotext.quote(meta.vcs)}")
    check_vcs(meta.vcs, meta.prefix)


# --- URLs as net/url accepts them ---

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
_BAD_HOST_ESCAPE = re.compile(r"%(?:25|[89a-fA-F][0-9a-fA-F]|(.{0,2}))", re.DOTALL)
_BAD_HOST_CHAR = re.compile(r"[ \\^`{|}]")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")


def _url_scheme(url: str) -> str:
    """The scheme of a URL in lower case, "" if it has none; ValueError, with Go's text, if it is no URL."""
    text, _, fragment = url.partition("#")
    try:
        scheme = _parse_url(text)
        text = url
        _check_escapes(fragment)
    except ValueError as bad:
        raise ValueError(f"parse {gotext.quote(text)}: {bad}") from None
    return scheme


def _parse_url(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("net/url: invalid control character in URL")
    if text.startswith(":"):
        raise ValueError("missing protocol scheme")
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    rest = text[found.end() if found else 0 :].partition("?")[0]
    if not rest.startswith("/"):
        if not scheme and ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
        if scheme:
            return scheme
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        _check_authority(scheme, authority)
        rest = slash + path
    _check_escapes(rest)
    return scheme


def _check_escapes(text: str) -> None:
    bad = _BAD_ESCAPE.search(text)
    if bad:
        raise ValueError(f"invalid URL escape {gotext.quote(bad[0])}")


def _check_authority(scheme: str, authority: str) -> None:
    userinfo, _, host = authority.rpartition("@")
    if host.startswith("["):
        _check_ip_literal(host)
    else:
        _check_host(scheme, host)
    if not _USERINFO.fullmatch(userinfo):
        raise ValueError("net/url: invalid userinfo")
    for part in userinfo.split(":", 1):
        _check_escapes(part)


def _check_ip_literal(host: str) -> None:
    if "[" in host[1:]:
        raise ValueError("invalid IP-literal")
    address, bracket, port = host[1:].rpartition("]")
    if not bracket:
        raise ValueError("missing ']' in host")
    _check_port(port)
    try:
        ipaddress.IPv6Address(address.replace("%25", "%"))
    except ValueError:
        raise ValueError("invalid host") from None


def _check_host(scheme: str, host: str) -> None:
    if "[" in host:
        raise ValueError("invalid IP-literal")
    colon = host.find(":") if scheme in ("http", "https") else host.rfind(":")
    if colon >= 0:
        _check_port(host[colon:])
    for escape in _BAD_HOST_ESCAPE.finditer(host):
        if escape[1] is not None:
            raise ValueError(f"invalid URL escape {gotext.quote(escape[0])}")
    bad = _BAD_HOST_CHAR.search(host)
    if bad:
        raise ValueError(f"invalid character {gotext.quote(bad[0])} in host name")


def _check_port(port: str) -> None:
    if not _PORT.fullmatch(port):
        raise ValueError(f"invalid port {gotext.quote(port)} after host")
