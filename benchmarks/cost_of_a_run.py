"""Measure the wall time of a run that is not training time, and divide it into parts.

For each workload, the reference runs `--trials` trials, one at a time. They run with workers that a fork server forks
(forked), and with workers that start as new Python processes (fresh). Except for `n`, `first start` and `wall/scored`,
the columns of the table are medians over trials, in seconds per trial:

- n: number of trials.
- scored: processor seconds of the training, which are the scored time on a CPU.
- training: wall seconds of the training. On a busy machine, they exceed the scored seconds.
- evaluation, checkpoints: wall seconds of evaluations and of checkpoints, during which the training clock is stopped.
  Evaluation includes the evaluation of the untrained model.
- first start: wall seconds from the call to the first event of the first trial.
- next start: wall seconds from the end of a trial to the first event of the next trial. It is the sum of two columns:
  `building` (import of the workload, generation of its data, and construction of the model) and `rest`.
- processor: processor seconds of all processes (supervisor, fork server, worker, evaluator) from the end of a trial to
  the end of the next one. The first three trials are left out. On a busy machine, this figure varies less than wall
  seconds.
- wall/scored: (wall seconds of all trials, including the first start) / (scored seconds of all trials).
- goal: whether both goals below are met.

The first goal limits wall/scored: it is at most 1.3 if a run trains for 5 s or more, and at most 2 if a run trains for
less. The second goal is a `rest` of at most 0.5 s. The cache of generated data is empty before the trials of each row.
With `--cached`, the cache contains the data of these trials, as after a run of another submission with the same seeds.
With `--smoke`, the trials train only for a moment. Nearly all of the measured time is then overhead. To measure an
earlier version, set PYTHONPATH to a checkout of it.

    python benchmarks/cost_of_a_run.py [--workload lm-tiny] [--trials 10] [--workers forked] [--cached] [--smoke]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness.contract.run import ExecutionOptions, Point, RunSpec
from harness.contract.watcher import SilentWatcher
from harness.datasets.generated import FOLDER
from harness.datasets.paths import data_folder
from harness.errors import BenchError
from harness.execution.warm import ForkServer
from harness.hardware import detect
from harness.planning.resolve import reference_submissions
from harness.plugins.registry import load_registry
from harness.report.text import columns

HEADINGS = (
    "workload,workers,n,scored,training,evaluation,checkpoints,first start,next start,building,rest,processor,"
    "wall/scored,goal"
)
#: Number of trials whose processor seconds are left out, because the fork server and the templates start in them.
FIRST_TRIALS = 3
COLUMNS = HEADINGS.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workload", default="", help="comma-separated workloads (default: all CPU workloads whose data are present)"
    )
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--workers", choices=("forked", "fresh", "both"), default="both")
    parser.add_argument("--cached", action="store_true", help="fill the cache of generated data before the trials")
    parser.add_argument("--smoke", action="store_true", help="make very short trials")
    options = parser.parse_args()
    names = options.workload.split(",") if options.workload else _cpu_workloads()
    kinds = ("forked", "fresh") if options.workers == "both" else (options.workers,)
    rows = [COLUMNS]
    for name in names:
        for kind in kinds:
            try:
                rows.append(measure(name, kind, options.trials, options.cached, options.smoke))
                print(", ".join(map(" ".join, zip(COLUMNS, rows[-1], strict=True))), file=sys.stderr, flush=True)
            except BenchError as error:
                print(f"{name}: {error}")
                break
    print(columns(rows, right_aligned=frozenset(range(2, len(COLUMNS)))))
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{detect.cpu_name()}, {os.cpu_count()} processors, load {load}")


def _cpu_workloads() -> list[str]:
    """Return the names of the CPU workloads. Variants are left out, because they cost as much as the base workload."""
    return [entry.name for entry in load_registry().workloads() if entry.facts.tier == "cpu" and "+" not in entry.name]


@dataclass
class Timeline(SilentWatcher):
    """Records the times of the first event, the first evaluation and the end of every trial, by `time.perf_counter`.

    At the end of every trial, it also records the processor seconds of all processes so far.
    """

    ready: list[float] = field(default_factory=list)
    first_evaluation: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self.ready.append(time.perf_counter())

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        if len(self.first_evaluation) < len(self.ready):
            self.first_evaluation.append(time.perf_counter())

    def finished(self, record: harness.Record) -> None:
        self.ended.append(time.perf_counter())
        self.processor.append(read_processor_seconds())


def read_processor_seconds() -> float:
    """Return the processor seconds of this process, its running descendants, and its ended descendants.

    Ended descendants count if their parent waited for them. On systems other than Linux, return NaN.
    """
    parents, seconds = dict[int, int](), dict[int, float]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            seconds[int(path.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    tree = {os.getpid()}
    while added := {pid for pid, parent in parents.items() if parent in tree and pid not in tree}:
        tree |= added
    return sum(seconds[pid] for pid in tree) if parents else float("nan")


def measure(name: str, kind: str, trials: int, cached: bool, smoke: bool) -> list[str]:
    """Run the trials of one workload, and return their row of the table.

    Args:
        name: the workload.
        kind: kind of the workers, `forked` or `fresh`.
        trials: number of trials.
        cached: whether the generated data are in the cache before the first trial.
        smoke: whether the trials are smoke runs.
    """
    specs = reference_trials(name, trials, smoke)
    with tempfile.TemporaryDirectory() as folder, empty_cache(Path(folder)):
        if cached:
            fill = harness.plan(specs[0].submission.name, name, studies=trials, smoke=True)
            list(harness.run_trials(fill, f"{folder}/fill"))
        ForkServer.close_all()
        watcher = Timeline()
        began = time.perf_counter()
        options = ExecutionOptions(jobs=1, fresh_workers=kind == "fresh")
        records = list(harness.run_trials(specs, f"{folder}/runs", options=options, watcher=watcher))
        wall = time.perf_counter() - began
    if len(watcher.first_evaluation) < trials or any(record.usage.forked is (kind == "fresh") for record in records):
        reasons = ", ".join(record.reason or record.status for record in records)
        raise BenchError(
            f"not every trial ran with a {kind} worker: {reasons}", fix="read worker.log in the folders of the trials"
        )
    scored = [record.counters.process_seconds for record in records]
    starts = [ready - previous for ready, previous in zip(watcher.ready, [began, *watcher.ended[:-1]], strict=True)]
    building = [record.usage.build_seconds for record in records]
    ratio = wall / sum(scored)
    largest_ratio = 1.3 if statistics.median(scored) >= 5 else 2.0
    rests = [start - build for start, build in zip(starts[1:], building[1:], strict=True)]
    processor_readings = watcher.processor[FIRST_TRIALS - 1 :]
    processor = [end - begin for begin, end in itertools.pairwise(processor_readings)]
    figures = [
        statistics.median(scored),
        statistics.median(record.counters.seconds for record in records),
        statistics.median(record.usage.evaluation_seconds for record in records),
        statistics.median(record.usage.checkpoint_seconds for record in records),
        starts[0],
        *(statistics.median(values or [float("nan")]) for values in (starts[1:], building[1:], rests, processor)),
        ratio,
    ]
    verdict = (
        "met"
        if ratio <= largest_ratio and (not rests or statistics.median(rests) <= 0.5)
        else f"missed ({largest_ratio})"
    )
    return [name, kind, str(trials), *(f"{figure:.2f}" for figure in figures), verdict]


def reference_trials(name: str, trials: int, smoke: bool) -> Sequence[RunSpec]:
    """Return trials of the first reference that can run on a workload."""
    references = ",".join(entry.name for entry in reference_submissions(load_registry()))
    specs = list(harness.plan(references, name, studies=trials, smoke=smoke))
    return [spec for spec in specs if spec.submission.name == specs[0].submission.name]


@contextlib.contextmanager
def empty_cache(folder: Path) -> Iterator[None]:
    """Inside the context, use a data folder that contains the installed datasets and no generated data."""
    data, previous = folder / "data", os.environ.get("BENCH_DATA")
    data.mkdir()
    for path in data_folder().glob("*"):
        if path.name != FOLDER:
            (data / path.name).symlink_to(path)
    os.environ["BENCH_DATA"] = str(data)
    try:
        yield
    finally:
        if previous is None:
            del os.environ["BENCH_DATA"]
        else:
            os.environ["BENCH_DATA"] = previous


if __name__ == "__main__":
    main()
