"""Fixtures for tests of plugins.

pytest loads this module in every environment, so it imports only pytest and the standard library.

* `bench_registry`: the registry of the installed plugins
* `bench_workload`: a micro-workload; a test with this fixture runs once for each micro-workload
* `bench_run`: a function that runs a submission for a few steps

The classes in `harness.testing.contracts` use the other fixtures.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from harness.contract.entries import SubmissionEntry, WorkloadEntry
    from harness.contract.record import Record
    from harness.plugins.registry import Registry
    from harness.testing.submissions import SubmissionCase
    from harness.testing.workloads import WorkloadCase

    BriefRun: TypeAlias = Callable[[str | SubmissionEntry, str | WorkloadEntry], Record]

#: Names of the micro-workloads. `harness.testing.micro` has the workloads; importing it here would import torch.
MICRO_NAMES = ("micro-images", "micro-text", "micro-stream")


@pytest.fixture(scope="session")
def bench_registry() -> Registry:
    """Return the installed plugins."""
    from harness.plugins.registry import load_registry

    return load_registry()


@pytest.fixture(params=MICRO_NAMES)
def bench_workload(request: pytest.FixtureRequest) -> WorkloadEntry:
    """Return the entry of a micro-workload."""
    from harness.testing.micro import MICRO_WORKLOADS

    return MICRO_WORKLOADS[request.param]


@pytest.fixture
def bench_run(bench_registry: Registry, tmp_path: Path) -> Iterator[BriefRun]:
    """Yield a function that runs a submission on a workload for a few steps, and returns the record.

    The submission is a name, the path of a file, or an entry. The workload is a name, the path of a file, an entry, or
    the name of a micro-workload.
    """
    from harness.testing.running import run_briefly

    def run(submission: str | SubmissionEntry, workload: str | WorkloadEntry) -> Record:
        submission_entry = _find_submission(submission, bench_registry)
        return run_briefly(submission_entry, _find_workload(workload, bench_registry), bench_registry, tmp_path)

    yield run
    # The clock of a run calls gc.freeze(), which hides objects from the garbage collector.
    gc.unfreeze()


@pytest.fixture(scope="class", params=MICRO_NAMES)
def bench_submission_case(
    request: pytest.FixtureRequest, bench_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> SubmissionCase:
    """Return the submission of a `SubmissionContract` on a micro-workload."""
    from harness.testing.micro import MICRO_WORKLOADS
    from harness.testing.submissions import SubmissionCase

    entry = _find_submission(request.cls.submission, bench_registry)
    return SubmissionCase(entry, MICRO_WORKLOADS[request.param], bench_registry, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="class")
def bench_workload_case(
    request: pytest.FixtureRequest, bench_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> WorkloadCase:
    """Return the workload of a `WorkloadContract`."""
    from harness.testing.workloads import WorkloadCase

    entry = _find_workload(request.cls.workload, bench_registry)
    return WorkloadCase(entry, bench_registry, tmp_path_factory.mktemp("runs"))


def _find_submission(submission: str | SubmissionEntry, registry: Registry) -> SubmissionEntry:
    from harness.planning.completion import complete_submission
    from harness.planning.resolve import resolve_submission

    if isinstance(submission, str):
        return resolve_submission(submission, registry)
    return complete_submission(submission, registry)


def _find_workload(workload: str | WorkloadEntry, registry: Registry) -> WorkloadEntry:
    from harness.planning.resolve import resolve_workload
    from harness.testing.micro import MICRO_WORKLOADS

    if isinstance(workload, str):
        return MICRO_WORKLOADS.get(workload) or resolve_workload(workload, registry)
    return workload
