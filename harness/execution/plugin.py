"""The executors of this repository."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import ExecutorEntry, hookimpl


@hookimpl
def bench_executors() -> Iterable[ExecutorEntry]:
    """This machine, and two kinds of cluster."""
    yield ExecutorEntry(
        name="local",
        load="harness.execution.local:execute",
        summary="worker processes on this machine, each with cores or GPUs of its own",
    )
    yield ExecutorEntry(
        name="ray", load="harness.execution.ray:execute", summary="a Ray cluster, by its address or started here"
    )
    yield ExecutorEntry(
        name="slurm", load="harness.execution.slurm:execute", summary="a Slurm cluster, one job per trial"
    )
