"""The hooks that a plugin may implement; they yield or receive plain data.

A plugin is a module named by an entry point in the group `bench`:

    [project.entry-points.bench]
    mine = "bench_mine.plugin"
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import Point, RunSpec

PROJECT = "bench"
ENTRY_POINT_GROUP = "bench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def bench_workloads() -> Iterable[WorkloadEntry]:  # type: ignore[empty-body]
    """Yield the workloads of this plugin. Entries are plain data; a workload's class is imported only when it runs.

    Example::

        @hookimpl
        def bench_workloads():
            yield WorkloadEntry(facts=MY_FACTS, load="bench_mine.task:MyTask", summary="my task")
    """


@hookspec
def bench_submissions() -> Iterable[SubmissionEntry]:  # type: ignore[empty-body]
    """Yield the submissions of this plugin.

    Example::

        @hookimpl
        def bench_submissions():
            yield SubmissionEntry(
                name="my-adamw", summary="AdamW with my schedule",
                parts=("optimizer:adamw", "schedule:wsd"),
                space={"lr": LogUniform(1e-4, 1e-2)},
            )
    """


@hookspec
def bench_parts() -> Iterable[PartEntry]:  # type: ignore[empty-body]
    """Yield the parts of this plugin: optimizers, schedules, averagers … of which recipes are composed.

    Example::

        @hookimpl
        def bench_parts():
            yield PartEntry(kind="schedule", name="triangle", load="bench_mine.parts:triangle", summary="up and down")
    """


@hookspec
def bench_executors() -> Iterable[ExecutorEntry]:  # type: ignore[empty-body]
    """Yield the executors of this plugin: places where trials run.

    Example::

        @hookimpl
        def bench_executors():
            yield ExecutorEntry(name="mycluster", load="bench_mine.cluster:execute", summary="my cluster")
    """


@hookspec
def bench_datasets() -> Iterable[DatasetEntry]:  # type: ignore[empty-body]
    """Yield the datasets of this plugin; workloads name them in `needs_data`.

    Example::

        @hookimpl
        def bench_datasets():
            yield DatasetEntry(
                name="my-corpus", title="my corpus", licence="CC0-1.0",
                files=(DatasetFile(name="corpus.txt", sha256="9f86d0…", urls=("https://example.org/corpus.txt",)),),
            )
    """


@hookspec
def bench_run_started(spec: RunSpec) -> None:
    """Called in the supervisor when a trial starts or resumes. An exception is reported and ignored.

    Example::

        @hookimpl
        def bench_run_started(spec):
            print("starting", spec.submission.name, "on", spec.workload.facts.name)
    """


@hookspec
def bench_evaluated(spec: RunSpec, point: Point) -> None:
    """Called in the supervisor, off the clock, when a trial was evaluated. An exception is reported and ignored.

    Example::

        @hookimpl
        def bench_evaluated(spec, point):
            wandb.log(point.metrics, step=point.steps)
    """


@hookspec
def bench_run_finished(record: Record) -> None:
    """Called in the supervisor when a trial has ended, however, and its record is written.

    Example::

        @hookimpl
        def bench_run_finished(record):
            print(record.run_id, record.status)
    """
