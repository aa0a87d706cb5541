"""From a module path to the repository that holds it, as far as that can be known without a network.

`static_root` decides: a configured source, a host of Go's static table, a refusal, or which question to ask the network
(`Discover`: read the go-import page; `Probe`: find the scheme that answers). `code_root` then says which directory and
which major version of that repository the module is. Neither sends a request: `vcs/reporoot.py` does.

Source: cmd/go/internal/vcs/vcs.go (vcsPaths, repoRootFromVCSPaths, checkGOVCS, noVCSSuffix),
cmd/go/internal/modfetch/coderepo.go (newCodeRepo); specification sections 2.1, 2.2, 2.3 and 2.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vcsproxy.errors import InvalidRequest, NotFound
from vcsproxy.mod import module

PROBE_SCHEMES = ("https", "ssh")
ENGINES = ("dulwich", "git")  # who speaks to the host: our own code, or system git
VCS_NAMES = ("hg", "git", "svn", "fossil")
_GOVCS_PUBLIC = ("git", "hg")
_ONLY_GIT = "vcsproxy builds modules from Git; name another proxy for this path in GOPROXY"


@dataclass(frozen=True, slots=True)
class RepoRoot:
    """A repository and the module path prefix that stands for its root (or for its `subdir`).

    `url` is what to fetch and may hold a user name; `origin` is what Origin.URL tells clients, by default `url` without
    user information, nothing for a file URL; `source` is the root pattern of the configured source that decided, or "".
    The other fields are the configured source's too, see `SourceRule`.
    """

    root: str
    url: str
    subdir: str = ""
    origin: str = ""
    source: str = ""
    tag_prefix: str | None = None
    credential: str = ""
    private: bool = False
    trust_not_found: bool = True
    engine: str = ENGINES[0]

    def __post_init__(self) -> None:
        # Where things lie on this machine is nobody else's business.
        if not self.origin and not self.url.startswith("file:"):
            object.__setattr__(self, "origin", without_userinfo(self.url))


@dataclass(frozen=True, slots=True)
class Discover:
    """Ask `https://<path>?go-get=1` which repository holds `path`."""

    path: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Find the first of `schemes` for which `<scheme>://<repo>` is a Git repository; `root` is its path prefix."""

    root: str
    repo: str
    schemes: tuple[str, ...] = PROBE_SCHEMES


@dataclass(frozen=True, slots=True)
class CodeRoot:
    """Where in its repository a module lives, under cmd/go's names.

    code_dir: slash-separated, "" for the top; path_major: "", "/v2" or ".v2"; pseudo_major: "" or "v2"; tag_prefix:
    what its tags have before the version, by Go's rule code_dir and a slash.
    """

    module_path: str
    root: str
    code_dir: str
    path_prefix: str
    path_major: str
    pseudo_major: str
    tag_prefix: str


def has_path_prefix(path: str, prefix: str) -> bool:
    """Report whether the elements of `prefix` begin `path`; "" begins everything.

    Source: cmd/go/internal/str/path.go (HasPathPrefix).
    """
    if prefix in ("", path):
        return True
    return path.startswith(prefix if prefix.endswith("/") else prefix + "/")


def without_userinfo(url: str) -> str:
    """Drop `user:password@` from the authority of a URL; text without `://` is returned unchanged."""
    scheme, found, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not found or "@" not in authority:
        return url
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


# --- configured sources ---


@dataclass(frozen=True, slots=True)
class SourceRule:
    """A configured mapping from module paths to repositories.

    `root` is a pattern such as "git.corp.example/{group}/{repo}" or "gopkg.in/{name}.v{major}": each `{name}` stands
    for one or more characters inside one path element, the shortest that fits; all else is literal. `url`, `origin`,
    `subdir` and `tag_prefix` are templates over the same names.

    `tag_prefix` is what tags have before the version of the module at the root, None for Go's own rule (the directory).
    `credential` names the one to use, "" for the longest URL prefix that fits. `private`: paths below the literal
    beginning of `root` are never looked for anywhere else. `trust_not_found`: whether the host's "no such repository"
    proves that there is none; a host may say so of what it does not want to show.
    """

    root: str
    url: str
    origin: str = ""
    subdir: str = ""
    tag_prefix: str | None = None
    credential: str = ""
    private: bool = False
    trust_not_found: bool = True
    engine: str = ENGINES[0]

    def match(self, import_path: str) -> RepoRoot | None:
        """Apply the rule if `root` matches the first elements of `import_path`, else None.

        Raises ValueError if the rule has problems().
        """
        pattern = self.root.split("/")
        elements = import_path.split("/")[: len(pattern)]
        if len(elements) < len(pattern):
            return None
        values: dict[str, str] = {}
        for template, element in zip(pattern, elements, strict=True):
            found = _match_element(_compile(template), element)
            if found is None:
                return None
            values |= found
        return RepoRoot(
            root="/".join(elements),
            url=_expand(self.url, values),
            subdir=_expand(self.subdir, values),
            origin=_expand(self.origin, values),
            source=self.root,
            tag_prefix=None if self.tag_prefix is None else _expand(self.tag_prefix, values),
            credential=self.credential,
            private=self.private,
            trust_not_found=self.trust_not_found,
            engine=self.engine,
        )

    def claims(self, path: str) -> bool:
        """Whether `path` lies where a private source has everything, so that nobody else may be asked for it."""
        literal = self.root.partition("{")[0]
        if "{" in self.root:
            literal = literal.rpartition("/")[0]
        return self.private and bool(literal) and has_path_prefix(path, literal)

    def problems(self) -> list[str]:
        """List what is wrong with the templates, one sentence each; empty if the rule can be used."""
        return [*self._root_problems(), *self._template_problems()]

    def _root_problems(self) -> Iterator[str]:
        if not self.root:
            yield "root is empty"
        elif "" in self.root.split("/"):
            yield f"root {self.root!r} has an empty path element"
        names: set[str] = set()
        for part in _try_compile(self.root):
            if isinstance(part, Hole):
                if part.name in names:
                    yield f"root {self.root!r} uses {{{part.name}}} more than once"
                names.add(part.name)
        if "}{" in self.root:
            yield f"root {self.root!r} has two names with nothing between them"

    def _template_problems(self) -> Iterator[str]:
        if not self.url:
            yield "url is empty"
        elif self.url.startswith("{"):
            yield f"url {self.url!r} must begin with a literal scheme"
        if self.tag_prefix is not None and (self.tag_prefix.startswith(("/", "-")) or " " in self.tag_prefix):
            yield f"tag_prefix {self.tag_prefix!r} must not begin with a slash or hyphen, nor have spaces"
        if self.engine not in ENGINES:
            yield f"engine {self.engine[:40]!r} is not one of {', '.join(ENGINES)}"
        if self.subdir.startswith(("/", "-")):
            yield f"subdir {self.subdir!r} must not begin with a slash or hyphen"
        known = {part.name for part in _try_compile(self.root) if isinstance(part, Hole)}
        for field in ("root", "url", "origin", "subdir", "tag_prefix"):
            template = getattr(self, field) or ""
            try:
                parts = _compile(template)
            except ValueError as bad:
                yield f"{field}: {bad}"
                continue
            unknown = sorted({part.name for part in parts if isinstance(part, Hole)} - known)
            yield from (f"{field} {template!r} uses {{{name}}}, which root does not define" for name in unknown)


@dataclass(frozen=True, slots=True)
class Hole:
    """A `{name}` in a template."""

    name: str


_PART = re.compile(r"\{([a-z][a-z0-9_]*)\}|([^{}]+)", re.ASCII)


@lru_cache(maxsize=4096)
def _compile(template: str) -> tuple[str | Hole, ...]:
    """Split a template into literals and holes; ValueError for braces that are not `{name}`."""
    parts: list[str | Hole] = []
    at = 0
    while at < len(template):
        found = _PART.match(template, at)
        if found is None:
            raise ValueError(f"template {template!r} has a brace that is not part of a {{name}}")
        parts.append(Hole(found[1]) if found[1] else found[2])
        at = found.end()
    return tuple(parts)


def _try_compile(template: str) -> tuple[str | Hole, ...]:
    try:
        return _compile(template)
    except ValueError:
        return ()


def _expand(template: str, values: dict[str, str]) -> str:
    try:
        return "".join(values[part.name] if isinstance(part, Hole) else part for part in _compile(template))
    except KeyError as missing:
        raise ValueError(f"template {template!r} uses {{{missing.args[0]}}}, which root does not define") from None


def _match_element(parts: tuple[str | Hole, ...], element: str) -> dict[str, str] | None:
    """Match one path element; each hole takes the shortest text that lets the rest match, in linear time.

    A hole never stands for "." or "..": that text would walk about in the URL it is put into.
    """
    values: dict[str, str] = {}
    at = 0
    hole = ""
    for index, part in enumerate(parts):
        if isinstance(part, Hole):
            if hole:
                values[hole] = element[at : at + 1]
                at += 1
            hole = part.name
            continue
        start = _find_literal(element, part, at, after_hole=bool(hole), last=index == len(parts) - 1)
        if start < 0:
            return None
        if hole:
            values[hole] = element[at:start]
            hole = ""
        at = start + len(part)
    if hole:
        values[hole] = element[at:]
    elif at != len(element):
        return None
    return None if any(value in ("", ".", "..") for value in values.values()) else values


def _find_literal(element: str, literal: str, at: int, *, after_hole: bool, last: bool) -> int:
    """Where `literal` must stand: at `at`, or behind a hole of at least one character; at the end if `last`."""
    if not after_hole:
        return at if element.startswith(literal, at) else -1
    if last:
        start = len(element) - len(literal)
        return start if start > at and element.endswith(literal) else -1
    return element.find(literal, at + 1)


# --- Go's static table ---


@dataclass(frozen=True, slots=True)
class _Host:
    prefix: str
    root: re.Pattern[str]
    vcs: str = "git"
    plain_name: bool = False  # Go's noVCSSuffix: the root must not end in .git and the like
    elements: bool = True  # whether package elements may follow the root


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


_HOSTS = (
    _Host("github.com", _pattern(r"github\.com/[\w.\-]+/[\w.\-]+"), plain_name=True),
    _Host("bitbucket.org", _pattern(r"bitbucket\.org/[\w.\-]+/[\w.\-]+"), plain_name=True),
    _Host("hub.jazz.net/git", _pattern(r"hub\.jazz\.net/git/[a-z0-9]+/[\w.\-]+"), plain_name=True),
    _Host("git.apache.org", _pattern(r"git\.apache\.org/[a-z0-9_.\-]+\.git(?![^/])")),
    _Host("git.openstack.org", _pattern(r"git\.openstack\.org/[\w.\-]+/[\w.\-]+")),
    _Host("chiselapp.com", _pattern(r"chiselapp\.com/user/[A-Za-z0-9]+/repository/[\w.\-]+"), "fossil", elements=False),
)
_ELEMENTS = _pattern(r"(?:/[\w.\-]+)*")
_TOOLCHAIN_HINT = (
    "Go downloads this module from https://proxy.golang.org; a server without it needs a second entry in GOPROXY"
)


def static_root(path: str, sources: Sequence[SourceRule]) -> RepoRoot | Discover | Probe:
    """Decide what can be decided about a valid module path without a network.

    The first source that matches wins over everything else. Raises NotFound, with Go's text, for a path that no
    repository can hold by Go's rules or that is kept in anything but Git.
    """
    for rule in sources:
        found = rule.match(path)
        if found is not None:
            return found
    for rule in sources:
        if rule.claims(path):
            raise NotFound(f"no source maps {path}, and the private source {rule.root} keeps it from being looked for")
    _refuse_literals(path)
    for host in _HOSTS:
        if has_path_prefix(path, host.prefix):
            return _host_root(host, path)
    return _qualified_root(path) or Discover(path)


def _refuse_literals(path: str) -> None:
    if has_path_prefix(path, "example.net"):
        raise NotFound("no modules on example.net")
    if path == "rsc.io":
        raise NotFound("rsc.io is not a module")
    for scheme in ("http:", "https:"):
        if path.startswith(scheme):
            raise NotFound(f'"{scheme}//" not allowed in import path')
    if path in ("golang.org/toolchain", "golang.org/fips140"):
        raise NotFound(f"{path} is published as finished files and cannot be built from a repository", _TOOLCHAIN_HINT)
    if "." not in path.partition("/")[0]:
        raise NotFound(f'unrecognized import path "{path}": import path does not begin with hostname')


def _host_root(host: _Host, path: str) -> RepoRoot:
    found = host.root.match(path)
    if found is None or not _is_rest(host, path[found.end() :]):
        raise NotFound(f'invalid {host.prefix} import path "{path}"')
    root = found[0]
    if host.plain_name and root.endswith(tuple("." + name for name in VCS_NAMES)):
        raise NotFound(f"invalid version control suffix in {host.prefix}/ path")
    check_vcs(host.vcs, root)
    return RepoRoot(root, "https://" + root)


def _is_rest(host: _Host, rest: str) -> bool:
    return _ELEMENTS.fullmatch(rest) is not None if host.elements else not rest


def check_vcs(vcs: str, root: str) -> None:
    """Raise NotFound unless `vcs` is "git"; the text is Go's where Go's default GOVCS says no as well.

    DIFFERS: Go uses Mercurial too, and every tool for paths in GOPRIVATE; this server has Git only.
    """
    if vcs == "git":
        return
    if vcs not in _GOVCS_PUBLIC:
        raise NotFound(f"GOVCS disallows using {vcs} for public {root}; see 'go help vcs'", _ONLY_GIT)
    raise NotFound(f"{root} is kept in {vcs}, and this proxy builds modules from Git only", _ONLY_GIT)


# --- version control qualifiers: example.org/repo.git/dir ---

_ELEMENT = _pattern(r"~?[\w.\-]+")
_HOST_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789.-"
_QUALIFIER = _pattern(r"(~?[\w.\-]+)\.(fossil|git|hg|svn)")


def _qualified_root(path: str) -> Probe | None:
    """The last element that ends in .git (.hg, .svn, .fossil) ends the repository's root.

    Go's pattern for this is not anchored at the start: after an element that it cannot match, such as "a~b", it may
    find a host in the middle of the path. cmd/go then asks that host and fails all the same, so it is refused unasked.
    """
    elements = path.split("/")
    start = max((i for i, e in enumerate(elements) if i and not _ELEMENT.fullmatch(e)), default=0)
    while start < len(elements):
        host = elements[start][len(elements[start].rstrip(_HOST_CHARS)) :]
        if "." in host[1:-1]:
            break
        start += 1
    else:
        return None
    for end in range(len(elements) - 1, start, -1):
        found = _QUALIFIER.fullmatch(elements[end])
        if found is None:
            continue
        parents = "/".join([host, *elements[start + 1 : end]])
        root = f"{parents}/{found[0]}"
        if not path.startswith(root):
            raise NotFound(f"mismatched repo: found {root} for {path}")
        check_vcs(found[2], root)
        return Probe(root, f"{parents}/{found[1]}")
    return None


# --- the module's place in its repository ---


def code_root(path: str, repo: RepoRoot) -> CodeRoot:
    """Where module `path` lives in `repo`.

    Raises NotFound if the repository cannot hold it. `code_dir` is `repo.subdir` below what the path says beyond
    `repo.root` (in that order, as Go has it), cleaned; "." and leading ".." remain, and no tree has such an entry.
    """
    if not has_path_prefix(path, repo.root):
        raise NotFound(f"mismatched repo: found {repo.root} for {path}")
    prefix, path_major, ok = module.split_path_version(path)
    try:
        pseudo_major = module.path_major_prefix(path_major)
    except InvalidRequest:
        ok = False
    if not ok:
        raise NotFound(f'invalid module path "{path}"')
    if repo.root == path:
        prefix = path
    if not has_path_prefix(prefix, repo.root):
        raise NotFound(f"repository rooted at {repo.root} cannot contain module {path}")
    below = code_dir = prefix[len(repo.root) :].strip("/")
    if repo.subdir:
        code_dir = _clean(f"{code_dir}/{repo.subdir}" if code_dir else repo.subdir)
    if repo.tag_prefix is None:
        tag_prefix = code_dir + "/" if code_dir else ""
    else:
        tag_prefix = repo.tag_prefix + (below + "/" if below else "")
    return CodeRoot(path, repo.root, code_dir, prefix, path_major, pseudo_major, tag_prefix)


def _clean(path: str) -> str:
    """Go's path.Clean for a relative path that is not empty."""
    kept: list[str] = []
    for element in path.split("/"):
        if element == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif element not in ("", "."):
            kept.append(element)
    return "/".join(kept) or "."
