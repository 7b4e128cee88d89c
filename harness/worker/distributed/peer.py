"""A rank other than 0: a seat on standard input, the same run as rank 0's, and nothing written.

usage: python -m harness.worker.distributed.peer REPORT_FD      (started by rank 0, not by hand)
"""

from __future__ import annotations

# First of all imports: the clock keeps its own time functions before any plugin can touch them.
import harness.worker.clock  # noqa: F401  # isort: skip

import os
import sys
import threading

import msgspec

from harness.contract.events import AnyEvent
from harness.worker.process import die_with_parent, watch_parent


def main() -> None:
    """Take the seat, carry the trial out, and report an end that rank 0 may not see coming."""
    die_with_parent()
    report = int(sys.argv[1])
    os.set_inheritable(report, False)
    os.register_at_fork(after_in_child=lambda: os.close(report))

    from harness.worker.distributed.ranks import RankAssignment, join_as_rank
    from harness.worker.setup import run_job_to_event

    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=RankAssignment)
    threading.Thread(target=watch_parent, name="rank-0-watch", daemon=True).start()

    def nothing(event: AnyEvent) -> None:
        """Rank 0 speaks for all."""

    end, failed = run_job_to_event(assignment.job, nothing, lambda: join_as_rank(assignment))
    if failed:
        os.write(report, msgspec.json.encode(end))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
