"""Run trials of a few steps in this process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.events import AnyEvent, Evaluated
from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Job, RunSpec
from harness.errors import UsageError
from harness.execution.state import Interrupted
from harness.execution.trial import run_trial
from harness.execution.watchers import CombinedWatcher
from harness.planning.compose import PartLookup, compose, find_ineligibility
from harness.planning.rulesets import ruleset
from harness.planning.trials import PlanSettings, plan_trials
from harness.worker.emit import Emit
from harness.worker.job import run_job

#: A watcher that ignores all events.
_SILENT = CombinedWatcher(())


def plan_briefly(
    submission: SubmissionEntry, workload: WorkloadEntry, registry: PartLookup, rules: Ruleset | None = None
) -> RunSpec | str:
    """Return the specification of a smoke run, or why the submission is ineligible on the workload.

    Args:
        submission: the entry of the submission, completed with the declarations of its code.
        workload: the workload.
        registry: the registry in which parts are looked up.
        rules: the ruleset; None for `quick`.
    """
    rules = ruleset("quick") if rules is None else rules
    reason = find_ineligibility(compose(submission, registry), workload.facts, rules)
    settings = PlanSettings(ruleset=rules, smoke=True, device="cpu")
    return reason or plan_trials(workload, submission, registry, settings)[0]


def run_briefly(submission: SubmissionEntry, workload: WorkloadEntry, registry: PartLookup, folder: Path) -> Record:
    """Run a submission for a few steps on a workload in this process, and return the record.

    Raises:
        UsageError: the submission is ineligible on the workload.
    """
    spec = plan_briefly(submission, workload, registry)
    if isinstance(spec, str):
        problem = f"{submission.name} cannot run on {workload.name}: it {spec}"
        raise UsageError(problem, fix="choose another workload")
    return run_spec(spec, folder)


def run_spec(spec: RunSpec, folder: Path) -> Record:
    """Run a trial in this process, or resume it, and return the record."""
    return run_trial(spec, folder, _SILENT, transport=run_job)[0]


def interrupt_run(spec: RunSpec, folder: Path, evaluations: int) -> None:
    """Run a trial in this process, and interrupt it after some evaluations. Each evaluation writes a checkpoint."""

    def run_partly(job: Job, receive: Emit) -> None:
        remaining = evaluations

        def emit(event: AnyEvent) -> None:
            nonlocal remaining
            receive(event)
            remaining -= isinstance(event, Evaluated)
            if not remaining:
                raise KeyboardInterrupt

        run_job(msgspec.structs.replace(job, checkpoint_share=math.inf), emit)

    try:
        run_trial(spec, folder, _SILENT, transport=run_partly)
    except Interrupted:
        return


def reproducible_outcome(record: Record) -> tuple[Any, ...]:
    """Return the results of a run that a repetition must reproduce: status, hit, metrics and weights, but no times."""
    points = [msgspec.structs.replace(point, seconds=0.0, process_seconds=0.0) for point in record.points]
    return record.status, record.hit, record.stage_hits, points, record.final_weights, record.crossing_weights
