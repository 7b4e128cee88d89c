"""The process of a rank other than 0. Unlike rank 0, it emits no events and writes no files.

usage: python -m harness.worker.distributed.peer REPORT_FD

Rank 0 runs this command and writes a rank assignment to its standard input.
"""

from __future__ import annotations

# This import comes first. The clock then uses the original functions of `time`, even if a plugin replaces them.
import harness.worker.clock  # noqa: F401  # isort: skip

import os
import sys
import threading

import msgspec

from harness.worker.allocator import keep_freed_memory
from harness.worker.emit import ignore_event
from harness.worker.process import watch_parent
from harness.worker.reaper import set_parent_death_signal


def main() -> None:
    """Read the rank assignment, run the trial as this rank, and report an error to rank 0."""
    set_parent_death_signal()
    report_fd = int(sys.argv[1])
    os.set_inheritable(report_fd, False)
    os.register_at_fork(after_in_child=lambda: os.close(report_fd))

    # These modules import torch, which takes seconds. So they are imported after `set_parent_death_signal`.
    from harness.worker.distributed.join import RankAssignment, join_as_rank
    from harness.worker.job import run_job_to_event

    keep_freed_memory()
    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=RankAssignment)
    threading.Thread(target=watch_parent, name="rank-0-watch", daemon=True).start()
    last_event, failed = run_job_to_event(assignment.job, ignore_event, lambda: join_as_rank(assignment))
    if failed:
        os.write(report_fd, msgspec.json.encode(last_event))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
