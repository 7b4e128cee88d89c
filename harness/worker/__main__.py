"""The entry point of the worker process (see `process.py`).

usage: python -m harness.worker EVENTS_FD LOCK_FD CORES PEER_FD worker|evaluator

The supervisor runs this command and writes a job to its standard input.
"""

from __future__ import annotations

# This import comes first. The clock then uses the original functions of `time`, even if a plugin replaces them.
import harness.worker.clock  # noqa: F401  # isort: skip

from harness.worker.process import main

if __name__ == "__main__":
    main()
