"""How commands show the trials that they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.cli.output import note, supports_color
from harness.execution.watchers import CombinedWatcher
from harness.plugins.observers import Observers, load_observers
from harness.plugins.registry import Registry
from harness.report.progress import LiveView, Plain


@contextmanager
def watch_trials(registry: Registry, total: int) -> Iterator[CombinedWatcher]:
    """A progress display and the observers of the plugins.

    Args:
        total: trials in all.
    """
    manager, warnings = load_observers(registry)
    for warning in warnings:
        note(f"warning: {warning}")
    # Redrawing is for terminals alone, whatever FORCE_COLOR says of colour.
    view = LiveView(total) if supports_color() and sys.stderr.isatty() else Plain(total)
    with view:
        yield CombinedWatcher([view, Observers(manager)])
