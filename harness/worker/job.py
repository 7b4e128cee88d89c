"""Runs a job and emits its events. The last event is a `Done`, also after an error."""

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
    """Run a trial. The last event is a `Done`, unless a signal kills this process.

    Args:
        job: the trial and its folder.
        emit: function that receives the events of rank 0.
        abort: function that ends this process. Called if the process of another rank died and this process still
            waits for that rank. None if this process must not be ended.
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
        # Emitted before the group is closed: closing may hang if a rank died, and then the supervisor ends the worker.
        emit(ranks.explain_end(end))


def run_job_to_event(job: Job, emit: Emit, join_group: Callable[[], ProcessGroup]) -> tuple[Done, bool]:
    """Run a trial on this rank.

    Args:
        job: the trial and its folder.
        emit: function that receives all events except the last one.
        join_group: function that waits for all ranks of the run and returns their group.

    Returns:
        The last event of the run, and whether an error ended the run.
    """
    try:
        return start_run(job, emit, join_group()).train(), False
    except Exception as error:
        return describe_failure(error, job.spec), True
