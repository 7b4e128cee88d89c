"""Schedule trials on a backend: skip finished trials, start unfinished trials in order, restart lost trials.

Several commands may run the same trials in the same folder. Each trial is run by the command that locks it first.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import StoreError, TrialLockedError
from harness.execution.state import DEATHS_UNTIL_CRASH, Interrupted
from harness.execution.supervisor import interrupt_on_termination
from harness.execution.trial import describe_other_source, finished_summary, trial_summary, write_final_record
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder

#: Poll interval for the ends of trials that other commands are running, in seconds.
POLL_INTERVAL_S = 1.0


@dataclass(frozen=True)
class LostTrial:
    """A trial whose supervisor died, for example with its machine.

    Args:
        reason: a clause such as `its node died`.
        steps: number of updates at the trial's last known evaluation.
    """

    reason: str
    steps: int = 0


#: Result of a trial on a backend. A `StoreError` is raised after all other trials have ended. Every other exception
#: ends the command at once. An exception that is not a `BenchError` is a defect of the program.
Result: TypeAlias = TrialSummary | LostTrial | BaseException


class Backend(Protocol):
    """A place where trials run: this machine or a cluster."""

    def start(self, spec: RunSpec, options: ExecutionOptions) -> bool:
        """Start a trial, or return False if too few resources are free."""
        ...

    def wait_for_ended(self) -> Iterable[tuple[str, Result]]:
        """Wait up to about a second for a trial to end. Return the run_id and result of each trial that has ended."""
        ...

    def stop(self) -> None:
        """Stop all running trials, write their records if possible, and wait until they have ended.

        This method may be called twice.
        """
        ...


def run_all(
    backend: Backend, specs: Sequence[RunSpec], runs: Path, watcher: Watcher, options: ExecutionOptions
) -> Iterator[TrialSummary]:
    """Run each trial once, and yield its summary when it ends.

    Trials that have finished before are not run again, and their summaries are yielded first.

    If another command is running a trial, the other trials are run first. When the other command has finished the
    trial, its record is kept, even with the options `force` and `retry_failed`. If that command was stopped, the trial
    is resumed here.

    A trial whose folder is not writable is skipped, and its error is raised when all other trials have ended. A lost
    trial is started again. A trial that was lost three times in a row without progress counts as crashed.

    Args:
        backend: the machine or cluster on which trials run.
        specs: the trials.
        runs: folder with one subfolder per trial.
        watcher: object that is notified of every event.
        options: see `ExecutionOptions`.

    Raises:
        StoreError: the folder of a trial is not writable. If there are several such errors, the first one is raised.
        Interrupted: Ctrl-C was pressed or SIGTERM was received; all running trials have ended.
        BenchError: the backend raised another error; all running trials have ended.
    """
    with interrupt_on_termination():
        try:
            yield from _Scheduler(backend, runs, watcher, options).run(specs)
        except KeyboardInterrupt:
            backend.stop()
            raise Interrupted("stopped by the user", fix="run the same command again to resume") from None
        finally:
            backend.stop()


@dataclass
class _Losses:
    """The losses of a trial.

    Args:
        count: how often the trial was lost in a row without progress.
        furthest: largest number of updates of the trial at any loss.
    """

    count: int = 0
    furthest: int = 0

    def add(self, lost: LostTrial) -> None:
        self.count = 1 if lost.steps > self.furthest else self.count + 1
        self.furthest = max(self.furthest, lost.steps)


class _Scheduler:
    """The state of `run_all`: the waiting and running trials, and how often trials were lost."""

    def __init__(self, backend: Backend, runs: Path, watcher: Watcher, options: ExecutionOptions) -> None:
        self._backend = backend
        self._runs = runs
        self._watcher = watcher
        self._options = options
        #: Options of a trial that is started again. `force` and `retry_failed` are off, so that the trial resumes.
        self._restart_options = msgspec.structs.replace(options, force=False, retry_failed=False)
        self._waiting: deque[tuple[str, RunSpec]] = deque()
        self._running: dict[str, RunSpec] = {}
        self._losses: dict[str, _Losses] = {}
        #: When the records of the waiting trials were written, at the start of this command (see `_modification_time`).
        self._times_at_start: dict[str, int | None] = {}
        #: The first error that prevented a trial from running.
        self._failure: StoreError | None = None
        self._has_warned = False

    def run(self, specs: Sequence[RunSpec]) -> Iterator[TrialSummary]:
        """Yield the summaries of all trials as they end."""
        warned_workloads: set[str] = set()
        for identity, spec in {run_id(spec): spec for spec in specs}.items():
            summary = finished_summary(spec, identity, self._runs, self._options)
            if summary is None:
                self._waiting.append((identity, spec))
                self._times_at_start[identity] = self._modification_time(identity)
            else:
                self._watcher.kept(summary)
                if summary.outdated and spec.workload.facts.id not in warned_workloads:
                    warned_workloads.add(spec.workload.facts.id)
                    self._watcher.warned(spec, describe_other_source(spec, "a kept trial was run"))
                yield summary
        while self._waiting or self._running:
            yield from self._submit_ready()
            if self._running:
                yield from self._take_ended()
            elif self._waiting:
                time.sleep(POLL_INTERVAL_S)
        if self._failure is not None:
            raise self._failure

    def _submit_ready(self) -> Iterator[TrialSummary]:
        """Start trials in order while resources for the next trial are free.

        A trial that another command is running moves to the end of the queue. Yield the summaries of the trials that
        another command has finished.
        """
        limit = self._options.jobs
        holders: dict[str, str] = {}
        for _ in range(len(self._waiting)):
            if limit is not None and len(self._running) >= limit:
                return
            identity, spec = self._waiting[0]
            options = self._options_for(identity)
            try:
                holder = RunFolder(self._runs, identity).lock_holder()
            except StoreError as error:
                self._waiting.popleft()
                self._failure = self._failure or error
                continue
            is_open = not holder and identity not in self._losses
            summary = finished_summary(spec, identity, self._runs, options) if is_open else None
            if holder:
                self._waiting.rotate(-1)
                holders[identity] = holder
            elif summary is not None:
                self._waiting.popleft()
                self._watcher.kept(summary)
                yield summary
            elif self._backend.start(spec, options):
                self._waiting.popleft()
                self._running[identity] = spec
            else:
                return
        if holders and not self._running:
            self._warn_waiting(holders)

    def _options_for(self, identity: str) -> ExecutionOptions:
        """Return the options of a trial. `force` and `retry_failed` apply only to records from before this command."""
        is_from_before = self._modification_time(identity) == self._times_at_start.get(identity)
        return self._options if is_from_before and identity not in self._losses else self._restart_options

    def _modification_time(self, identity: str) -> int | None:
        """Return when the record of a trial was written, in ns; None if there is no record.

        The time is only read if the options replace records.
        """
        if not (self._options.force or self._options.retry_failed):
            return None
        with contextlib.suppress(OSError):
            return (self._runs / identity / RECORD).stat().st_mtime_ns
        return None

    def _take_ended(self) -> Iterator[TrialSummary]:
        """Wait for running trials to end, and yield their summaries."""
        for identity, result in self._backend.wait_for_ended():
            spec = self._running.pop(identity)
            end = self._handle_loss(identity, spec, result) if isinstance(result, LostTrial) else result
            if isinstance(end, TrialSummary):
                # If a trial was lost after its record was written, its restart finds this record and reports a kept
                # trial. But this command itself ran the trial.
                yield msgspec.structs.replace(end, kept=False) if identity in self._losses else end
            elif isinstance(end, TrialLockedError):
                # Another command locked the trial at the same moment.
                self._waiting.append((identity, spec))
            elif isinstance(end, StoreError):
                self._failure = self._failure or end
            elif end is not None:
                raise end

    def _warn_waiting(self, holders: dict[str, str]) -> None:
        """Warn once that only trials are left that other commands are running.

        Args:
            holders: process ids of the other commands, by run_id.
        """
        if self._has_warned:
            return
        self._has_warned = True
        spec = next(spec for identity, spec in self._waiting if identity in holders)
        processes = ", ".join(sorted(set(holders.values())))
        count = f"{len(holders)} trials are" if len(holders) > 1 else "this trial is"
        self._watcher.warned(spec, f"{count} already running in another command (process {processes}); waiting for it")

    def _handle_loss(self, identity: str, spec: RunSpec, lost: LostTrial) -> TrialSummary | StoreError | None:
        """Put a lost trial at the front of the queue, or return the end of a trial that was lost too often.

        Returns:
            None for a trial in the queue; otherwise the trial's summary, or the error if its record cannot be written.
        """
        losses = self._losses.setdefault(identity, _Losses())
        losses.add(lost)
        if losses.count < DEATHS_UNTIL_CRASH:
            self._watcher.warned(spec, f"{lost.reason}; starting it again")
            self._waiting.appendleft((identity, spec))
            return None
        reason = f"{lost.reason}, {losses.count} times in a row without progress"
        try:
            record = write_final_record(spec, self._runs, self._watcher, "crashed", reason)
        except StoreError as error:
            return error
        return trial_summary(spec, self._runs, record, kept=False)
