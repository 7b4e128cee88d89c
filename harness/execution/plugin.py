"""The plugin that registers the executors of this package."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import ExecutorEntry, hookimpl


@hookimpl
def bench_executors() -> Iterable[ExecutorEntry]:
    """Yield the executors for this machine, Ray clusters and Slurm clusters."""
    yield ExecutorEntry(
        name="local",
        load="harness.execution.local:execute",
        summary="worker processes on this machine, each with separate cores or GPUs",
    )
    yield ExecutorEntry(
        name="ray",
        load="harness.execution.ray:execute",
        summary="an existing Ray cluster, or a cluster that is started here",
    )
    yield ExecutorEntry(
        name="slurm", load="harness.execution.slurm:execute", summary="a Slurm cluster, one job per trial"
    )
