"""Plugins that follow runs: the observer hooks, called with frozen data, never able to break a run."""

from __future__ import annotations

import sys
from typing import Any

import pluggy

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec


class Observers:
    """Implements `harness.execution.supervisor.Watcher` by calling the observer hooks.

    Args:
        manager: the plugins that implement them.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager
        self._failed: set[str] = set()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._call("bench_run_started", spec=spec)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._call("bench_evaluated", spec=spec, point=point)

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None:
        self._call("bench_run_finished", record=record)

    def kept(self, summary: TrialSummary) -> None: ...

    def _call(self, hook: str, **data: Any) -> None:
        """Call each plugin apart, so that one that raises does not silence the others; each says so once."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                wanted = {name: data[name] for name in implementation.argnames}
                implementation.function(**wanted)
            except Exception as error:
                if implementation.plugin_name not in self._failed:
                    self._failed.add(implementation.plugin_name)
                    message = f"{type(error).__name__}: {error}"
                    print(f"warning: observer {implementation.plugin_name} failed: {message}", file=sys.stderr)
