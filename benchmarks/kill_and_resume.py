"""Kill runs at random moments, and check that they end with the evaluations and weights of an uninterrupted run.

Each repetition starts `bench run`, kills the worker or the supervisor with SIGKILL at a random moment (one to three
times), and then repeats the command until the trial is finished. The script prints one line per repetition, and finally
the number of repetitions that ended like the uninterrupted run.

    python benchmarks/kill_and_resume.py [--workload lm-tiny] [--submission wsd] [--times 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.contract.record import Record
from harness.storage import records


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="lm-tiny")
    parser.add_argument("--submission", default="wsd")
    parser.add_argument("--times", type=int, default=20, help="number of repetitions (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        whole = finish(options, Path(folder) / "whole")
        length = time.monotonic() - began
        print(f"uninterrupted: {whole.status}, {len(whole.points)} points, {length:.0f} s, {whole.final_weights[:12]}")
        equal = 0
        for index in range(options.times):
            runs = Path(folder) / str(index)
            kills = [kill(options, runs, rng, length) for _ in range(rng.randint(1, 3))]
            record = finish(options, runs)
            same = outcome(record) == outcome(whole)
            equal += same
            print(f"{index + 1:2d}  {', '.join(kills)}: {'equal' if same else 'DIFFERENT'}", flush=True)
    print(f"{equal} of {options.times} ended like the uninterrupted run")
    return 0 if equal == options.times else 1


def command(options: argparse.Namespace, runs: Path) -> list[str]:
    names = ["--submission", options.submission, "--workload", options.workload]
    return [sys.executable, "-m", "harness.cli", "run", *names, "--runs", str(runs)]


def kill(options: argparse.Namespace, runs: Path, rng: random.Random, length: float) -> str:
    """Start a run, and kill its worker or its supervisor at a random moment. Return the killed process and the time."""
    delay = rng.uniform(0.2, length)
    victim = rng.choice(["worker", "supervisor"])
    process = subprocess.Popen(command(options, runs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(delay)
        return f"ended before {delay:.1f} s"
    except subprocess.TimeoutExpired:
        target = worker_of(process.pid) if victim == "worker" else process.pid
        if target is not None:
            os.kill(target, signal.SIGKILL)
        else:
            victim = "supervisor"
            process.kill()
        process.wait()
    return f"{victim} at {delay:.1f} s"


def worker_of(supervisor: int) -> int | None:
    """Return the process id of a supervisor's worker, or None if the supervisor has no worker."""
    children = list_workers(supervisor)
    # A forked worker is a child of the fork server, whose module is in the same package.
    forked = [pid for child in children for pid in list_workers(child)]
    return next(iter([*forked, *children]), None)


def list_workers(parent: int) -> list[int]:
    """Return the process ids of a process's children that run a module of `harness.worker`."""
    listed = subprocess.run(["pgrep", "-P", str(parent), "-f", "harness.worker"], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def finish(options: argparse.Namespace, runs: Path) -> Record:
    """Repeat the command until the trial is finished, and return its record."""
    for _ in range(5):
        subprocess.run(command(options, runs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        (record,), problems = records.read_all([runs])
        assert not problems, problems
        if record.status != "interrupted":
            return record
    raise SystemExit(f"the trial is still interrupted after 5 commands: {record.reason}")


def outcome(record: Record) -> Any:
    """Return the parts of a record that must be equal. Times are not among these parts."""
    curve = [(p.examples, p.gradient_examples, p.steps, p.lr, p.metrics, p.train_loss) for p in record.points]
    return record.status, record.hit, curve, record.final_weights


if __name__ == "__main__":
    sys.exit(main())
