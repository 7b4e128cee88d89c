"""The interface of objects that receive the events of running trials."""

from __future__ import annotations

from typing import Protocol

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec


class Watcher(Protocol):
    """An object that receives the events of trials, such as the progress display.

    The methods may be called from several threads, but only one method is called at a time.
    """

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        """Handle the start of a trial.

        Args:
            spec: specification of the trial.
            resumed: the evaluations of a resumed trial before its interruption; empty for a new trial.
        """
        ...

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        """Handle an evaluation of a trial."""
        ...

    def warned(self, spec: RunSpec, message: str) -> None:
        """Handle a warning of a trial."""
        ...

    def finished(self, record: Record) -> None:
        """Handle the end of a trial."""
        ...

    def kept(self, summary: TrialSummary) -> None:
        """Handle a trial that ended in another command and is therefore not run here."""
        ...


class SilentWatcher:
    """A watcher that does nothing."""

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None: ...

    def evaluated(self, spec: RunSpec, point: Point) -> None: ...

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None: ...

    def kept(self, summary: TrialSummary) -> None: ...
