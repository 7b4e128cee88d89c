"""The messages between `bench check` and the process that runs the checks."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.entries import SubmissionEntry, WorkloadEntry

#: `started`: the check has not ended. `skipped`: the check does not apply, or it needs the result of a check that
#: failed.
CheckStatus = Literal["started", "passed", "failed", "skipped"]


class CheckRequest(Data, frozen=True, kw_only=True):
    """A request to check either a submission on workloads, or one workload without a submission.

    Args:
        submission: the submission; None to check the workload.
        workloads: the workloads on which the submission is checked; empty for the micro-workloads. If `submission` is
            None, the tuple has only the workload to check.
        blocked: names of the plugins that are not read.
    """

    submission: SubmissionEntry | None = None
    workloads: tuple[WorkloadEntry, ...] = ()
    blocked: tuple[str, ...] = ()


class CheckResult(Data, frozen=True, kw_only=True):
    """The result of a check.

    Args:
        name: name of the check.
        workload: name of the workload of the check; empty for a check of a declaration, which needs no workload.
        status: see `CheckStatus`.
        problem: what failed, or why the check was skipped.
        fix: what to do about the problem.
        seconds: wall seconds that the check took.
    """

    name: str
    workload: str = ""
    status: CheckStatus = "passed"
    problem: str = ""
    fix: str = ""
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """The name of the check, with its workload."""
        return f"{self.name} on {self.workload}" if self.workload else self.name
