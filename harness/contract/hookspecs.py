"""The hooks that a plugin may implement. Each hook yields or receives plain data.

A plugin is a module. An entry point in the group `bench` refers to the module:

    [project.entry-points.bench]
    mine = "bench_mine.plugin"
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from harness.contract.entries import (
    DatasetEntry,
    ExecutorEntry,
    ObserverEntry,
    PartEntry,
    SubmissionEntry,
    WorkloadEntry,
)
from harness.contract.observation import ObservedTrial, TrialOutcome
from harness.contract.run import Point

PROJECT = "bench"
ENTRY_POINT_GROUP = "bench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def bench_workloads() -> Iterable[WorkloadEntry]:  # type: ignore[empty-body]
    """Yield the workloads of this plugin. Commands that only list or score do not import the classes.

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
    """Yield the parts of this plugin: optimizers, schedules, averagers and other components of recipes.

    Example::

        @hookimpl
        def bench_parts():
            yield PartEntry(kind="schedule", name="triangle", load="bench_mine.parts:triangle", summary="up and down")
    """


@hookspec
def bench_executors() -> Iterable[ExecutorEntry]:  # type: ignore[empty-body]
    """Yield the executors of this plugin: the components that run trials.

    Example::

        @hookimpl
        def bench_executors():
            yield ExecutorEntry(name="mycluster", load="bench_mine.cluster:execute", summary="my cluster")
    """


@hookspec
def bench_observers() -> Iterable[ObserverEntry]:  # type: ignore[empty-body]
    """Yield the observers of this plugin that run only on request (`--observe NAME`).

    Example::

        @hookimpl
        def bench_observers():
            yield ObserverEntry(name="mylog", load="bench_mine.logs:MyLog", summary="my log files")
    """


@hookspec
def bench_datasets() -> Iterable[DatasetEntry]:  # type: ignore[empty-body]
    """Yield the datasets of this plugin. A workload names the datasets that it needs in `WorkloadEntry.needs_data`.

    Example::

        @hookimpl
        def bench_datasets():
            yield DatasetEntry(
                name="my-corpus", title="my corpus", licence="CC0-1.0",
                files=(DatasetFile(name="corpus.txt", sha256="9f86d0…", urls=("https://example.org/corpus.txt",)),),
            )
    """


@hookspec
def bench_run_started(trial: ObservedTrial) -> None:
    """Handle the start or resumption of a trial.

    The hooks `bench_run_started`, `bench_evaluated` and `bench_run_finished` are called in a process of the plugin, and
    no run waits for them. An exception is reported once and has no other effect. If a plugin is too slow, it misses
    events. After the last run, the process has a few seconds to end. docs/authors.md describes the details.

    Example::

        @hookimpl
        def bench_run_started(trial):
            print("starting", trial.submission, "on", trial.workload)
    """


@hookspec
def bench_evaluated(trial: ObservedTrial, point: Point) -> None:
    """Handle an evaluation of a trial. See `bench_run_started`.

    Example::

        @hookimpl
        def bench_evaluated(trial, point):
            runs[trial.id].log(point.metrics, step=point.steps)
    """


@hookspec
def bench_run_finished(trial: ObservedTrial, outcome: TrialOutcome) -> None:
    """Handle the end of a trial with any status, after the record was written. See `bench_run_started`.

    Example::

        @hookimpl
        def bench_run_finished(trial, outcome):
            print(outcome.run_id, outcome.status)
    """
