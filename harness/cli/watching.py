"""Show the progress of running trials and notify the plugins' observers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

import click

from harness.cli.output import note, supports_color
from harness.contract.run import RunSpec
from harness.execution.observers import Observers
from harness.execution.watchers import CombinedWatcher
from harness.plugins.registry import Registry
from harness.report.progress import LiveView, Plain
from harness.report.trial_titles import TrialTitles

_OBSERVERS = "harness.observers"


@contextmanager
def watch_trials(registry: Registry, total: int, specs: Iterable[RunSpec] = ()) -> Iterator[CombinedWatcher]:
    """Provide a watcher that updates the progress display and notifies the plugins' observers.

    Meanwhile, what libraries print to stdout goes to stderr, unless stdout is a terminal: it must not appear within the
    command's results. Ray prints there that a node has died.

    Args:
        registry: the plugins.
        total: number of trials.
        specs: the trials that are known beforehand. The display shows the hyperparameters that differ between them.
    """
    observers = command_observers(registry)
    # FORCE_COLOR also allows colours in pipes and files, but only a terminal can be redrawn.
    titles = TrialTitles(specs)
    view = LiveView(total, titles) if supports_color() and sys.stderr.isatty() else Plain(total, titles=titles)
    with view, nullcontext() if sys.stdout.isatty() else redirect_stdout(sys.stderr):
        yield CombinedWatcher([view, observers])


def command_observers(registry: Registry) -> Observers:
    """Return the observers of the running command. They are started by the first call and end with the command."""
    context = click.get_current_context()
    observers = context.meta.get(_OBSERVERS)
    if observers is None:
        observers = context.meta[_OBSERVERS] = context.find_root().with_resource(Observers(registry, note))
    assert isinstance(observers, Observers)
    return observers
