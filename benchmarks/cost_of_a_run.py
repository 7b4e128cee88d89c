"""Measure the time that a run needs in addition to its training, and the parts of this time.

For each workload, the reference runs `--trials` trials, one at a time, with forked and with fresh workers. The tables
show medians over trials, in seconds per trial:

- scored: processor seconds of the training. The tables of `bench` show these seconds.
- training: wall seconds on the clock. On a busy machine, the wall seconds exceed the scored seconds.
- evaluation, checkpoints: wall seconds off the clock. The evaluation of the untrained model counts as evaluation.
- first start: wall seconds from the call to the first step of the first trial, without the evaluation of the untrained
  model.
- next start: wall seconds from the end of a trial to the first step of the next trial, without the evaluation of the
  untrained model. This time has two parts: building (import of the workload, model and data) and the rest.
- wall/scored: wall seconds of all trials, including the first start, divided by the scored seconds of all trials.

There are three goals. If a run trains for 5 s or longer, wall/scored is at most 1.3. For shorter runs, it is at most 2.
The rest of the next start takes at most 0.5 s. The cache of generated data is empty at the beginning of each line. With
`--cached`, the cache is filled first, as if another submission had already run with the same seeds.

    python benchmarks/cost_of_a_run.py [--workload lm-tiny] [--trials 10] [--workers forked] [--cached]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    "workload,workers,n,scored,training,evaluation,checkpoints,first start,next start,building,rest,wall/scored,goal"
)
COLUMNS = HEADINGS.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="", help="comma-separated; all CPU workloads whose data are present")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--workers", choices=("forked", "fresh", "both"), default="both")
    parser.add_argument("--cached", action="store_true", help="fill the cache of generated data first")
    options = parser.parse_args()
    names = options.workload.split(",") if options.workload else _cpu_workloads()
    kinds = ("forked", "fresh") if options.workers == "both" else (options.workers,)
    rows = [COLUMNS]
    for name in names:
        for kind in kinds:
            try:
                rows.append(measure(name, kind, options.trials, options.cached))
                print(", ".join(map(" ".join, zip(COLUMNS, rows[-1], strict=True))), file=sys.stderr, flush=True)
            except BenchError as error:
                print(f"{name}: {error}")
                break
    print(columns(rows, right_aligned=frozenset(range(2, len(COLUMNS)))))
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{detect.cpu_name()}, {os.cpu_count()} processors, load {load}")


def _cpu_workloads() -> list[str]:
    """Return the CPU workloads without variants. A variant has the same cost as its base workload."""
    return [entry.name for entry in load_registry().workloads() if entry.facts.tier == "cpu" and "+" not in entry.name]


@dataclass
class Timeline(SilentWatcher):
    """The values of `time.perf_counter` at the first event, the first evaluation and the end of every trial."""

    ready: list[float] = field(default_factory=list)
    first_evaluation: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self.ready.append(time.perf_counter())

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        if len(self.first_evaluation) < len(self.ready):
            self.first_evaluation.append(time.perf_counter())

    def finished(self, record: harness.Record) -> None:
        self.ended.append(time.perf_counter())


def measure(name: str, kind: str, trials: int, cached: bool) -> list[str]:
    """Return a row of the table.

    Args:
        name: the workload.
        kind: `forked` or `fresh` workers.
        trials: number of trials.
        cached: whether the generated data are in the cache before the first trial.
    """
    specs = _reference_trials(name, trials)
    with tempfile.TemporaryDirectory() as folder, _empty_cache(Path(folder)):
        if cached:
            smoke = harness.plan(specs[0].submission.name, name, studies=trials, smoke=True)
            list(harness.run_trials(smoke, f"{folder}/fill"))
        ForkServer.close_all()
        watcher = Timeline()
        began = time.perf_counter()
        options = ExecutionOptions(jobs=1, fresh_workers=kind == "fresh")
        records = list(harness.run_trials(specs, f"{folder}/runs", options=options, watcher=watcher))
        wall = time.perf_counter() - began
    if len(watcher.first_evaluation) < trials or any(record.usage.forked is (kind == "fresh") for record in records):
        reasons = ", ".join(record.reason or record.status for record in records)
        raise BenchError(f"not every trial ran with a {kind} worker: {reasons}", fix="see worker.log of the trials")
    scored = [record.counters.process_seconds for record in records]
    starts = [ready - previous for ready, previous in zip(watcher.ready, [began, *watcher.ended[:-1]], strict=True)]
    building = [record.usage.build_seconds for record in records]
    ratio = wall / sum(scored)
    goal = 1.3 if statistics.median(scored) >= 5 else 2.0
    rests = [start - build for start, build in zip(starts[1:], building[1:], strict=True)]
    figures = [
        statistics.median(scored),
        statistics.median(record.counters.seconds for record in records),
        statistics.median(record.usage.evaluation_seconds for record in records),
        statistics.median(record.usage.checkpoint_seconds for record in records),
        starts[0],
        *(statistics.median(values or [float("nan")]) for values in (starts[1:], building[1:], rests)),
        ratio,
    ]
    met = "met" if ratio <= goal and (not rests or statistics.median(rests) <= 0.5) else f"missed ({goal})"
    return [name, kind, str(trials), *(f"{figure:.2f}" for figure in figures), met]


def _reference_trials(name: str, trials: int) -> Sequence[RunSpec]:
    """Return trials of the first reference that can run on a workload."""
    references = ",".join(entry.name for entry in reference_submissions(load_registry()))
    specs = list(harness.plan(references, name, studies=trials))
    return [spec for spec in specs if spec.submission.name == specs[0].submission.name]


@contextmanager
def _empty_cache(folder: Path) -> Iterator[None]:
    """Use, inside the `with` block, a data folder with the installed datasets and without generated data."""
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
