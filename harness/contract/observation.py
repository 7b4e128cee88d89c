"""The data that observers receive. An observer is a plugin that follows runs in a separate process.

The author of a submission may also have written an observer. The data therefore contain nothing that would help a
submission: no seeds, no targets, no budget, and no path of a folder.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.record import Environment, Status, Usage
from harness.contract.run import Counters, Point, Purpose
from harness.contract.workload import Goal

#: The hooks of observers.
ObserverHook: TypeAlias = Literal["bench_run_started", "bench_evaluated", "bench_run_finished"]


class ObservedTrial(Data, frozen=True, kw_only=True):
    """The data of a trial that an observer receives.

    Args:
        id: identifier of the trial within the command. It is random: every command gives the trial another `id`.
        submission: name of the submission.
        submission_version: version of the submission.
        workload: name of the workload.
        workload_version: version of the workload.
        ruleset: name of the ruleset.
        purpose: purpose of the trial.
        study: index of the study, from 0.
        trial: index of the setting within the study, from 0.
        hparams: values of all hyperparameters by name.
        metric: name of the primary metric.
        goal: whether the primary metric is minimised or maximised.
        hardware: name of the hardware class.
        smoke: whether the run makes only a few steps.
    """

    id: str
    submission: str
    submission_version: str
    workload: str
    workload_version: str
    ruleset: str
    purpose: Purpose
    study: int
    trial: int
    hparams: HParams
    metric: str
    goal: Goal
    hardware: str
    smoke: bool


class TrialOutcome(Data, frozen=True, kw_only=True):
    """The data about the end of a trial that an observer receives.

    Args:
        run_id: identifier of the record. `bench show RUN_ID` prints the record, including the reason for the end.
        status: how the trial ended.
        counters: the totals at the end.
        usage: the resources used.
        environment: the machine and the software of the worker; None if the worker did not start.
        started: time of the start, UTC in ISO 8601.
        finished: time of the end, UTC in ISO 8601.
    """

    run_id: str
    status: Status
    counters: Counters
    usage: Usage
    environment: Environment | None
    started: str
    finished: str


class ObserverCall(Data, frozen=True, kw_only=True):
    """A call of a hook. The command sends it to the process of an observer as one line of JSON.

    Args:
        hook: name of the hook.
        trial: the trial.
        point: the evaluation; None for hooks other than `bench_evaluated`.
        outcome: the end of the trial; None for hooks other than `bench_run_finished`.
    """

    hook: ObserverHook
    trial: ObservedTrial
    point: Point | None = None
    outcome: TrialOutcome | None = None
