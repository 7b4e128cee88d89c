"""Measure which short budgets of `resnet-digits` and `continual-digits` separate submissions.

The submissions (arms), the budgets (candidates), the seeds and the decision rule were fixed before the first run. Each
arm runs to the end of each candidate's budget on three seeds, and its schedule ends there. No other runs use the root
seed of this pilot. For `resnet-digits`, the study in docs/comparison.md already has five seeds of the same arms at
7,168 and 28,672 examples, with version 2 of the workload. The rows of these two budgets are computed from the stored
figures, with the study's `horizon_fraction`.

- Learning rates on `resnet-digits`: the best ones by the loss after 7,168 examples on the study's tuning seed.
- Learning rates on `continual-digits`: for the four families, the best rates of the calibration of version 2. The other
  arms with a kind of AdamW have the rate of `replay`, and `lion` has a tenth of it.
- Model: log error = arm + seed. The error is the loss or, on the stream, 1 minus the mean accuracy after the last
  stage. The residual variance is pooled over the arms. A pair of arms is separated if its t test is significant at 5 %
  after Holm's correction.
- Cost of a run: process seconds of its training plus wall seconds of its evaluations and its start.
- Decision rule: the candidate with the most separated pairs per core-hour. Candidates that separate fewer than half of
  the pairs are left out. On the stream, candidates that train for less than one second are also left out.

    python benchmarks/pilot_budgets.py [--runs /tmp/pilot] [--only resnet-digits]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from scipy import stats

import harness
from harness.contract.domains import HParams
from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, RunSpec
from harness.gating.setup import GATE_RULESET, GateWorkload, plan_to_end
from harness.hardware import detect
from harness.planning.resolve import resolve_submission
from harness.planning.trials import PlanSettings
from harness.plugins.registry import load_registry
from harness.report.text import columns
from harness.storage.layout import run_id

ROOT_SEED = 19
SEEDS = 3
ALPHA = 0.05
REGISTRY = load_registry()

POOL_ARMS: Mapping[str, HParams] = {
    "adamw-cosine": {"lr": 0.0114944},
    "adamw-constant": {"lr": 0.00896865},
    "wsd": {"lr": 0.0114944},
    "muon-wsd": {"lr": 0.0371927, "adam_lr": 0.00929818},
    "nesterov-wsd": {"lr": 0.81847},
    "lion-wsd": {"lr": 0.00272823},
    "nadamw-wsd": {"lr": 0.0114944},
    "schedule-free-adamw": {"lr": 0.0176453},
}
STREAM_ARMS: Mapping[str, HParams] = {
    "replay": {"lr": 0.003},
    "rewarm-replay": {"lr": 0.002},
    "schedule-free-replay": {"lr": 0.003},
    "sgd-replay": {"lr": 0.03},
    "temporal-ensemble": {"lr": 0.003},
    "nadamw+constant+reservoir": {"lr": 0.003},
    "lion+constant+reservoir": {"lr": 0.0003},
    "muon+constant+reservoir": {"lr": 0.02, "adam_lr": 0.003},
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A budget of a workload.

    Args:
        workload: name of the workload.
        budget: number of examples.
        eval_every: number of examples between evaluations.
        replay_capacity: number of examples in the replay buffer; None for the capacity of the workload.
    """

    workload: str
    budget: int
    eval_every: int
    replay_capacity: int | None = None

    @property
    def label(self) -> str:
        """The budget and the replay capacity."""
        return f"{self.budget:,}" + (f", replay {self.replay_capacity}" if self.replay_capacity else "")

    def entry(self) -> WorkloadEntry:
        """Return the workload with the evaluation interval and the replay capacity of the candidate."""
        entry = REGISTRY.workload(self.workload)
        capacity = entry.facts.replay_capacity if self.replay_capacity is None else self.replay_capacity
        facts = msgspec.structs.replace(entry.facts, eval_every=self.eval_every, replay_capacity=capacity)
        return msgspec.structs.replace(entry, facts=facts)


POOL = tuple(Candidate(workload="resnet-digits", budget=budget, eval_every=256) for budget in (4_096,))
STREAM = tuple(
    Candidate(workload="continual-digits", budget=5 * stage, eval_every=stage // 16, replay_capacity=capacity)
    for stage, capacity in ((1_024, 500), (4_096, 500), (4_096, 200))
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="/tmp/pilot", help="folder of the runs; finished runs are not repeated")
    parser.add_argument("--only", default="", help="name of one workload")
    options = parser.parse_args()
    print(f"{detect.cpu_name()}, one thread and one run at a time\n")
    if options.only in ("", "resnet-digits"):
        report_study()
        report(POOL, POOL_ARMS, options.runs)
    if options.only in ("", "continual-digits"):
        report(STREAM, STREAM_ARMS, options.runs)


def plan(candidate: Candidate, arm: str, point: HParams) -> Sequence[RunSpec]:
    """Plan the runs of an arm to the end of a candidate's budget."""
    workload = GateWorkload(entry=candidate.entry(), device="cpu", budget=candidate.budget)
    settings = PlanSettings(ruleset=GATE_RULESET, seed=ROOT_SEED, device="cpu")
    return plan_to_end(
        workload,
        resolve_submission(arm, REGISTRY),
        REGISTRY,
        settings,
        purpose="score",
        studies=SEEDS,
        horizon=candidate.budget,
        hparams=point,
    )


def run(specs: Sequence[RunSpec], runs: str) -> list[Record]:
    """Run specifications one at a time, and return their records in the same order."""
    done = harness.run_trials(specs, Path(runs), options=ExecutionOptions(jobs=1))
    by_id = {record.run_id: record for record in done}
    return [by_id[run_id(spec)] for spec in specs]


def measured_error(record: Record) -> float:
    """Return the loss at the end of a run; on a stream, 1 minus the mean accuracy; infinity for a failed run."""
    target = record.spec.workload.facts.targets[0]
    value = record.points[-1].metrics.get(target.metric) if record.status in ("exhausted", "reached") else None
    if value is None or not math.isfinite(value):
        return math.inf
    return max(1 - value, 1e-3) if target.goal == "max" else value


def cost(record: Record) -> float:
    """Return the cost of a run in seconds of one core."""
    return record.counters.process_seconds + record.usage.evaluation_seconds + record.usage.start_seconds


def report(candidates: Sequence[Candidate], arms: Mapping[str, HParams], runs: str) -> None:
    """Run the arms on the candidates, and print two tables: a row per candidate, and a row per candidate and arm."""
    rows = [["budget", "pairs", "of", "per core-hour", "spread", "range/spread", "training s", "cost s"]]
    values = [["budget", "arm", "setting", "mean", "seeds"]]
    for candidate in candidates:
        specs = [spec for arm, point in arms.items() for spec in plan(candidate, arm, point)]
        records = run(specs, runs)
        errors = np.array([measured_error(record) for record in records]).reshape(len(arms), SEEDS)
        count, spread, separated = separate(np.log(errors))
        seconds = sum(cost(record) for record in records)
        means = np.log(errors).mean(1)
        training = statistics.median(record.counters.process_seconds for record in records)
        rows.append(
            [
                candidate.label,
                str(separated),
                str(count),
                f"{separated * 3600 / seconds:.0f}",
                f"{spread:.3f}",
                f"{(means.max() - means.min()) / spread:.1f}",
                f"{training:.2f}",
                f"{seconds / len(records):.2f}",
            ]
        )
        for (arm, point), line in zip(arms.items(), errors, strict=True):
            setting = " ".join(f"{name}={value:g}" for name, value in point.items() if isinstance(value, float))
            seeds = " ".join(f"{error:.4f}" for error in line)
            values.append([candidate.label, arm, setting, f"{math.exp(np.log(line).mean()):.4f}", seeds])
        print(columns([rows[0], rows[-1]]), flush=True)
    print(f"\n{candidates[0].workload}\n\n{columns(rows)}\n\n{columns(values)}\n")


def report_study() -> None:
    """Print the rows of the study in docs/comparison.md: the same arms at two budgets, with five seeds.

    If an arm ran with two settings, the setting with the smaller mean of the log loss counts.
    """
    rows = [["budget", "pairs", "of", "per core-hour", "spread", "range/spread"]]
    runs = json.loads((Path(__file__).resolve().parents[1] / "studies/methods/measured.json").read_text())
    for budget in (7_168, 28_672):
        losses, seconds = [], 0.0
        for arm in POOL_ARMS:
            settings: dict[str, list[tuple[float, float]]] = {}
            for each in runs:
                is_fresh = (each["arm"], each["budget"], each["purpose"]) == (arm, budget, "score")
                if is_fresh and each["workload"] == "resnet-digits@2":
                    settings.setdefault(json.dumps(each["hparams"]), []).append((math.log(each["loss"]), each["spent"]))
            best = min(settings.values(), key=lambda pairs: statistics.fmean(loss for loss, _ in pairs))
            losses.append([loss for loss, _ in best])
            seconds += sum(spent for _, spent in best)
        logs = np.array(losses)
        count, spread, separated = separate(logs)
        size = (logs.mean(1).max() - logs.mean(1).min()) / spread
        per_hour = separated * 3600 / seconds
        rows.append([f"{budget:,}", str(separated), str(count), f"{per_hour:.0f}", f"{spread:.3f}", f"{size:.1f}"])
    print(f"resnet-digits@2, runs of studies/methods/measured.json, cost on their machine\n\n{columns(rows)}\n")


def separate(logs: np.ndarray) -> tuple[int, float, int]:
    """Return the number of pairs of arms, the pooled spread and the number of separated pairs.

    Args:
        logs: log errors, one row for each arm and one column for each seed.
    """
    arms, seeds = logs.shape
    residuals = logs - logs.mean(1, keepdims=True) - logs.mean(0, keepdims=True) + logs.mean()
    freedom = (arms - 1) * (seeds - 1)
    spread = math.sqrt(float((residuals**2).sum()) / freedom)
    means = logs.mean(1)
    differences = [abs(float(a - b)) for a, b in itertools.combinations(means, 2)]
    scale = spread * math.sqrt(2 / seeds)
    p_values = sorted(2 * float(stats.t.sf(difference / scale, freedom)) for difference in differences)
    separated = 0
    for rank, p_value in enumerate(p_values):
        if p_value > ALPHA / (len(p_values) - rank):
            break
        separated += 1
    return len(differences), spread, separated


if __name__ == "__main__":
    main()
