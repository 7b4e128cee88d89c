"""Open a session of gates that shows its progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.cli.output import note, supports_color
from harness.cli.watching import command_observers
from harness.execution.watchers import CombinedWatcher
from harness.gating.gate import GateProgress
from harness.gating.session import GateSession
from harness.gating.setup import GateOptions
from harness.plugins.registry import Registry
from harness.report.gate import progress_line
from harness.report.gate_status import GateStatus


def open_session(registry: Registry, options: GateOptions) -> GateSession:
    """Return a session that prints a line after every pair and notifies the plugins' observers."""
    observers = command_observers(registry)

    @contextmanager
    def watch(label: str, total: int) -> Iterator[CombinedWatcher]:
        with GateStatus(label, total, supports_color() and sys.stderr.isatty()) as status:
            yield CombinedWatcher([status, observers])

    def show(progress: GateProgress) -> None:
        note(progress_line(progress.look, progress.minutes_needed))

    return GateSession(registry, options, watch=watch, note=note, on_pair=show)
