"""go.work files: which main modules a workspace has, and what it replaces for all of them. It reads; it never writes.

Not here: which directories exist, and what their go.mod files say; `modgraph` takes both.

Source: golang.org/x/mod/modfile (work.go: ParseWork; rule.go: WorkFile.add).
"""

from __future__ import annotations

from dataclasses import dataclass

from vcsproxy.mod.modargs import BadDirective, string_argument
from vcsproxy.mod.modfile import VERBS, Directive, Draft, Grammar, Replace, read_directives


@dataclass(frozen=True, slots=True)
class WorkFile:
    """A go.work file; "" and () for what it does not say. `use` has directories as written, often below its own."""

    go: str = ""
    toolchain: str = ""
    godebug: tuple[tuple[str, str], ...] = ()
    use: tuple[str, ...] = ()
    replace: tuple[Replace, ...] = ()


def parse(data: bytes) -> WorkFile:
    """Read a go.work file (modfile.ParseWork); raises ModFileError with every fault, each as go.work:LINE: TEXT."""
    draft = read_directives(data, _GRAMMAR)
    return WorkFile(
        go=draft.go or "",
        toolchain=draft.toolchain or "",
        godebug=tuple(draft.godebug),
        use=tuple(draft.use),
        replace=tuple(draft.replace),
    )


def _add_use(draft: Draft, directive: Directive) -> None:
    if len(directive.args) != 1:
        raise BadDirective("usage: use local/dir")
    draft.use.append(string_argument(directive.args[0]))


_SHARED = ("go", "toolchain", "godebug", "replace")
_GRAMMAR = Grammar(
    "go.work",
    {verb: VERBS[verb] for verb in _SHARED} | {"use": _add_use},
    frozenset(("godebug", "use", "replace")),
)
