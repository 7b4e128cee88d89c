"""The interface for following trials while they run."""

from __future__ import annotations

from typing import Protocol

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec


class Watcher(Protocol):
    """Follows trials: the progress display, observers. Methods may be called from several threads, one at a time."""

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None: ...

    def evaluated(self, spec: RunSpec, point: Point) -> None: ...

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None: ...

    def kept(self, summary: TrialSummary) -> None:
        """The trial had ended before this command; nothing was run."""
        ...


class SilentWatcher:
    """A watcher that does nothing."""

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None: ...

    def evaluated(self, spec: RunSpec, point: Point) -> None: ...

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None: ...

    def kept(self, summary: TrialSummary) -> None: ...
