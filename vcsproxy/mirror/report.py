"""Findings about go.sum lines as JSON, the same from the command and from the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vcsproxy.mirror.verify import Finding


def report(findings: Sequence[Finding]) -> dict[str, Any]:
    """How many lines have each result, and every line in the order of the file."""
    counts = Counter(str(finding.result) for finding in findings)
    ordered = sorted(findings, key=lambda finding: (finding.at.file, finding.at.number))
    return {"lines": len(findings), "results": dict(sorted(counts.items())), "findings": [_value(f) for f in ordered]}


def _value(finding: Finding) -> dict[str, Any]:
    line = finding.at.line
    value = {
        "file": finding.at.file, "line": finding.at.number, "path": line.path, "version": line.version,
        "result": str(finding.result), "expected": line.h1, "found": finding.found,
        "causes": list(finding.causes), "reason": finding.reason, "hint": finding.hint,
    }  # fmt: skip
    return {key: part for key, part in value.items() if part or key == "line"}
