"""Runs a job (one trial) and emits the run's events. The last event is a `Done`, even after an error."""

from __future__ import annotations

import socket
from collections.abc import Callable

from harness.contract.events import Done
from harness.contract.run import Job
from harness.errors import BenchError
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.distributed.ranks import RankProcesses
from harness.worker.emit import Emit
from harness.worker.failures import describe_failure, describe_nonfinite
from harness.worker.loop import TrainingRun
from harness.worker.setup import start_run


def run_job(
    job: Job, emit: Emit, abort: Callable[[], None] | None = None, evaluator: socket.socket | None = None
) -> None:
    """Run a trial. The last event is a `Done`, unless a signal kills this process.

    Args:
        job: the trial and its folder.
        emit: function that receives the events of rank 0.
        abort: function that ends this process. It is called if the process of another rank has died and this process
            still waits for that rank. None if this process must not be ended.
        evaluator: socket to the process that evaluates the weights of a run with one rank; None if this process
            evaluates them.
    """
    if job.spec.ranks == 1:
        emit(run_job_to_event(job, emit, lambda: SINGLE_PROCESS, evaluator)[0])
        return
    try:
        ranks = RankProcesses(job, emit, abort)
    except BenchError as error:
        emit(Done(status="crashed", reason=str(error)))
        return
    with ranks:
        last_event, _ = run_job_to_event(job, emit, ranks.join_group)
        # The event is emitted before the group is closed. If a rank died, closing may hang until the supervisor ends
        # the worker.
        emit(ranks.explain_end(last_event))


def run_job_to_event(
    job: Job, emit: Emit, join_group: Callable[[], ProcessGroup], evaluator: socket.socket | None = None
) -> tuple[Done, bool]:
    """Run a trial on this rank, and return the last event instead of emitting it.

    Args:
        job: the trial and its folder.
        emit: function that receives all events except the last one.
        join_group: function that waits for all ranks of the run and returns their group.
        evaluator: see `run_job`.

    Returns:
        The last event of the run, and whether an error ended the run.
    """
    run: TrainingRun | None = None
    try:
        run = start_run(job, emit, join_group(), evaluator)
        return run.train(), False
    except Exception as error:
        nonfinite = "" if run is None else describe_nonfinite(run.state.model, run.work.last_loss, error)
        return describe_failure(error, job.spec, nonfinite), True
