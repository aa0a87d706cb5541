"""What to do about a module that is not there: cures for what Go's rules refuse, in one short sentence each.

Pure text over facts that are at hand. The reason itself is in Go's words where it is found (`coderepo`, `directory`);
for a tag or branch that is missing altogether see `missing`.
"""

from __future__ import annotations

from vcsproxy.errors import InvalidRequest
from vcsproxy.mod import module, semver
from vcsproxy.mod.query import base_of
from vcsproxy.mod.reporoot import CodeRoot

OTHER_NAME = "rename or remove the file, and tag a new version"
SMALLER = "take large files out of the module, and tag a new version"


def sibling(code: CodeRoot, major: str) -> str:
    """The module path of another major version: `v2` of github.com/t/x is github.com/t/x/v2."""
    stem = module.split_path_version(code.module_path)[0]
    if code.module_path.startswith("gopkg.in/"):
        return f"{stem}.{major}"
    return stem if major in ("v0", "v1") else f"{stem}/{major}"


# ---- no go.mod that fits


def missing_root_gomod(code: CodeRoot, version: str) -> str:
    """A path with a major suffix, and no go.mod that could say so."""
    stem, base = module.split_path_version(code.module_path)[0], base_of(version)
    cure = f'a major version from v2 on needs a go.mod: write "module {code.module_path}" in it and tag that commit'
    if base == semver.canonical(base) and code.root == stem and not code.module_path.startswith("gopkg.in/"):
        cure += f"; or ask for {stem}@{base}+incompatible"
    return cure


def missing_directory(code: CodeRoot, rev: str) -> str:
    return f"there is no directory {code.code_dir} at {rev}; check the module path"


def missing_gomod(code: CodeRoot, owner: str) -> str:
    return f"{code.code_dir} is a directory of the module {owner}; require that, or give {code.code_dir} its own go.mod"


def nested_gomod(code: CodeRoot, first: str, second: str, *, both: bool) -> str:
    """vN/go.mod is there, and stands in the way or contradicts."""
    if both:
        return f"keep one of {first} and {second}, and tag a new version"
    return f'write "module {code.module_path}" in {second}, and tag a new version'


def misfit(code: CodeRoot, file: str, declared: str, version: str) -> str:
    """go.mod declares a path that cannot stand for the one asked for, or none."""
    mend = f'write "module {code.module_path}" in {file}, and tag a new version'
    _, major, ok = module.split_path_version(declared)
    if not ok or not is_path(declared):
        return mend
    if not code.path_major:  # it says /vN, and no version of this path can
        begin = f", whose versions begin with {major[1:]}" if semver.major(version) in ("v0", "v1") else ""
        return f"require {declared}{begin}"
    return mend if major else f"{mend}; or require {declared} at a version below {code.pseudo_major}"


def wrong_major(code: CodeRoot, version: str, *, has_gomod: bool) -> str:
    """A version of a major that the path does not have, and that may not be `+incompatible`."""
    wanted = sibling(code, semver.major(version))
    if code.path_major or not has_gomod:
        return f"require {wanted}"
    return f'write "module {wanted}" in its go.mod, tag a new version, and require {wanted}'


def not_a_tag(version: str, tag: str) -> str:
    return f"{tag} is a branch, and versions are tags: rename the branch and tag its commit, or ask for {version}"


def pseudo_version(code: CodeRoot, rev: str) -> str:
    return f"ask for {code.module_path}@{rev}, and go finds the right pseudo-version"


def another_path(code: CodeRoot, file: str, declared: str) -> str:
    """It is a module, and calls itself otherwise."""
    mend = f"require {declared}" if is_path(declared) else f'write "module {code.module_path}" in {file}'
    return f"{mend}; or use {code.module_path} only on the right of a replace directive"


def is_path(declared: str) -> bool:
    """Whether what a stranger's go.mod declares can be repeated in a cure: an import path and no other text."""
    try:
        module.check_import_path(declared)
    except InvalidRequest:
        return False
    return True
