"""Compute results in a second process that is a copy of this one, while this process goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import IO


class SecondProcess:
    """A forked process that writes results to a temporary file. Used as a context manager, it ends with the context.

    There is no second process if this process has several threads or only one core, if the system cannot fork safely,
    or if there is no room for a temporary file. `results` then returns None.

    Args:
        compute: function that writes the results to an open file. It runs in the second process. Everything that it
            changes in memory is lost.
        wanted: if False, no second process is started.
    """

    def __init__(self, compute: Callable[[IO[bytes]], object], *, wanted: bool = True) -> None:
        self._pid = 0
        self._file: IO[bytes] | None = None
        if not wanted or not _can_fork():
            return
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (`__exit__` closes the file)
            with warnings.catch_warnings():
                # Python 3.12 and later warn about the fork if a library has started threads. The second process calls
                # no such library.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
        except OSError:
            return
        if not self._pid:
            _compute_and_exit(compute, self._file)

    def results(self) -> IO[bytes] | None:
        """Wait for the second process, and return the file with its results; None if there are no results."""
        if not self._pid or self._file is None:
            return None
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if status:
            return None
        self._file.seek(0)
        return self._file

    def __enter__(self) -> SecondProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the second process if it still runs, and close the file."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0
        if self._file is not None:
            self._file.close()


def _can_fork() -> bool:
    # On macOS, a forked process may not use the system's libraries. Only Linux has `sched_getaffinity`.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return cores > 1 and threading.active_count() == 1


def _compute_and_exit(compute: Callable[[IO[bytes]], object], output: IO[bytes]) -> None:
    """Write the results and end this process, also after an error. The code after the fork therefore runs only once."""
    code = 1
    try:
        compute(output)
        output.flush()
        code = 0
    finally:
        os._exit(code)
