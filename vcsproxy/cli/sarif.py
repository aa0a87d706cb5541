"""Findings about go.sum lines as SARIF 2.1.0, for the code scanning of forges.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vcsproxy import __version__
from vcsproxy.mirror.verify import Finding, Result

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_RULES = {
    Result.DIFFERS: ("error", "The hash in go.sum is not that of the repository's own commit."),
    Result.ABSENT: ("warning", "The repository has no such version."),
    Result.UNREACHABLE: ("note", "The repository could not be asked."),
    Result.REFUSED: ("warning", "The version may not be built here."),
}


def log(findings: Iterable[Finding]) -> dict[str, Any]:
    """One SARIF log; lines that are right are no results."""
    rules = [
        {
            "id": f"go-sum/{result}",
            "shortDescription": {"text": text},
            "defaultConfiguration": {"level": level},
        }
        for result, (level, text) in _RULES.items()
    ]
    driver = {"name": "vcsproxy", "version": __version__, "rules": rules}
    results = [_result(finding) for finding in findings if finding.result is not Result.OK]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding) -> dict[str, Any]:
    line = finding.at.line
    text = f"{line.path} {line.version}: {finding.reason}"
    if finding.found:
        text += f" (go.sum has {line.h1}, the repository gives {finding.found})"
    place = {"artifactLocation": {"uri": finding.at.file}, "region": {"startLine": finding.at.number}}
    return {
        "ruleId": f"go-sum/{finding.result}",
        "level": _RULES[finding.result][0],
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"line/v1": f"{line.path} {line.version} {line.h1}"},
    }
