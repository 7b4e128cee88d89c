"""The entry point of the worker process (see `process.py`).

usage: python -m harness.worker EVENTS_FD LOCK_FD CORES      (started by the supervisor; a job on standard input)
"""

from __future__ import annotations

# This import comes first, so that the clock binds its time functions before a plugin can replace them.
import harness.worker.clock  # noqa: F401  # isort: skip

from harness.worker.process import main

if __name__ == "__main__":
    main()
