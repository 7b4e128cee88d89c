"""Measure the cost of the harness in sweeps of many trials.

The script prints four figures, one per line:

1. *cost per trial*: (processor seconds of a complete tiny trial) − (processor seconds of a bare process). A bare
   process starts the interpreter, and imports and warms up the third-party packages of a worker. Trials and bare
   processes alternate. The figure is the median of the differences. Workers are not forked, because the seconds of a
   fork server that has not ended cannot be read.
2. *plan*: seconds to plan 10,000 trials and compute their run_ids, as `--dry-run` does.
3. *resume*: seconds to recognise 10,000 finished trials from their records.
4. *two workers*: two ratios, (value with two trials at once) / (value with one trial at a time). The first is a ratio
   of throughputs, the second of processor seconds per trial. All trials do the same computation, which occupies a core
   for 10 s. Other load on the machine makes both ratios worse, so the load is printed.

    python benchmarks/sweep.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, Point, RunSpec
from harness.execution import launching
from harness.execution.local import execute
from harness.hardware import detect
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.code_reading import workload_from_path
from harness.plugins.registry import load_registry
from harness.report.progress import Plain
from harness.storage import layout
from harness.storage.records import encode, read_record

#: Source of a worker that only computes in a loop.
_SPIN = """
from __future__ import annotations
import sys, time
from harness.worker.process import main
from harness.contract.events import Done, Ready
from harness.contract.record import Environment, Usage

def execute(job, emit):
    environment = Environment(python="", torch="", platform="", hardware_name="", cpu_count=1, threads=1)
    emit(Ready(environment=environment, usage=Usage()))
    began, x = time.process_time(), 1
    for _ in range(int(job.spec.hparams["turns"])):
        x = x * 1103515245 + 12345 & 0x7FFFFFFF
    emit(Done(status="exhausted", profile={"process": time.process_time() - began}))

if __name__ == "__main__":
    main(execute)
"""
#: Source of a program that imports the third-party packages of a worker and uses them once. At their first use, they
#: import more modules.
_THIRD_PARTY = """
import msgspec, numpy, safetensors.torch, torch
from torch import nn
torch.set_num_threads(1)
p = nn.Parameter(torch.zeros(1)); o = torch.optim.AdamW([p]); p.sum().backward(); o.step()
"""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements.

    Args:
        trials: number of planned trials.
        repetitions: number of repetitions of the cost per trial.
        seconds: seconds for which a trial occupies a core (figure *two workers*).
        pairs: number of pairs of trials (figure *two workers*).
    """

    trials: int
    repetitions: int
    seconds: float
    pairs: int


FULL = Sizes(trials=10_000, repetitions=7, seconds=10.0, pairs=4)
QUICK = Sizes(trials=200, repetitions=1, seconds=0.2, pairs=1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="use tiny sizes, which only test the script")
    sizes = QUICK if parser.parse_args(arguments).quick else FULL
    print(f"{detect.cpu_name()}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder_path = Path(folder)
        cost = cost_per_trial(folder_path / "cost", sizes)
        print(f"cost per trial: {1e3 * cost:.0f} ms", flush=True)
        seconds, specs = plan_many(sizes)
        print(f"plan: {seconds:.2f} s for {len(specs):,} trials", flush=True)
        print(
            f"resume: {resume_many(folder_path / 'resume', specs):.2f} s for {len(specs):,} finished trials", flush=True
        )
        throughput_ratio, seconds_ratio = two_workers(folder_path, sizes)
        print(
            f"two workers: {throughput_ratio:.2f} × the throughput of one worker, "
            f"{seconds_ratio:.3f} × its processor seconds per trial",
            flush=True,
        )


def cost_per_trial(runs: Path, sizes: Sizes) -> float:
    """Return the processor seconds of a tiny trial, minus those of the interpreter and of third-party imports."""
    source = runs / "task.py"
    runs.mkdir()
    source.write_text(_TASK)
    registry = load_registry()
    workload = workload_from_path(f"{source}:Tiny")
    submission = registry.submission("adamw-cosine")
    settings = PlanSettings(ruleset=rulesets.ruleset("quick"), smoke=True)
    costs = []
    for seed in range(sizes.repetitions):
        spec = msgspec.structs.replace(plan_trials(workload, submission, registry, settings)[0], root_seed=seed)
        began = _processor_seconds()
        options = ExecutionOptions(fresh_workers=True)
        (outcome,) = execute([spec], runs / "runs", Plain(1, open(os.devnull, "w")), options)  # noqa: SIM115
        trial_seconds = _processor_seconds() - began
        assert outcome.status in ("exhausted", "reached"), outcome.reason
        began = _processor_seconds()
        subprocess.run([sys.executable, "-c", _THIRD_PARTY], check=True)
        costs.append(trial_seconds - (_processor_seconds() - began))
    return statistics.median(costs)


def _processor_seconds() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def plan_many(sizes: Sizes) -> tuple[float, tuple[RunSpec, ...]]:
    registry = load_registry()
    ruleset = msgspec.structs.replace(rulesets.ruleset("external"), trials=5)
    settings = PlanSettings(ruleset=ruleset, studies=sizes.trials // 5)
    workload, submission = registry.workload("lm-tiny"), registry.submission("wsd")
    began = time.perf_counter()
    specs = plan_trials(workload, submission, registry, settings)
    assert len({layout.run_id(spec) for spec in specs}) == sizes.trials
    return time.perf_counter() - began, specs


def resume_many(runs: Path, specs: Sequence[RunSpec]) -> float:
    """Return the seconds to recognise finished trials from their records.

    A record has 60 evaluations, as is typical of the CPU tier.
    """
    points = tuple(
        Point(
            examples=64 * i, gradient_examples=64 * i, steps=i, seconds=0.1 * i, process_seconds=0.1 * i,
            metrics={"loss": 1 / (1 + i), "accuracy": 0.5, "loss_stderr": 0.01}, lr=1e-3, train_loss=0.1,
        )
        for i in range(60)
    )  # fmt: skip
    for spec in specs:
        identity = layout.run_id(spec)
        folder = runs / identity
        folder.mkdir(parents=True)
        record = Record(run_id=identity, spec=spec, status="exhausted", points=points)
        (folder / layout.RECORD).write_bytes(encode(record))
    began = time.perf_counter()
    outcomes = list(execute(specs, runs, Plain(len(specs), open(os.devnull, "w")), ExecutionOptions()))  # noqa: SIM115
    spent = time.perf_counter() - began
    assert all(outcome.kept for outcome in outcomes)
    return spent


def two_workers(folder: Path, sizes: Sizes) -> tuple[float, float]:
    """Return the two ratios of *two workers*: of the throughputs, and of the processor seconds per trial."""
    worker = folder / "spin.py"
    worker.write_text(textwrap.dedent(_SPIN))
    launching.WORKER = [sys.executable, str(worker)]
    turns = _turns_in(sizes.seconds)
    wall, processor = {}, {}
    for jobs in (1, 2):
        specs = [_plan_spinning_trial(turns, index) for index in range(2 * sizes.pairs)]
        began = time.perf_counter()
        runs = folder / f"jobs-{jobs}"
        options = ExecutionOptions(jobs=jobs, fresh_workers=True)
        outcomes = list(execute(specs, runs, Plain(len(specs), open(os.devnull, "w")), options))  # noqa: SIM115
        wall[jobs] = time.perf_counter() - began
        records = [read_record(Path(outcome.path) / layout.RECORD) for outcome in outcomes]
        processor[jobs] = statistics.median(record.profile["process"] for record in records)
    return wall[1] / wall[2], processor[2] / processor[1]


def _turns_in(seconds: float) -> int:
    """Return the number of iterations of the loop of `_SPIN` that take `seconds` on this machine."""
    n, x, began = 300_000, 1, time.process_time()
    for _ in range(n):
        x = x * 1103515245 + 12345 & 0x7FFFFFFF
    return max(1, int(n * seconds / (time.process_time() - began)))


def _plan_spinning_trial(turns: int, index: int) -> RunSpec:
    registry = load_registry()
    settings: Any = PlanSettings(ruleset=rulesets.ruleset("quick"))
    spec = plan_trials(registry.workload("lm-tiny"), registry.submission("wsd"), registry, settings)[0]
    return msgspec.structs.replace(spec, trial=index, hparams={"turns": turns})


_TASK = '''
"""A minimal workload with sixteen training examples and two evaluations."""
import torch
from torch import nn
from torch.nn import functional as F
from harness.api import Budget, Target, TensorPool, WorkloadFacts


class Tiny:
    facts = WorkloadFacts(
        name="tiny", version="1", tier="cpu", targets=(Target(metric="loss", goal="min", value=0.0, unit="nats"),),
        budget=Budget(horizon=32, gradient_examples=64, seconds={"default": 60.0}), batch_sizes=(16,), eval_every=16,
        example="point",
    )

    def build_model(self, seed):
        return nn.Linear(2, 2)

    def parameter_kinds(self, model):
        return {"weight": "matrix", "bias": "bias"}

    def train_data(self, seed):
        x = torch.randn(16, 2, generator=torch.Generator().manual_seed(seed))
        return TensorPool(x=x, y=(x[:, 0] > 0).long())

    def loss(self, model, batch, per_example=False):
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none" if per_example else "mean")

    def outputs(self, model, batch):
        return model(batch["x"])

    def evaluate(self, model, split, stage=None):
        return {"loss": float(F.cross_entropy(model(torch.ones(4, 2)), torch.ones(4, dtype=torch.long)))}
'''


if __name__ == "__main__":
    main()
