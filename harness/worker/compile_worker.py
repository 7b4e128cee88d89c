"""The compile warm-up: a temporary process that fills the trial's compiler cache.

This process builds the trial's workload and submission with random data of the real shapes, and makes a few steps. The
worker then loads the compiled code from the cache, so that its steps do not wait for the compiler. With several ranks,
this process makes the passes of a single rank. If the shard of a rank has other shapes, that rank compiles for these
shapes in its warm-up step, while the clock is stopped.

usage: python -m harness.worker.compile_worker      (started by rank 0; a job on standard input)
"""

from __future__ import annotations

import os
import sys
import tempfile

import msgspec

from harness.contract.run import Job
from harness.worker.compile_cache import redirect_compile_cache
from harness.worker.data.synthetic import random_like
from harness.worker.emit import ignore_event
from harness.worker.process import die_with_parent
from harness.worker.setup import build_run

#: Number of updates to make. From the second update on, the optimizer has its state, as in later updates of the trial.
STEPS = 3


def main() -> None:
    """Make a few steps of the trial on random data."""
    die_with_parent()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    redirect_compile_cache(job)
    with tempfile.TemporaryDirectory() as folder:
        warm_up_job = Job(spec=msgspec.structs.replace(job.spec, ranks=1), folder=folder, resume=False)
        run, construct_submission = build_run(warm_up_job, ignore_event, change_data=random_like)
        submission = construct_submission()
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
