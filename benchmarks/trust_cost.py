"""Measure how much longer a run takes because of the protections that make its record trustworthy.

The protections are the evaluator process, the sandbox, the reaper, and the supervisor's account of the worker's
processes. The same trials of the reference run with the protections and without them. The two kinds of run alternate
(without, with, with, without …) in one process, one trial at a time, so that changes of the machine's speed affect both
kinds. Without the protections, the worker evaluates its own weights, it has no sandbox and no reaper, and the
supervisor neither reads `/proc` nor writes the account.

The table has medians over trials: wall seconds and processor seconds per trial, and the seconds of parts of a trial.
Wall seconds run from the start of one trial to its end. Processor seconds include all processes. Below the table are
two ratios (with / without protections), of the wall seconds and of the processor seconds: the geometric mean over the
pairs of trials, and its 95 % interval. The goal is that a run takes at most 5 % longer. On a busy machine, the ratio of
the processor seconds is more exact than the ratio of the wall seconds. The first pairs are left out, because the fork
servers and the templates of evaluators start in them.

    python benchmarks/trust_cost.py [--workload resnet-digits] [--pairs 10] [--smoke]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from cost_of_a_run import FIRST_TRIALS, empty_cache, read_processor_seconds, reference_trials
from scipy import stats

import harness
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, RunSpec
from harness.execution import account, launching, warm
from harness.execution.warm import ForkServer
from harness.hardware import detect
from harness.report.text import columns
from harness.system import process_tree, sandbox

#: The goal: the ratio of the wall times (with / without protections) is at most this number.
GOAL = 1.05
WITH, WITHOUT = "with", "without"


@dataclass(frozen=True, kw_only=True)
class TimedTrial:
    """One trial: its record, and its wall seconds and processor seconds from its start to its end."""

    record: Record
    seconds: float
    process_seconds: float


def main() -> None:
    """Run the trials and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="resnet-digits")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="make very short trials")
    options = parser.parse_args()
    if options.pairs < 2:
        parser.error(f"--pairs {options.pairs} is too small for an interval; use at least 2")
    specs = reference_trials(options.workload, FIRST_TRIALS + options.pairs, options.smoke)
    trials: dict[str, list[TimedTrial]] = {WITH: [], WITHOUT: []}
    with tempfile.TemporaryDirectory() as folder, empty_cache(Path(folder)):
        for index, spec in enumerate(specs):
            for kind in (WITH, WITHOUT) if index % 2 else (WITHOUT, WITH):
                trials[kind].append(run(spec, kind, Path(folder) / kind))
            seconds = ", ".join(f"{kind} {trials[kind][-1].seconds:.2f} s" for kind in trials)
            print(f"{index + 1}/{len(specs)}: {seconds}", file=sys.stderr, flush=True)
        ForkServer.close_all()
    print("\n".join(describe({kind: timed[FIRST_TRIALS:] for kind, timed in trials.items()})))
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{specs[0].workload.facts.id}, {detect.cpu_name()}, {os.cpu_count()} processors, load {load}")


def run(spec: RunSpec, kind: str, runs: Path) -> TimedTrial:
    """Run a trial with the protections or without them."""
    with without_protections() if kind == WITHOUT else contextlib.nullcontext():
        began, used = time.perf_counter(), read_processor_seconds()
        (record,) = harness.run_trials([spec], runs, options=ExecutionOptions(jobs=1))
        seconds, process_seconds = time.perf_counter() - began, read_processor_seconds() - used
    expected = "evaluated" if kind == WITH else "self-reported"
    if not record.usage.forked or record.trust != expected or record.status in ("crashed", "rejected", "interrupted"):
        sys.exit(f"a trial {kind} the protections ended as {record.status} ({record.reason}), {record.trust}")
    return TimedTrial(record=record, seconds=seconds, process_seconds=process_seconds)


@contextlib.contextmanager
def without_protections() -> Iterator[None]:
    """Within this context, runs have no evaluator, sandbox, reaper or account of the worker's processes."""
    server = [sys.executable, "-S", "-P", str(Path(__file__).with_name("unguarded_server.py"))]
    with (
        mock.patch.dict(os.environ, {sandbox.VARIABLE: "none"}),
        # If the command of the worker is replaced, no evaluator is started.
        mock.patch.object(launching, "WORKER", [*launching.WORKER, ""]),
        mock.patch.object(warm, "SERVER", server),
        mock.patch.object(process_tree, "can_read_processes", return_value=False),
        mock.patch.object(account.Account, "_write"),
    ):
        yield


def describe(trials: dict[str, list[TimedTrial]]) -> Iterator[str]:
    """Yield the lines with the results."""
    rows = [["", "wall", "processor", "scored", "evaluation", "checkpoints", "building"]]
    for kind, timed in trials.items():
        usages = [trial.record.usage for trial in timed]
        figures = (
            [trial.seconds for trial in timed],
            [trial.process_seconds for trial in timed],
            [trial.record.counters.process_seconds for trial in timed],
            [usage.evaluation_seconds for usage in usages],
            [usage.checkpoint_seconds for usage in usages],
            [usage.build_seconds for usage in usages],
        )
        rows.append([kind, *(f"{statistics.median(values):.2f}" for values in figures)])
    yield columns(rows, right_aligned=frozenset(range(1, len(rows[0]))))
    for name, attribute in (("wall", "seconds"), ("processor", "process_seconds")):
        logs = np.log([getattr(a, attribute) / getattr(b, attribute) for a, b in zip(*trials.values(), strict=True)])
        half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
        low, mean, high = (math.exp(logs.mean() + shift) for shift in (-half, 0.0, half))
        goal = f"; goal {GOAL}: {'met' if mean <= GOAL else 'missed'}" if name == "wall" else ""
        yield f"{name}, with / without: {mean:.3f} ({low:.3f} to {high:.3f}, {len(logs)} pairs{goal})"


if __name__ == "__main__":
    main()
