"""Contract classes: test classes that run the checks of `bench check` with pytest.

Their fixtures are in `harness.testing.pytest_plugin`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.testing.checks import NotApplicable
from harness.testing.submissions import SUBMISSION_CHECKS, SubmissionCase
from harness.testing.workloads import WORKLOAD_CHECKS, WorkloadCase


def _run(check: Callable[[Any], None], case: object) -> None:
    try:
        check(case)
    except NotApplicable as reason:
        pytest.skip(str(reason))
    finally:
        # The clock of a run calls gc.freeze(), which hides objects from the garbage collector.
        gc.unfreeze()


class SubmissionContract:
    """Checks of a submission on the micro-workloads. A subclass names the submission.

    Attributes:
        submission: name of an installed submission, path of a file, or an entry.

    Example::

        class TestMine(SubmissionContract):
            submission = "my-method"
    """

    submission: ClassVar[str | SubmissionEntry]

    @pytest.mark.parametrize("check", SUBMISSION_CHECKS.values(), ids=list(SUBMISSION_CHECKS))
    def test_contract(self, check: Callable[[SubmissionCase], None], bench_submission_case: SubmissionCase) -> None:
        _run(check, bench_submission_case)


class WorkloadContract:
    """Checks of a workload. A subclass names the workload.

    Attributes:
        workload: name of an installed workload, path of a file, or an entry.

    Example::

        class TestMine(WorkloadContract):
            workload = "my-task"
    """

    workload: ClassVar[str | WorkloadEntry]

    @pytest.mark.parametrize("check", WORKLOAD_CHECKS.values(), ids=list(WORKLOAD_CHECKS))
    def test_contract(self, check: Callable[[WorkloadCase], None], bench_workload_case: WorkloadCase) -> None:
        _run(check, bench_workload_case)
