"""One repository asked by us and by `go`: expected answers are checked on both and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.direct import PREFIX, DirectGo, Ours, Outcome
from tests.support.gitrepo import GitRepo
from tests.support.gotool import GoTool
from tests.support.history import Step, build
from vcsproxy.build.job import Built, Failed, Op
from vcsproxy.mod import pseudo

DAY = 86400
MARCH_1 = 1709251200  # 2024-03-01T00:00:00Z
MOD: dict[str, str] = {"go.mod": "module github.com/t/x\n"}


def day(number: int, zone: str = "+0000") -> str:
    """Midnight UTC of a day of March 2024 as a commit has it."""
    return f"{MARCH_1 + (number - 1) * DAY} {zone}"


def line(*steps: Step) -> list[Step]:
    """Each step a day after, and a child of, the one before."""
    return [
        Step(s.files, [at - 1] if at else [], day(at + 1), s.branch, s.tags, s.annotated) for at, s in enumerate(steps)
    ]


@dataclass
class Asked:
    """One repository and two who answer for it.

    Questions are what follows the repository's name, such as `/sub@v1.0.0`; in them and in what is expected, `{c[B]}`
    is the hash of branch B's tip, `{h[B]}` its first twelve digits, `{t[B]}` its time and `{p[B]}` the end of its
    pseudo-version, time and hash.
    """

    repo: GitRepo
    go: GoTool
    work: Path

    def __post_init__(self) -> None:
        self.root = self.repo.path.parent
        self.place = PREFIX + self.repo.path.name
        self.direct = DirectGo(self.go, self.root)
        self.ours = Ours(self.root, self.work / "ours")
        self.cache = self.work / "cache"
        form = "--format=%(refname:lstrip=2)%09%(objectname)%09%(committerdate:unix)"
        shown = self.repo.git("for-each-ref", form, "refs/heads")
        self.names: dict[str, dict[str, str]] = {"c": {}, "h": {}, "t": {}, "p": {}}
        for name, commit, when in (row.split("\t") for row in shown.split("\n") if row):
            stamp = pseudo.timestamp(int(when))
            for key, value in zip("chtp", (commit, commit[:12], stamp, f"{stamp}-{commit[:12]}"), strict=True):
                self.names[key][name] = value

    def say(self, text: str) -> str:
        return text.format(**self.names)

    def answers(self, expected: Mapping[str, str]) -> dict[str, Outcome]:
        """Both give the expected version, or both refuse in words with the expected text; our outcomes."""
        table = {self.place + self.say(question): self.say(answer) for question, answer in expected.items()}
        want = self.direct.download(self.cache, list(table))
        found: dict[str, Outcome] = {}
        for (question, answer), short in zip(table.items(), expected, strict=True):
            path, _, query = question.partition("@")
            have = self.ours.download(path, query)
            for got in (have, want[question]):
                if answer.startswith("v"):
                    assert (got.version, got.error) == (answer, ""), (question, have, want[question])
                else:
                    assert answer in got.error, (question, have, want[question])
            assert have.same(want[question]), (question, have, want[question])
            found[short] = have
        return found

    def lists(self, expected: Mapping[str, str | None]) -> None:
        """Both list the same; None is no module at all, which `go` by itself calls a module without versions."""
        for suffix, versions in expected.items():
            have, want = self.ours.versions(self.place + suffix), self.direct.versions(self.cache, self.place + suffix)
            assert have == (None if versions is None else versions.split()), (suffix, have)
            assert (want or []) == (have or []), (suffix, want)

    def latest(self, expected: Mapping[str, str]) -> None:
        """Both name the same latest version, "" for a refusal."""
        for suffix, version in expected.items():
            have, want = self.ours.latest(self.place + suffix), self.direct.latest(self.cache, self.place + suffix)
            assert (have, want) == (self.say(version), self.say(version)), suffix

    def refusal(self, op: Op, suffix: str, query: str = "") -> str:
        """Our reason for refusing."""
        refused = self.ours.ask(op, self.place + suffix, self.say(query))
        assert isinstance(refused, Failed), refused
        assert refused.error == "NotFound"
        return refused.message

    def built(self, op: Op, suffix: str, query: str = "") -> Built:
        built = self.ours.ask(op, self.place + suffix, self.say(query))
        assert isinstance(built, Built), built
        return built


def asked(go: GoTool, work: Path, steps: Sequence[Step], object_format: str = "sha1") -> Asked:
    """A repository `x` of these steps."""
    return Asked(build(work / "repos" / "x", steps, object_format), go, work)
