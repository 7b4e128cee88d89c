"""Many trials, wherever they run: what is finished is kept, the rest is started as room allows, what is lost again."""

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
from harness.execution.state import DEATHS_ALLOWED, Interrupted
from harness.execution.supervisor import termination_as_interrupt
from harness.execution.trial import finished_summary, trial_summary, write_final_record
from harness.storage.layout import run_id


@dataclass(frozen=True)
class LostTrial:
    """A trial whose supervisor is gone, with the machine it was on for instance.

    Args:
        reason: one clause, such as `its node died`.
        steps: how far it had come, as far as is known.
    """

    reason: str
    steps: int = 0


#: How a trial left a backend. A `BaseException` that is no `BenchError` is a defect and ends everything.
Result: TypeAlias = TrialSummary | LostTrial | BaseException


class Backend(Protocol):
    """Somewhere that trials run."""

    def start(self, spec: RunSpec, how: ExecutionOptions) -> bool:
        """Begin a trial; False when there is no room for it now."""
        ...

    def ended(self) -> Iterable[tuple[str, Result]]:
        """The run_id and result of those that have ended, after a wait of at most a second or so for the first."""
        ...

    def stop(self) -> None:
        """End whatever runs, with a record each as far as that is possible, and wait for it. May be called twice."""
        ...


def run_all(
    backend: Backend, specs: Sequence[RunSpec], runs: Path, watcher: Watcher, how: ExecutionOptions
) -> Iterator[TrialSummary]:
    """Carry out trials, each once, and yield outcomes as they come: those kept from before first.

    A trial whose folder cannot be had or written is left out, and that error is raised when all others have ended. A
    trial that is lost is started again, until it has been lost three times in a row without getting any further.

    Raises:
        StoreError: the first of those errors.
        Interrupted: Ctrl-C or SIGTERM; everything that ran has ended.
        BenchError: whatever else a backend raises; everything that ran has ended.
    """
    with termination_as_interrupt():
        try:
            yield from _Scheduler(backend, runs, watcher, how).outcomes(specs)
        except KeyboardInterrupt:
            backend.stop()
            raise Interrupted("stopped", fix="give the same command again to go on") from None
        finally:
            backend.stop()


@dataclass
class _Losses:
    """How often a trial was lost in a row without getting further, and how far it had come."""

    count: int = 0
    furthest: int = 0

    def add(self, lost: LostTrial) -> None:
        self.count = 1 if lost.steps > self.furthest else self.count + 1
        self.furthest = max(self.furthest, lost.steps)


class _Scheduler:
    def __init__(self, backend: Backend, runs: Path, watcher: Watcher, how: ExecutionOptions) -> None:
        self._backend = backend
        self._runs = runs
        self._watcher = watcher
        self._how = how
        #: What has been started before is neither forced nor retried a second time.
        self._again = msgspec.structs.replace(how, force=False, retry_failed=False)
        self._waiting: deque[tuple[str, RunSpec]] = deque()
        self._running: dict[str, RunSpec] = {}
        self._losses: dict[str, _Losses] = {}

    def outcomes(self, specs: Sequence[RunSpec]) -> Iterator[TrialSummary]:
        for identity, spec in {run_id(spec): spec for spec in specs}.items():
            kept = finished_summary(spec, identity, self._runs, self._how)
            if kept is None:
                self._waiting.append((identity, spec))
            else:
                self._watcher.kept(kept)
                yield kept
        failure: StoreError | None = None
        while self._waiting or self._running:
            self._submit_ready()
            for identity, result in self._backend.ended():
                spec = self._running.pop(identity)
                end = self._handle_loss(identity, spec, result) if isinstance(result, LostTrial) else result
                if isinstance(end, TrialSummary):
                    # One that was lost with its record written is found finished the next time.
                    yield msgspec.structs.replace(end, kept=False) if identity in self._losses else end
                elif isinstance(end, StoreError):
                    failure = failure or end
                elif end is not None:
                    raise end
        if failure is not None:
            raise failure

    def _submit_ready(self) -> None:
        """Start trials in order for as long as there is room for the next one."""
        limit = self._how.jobs
        while self._waiting and (limit is None or len(self._running) < limit):
            identity, spec = self._waiting[0]
            if not self._backend.start(spec, self._again if identity in self._losses else self._how):
                return
            self._waiting.popleft()
            self._running[identity] = spec

    def _handle_loss(self, identity: str, spec: RunSpec, lost: LostTrial) -> TrialSummary | StoreError | None:
        """Put it first in line again; or give it up, and say how it stands."""
        losses = self._losses.setdefault(identity, _Losses())
        losses.add(lost)
        if losses.count < DEATHS_ALLOWED:
            self._watcher.warned(spec, f"{lost.reason}; starting it again")
            self._waiting.appendleft((identity, spec))
            return None
        reason = f"{lost.reason}, {losses.count} times in a row without it getting further"
        try:
            record = write_final_record(spec, self._runs, self._watcher, "crashed", reason)
        except StoreError as error:
            return error
        return trial_summary(spec, self._runs, record, kept=False)
