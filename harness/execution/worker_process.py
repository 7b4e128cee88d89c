"""Run a trial in its processes: read events, measure the worker's clock, and end all processes of the trial."""

from __future__ import annotations

import contextlib
import queue
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from harness.contract.events import AnyEvent, Done, Ready
from harness.contract.forking import EVALUATOR_ENDED
from harness.contract.judging import JudgeRequest
from harness.contract.record import is_complete
from harness.contract.run import Job, RunSpec
from harness.execution.event_reader import WAKE_S, EventReader, is_last_event
from harness.execution.judging import find_difference, judge_weights, list_stored_weights
from harness.execution.launching import FreshLauncher, Launcher, evaluates_outside
from harness.execution.meter import Meter
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.execution.trial_processes import TrialProcesses, worker_environment
from harness.hardware.telemetry import make_watch
from harness.storage.run_folder import RunFolder
from harness.system.private_folders import make_folders

#: Maximum seconds without an event until the event `Ready`. In this time the worker imports, generates data and
#: compiles.
STARTUP_S = 900.0
#: Maximum seconds without an event after the event `Ready`, in addition to four times the budget of scored seconds.
SILENCE_S = 120.0
#: Maximum seconds between a worker's last event and its exit.
EXIT_S = 10.0
#: Maximum seconds between the end of a worker and the end of its evaluator, which then has nothing left to do. A later
#: evaluator is killed.
EVALUATOR_EXIT_S = 0.1
#: If a worker's log has more than `MAX_LOG_BYTES` bytes while the worker runs, or more than `FINAL_LOG_BYTES` bytes at
#: the end, only its first `HEAD_LOG_BYTES` and its last `TAIL_LOG_BYTES` bytes are kept.
MAX_LOG_BYTES = 64 << 20
FINAL_LOG_BYTES = 4 << 20
HEAD_LOG_BYTES = 64 << 10
TAIL_LOG_BYTES = 1 << 20
#: The line that `limit_log` writes.
_LEFT_OUT = re.compile(rb"\n\[(\d+) bytes were left out here, because the log was too long\]\n")


class WorkerProcess:
    """Runs a job in a separate process. Its method `run_job` is a `Transport` (`harness.execution.supervisor`).

    Args:
        folder: the trial's folder, whose lock the worker inherits.
        trial: state of the trial, in which the worker's death is recorded.
        slot: cores and GPUs of the worker.
        stop: signal that ends the worker.
        launcher: starts the worker; if None, a fresh process is started.
    """

    def __init__(
        self,
        folder: RunFolder,
        trial: Trial,
        slot: ResourceSlot,
        stop: StopSignal,
        launcher: Launcher | None = None,
    ) -> None:
        self._folder = folder
        self._trial = trial
        self._slot = slot
        self._stop = stop
        self._launcher = launcher or FreshLauncher()

    def run_job(self, job: Job, receive: Callable[[AnyEvent], None]) -> None:
        """Start the worker, pass on its events, and return when it has ended or has sent no event for too long.

        Raises:
            KeyboardInterrupt: the trial was stopped before its end, or before its stored weights were judged.
        """
        trial = self._trial
        trial.evaluated_outside = evaluates_outside(job.spec)
        processes = TrialProcesses(self._folder, trial, self._slot, self._stop, self._launcher)
        reader: EventReader | None = None
        returncode: int | None = None
        try:
            processes.start(job)
            trial.forked = processes.worker.forked
            meter = trial.account.meter = Meter(
                processes.worker.pid, job.spec, evaluates_outside=trial.evaluated_outside
            )
            reader = EventReader(processes.readers["worker"], meter, processes.readers.get("evaluator"))
            reader.watch = make_watch(job.spec, reader.events.put, self._slot.gpus)
            if reader.watch is not None:
                reader.watch.start()
            reader.start()
            processes.send(job)
            exceeded_limit = forward_events(
                reader.events, receive, job.spec, self._stop, on_wake=partial(limit_log, processes.log, MAX_LOG_BYTES)
            )
            if exceeded_limit:
                silence = f"no event from the worker for {exceeded_limit:.0f} s"
                reason = f"{silence}, such as an evaluation after further examples"
                trial.end = Done(status="timeout", reason=reason)
            elif not trial.evaluator_failed:
                # The evaluator has not reported an error. But it may have been killed before it could report one.
                returncode = processes.wait("worker", EXIT_S)
                self._report_killed_evaluator(processes)
                processes.wait("evaluator", EVALUATOR_EXIT_S)
        finally:
            killed_returncode = processes.kill()
            if reader is not None:
                if reader.watch is not None:
                    reader.watch.end()
                reader.join()
            processes.clean_up()
        if trial.end is None:
            exit_code = killed_returncode if returncode is None else returncode
            assert exit_code is not None
            trial.set_death(exit_code, processes.last_log_line())
        self._judge(job)
        # A folder may have thousands of runs, and nobody reads a log of this size.
        limit_log(processes.log, FINAL_LOG_BYTES)

    def _report_killed_evaluator(self, processes: TrialProcesses) -> None:
        """If the worker ended because its evaluator had ended, set the evaluator's death as the end of the trial."""
        end = self._trial.end
        if end is not None and end.status == "crashed" and end.reason.startswith(EVALUATOR_ENDED):
            code = processes.wait("evaluator", EXIT_S)
            if code is not None:
                self._trial.set_death(code, processes.last_log_line(), "evaluator")

    def _judge(self, job: Job) -> None:
        """If the worker evaluated and stored its own weights, evaluate these weights again in another process.

        The job's `keep_weights` is true if the worker does both.
        """
        trial, scratch = self._trial, self._folder.path / "scratch-judge"
        if not job.keep_weights or trial.end is None or not is_complete(trial.end.status):
            return
        weights = list_stored_weights(self._folder.worker_path, job.spec, trial.points)
        make_folders(scratch)
        try:
            with open(self._folder.path / "worker.log", "ab") as log:
                answer = judge_weights(
                    JudgeRequest(spec=msgspec.structs.replace(job.spec, ranks=1), weights=weights),
                    worker_environment(job.spec, scratch, self._slot),
                    self._stop,
                    log.fileno(),
                )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        trial.set_judgements(answer, find_difference(trial.points, answer.judgements, answer.tolerances))


def forward_events(
    events: queue.SimpleQueue[AnyEvent | None],
    receive: Callable[[AnyEvent], None],
    spec: RunSpec,
    stop: StopSignal,
    on_wake: Callable[[], None] = lambda: None,
) -> float:
    """Pass on the worker's events until the last event, or until no event has arrived for too long.

    Args:
        events: queue of the worker's events.
        receive: function that is called with each event.
        spec: the trial.
        stop: signal that ends the trial.
        on_wake: function that is called after each event and about every `WAKE_S` seconds.

    Returns:
        0.0 after the last event, or the exceeded limit in seconds.

    Raises:
        KeyboardInterrupt: the trial was stopped.
    """
    # A worker normally sends an event long before the budget of scored seconds is spent. The limit is much larger,
    # because a busy machine may delay the worker. This limit also ends a run that never reaches an evaluation, because
    # its steps draw no examples and compute no gradients.
    limit, limit_after_ready = STARTUP_S, 4 * spec.seconds_allowed + SILENCE_S
    silence = 0.0
    while True:
        if stop.is_set:
            raise KeyboardInterrupt
        on_wake()
        try:
            event = events.get(timeout=WAKE_S)
        except queue.Empty:
            # Silence is counted in poll intervals. A clock would also count the time in which the machine was
            # suspended.
            silence += WAKE_S
            if silence >= limit:
                return limit
            continue
        silence = 0.0
        if event is None:
            return 0.0
        receive(event)
        if is_last_event(event):
            return 0.0
        if isinstance(event, Ready):
            limit = limit_after_ready


def limit_log(log: Path, limit: int) -> None:
    """Keep only the beginning and the end of a worker's log that is too long.

    A line between the two parts says how many bytes were left out. If the worker writes to the file during this call,
    the written text may be lost or appear twice.

    Args:
        log: path of the log.
        limit: largest size in bytes of a log that is not too long.
    """
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size <= limit:
            return
        with open(log, "r+b") as file:
            head = file.read(HEAD_LOG_BYTES)
            # The log may have been shortened before.
            earlier = _LEFT_OUT.match(file.read(100))
            file.seek(size - TAIL_LOG_BYTES)
            tail = file.read(TAIL_LOG_BYTES)
            left_out = size - len(head) - len(tail)
            if earlier is not None:
                left_out += int(earlier[1]) - len(earlier[0])
            file.seek(len(head))
            file.truncate()
            file.write(b"\n[%d bytes were left out here, because the log was too long]\n" % left_out + tail)
