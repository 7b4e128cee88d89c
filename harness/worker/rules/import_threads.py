"""The import of a submission leaves no thread running.

Forbidden: starting a thread while the submission or one of its parts is imported or prepared, and leaving it running.

Why: the clock is stopped during imports, so the computations of such a thread would not be timed.

Instead: start threads in the constructor or in a step, where the clock runs.
"""

from __future__ import annotations

import threading

from harness.errors import RejectedError
from harness.worker.rule import Rule


class ImportThreads(Rule):
    """Compares the threads of the process before and after the import."""

    def before_import(self) -> None:
        self._threads_before = set(threading.enumerate())

    def after_import(self, process_seconds: float) -> None:
        new_threads = [thread.name for thread in threading.enumerate() if thread not in self._threads_before]
        if new_threads:
            raise RejectedError(
                f"threads that the submission's import started are still alive: {', '.join(new_threads)}",
                fix="start threads in the constructor or in a step, where the clock runs",
            )
