"""A fork server without torch, which forks stub workers."""

from __future__ import annotations

from harness.worker.fork_server import main
from tests.execution.stub import run_job

if __name__ == "__main__":
    main(run_job, preload=lambda: None)
