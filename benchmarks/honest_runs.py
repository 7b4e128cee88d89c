"""Run honest submissions, and check that no run is rejected, unranked or charged for work that it did not do.

The submissions are the unusual ones in `honest_submissions.py` and all installed ones. Each runs with random seeds on
workloads that take seconds, the cheapest workload first. Finished runs are not run again if the command is repeated
with the same `--runs` and `--seed`.
The script prints a table, and a line for each run with a problem. The exit code is 1 if a run has one of these
problems:

- status `rejected` or `crashed`
- a worker (training process) that ended by itself and was restarted; such a run is not ranked without a rerun
- `helper_seconds` above 0.05 s + 10 % of the scored time, although the submission starts no processes or threads.
  Helpers are other processes and threads. Their work counts while the clock is stopped.
- no ledger in the record

    python benchmarks/honest_runs.py [--runs DIR] [--count 300] [--busy 2] [--minutes 15] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, RunSpec
from harness.errors import BenchError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MICRO = str(ROOT / "tests" / "micro.py")
#: The workloads, the cheapest first.
WORKLOADS = (f"{MICRO}:Micro", f"{MICRO}:MicroStream", "continual-digits", "continual-digits+noise")
#: Submissions that compute in processes and threads on purpose.
WITH_HELPERS = frozenset({"DataLoaderWorkers", "ChildProcess", "Program", "Threads"})
#: (s, f): `helper_seconds` above s seconds + f × the scored time are a problem.
MAX_HELPERS = (0.05, 0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder of the runs (default: a temporary one)")
    parser.add_argument("--count", type=int, default=300, help="number of runs (default: 300)")
    parser.add_argument("--busy", type=int, default=0, help="number of busy processes beside the runs (default: 0)")
    parser.add_argument("--minutes", type=float, default=1e9, help="minutes after which no further run starts")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random seeds (default: 0)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        runs = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="honest-runs-")))
        stack.enter_context(keep_busy(options.busy))
        return check_runs(list_specs(options.count, random.Random(options.seed)), runs, options.minutes)


def list_specs(count: int, rng: random.Random) -> Iterator[tuple[str, RunSpec]]:
    """Yield pairs (name of a submission, its trial). Workloads on which the submission cannot run are left out."""
    from honest_submissions import NAMES

    from harness.plugins.registry import load_registry

    unusual = [(name, f"{ROOT / 'benchmarks' / 'honest_submissions.py'}:{name}") for name in NAMES]
    installed = [(entry.name, entry.name) for entry in load_registry().submissions()]
    yielded = 0
    while yielded < count:
        yielded_before = yielded
        for workload in WORKLOADS:
            submissions = [*unusual, *installed]
            rng.shuffle(submissions)
            for name, load in submissions:
                with contextlib.suppress(BenchError):
                    for spec in harness.plan(load, workload, seed=rng.randrange(2**31), studies=1):
                        if yielded < count:
                            yielded += 1
                            yield name, spec
        if yielded == yielded_before:
            return


def check_runs(specs: Iterator[tuple[str, RunSpec]], runs: Path, minutes: float) -> int:
    """Run trials until the time is over, and print the table. Return the exit code."""
    began = time.monotonic()
    statuses: Counter[tuple[str, str]] = Counter()
    problems = 0
    for name, spec in specs:
        if time.monotonic() - began > minutes * 60:
            break
        for record in harness.run_trials([spec], runs, options=ExecutionOptions(jobs=1)):
            statuses[spec.workload.facts.name, record.status] += 1
            if problem := find_problem(name, record):
                problems += 1
                print(f"{name} on {spec.workload.facts.name} ({record.run_id}): {problem}", flush=True)
    print(f"{'workload':28}{'status':16}{'runs':>6}")
    for (workload, status), number in sorted(statuses.items()):
        print(f"{workload:28}{status:16}{number:>6}")
    print(f"{statuses.total()} runs, {problems} with a problem")
    return 1 if problems else 0


def find_problem(name: str, record: Record) -> str:
    """Return why the outcome of an honest run is wrong; an empty string if it is right."""
    if record.status in ("rejected", "crashed"):
        return f"{record.status}: {record.reason}"
    ledger = record.ledger
    if ledger is None:
        return "the record has no ledger"
    if own := [restart.reason for restart in ledger.restarts if restart.by == "worker"]:
        return f"the worker ended by itself: {own}"
    seconds, fraction = MAX_HELPERS
    limit = seconds + fraction * record.counters.process_seconds
    if name not in WITH_HELPERS and ledger.helper_seconds > limit:
        return f"{ledger.helper_seconds:.2f} s off the clock were charged: {dict(ledger.helpers)}"
    return ""


def work_for_ever() -> None:
    """Keep one processor busy."""
    while True:
        sum(range(10_000))


@contextlib.contextmanager
def keep_busy(number: int) -> Iterator[None]:
    """Keep `number` processors busy within this context."""
    processes = [multiprocessing.Process(target=work_for_ever, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
