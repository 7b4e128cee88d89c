"""Runs a job to its last event, whatever a plugin does."""

from __future__ import annotations

from collections.abc import Callable

from harness.contract.events import Done
from harness.contract.run import Job
from harness.errors import BenchError
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.distributed.ranks import RankProcesses
from harness.worker.emit import Emit
from harness.worker.failures import describe_failure
from harness.worker.setup import start_run


def run_job(job: Job, emit: Emit, abort: Callable[[], None] | None = None) -> None:
    """Run a trial. Whatever a plugin does, the last event is a `Done`, except on death by a signal.

    Args:
        job: the trial.
        emit: receives events; those of rank 0 only.
        abort: ends this process, when another rank has died and this one does not stop waiting for it.
    """
    if job.spec.ranks == 1:
        emit(run_job_to_event(job, emit, lambda: SINGLE_PROCESS)[0])
        return
    try:
        ranks = RankProcesses(job, emit, abort)
    except BenchError as error:
        emit(Done(status="crashed", reason=str(error)))
        return
    with ranks:
        end, _ = run_job_to_event(job, emit, ranks.join_group)
        # Before the group is closed, which may hang on a rank that is gone: the receiver of this event ends the worker.
        emit(ranks.explain_end(end))


def run_job_to_event(job: Job, emit: Emit, join_group: Callable[[], ProcessGroup]) -> tuple[Done, bool]:
    """A trial's last event, and whether it describes an error.

    Args:
        join_group: returns the ranks that share the run, when all of them are there.
    """
    try:
        return start_run(job, emit, join_group()).train(), False
    except Exception as error:
        return describe_failure(error, job.spec), True
