"""The `local` executor: run as many trials at once as fit on this machine, pinned to separate cores or GPUs."""

from __future__ import annotations

import importlib
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import StoreError, UsageError
from harness.execution.resources import Allocation, Machine
from harness.execution.scheduler import Result, run_all
from harness.execution.state import StopSignal
from harness.execution.supervisor import Transport
from harness.execution.trial import run_trial, trial_summary
from harness.execution.trial_processes import worker_environment
from harness.execution.warm import WarmLauncher, can_fork
from harness.execution.watchers import CombinedWatcher
from harness.storage.layout import run_id

#: Poll interval for cores that other supervisors have reserved, in seconds.
_POLL_INTERVAL_S = 1.0
#: Seconds to wait for the lock of a trial. It is short, because the trial is tried again later.
_LOCK_TIMEOUT_S = 1.0


def execute(
    specs: Sequence[RunSpec],
    runs: Path,
    watcher: Watcher,
    options: ExecutionOptions | None = None,
    machine: Machine | None = None,
) -> Iterator[TrialSummary]:
    """Start trials in order, and yield the summary of each trial when its record is written.

    Finished trials are not run again. Interrupted trials, and trials whose worker is killed, resume from their last
    checkpoints.

    Args:
        specs: the trials.
        runs: folder with one subfolder per trial.
        watcher: object that is notified of every event.
        options: see `ExecutionOptions`. At most `jobs` trials run at once, and fewer if too few cores or GPUs are free.
        machine: the cores and GPUs to use; those of this machine when None.

    Raises:
        UsageError: the local executor does not have an option, or the machine has too few GPUs for a trial.
        StoreError, Interrupted: see `run_all`.
    """
    options = options or ExecutionOptions()
    check_options(options)
    machine = machine or Machine()
    _require_gpus(specs, machine)
    transport = import_worker_transport() if options.in_process else None
    backend = _InProcess(runs, watcher, transport) if transport else _Workers(runs, watcher, machine)
    return run_all(backend, specs, runs, watcher, options)


def check_options(options: ExecutionOptions) -> None:
    """Raise UsageError if an option of this executor is given. It has none."""
    if options.options:
        raise UsageError(
            f"the local executor has no option {', '.join(options.options)}",
            fix="leave out --executor-option; --jobs sets how many trials run at once",
        )


def _require_gpus(specs: Sequence[RunSpec], machine: Machine) -> None:
    for spec in specs:
        kind, _, index = spec.device.partition(":")
        if kind == "cuda" and int(index or 0) + spec.ranks > len(machine.gpus):
            required_text = f"{spec.ranks} GPUs" if spec.ranks > 1 else f"GPU {index}" if index else "a GPU"
            required_text += f" from GPU {index} on" if index and spec.ranks > 1 else ""
            found_text = f"{len(machine.gpus)} GPU{'' if len(machine.gpus) == 1 else 's'}"
            raise UsageError(
                f"{spec.workload.facts.name} is to run on {required_text}; this machine has {found_text}",
                fix="give a smaller number with --gpus, or another GPU with --device",
            )


def import_worker_transport() -> Transport:
    """Return the transport that runs jobs in this process.

    The module `harness.worker.job` is imported only here, because it imports torch, which slows other commands down.
    """
    transport: Transport = importlib.import_module("harness.worker.job").run_job
    return transport


class _Workers:
    """A backend with one thread per running trial. The thread starts the trial's worker and supervises it.

    The thread must live as long as the worker. When a thread ends, the kernel kills every new Python process that this
    thread started (parent-death signal). A forked worker is killed when its fork server ends.
    """

    def __init__(self, runs: Path, watcher: Watcher, machine: Machine) -> None:
        self._runs = runs
        self._watcher = CombinedWatcher([watcher])
        self._machine = machine
        self._stop = StopSignal()
        self._running: dict[str, threading.Thread] = {}
        self._ended: queue.SimpleQueue[tuple[str, Result]] = queue.SimpleQueue()
        self._warned = False
        self._warm_launcher = WarmLauncher()

    def start(self, spec: RunSpec, options: ExecutionOptions) -> bool:
        allocation = self._machine.allocate(spec)
        if allocation is None:
            if self._running:
                return False
            # Other commands have reserved all resources. Sharing them would distort the times of trials that are scored
            # by wall seconds.
            if spec.clock == "wall":
                self._warn_waiting(spec)
                return False
            self._watcher.warned(spec, "all cores are reserved by trials of other commands; this trial runs unpinned")
            allocation = Allocation((), [])
        identity = run_id(spec)
        # When this process ends, a daemon thread ends with it, and then the worker of this thread ends, too.
        thread = threading.Thread(
            target=self._run, args=(identity, spec, options, allocation), name=identity, daemon=True
        )
        self._running[identity] = thread
        thread.start()
        return True

    def wait_for_ended(self) -> Iterable[tuple[str, Result]]:
        try:
            identity, result = self._ended.get(timeout=_POLL_INTERVAL_S)
        except queue.Empty:
            return
        self._running.pop(identity).join()
        yield identity, result

    def stop(self) -> None:
        self._stop.set()
        for thread in self._running.values():
            thread.join()
        self._running.clear()

    def _run(self, identity: str, spec: RunSpec, options: ExecutionOptions, allocation: Allocation) -> None:
        result: Result
        launcher = None if options.fresh_workers or not can_fork(spec) else self._warm_launcher
        try:
            if launcher is not None:
                launcher.prepare(worker_environment(spec, self._runs, allocation.slot))
            record, was_finished = run_trial(
                spec,
                self._runs,
                self._watcher,
                options,
                slot=allocation.slot,
                stop=self._stop,
                persist=True,
                launcher=launcher,
                lock_timeout=_LOCK_TIMEOUT_S,
            )
            result = trial_summary(spec, self._runs, record, was_finished)
        except BaseException as error:
            result = error
        allocation.release()
        self._ended.put((identity, result))

    def _warn_waiting(self, spec: RunSpec) -> None:
        if not self._warned:
            self._warned = True
            self._watcher.warned(spec, "the GPUs are reserved by trials of other commands; waiting for them")


class _InProcess:
    """A backend that runs trials in the calling thread, so that a debugger can be used."""

    def __init__(self, runs: Path, watcher: Watcher, transport: Transport) -> None:
        self._runs = runs
        self._watcher = watcher
        self._transport = transport
        self._ended: list[tuple[str, Result]] = []

    def start(self, spec: RunSpec, options: ExecutionOptions) -> bool:
        if self._ended:
            return False
        try:
            record, was_finished = run_trial(
                spec, self._runs, self._watcher, options, self._transport, lock_timeout=_LOCK_TIMEOUT_S
            )
        except StoreError as error:
            self._ended.append((run_id(spec), error))
        else:
            self._ended.append((record.run_id, trial_summary(spec, self._runs, record, was_finished)))
        return True

    def wait_for_ended(self) -> Iterable[tuple[str, Result]]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Do nothing, since `start` returns when its trial has ended."""
