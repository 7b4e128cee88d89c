"""Renders the findings of `bench verify` as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.report import text
from harness.verification.findings import CHECKS, FindingOutcome, RecordFindings

#: Outcome of a check -> its text in the table. A check without a finding is shown as `-`.
_OUTCOME_TEXTS = {"passed": "ok", "failed": "FAILED", "unchecked": "?"}


def findings_text(findings: Sequence[RecordFindings]) -> str:
    """Return the table of all records and checks.

    Below it are the failures, the reasons for the outcome `unchecked`, and remarks on checks that passed.
    """
    rows = [["record", "run", *CHECKS]]
    rows += [[_run_id_or_path(record), record.title, *_outcome_cells(record)] for record in findings]
    lines = [text.columns(rows)] if findings else []
    for record in findings:
        lines += [
            f"{record.path}: {finding.check}: {finding.detail}"
            for finding in record.findings
            if finding.outcome == "failed"
        ]
    lines += _lines_by_detail(findings, "unchecked", "not checked: ")
    lines += _lines_by_detail(findings, "passed", "")
    return "\n".join([*lines, summary(findings)])


def _lines_by_detail(findings: Sequence[RecordFindings], outcome: FindingOutcome, prefix: str) -> list[str]:
    """Return one line for each detail of the findings with an outcome. Most findings that passed have no detail."""
    details = Counter(
        (finding.check, finding.detail)
        for record in findings
        for finding in record.findings
        if finding.outcome == outcome and finding.detail
    )
    return [
        f"{prefix}{check} of {_count_nouns(number, 'record')}: {detail}"
        for (check, detail), number in sorted(details.items(), key=lambda item: CHECKS.index(item[0][0]))
    ]


def summary(findings: Sequence[RecordFindings]) -> str:
    """Return the number of records, and the number of records in which a check failed."""
    failed = sum(record.failed for record in findings)
    return f"{_count_nouns(len(findings), 'record')}, {failed:,} failed"


def findings_json(findings: Sequence[RecordFindings]) -> dict[str, Any]:
    """Return the findings as plain data."""
    return {"records": findings, "failed": sum(record.failed for record in findings)}


def _run_id_or_path(record: RecordFindings) -> str:
    return record.run_id or record.path


def _outcome_cells(record: RecordFindings) -> list[str]:
    by_check = {finding.check: _OUTCOME_TEXTS[finding.outcome] for finding in record.findings}
    return [by_check.get(check, "-") for check in CHECKS]


def _count_nouns(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
