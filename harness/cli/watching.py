"""Show the progress of running trials and call the plugins' observers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from harness.cli.output import note, supports_color
from harness.contract.run import RunSpec
from harness.execution.watchers import CombinedWatcher
from harness.plugins.observers import Observers, load_observers
from harness.plugins.registry import Registry
from harness.report.progress import LiveView, Plain
from harness.report.trial_titles import TrialTitles


@contextmanager
def watch_trials(registry: Registry, total: int, specs: Iterable[RunSpec] = ()) -> Iterator[CombinedWatcher]:
    """Provide a watcher that updates the progress display and calls the plugins' observers.

    Args:
        registry: the plugins.
        total: number of trials.
        specs: the trials that are known beforehand. The display shows the hyperparameters that differ between them.
    """
    manager, warnings = load_observers(registry)
    for warning in warnings:
        note(f"warning: {warning}")
    # FORCE_COLOR also allows colours in pipes and files, but only a terminal can be redrawn.
    titles = TrialTitles(specs)
    view = LiveView(total, titles) if supports_color() and sys.stderr.isatty() else Plain(total, titles=titles)
    with view:
        yield CombinedWatcher([view, Observers(manager)])
