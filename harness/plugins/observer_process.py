"""The process of one observer: it reads calls from a pipe, and calls the hooks of the observer's plugin.

A `bench` command starts this process (`harness.execution.observers`) and writes to the pipe. The command never waits
for the observer, except for a short time at the end.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import msgspec
import pluggy

from harness.contract.observation import ObserverCall
from harness.plugins import loading
from harness.plugins.child import register

#: Normally, the command ends this process at the deadline. If the command was killed, this process ends itself this
#: many seconds later.
_GRACE_S = 1.0
#: Increment of the niceness. An observer must not take processor time from trials.
_NICENESS = 10


def main(value: str, title: str, wait_s: float, folder: str = "") -> None:
    """Call the hooks of a plugin until the pipe ends.

    Args:
        value: value of the plugin's entry point, or the import path of an observer's class.
        title: the name under which pluggy registers the plugin.
        wait_s: deadline of this process, in seconds after the end of the pipe.
        folder: folder for the files of an observer's class; empty for a plugin.
    """
    pipe = _take_over_streams()
    threading.Thread(target=_end_after_pipe, args=(pipe.fileno(), wait_s + _GRACE_S), daemon=True).start()
    os.nice(_NICENESS)
    observer = _Observer(title)
    observer.load(value, folder)
    decoder = msgspec.json.Decoder(ObserverCall)
    for line in pipe:
        # The last line is incomplete if the command was killed.
        with contextlib.suppress(msgspec.DecodeError):
            observer.call(decoder.decode(line))


def _take_over_streams() -> BinaryIO:
    """Return the pipe of the command, and redirect the standard streams for the code of the plugin.

    The pipe is the standard input of this process. Afterwards, the standard input is empty, and what the plugin prints
    goes to stderr, because stdout is for the output of the command.
    """
    pipe = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    with contextlib.suppress(OSError):  # stderr may be closed
        os.dup2(2, 1)
    return pipe


def _end_after_pipe(descriptor: int, seconds: float) -> None:
    """Kill this process and the processes that it started, `seconds` after the command has closed the pipe."""
    poll = select.poll()
    poll.register(descriptor, 0)
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
        pass
    time.sleep(seconds)
    os.killpg(os.getpgrp(), signal.SIGKILL)


class _Observer:
    """A plugin that observes runs. Only the plugin's first failure is reported."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._manager: pluggy.PluginManager | None = None
        self._failed = False

    def load(self, value: str, folder: str) -> None:
        """Import and register the plugin. If the import fails, report the error, and never call the plugin."""
        try:
            loaded = loading.load_entry_point(value)
            self._manager = register(loaded(Path(folder)) if folder else loaded, self._title)
        # A plugin may raise anything, including SystemExit.
        except BaseException as error:
            self._report("is not used", error)

    def call(self, call: ObserverCall) -> None:
        """Call all implementations of a hook."""
        if self._manager is None:
            return
        arguments = {"trial": call.trial, "point": call.point, "outcome": call.outcome}
        for implementation in getattr(self._manager.hook, call.hook).get_hookimpls():
            try:
                implementation.function(**{name: arguments[name] for name in implementation.argnames})
            except BaseException as error:
                self._report("failed", error)

    def _report(self, problem: str, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            with contextlib.suppress(OSError, ValueError):
                message = loading.format_error(error)
                print(f"warning: the observer {self._title} {problem}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *sys.argv[4:])
