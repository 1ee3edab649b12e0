"""The findings of the leak audit in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec.core.files import read_json, write_json
from llmrec.data.audit import Finding, errors

AUDIT = "audit.json"


def write_audit(folder: Path, findings: Sequence[Finding]) -> None:
    """Keep the findings in a run folder."""
    write_json(folder / AUDIT, [finding.as_dict() for finding in findings])


def read_audit(folder: Path) -> tuple[Finding, ...] | None:
    """Return the findings of a run, None of one that was not audited."""
    path = folder / AUDIT
    return tuple(map(Finding.from_dict, read_json(path))) if path.is_file() else None


def audit_line(folder: Path) -> str:
    """Return what the audit of a run said, in one line."""
    findings = read_audit(folder)
    if findings is None:
        return "Leak audit: off"
    if not findings:
        return "Leak audit: nothing found"
    n_errors = len(errors(findings))
    codes = ", ".join(dict.fromkeys(finding.code for finding in findings))
    counted = f"{n_errors} errors, {len(findings) - n_errors} warnings"
    return f"Leak audit: {counted} ({codes}), see {folder / AUDIT}"
