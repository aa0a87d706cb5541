"""What crosses the process boundary: a frozen Job goes in, a frozen Built, Listed or Failed comes out.

This module parses nothing of Git and does no I/O. Both sides speak JSON, never pickle: the worker has read hostile
bytes, so its answer is checked against these types like any other input.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, TypeAdapter

from vcsproxy import errors
from vcsproxy.mod.reporoot import Discover, Probe, RepoRoot
from vcsproxy.secret import Redactor, Secret
from vcsproxy.trace import Step

_MAX_TEXT = 4000  # characters of a message; a hostile tree can have a million bad names
_BYTES = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Op(enum.StrEnum):
    """What is asked of the worker."""

    LOCATE = "locate"
    LIST = "list"
    LATEST = "latest"
    INFO = "info"
    ZIP = "zip"
    EXPLAIN = "explain"
    VARIANTS = "variants"
    MODULES = "modules"


class Cause(enum.StrEnum):
    """What can make somebody's hash of a version another one than ours; the value is its name in reports."""

    VENDOR_RULE = "vendor-rule"  # files of vendor directories by the rule before Go 1.24, or since
    NOT_CONVERTED = "not-converted"  # files as the repository has them, without the conversions of .gitattributes
    CONVERTED = "converted"  # a go.mod with them
    CRLF = "crlf"  # text files with the line ends of Windows, as under core.autocrlf
    NO_LICENSE = "no-license"  # without the LICENSE that a directory inherits from the root
    CONVERTED_LICENSE = "converted-license"  # with that LICENSE converted
    INCOMPATIBLE = "incompatible"  # names with +incompatible in the version, or without
    NO_GO_MOD = "no-go.mod"  # the go.mod that go makes up for a module without one


@dataclass(frozen=True, slots=True)
class Host:
    """What the configuration says about one host. Naming a host allows private addresses for it.

    Files are absolute. `jump` is how SSH gets there when it cannot directly: [user@]host[:port] of one other host.
    """

    name: str
    connect: str = ""  # ADDRESS:PORT to dial instead of resolving the name
    ca: str = ""  # PEM file of the authorities to trust for it, instead of the system's
    client_cert: str = ""  # PEM file of our own certificate, with its key unless client_key has that
    client_key: str = ""  # PEM file
    client_key_password: Secret = field(default_factory=lambda: Secret(""))
    proxy: str = ""  # http://HOST:PORT or https://HOST:PORT to reach it through
    insecure: bool = False  # allow http:// and certificates that cannot be verified; never with credentials
    known_hosts: str = ""  # OpenSSH's file of host keys
    accept_new_host_key: bool = False  # believe the first key that an unknown host shows, and write it there
    jump: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """A credential as a worker may use it, and only for URLs that the prefix `url` covers (see `access.prefix`).

    basic: `user` and `secret`. bearer: `secret` alone. agent: the ssh-agent that listens on the socket `agent`; with
    `public_keys` (lines as in authorized_keys) only those keys are offered, and `user` is the default login name.
    """

    name: str
    url: str
    kind: Literal["basic", "bearer", "agent"]
    user: str = ""
    secret: Secret = field(default_factory=lambda: Secret(""))
    agent: str = ""
    public_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of one job; bytes, seconds and counts."""

    wall: float = 300.0
    connect: float = 5.0
    idle: float = 30.0
    cpu: int = 240
    memory: int = 2 << 30
    file: int = 1 << 30
    pack: int = 1 << 30
    objects: int = 2_000_000
    object: int = 512 << 20
    refs: int = 200_000
    refs_bytes: int = 64 << 20
    tree_entries: int = 200_000
    tree_depth: int = 2048
    commits: int = 2_000_000
    page: int = 256 << 10


@dataclass(frozen=True, slots=True)
class Job:
    """One question about one module path.

    LOCATE finds the repository of a Discover or Probe target; all others have a RepoRoot. `query` is a version or
    revision for INFO and EXPLAIN, a canonical version for ZIP and VARIANTS, else empty. `pinned` is the commit that
    the version's stored `.info` promised, empty when nothing was promised yet. `mirrors` and `workspace` are
    directories; files of the answer are written to the workspace and belong to the caller. `access` are the credentials
    that this job may use and no others. `offline`: answer from what is here, and do not ask the host.
    """

    op: Op
    path: str
    query: str
    target: RepoRoot | Discover | Probe
    mirrors: str
    workspace: str = ""
    pinned: str = ""
    refs_ttl: float = 60.0
    go_limit: str = ""  # refuse zips of modules that need a newer Go than this; empty: never
    hosts: tuple[Host, ...] = ()
    access: tuple[Access, ...] = ()
    offline: bool = False
    limits: Limits = field(default_factory=Limits)
    kind: Literal["job"] = "job"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTPS request for the serving process, which opens no connections itself; no redirects are followed."""

    __pydantic_config__: ClassVar[ConfigDict] = _BYTES

    method: Literal["GET", "POST"]
    url: str
    bearer: Secret
    accept: str = "application/json"
    body: bytes = b""
    hosts: tuple[Host, ...] = ()
    limits: Limits = field(default_factory=Limits)
    kind: Literal["call"] = "call"


@dataclass(frozen=True, slots=True)
class Called:
    """The answer to a Call: its status, whatever that is, and at most `limits.page` bytes of its body."""

    __pydantic_config__: ClassVar[ConfigDict] = _BYTES

    status: int
    body: bytes
    steps: tuple[Step, ...] = ()
    kind: Literal["called"] = "called"


@dataclass(frozen=True, slots=True)
class Located:
    """The repository that the network names for a module path."""

    root: RepoRoot
    steps: tuple[Step, ...] = ()
    kind: Literal["located"] = "located"


@dataclass(frozen=True, slots=True)
class Listed:
    """The versions of a module, sorted by semver; may be empty for a module without release tags.

    `tags` are (full ref name, commit) of every tag that names a version of this module, listed or not. `stale`: seconds
    since the refs were read, if the host could not be asked for newer ones; else 0. `read`: when they were read, in
    seconds since 1970; 0 if the repository is on this machine.
    """

    versions: tuple[str, ...]
    tags: tuple[tuple[str, str], ...] = ()
    stale: float = 0.0
    read: float = 0.0
    steps: tuple[Step, ...] = ()
    kind: Literal["listed"] = "listed"


@dataclass(frozen=True, slots=True)
class Built:
    """One version. `answer` are the `.info` bytes for the query as asked, `info` those of the version itself.

    `zip` is a path in the job's workspace, empty unless the job was a ZIP; `zip_h1` goes with it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _BYTES

    version: str
    answer: bytes
    info: bytes
    gomod: bytes
    zip: str = ""
    zip_h1: str = ""
    omitted: int = 0  # files that Go's rules leave out of the zip
    stale: float = 0.0  # both as in Listed
    read: float = 0.0
    steps: tuple[Step, ...] = ()
    kind: Literal["built"] = "built"


@dataclass(frozen=True, slots=True)
class Variant:
    """A hash, and what it takes to get it; no cause: it is the right one."""

    causes: tuple[Cause, ...]
    h1: str


@dataclass(frozen=True, slots=True)
class Variants:
    """Hashes of a version's zip and go.mod at one commit, those with the fewest causes first.

    pointers: files of the zip that are pointers to Git LFS, whose content is nowhere in the repository.
    """

    commit: str
    zips: tuple[Variant, ...]
    gomods: tuple[Variant, ...]
    pointers: int = 0
    steps: tuple[Step, ...] = ()
    kind: Literal["variants"] = "variants"


@dataclass(frozen=True, slots=True)
class Modules:
    """The paths of all modules that a repository has, by its tags and by the go.mod files of its HEAD; sorted."""

    paths: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    kind: Literal["modules"] = "modules"


@dataclass(frozen=True, slots=True)
class Failed:
    """An error by the name of its class in `errors`, or of the nearest one there, with its message and hint."""

    error: str
    message: str
    hint: str = ""
    retry_after: float = 0.0
    steps: tuple[Step, ...] = ()
    kind: Literal["failed"] = "failed"

    @classmethod
    def of(cls, error: errors.VCSProxyError, secrets: tuple[Secret, ...] = (), steps: tuple[Step, ...] = ()) -> Failed:
        """From an exception; `secrets` are taken out of its texts, a host may have repeated them."""
        hide = Redactor(secrets)
        # Names of refs and files may hold bytes that are no text; JSON cannot carry those.
        texts = (hide(text)[:_MAX_TEXT].encode("utf-8", "replace").decode() for text in (error.message, error.hint))
        message, hint = texts
        name = next(each.__name__ for each in type(error).__mro__ if hasattr(errors, each.__name__))
        return cls(name, message, hint, getattr(error, "retry_after", 0.0), steps)

    def exception(self) -> errors.VCSProxyError:
        """The exception again; an unknown name can only come from a broken worker."""
        found = getattr(errors, self.error, None)
        if not isinstance(found, type) or not issubclass(found, errors.VCSProxyError) or found is errors.ConfigError:
            return errors.Corrupt(f"worker answered with unknown error {self.error[:40]!r}")
        error: errors.VCSProxyError = found(self.message, self.hint)
        if isinstance(error, errors.Unavailable):
            error.retry_after = self.retry_after
        error.steps = self.steps
        return error


Task = Job | Call
Answered = Listed | Built | Variants | Modules
Outcome = Located | Answered | Called
Result = Outcome | Failed

TASK: TypeAdapter[Task] = TypeAdapter(Annotated[Task, Discriminator("kind")])
RESULT: TypeAdapter[Result] = TypeAdapter(Annotated[Result, Discriminator("kind")])
