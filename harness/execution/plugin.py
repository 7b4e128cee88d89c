"""The plugin that registers the executors and the observers of this package."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import ExecutorEntry, ObserverEntry, hookimpl


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


@hookimpl
def bench_observers() -> Iterable[ObserverEntry]:
    """Yield the observers that log runs to CSV files, TensorBoard and Weights & Biases."""
    yield ObserverEntry(
        name="csv",
        load="harness.observers.csv_files:CsvFiles",
        summary="evaluations.csv with a row per metric, and runs.csv with a row per run",
    )
    yield ObserverEntry(
        name="tensorboard",
        load="harness.observers.tensorboard:TensorBoardFiles",
        summary="event files for TensorBoard",
        imports=("tensorboard",),
        install='pip install "algorace[tensorboard]"',
    )
    yield ObserverEntry(
        name="wandb",
        load="harness.observers.wandb:WandbRuns",
        summary="runs of Weights & Biases, offline unless WANDB_MODE is set",
        imports=("wandb",),
        install='pip install "algorace[wandb]"',
    )
