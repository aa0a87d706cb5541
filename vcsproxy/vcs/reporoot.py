"""Finding the repository of a module path by asking the network: go-import pages and scheme probes.

The page's rules are in `mod/goimport.py`, the static table in `mod/reporoot.py`; this module sends the requests. A
failure to reach a page is never taken for absence.

DIFFERS: a page that answers 4xx is not asked a second time; a tag that names a GOPROXY (`mod`) is not followed; a
repository over http or ssh is used only when the configuration names it.

Source: cmd/go/internal/vcs/vcs.go (repoRootForImportDynamic, metaImportsForPrefix), cmd/go/internal/web/http.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urljoin, urlsplit

import urllib3

from vcsproxy import errors
from vcsproxy.build.job import Access, Host, Limits
from vcsproxy.mod import goimport
from vcsproxy.mod.reporoot import Discover, Probe, RepoRoot
from vcsproxy.vcs.guard import Guard
from vcsproxy.vcs.https import HttpClient, explain
from vcsproxy.vcs.transport import connect, parse_url
from vcsproxy.vcs.wire import UploadPack

_USER_AGENT = "GoCommand/1 (+https://go.dev/cmd/go; vcsproxy)"
_MAX_REQUESTS = 10


def resolve(target: Discover | Probe, hosts: Sequence[Host], limits: Limits, access: Sequence[Access] = ()) -> RepoRoot:
    """The repository of a module path. Raises NotFound when the network proves that there is none."""
    guard = Guard(hosts, limits, access)
    if isinstance(target, Probe):
        return _probe(target, guard)
    client = HttpClient(guard)
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
        return RepoRoot(meta.prefix, meta.repo_root, meta.subdir)

    def _lookup(self, page_path: str, path: str) -> tuple[goimport.MetaImport, str]:
        """The tag on the page of `page_path` that is for `path`, and the page's URL."""
        host, _, rest = page_path.partition("/")
        url = f"https://{host}/{quote(rest)}?go-get=1"
        status, body = self._get(url)
        try:
            imports = goimport.parse_meta(body)
        except goimport.GoImportError as err:
            raise _unless_down(
                status, errors.NotFound(f'unrecognized import path "{path}": parsing {url}: {err}')
            ) from err
        if not imports and status != 200:
            raise _unless_down(
                status, errors.NotFound(f'unrecognized import path "{path}": reading {url}: HTTP {status}')
            )
        ours = tuple(meta for meta in imports if meta.vcs != "mod")
        if imports and not ours:
            hint = f"add {imports[0].repo_root} to GOPROXY"
            raise errors.NotFound(f"{path} is served by a module proxy and not from Git", hint)
        try:
            return goimport.match(ours, path), url
        except goimport.GoImportError as err:
            absent = errors.NotFound(f'unrecognized import path "{path}": parse {url}: {err}')
            raise _unless_down(status, absent) from err

    def _get(self, url: str) -> tuple[int, bytes]:
        start = url
        for _ in range(_MAX_REQUESTS):
            response = self._client.send("GET", url, {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
            location = response.headers.get("Location", "")
            if response.status in (301, 302, 303, 307, 308) and location:
                response.close()
                url = _joined(url, location)
                if urlsplit(url).scheme != "https":
                    raise errors.NotFound(f"redirected from secure URL {start} to insecure URL {url}")
                continue
            return response.status, self._body(response, url)
        raise errors.NotFound(f"{start}: stopped after {_MAX_REQUESTS} redirects")

    def _body(self, response: urllib3.BaseHTTPResponse, url: str) -> bytes:
        """The page's beginning; what lies beyond the limit cannot hold a tag that counts."""
        body = bytearray()
        try:
            while len(body) < self._limits.page:
                piece = response.read1(self._limits.page - len(body))
                if not piece:
                    break
                body += piece
        except (urllib3.exceptions.HTTPError, OSError) as err:
            raise explain(err, urlsplit(url).hostname or "") from err
        finally:
            response.close()
        return bytes(body)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise errors.NotFound(f"{url} redirects to no URL") from None


def _unless_down(status: int, absent: errors.NotFound) -> errors.VCSProxyError:
    """A server in trouble proves nothing."""
    if status >= 500 or status in (401, 403, 408, 429):
        return errors.UpstreamFailed(absent.message, "the host of the module path is in trouble; try again later")
    return absent
