"""Fixtures for tests of plugins. pytest loads this module in every environment, so it imports nothing but pytest.

`bench_registry` is the installed plugins. `bench_workload` is a micro-workload, and a test that requests it runs once
for each of them. `bench_run` runs a submission for a few steps.
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
    from harness.planning.completion import complete_submission
    from harness.planning.resolve import resolve_submission, resolve_workload
    from harness.testing.micro import MICRO_WORKLOADS
    from harness.testing.running import run_briefly

    def run(submission: str | SubmissionEntry, workload: str | WorkloadEntry) -> Record:
        if isinstance(submission, str):
            submission = resolve_submission(submission, bench_registry)
        else:
            submission = complete_submission(submission, bench_registry)
        if isinstance(workload, str):
            workload = MICRO_WORKLOADS.get(workload) or resolve_workload(workload, bench_registry)
        return run_briefly(submission, workload, bench_registry, tmp_path)

    yield run
    # The clock of a run hides objects from the garbage collector.
    gc.unfreeze()
