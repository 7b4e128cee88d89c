"""Contract classes: test classes that run the checks of `bench check` with pytest."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.planning.completion import complete_submission
from harness.planning.resolve import resolve_submission, resolve_workload
from harness.plugins.registry import Registry, load_registry
from harness.testing.checks import NotApplicable
from harness.testing.micro import MICRO_WORKLOADS
from harness.testing.submissions import SUBMISSION_CHECKS, SubmissionCase
from harness.testing.workloads import WORKLOAD_CHECKS, WorkloadCase


class _Contract:
    """The registry, and the end of a check."""

    @pytest.fixture(scope="class")
    def registry(self) -> Registry:
        """Return the installed plugins."""
        return load_registry()

    @pytest.fixture(autouse=True)
    def _thaw(self) -> Iterator[None]:
        """Undo what the clock of a run does to the garbage collector."""
        yield
        gc.unfreeze()


def _run(check: Callable[[Any], None], case: object) -> None:
    try:
        check(case)
    except NotApplicable as reason:
        pytest.skip(str(reason))


class SubmissionContract(_Contract):
    """Checks of a submission on the micro-workloads. A subclass names the submission.

    Attributes:
        submission: name of an installed submission, path of a file, or an entry.

    Example::

        class TestMine(SubmissionContract):
            submission = "my-method"
    """

    submission: ClassVar[str | SubmissionEntry]

    @pytest.fixture(scope="class", params=MICRO_WORKLOADS)
    def case(
        self, request: pytest.FixtureRequest, registry: Registry, tmp_path_factory: pytest.TempPathFactory
    ) -> SubmissionCase:
        """Return the submission on a micro-workload."""
        entry = self.submission
        entry = resolve_submission(entry, registry) if isinstance(entry, str) else complete_submission(entry, registry)
        return SubmissionCase(entry, MICRO_WORKLOADS[request.param], registry, tmp_path_factory.mktemp("runs"))

    @pytest.mark.parametrize("check", SUBMISSION_CHECKS.values(), ids=list(SUBMISSION_CHECKS))
    def test_contract(self, check: Callable[[SubmissionCase], None], case: SubmissionCase) -> None:
        _run(check, case)


class WorkloadContract(_Contract):
    """Checks of a workload. A subclass names the workload.

    Attributes:
        workload: name of an installed workload, path of a file, or an entry.

    Example::

        class TestMine(WorkloadContract):
            workload = "my-task"
    """

    workload: ClassVar[str | WorkloadEntry]

    @pytest.fixture(scope="class")
    def case(self, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> WorkloadCase:
        """Return the workload."""
        entry = self.workload
        entry = resolve_workload(entry, registry) if isinstance(entry, str) else entry
        return WorkloadCase(entry, registry, Path(tmp_path_factory.mktemp("runs")))

    @pytest.mark.parametrize("check", WORKLOAD_CHECKS.values(), ids=list(WORKLOAD_CHECKS))
    def test_contract(self, check: Callable[[WorkloadCase], None], case: WorkloadCase) -> None:
        _run(check, case)
