"""The results of checks: one finding for each check of a record."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from harness.contract.base import Data

#: The checks of a record, in the order of the columns that `bench verify` prints.
CHECKS: Final = (
    "content", "identity", "workload", "ruleset", "settings", "seeds", "points", "ending", "judgements", "copies",
    "weights", "ledger",
)  # fmt: skip
CheckName: TypeAlias = Literal[
    "content", "identity", "workload", "ruleset", "settings", "seeds", "points", "ending", "judgements", "copies",
    "weights", "ledger",
]  # fmt: skip
#: `passed`, `failed`, or `unchecked` if the check lacks something that it needs.
FindingOutcome = Literal["passed", "failed", "unchecked"]


class Finding(Data, frozen=True, kw_only=True):
    """The result of one check of a record.

    Args:
        check: name of the check.
        outcome: the result.
        detail: what is wrong, or why the record could not be checked; may be empty if the check passed.
    """

    check: CheckName
    outcome: FindingOutcome
    detail: str = ""


class RecordFindings(Data, frozen=True, kw_only=True):
    """The findings about one record.

    Args:
        path: path of the record's file. The file does not exist if the record is packed into a shard (a compressed
            file with many records).
        run_id: run ID of the record; empty if the record cannot be read.
        title: submission and workload of the record; empty if the record cannot be read.
        content_hash: content hash of the record; empty if the record cannot be read.
        findings: one finding for each check that was made.
    """

    path: str
    run_id: str = ""
    title: str = ""
    content_hash: str = ""
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return any(finding.outcome == "failed" for finding in self.findings)

    def finding(self, check: CheckName) -> Finding | None:
        """Return the finding of a check; None if the check was not made."""
        return next((finding for finding in self.findings if finding.check == check), None)


def make_finding(check: CheckName, problems: list[str], unchecked: str = "") -> Finding:
    """Return the finding of a check.

    Args:
        check: name of the check.
        problems: what is wrong; empty if nothing is wrong.
        unchecked: why the record could not be checked; empty if it was checked.
    """
    if problems:
        return Finding(check=check, outcome="failed", detail="; ".join(problems[:3]))
    return Finding(check=check, outcome="unchecked" if unchecked else "passed", detail=unchecked)
