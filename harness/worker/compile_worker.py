"""Compiles what a trial will run, in a throwaway process that leaves nothing but the trial's compiler cache.

It builds the same workload and submission, on random data of the real shapes, and makes a few steps. What it leaves
is found by the run's own process, whose steps then neither compile nor wait for a compiler. On several ranks it makes
the passes of one; where a rank's share has other shapes, the rehearsal of each rank compiles them, off the clock too.

usage: python -m harness.worker.compile_worker      (started by rank 0, not by hand; a job on standard input)
"""

from __future__ import annotations

import os
import sys
import tempfile

import msgspec

from harness.contract.events import AnyEvent
from harness.contract.run import Job
from harness.worker.compile_cache import redirect_compile_cache
from harness.worker.data.synthetic import random_like

#: Updates of the throwaway submission: the second one meets its state as all later ones do.
STEPS = 3


def main() -> None:
    """Make a few steps with everything as in the trial but the data, and throw all of it away."""
    from harness.worker.process import die_with_parent

    die_with_parent()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    redirect_compile_cache(job)

    from harness.worker import setup

    def nothing(event: AnyEvent) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        alone = msgspec.structs.replace(job.spec, ranks=1)
        throwaway = Job(spec=alone, folder=folder, resume=False)
        run, build_submission = setup.build_run(
            throwaway, nothing, change=lambda data: random_like(data, alone.workload.facts.access)
        )
        submission = build_submission()
        for _ in range(STEPS):
            run.work.begin_step()
            submission.step(run.work)
            run.work.end_step()
        with submission.eval_weights():
            pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
