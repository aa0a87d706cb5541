"""Finding the repository of a module path by asking the network: go-import pages and scheme probes.

The page's rules are in `mod/goimport.py`, the static table in `mod/reporoot.py`; this module sends the requests. A
failure to reach a page is never taken for absence.

DIFFERS: a page that answers 4xx is not asked a second time; a tag that names a GOPROXY (`mod`) is not followed; a
repository over http or ssh is used only when the configuration names it.

Source: cmd/go/internal/vcs/vcs.go (repoRootForImportDynamic, metaImportsForPrefix), cmd/go/internal/web/http.go.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, urljoin, urlsplit

import urllib3

from vcsproxy import errors
from vcsproxy.access.prefix import Prefix
from vcsproxy.build.job import Access, Host, Limits
from vcsproxy.mod import goimport
from vcsproxy.mod.reporoot import Discover, Probe, RepoRoot, without_userinfo
from vcsproxy.trace import note
from vcsproxy.vcs.giturl import parse_url
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.https import HttpClient, read_some
from vcsproxy.vcs.httpwords import busy, denied
from vcsproxy.vcs.transport import connect
from vcsproxy.vcs.wire import UploadPack

_USER_AGENT = "GoCommand/1 (+https://go.dev/cmd/go; vcsproxy)"
_MAX_REQUESTS = 10
_NO_TAG = "put a go-import tag on that page, or map the path to its repository with a [[source]]"
_SECONDS = 10.0  # for all pages of one path


def resolve(target: Discover | Probe, hosts: Sequence[Host], limits: Limits, access: Sequence[Access] = ()) -> RepoRoot:
    """The repository of a module path. Raises NotFound when the network proves that there is none."""
    if isinstance(target, Probe):
        return _probe(target, Guard(hosts, limits, access))
    client = HttpClient(Guard(hosts, replace(limits, idle=min(limits.idle, _SECONDS)), access))
    try:
        return _Discovery(client, limits).root(target.path)
    finally:
        client.close()


def _probe(target: Probe, guard: Guard) -> RepoRoot:
    """DIFFERS: only https is probed; a repository behind SSH has to be named in the configuration."""
    url = f"https://{target.repo}"
    try:
        connection = connect(url, guard)
        try:
            UploadPack(connection, guard.limits)
        finally:
            connection.close()
    except errors.NotFound as err:
        hint = "map it with a [[source]] if it is reached by SSH"
        raise errors.NotFound(f"no secure protocol found for repository {target.repo}", hint) from err
    return RepoRoot(target.root, url)


class _Discovery:
    """One module path's go-import lookup; pages are fetched once each."""

    def __init__(self, client: HttpClient, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._until = time.monotonic() + _SECONDS
        self._refused: errors.AccessDenied | None = None

    def root(self, path: str) -> RepoRoot:
        meta, url = self._lookup(path, path)
        if meta.prefix != path:
            other, other_url = self._lookup(meta.prefix, path)
            if other != meta:
                raise errors.NotFound(f"{url} and {other_url} disagree about go-import for {meta.prefix}")
        try:
            goimport.check_root(meta)
        except goimport.GoImportError as err:
            raise errors.NotFound(f'unrecognized import path "{path}": {err}') from err
        scheme = parse_url(meta.repo_root).scheme
        if scheme != "https":
            # The page is anybody's; only the operator may send us over plain HTTP or with our SSH keys.
            hint = f'allow it in the configuration: [[source]] root = "{meta.prefix}", url = "{meta.repo_root}"'
            raise errors.Forbidden(f"the go-import page of {meta.prefix} names a repository over {scheme}", hint)
        note("discovery", f"the tag on {without_userinfo(url)} names {meta.repo_root} for {meta.prefix}")
        return RepoRoot(meta.prefix, meta.repo_root, meta.subdir)

    def _lookup(self, page_path: str, path: str) -> tuple[goimport.MetaImport, str]:
        """The tag on the page of `page_path` that is for `path`, and the page's URL."""
        host, _, rest = page_path.partition("/")
        url = f"https://{host}/{quote(rest)}?go-get=1"
        status, body = self._get(url)
        try:
            imports = goimport.parse_meta(body)
        except goimport.GoImportError as err:
            raise self._unless_down(
                status, errors.NotFound(f'unrecognized import path "{path}": parsing {url}: {err}')
            ) from err
        if not imports and status != 200:
            raise self._unless_down(
                status, errors.NotFound(f'unrecognized import path "{path}": reading {url}: HTTP {status}', _NO_TAG)
            )
        ours = tuple(meta for meta in imports if meta.vcs != "mod")
        if imports and not ours:
            hint = f"add {imports[0].repo_root} to GOPROXY"
            raise errors.NotFound(f"{path} is served by a module proxy and not from Git", hint)
        try:
            return goimport.match(ours, path), url
        except goimport.GoImportError as err:
            absent = errors.NotFound(f'unrecognized import path "{path}": parse {url}: {err}', _NO_TAG)
            raise self._unless_down(status, absent) from err

    def _get(self, url: str) -> tuple[int, bytes]:
        start = url
        strange = False  # once another origin has had a say, nobody in this chain is told who we are
        for _ in range(_MAX_REQUESTS):
            if time.monotonic() > self._until:
                raise errors.HostSilent(f"{start} took too long to answer", "try again")
            access = None if strange else self._client.credential(url)
            headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
            response = self._client.send("GET", url, headers, access=access)
            note("discovery", f"{without_userinfo(url)} answered HTTP {response.status}")
            location = response.headers.get("Location", "")
            if response.status in (301, 302, 303, 307, 308) and location:
                response.close()
                before, url = url, _joined(url, location)
                if urlsplit(url).scheme != "https":
                    raise errors.NotFound(f"redirected from secure URL {start} to insecure URL {url}")
                strange = strange or not _same_origin(before, url)
                continue
            self._check_trouble(response, url, access)
            return response.status, read_some(response, self._limits.page, urlsplit(url).hostname or "", self._until)
        raise errors.NotFound(f"{start}: stopped after {_MAX_REQUESTS} redirects")

    def _unless_down(self, status: int, absent: errors.NotFound) -> errors.VCSProxyError:
        """A server in trouble, or one that wants to know who asks, proves nothing."""
        if self._refused is not None:
            return self._refused
        if status >= 500 or status == 408:
            hint = "the host of the module path is in trouble; try again later"
            return errors.HostUnreachable(absent.message, hint)
        return absent

    def _check_trouble(self, response: urllib3.BaseHTTPResponse, url: str, access: Access | None) -> None:
        """A page that may hold a tag all the same is read, as go does; what asks for patience is not asked further."""
        patience = busy(response, urlsplit(url).hostname or "")
        if patience is not None:
            response.close()
            raise patience
        self._refused = denied(response.status, url, access) if response.status in (401, 403) else None


def _same_origin(one: str, other: str) -> bool:
    try:
        return Prefix.parse(one).origin == Prefix.parse(other).origin
    except ValueError:
        return False


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise errors.NotFound(f"{url} redirects to no URL") from None
