"""The import of a submission leaves no threads behind.

Forbidden: starting a thread while the submission or one of its parts is imported or prepared, that is still alive
afterwards.

Why: imports are off the clock. A thread that lives on computes without being timed.

Instead: start threads in the constructor or in a step, where the clock runs.
"""

from __future__ import annotations

import threading

from harness.errors import RejectedError
from harness.worker.rule import Rule


class ImportThreads(Rule):
    """Compares the process's threads before and after the import."""

    def before_import(self) -> None:
        self._threads = set(threading.enumerate())

    def after_import(self, process_seconds: float) -> None:
        new = [thread.name for thread in threading.enumerate() if thread not in self._threads]
        if new:
            raise RejectedError(
                f"importing the submission left threads behind: {', '.join(new)}",
                fix="start threads in the constructor or in a step, where the clock runs",
            )
