"""Show the progress of running trials and notify the plugins' observers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any, TypeVar

import click

from harness.cli.output import note, supports_color
from harness.contract.run import RunSpec
from harness.execution.observers import Observers, RequestedObserver, request_observers
from harness.execution.watchers import CombinedWatcher
from harness.plugins.registry import Registry
from harness.report.progress import LiveView, Plain
from harness.report.trial_titles import TrialTitles

#: Keys of `click.Context.meta`: the started observers, and the values of `--observe`.
_OBSERVERS = "harness.observers"
_REQUESTS = "harness.requested_observers"
F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def watch_trials(registry: Registry, total: int, specs: Iterable[RunSpec] = ()) -> Iterator[CombinedWatcher]:
    """Provide a watcher that updates the progress display and notifies the plugins' observers.

    Stdout must contain only the command's results, but libraries such as Ray print messages to it. Within the context,
    this output is redirected to stderr. If stdout is a terminal, nothing is redirected.

    Args:
        registry: the plugins.
        total: number of trials.
        specs: trials that are known beforehand. The display shows the hyperparameters in which they differ.
    """
    observers = command_observers(registry)
    titles = TrialTitles(specs)
    # FORCE_COLOR also allows colours in pipes and files, but only a terminal can be redrawn.
    view = LiveView(total, titles) if supports_color() and sys.stderr.isatty() else Plain(total, titles=titles)
    with view, nullcontext() if sys.stdout.isatty() else redirect_stdout(sys.stderr):
        yield CombinedWatcher([view, observers])


def observe_option(command: F) -> F:
    """Add the option `--observe` to a command that runs trials."""

    def remember(context: click.Context, parameter: click.Parameter, requests: tuple[str, ...]) -> tuple[str, ...]:
        context.meta[_REQUESTS] = requests
        return requests

    return click.option(
        "--observe", multiple=True, metavar="NAME[=FOLDER]", callback=remember,
        help="Log the runs with csv, tensorboard, wandb or a plugin's observer, in FOLDER (default: observed/NAME).",
    )(command)  # fmt: skip


def find_requested_observers(registry: Registry) -> list[RequestedObserver]:
    """Return the observers that the user asked for with `--observe`.

    Raises:
        UsageError: there is no such observer, or a module that it needs is not installed.
    """
    return request_observers(click.get_current_context().meta.get(_REQUESTS, ()), registry)


def command_observers(registry: Registry) -> Observers:
    """Return the observers of the running command. The first call starts them, and they end with the command."""
    context = click.get_current_context()
    observers = context.meta.get(_OBSERVERS)
    if observers is None:
        started = Observers(registry, note, find_requested_observers(registry))
        observers = context.meta[_OBSERVERS] = context.find_root().with_resource(started)
    assert isinstance(observers, Observers)
    return observers
