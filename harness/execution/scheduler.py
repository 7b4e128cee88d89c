"""Schedule trials on a backend: skip finished trials, start unfinished trials in order, restart lost trials."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import StoreError
from harness.execution.state import DEATHS_UNTIL_CRASH, Interrupted
from harness.execution.supervisor import interrupt_on_termination
from harness.execution.trial import describe_other_source, finished_summary, trial_summary, write_final_record
from harness.storage.layout import run_id


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

    Trials that an earlier command finished are not run again, and their summaries are yielded first.

    A trial whose folder is locked or not writable is skipped, and its error is raised when all other trials have ended.
    A lost trial is started again. A trial that was lost three times in a row without progress counts as crashed.

    Args:
        backend: the machine or cluster on which trials run.
        specs: the trials.
        runs: folder with one subfolder per trial.
        watcher: object that is notified of every event.
        options: see `ExecutionOptions`.

    Raises:
        StoreError: the folder of a trial is locked or not writable. If there are several such errors, the
            first one is raised.
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

    def run(self, specs: Sequence[RunSpec]) -> Iterator[TrialSummary]:
        """Yield the summaries of all trials as they end."""
        warned_workloads: set[str] = set()
        for identity, spec in {run_id(spec): spec for spec in specs}.items():
            summary = finished_summary(spec, identity, self._runs, self._options)
            if summary is None:
                self._waiting.append((identity, spec))
            else:
                self._watcher.kept(summary)
                if summary.outdated and spec.workload.facts.id not in warned_workloads:
                    warned_workloads.add(spec.workload.facts.id)
                    self._watcher.warned(spec, describe_other_source(spec, "a kept trial was run"))
                yield summary
        failure: StoreError | None = None
        while self._waiting or self._running:
            self._submit_ready()
            for identity, result in self._backend.wait_for_ended():
                spec = self._running.pop(identity)
                end = self._handle_loss(identity, spec, result) if isinstance(result, LostTrial) else result
                if isinstance(end, TrialSummary):
                    # If a trial was lost after its record was written, its restart finds this record and reports a kept
                    # trial. But this command itself ran the trial.
                    yield msgspec.structs.replace(end, kept=False) if identity in self._losses else end
                elif isinstance(end, StoreError):
                    failure = failure or end
                elif end is not None:
                    raise end
        if failure is not None:
            raise failure

    def _submit_ready(self) -> None:
        """Start trials in order while resources for the next trial are free."""
        limit = self._options.jobs
        while self._waiting and (limit is None or len(self._running) < limit):
            identity, spec = self._waiting[0]
            if not self._backend.start(spec, self._restart_options if identity in self._losses else self._options):
                return
            self._waiting.popleft()
            self._running[identity] = spec

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
