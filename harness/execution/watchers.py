"""Combine several watchers into one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.contract.watcher import Watcher


class CombinedWatcher:
    """Forwards every call to several watchers. Calls from several threads are forwarded one at a time."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers
        self._lock = threading.Lock()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        with self._lock:
            for watcher in self._watchers:
                watcher.started(spec, resumed)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        with self._lock:
            for watcher in self._watchers:
                watcher.evaluated(spec, point)

    def warned(self, spec: RunSpec, message: str) -> None:
        with self._lock:
            for watcher in self._watchers:
                watcher.warned(spec, message)

    def finished(self, record: Record) -> None:
        with self._lock:
            for watcher in self._watchers:
                watcher.finished(record)

    def kept(self, summary: TrialSummary) -> None:
        with self._lock:
            for watcher in self._watchers:
                watcher.kept(summary)
