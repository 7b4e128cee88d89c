"""The compile warm-up: a temporary process that fills the trial's compiler cache.

This process builds the trial's workload and submission, and makes a few steps on random data with the shapes of the
real data. The worker then loads the compiled code from the cache, so its steps do not wait for the compiler.

With several ranks, this process makes the passes of a run with one rank. Each rank computes only a part of a batch,
which has another shape. If a shape is not in the cache, the rank compiles for it in its warm-up step, while the clock
is stopped.

usage: python -m harness.worker.compile_worker

Rank 0 runs this command and writes a job to its standard input.
"""

from __future__ import annotations

import os
import sys
import tempfile

import msgspec

from harness.contract.run import Job, Seeds
from harness.worker.compile_cache import redirect_compile_cache
from harness.worker.data.synthetic import random_like
from harness.worker.emit import ignore_event
from harness.worker.reaper import set_parent_death_signal
from harness.worker.setup import build_run

#: Number of updates to make. In the first update, the optimizer has no state yet, so later updates may run other code.
STEPS = 3


def main() -> None:
    """Make a few steps of the trial on random data."""
    set_parent_death_signal()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    redirect_compile_cache(job)
    with tempfile.TemporaryDirectory() as folder:
        spec = msgspec.structs.replace(job.spec, ranks=1, seeds=_other_seeds(job.spec.seeds))
        warm_up_job = Job(spec=spec, folder=folder, evaluation_folder=folder, resume=False)
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


def _other_seeds(seeds: Seeds) -> Seeds:
    """Return seeds that differ from the trial's, so that the submission learns nothing about its model and data."""
    return Seeds(**{name: (value + 0x5EED) % 2**32 for name, value in msgspec.structs.asdict(seeds).items()})


if __name__ == "__main__":
    main()
