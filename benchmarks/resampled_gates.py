"""Measure the rate of false verdicts of `bench gate` on real runs of one submission, the reference.

    python benchmarks/resampled_gates.py -w resnet-digits,lm-tiny --count 64 --runs runs/resampled

First, the reference runs with the budget of a gate, on seeds that no other command uses. A repeated command does not
repeat finished runs. Then 2,000 gates are simulated on each workload. A gate draws pairs of these runs, and tests after
every pair whether the first run of the pairs is better. It ends at a verdict or after 40 pairs. All runs are of one
submission, so the verdicts `better` and `worse` are false. The exit code is 1 if more than 5 % of the gates of a
workload have a false verdict.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import numpy as np
import torch

import harness
from harness.contract.run import ExecutionOptions
from harness.contract.watcher import SilentWatcher
from harness.gating.envelopes import find_envelope
from harness.gating.setup import GateWorkload, gate_budget, plan_to_end
from harness.planning.internal_rulesets import GATE_RULESET
from harness.planning.references import find_reference
from harness.plugins.registry import Registry, load_registry
from harness.scoring.gate import judge_run
from harness.scoring.sequential.resample import resample_gates
from harness.storage.layout import run_id

#: Root seed of the runs. Other commands use the root seed 0 by default, so their runs have other seeds.
ROOT_SEED = 20_261_128
CALIBRATION = Path(__file__).resolve().parents[1] / "calibration"
ENVELOPES, CALIBRATED_ENVELOPES = CALIBRATION / "gate", CALIBRATION / "envelopes"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-w", "--workloads", default="resnet-digits,lm-tiny")
    parser.add_argument("--count", type=int, default=64, help="number of runs of each workload")
    parser.add_argument("--gates", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/resampled"))
    options = parser.parse_args()
    registry, has_too_many_false_verdicts = load_registry(), False
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    for name in options.workloads.split(","):
        entry = registry.workload(name)
        workload = GateWorkload(entry=entry, device="cpu", budget=gate_budget(entry.facts))
        values = log_budgets(workload, registry, options)
        outcomes = resample_gates(values, gates=options.gates)
        rate = outcomes.false
        has_too_many_false_verdicts |= rate.value > 0.05
        print(
            f"{entry.facts.id} at {workload.budget:,} examples, {len(values)} runs, sd of the log multiplier "
            f"{np.std(values, ddof=1):.3f}: false verdicts {rate.value:.4f} [{rate.low:.4f} – {rate.high:.4f}] of "
            f"{outcomes.gates:,} gates; equivalent {outcomes.equivalent:.3f}, "
            f"median pairs until equivalent {outcomes.median_pairs}"
        )
    return int(has_too_many_false_verdicts)


def log_budgets(workload: GateWorkload, registry: Registry, options: argparse.Namespace) -> list[float]:
    """Run the reference on many seeds, and return the log of the budget for each run's metric.

    An envelope is the reference's metric as a function of its budget. It gives the budget for a metric. The log is −inf
    for a failed run. The compute multiplier of two runs is the ratio of their budgets.
    """
    reference = find_reference(workload.entry.facts, registry, GATE_RULESET)
    envelope = find_envelope(ENVELOPES, workload, CALIBRATED_ENVELOPES)
    if reference is None or envelope is None:
        sys.exit(
            f"{workload.name} has no envelope in {ENVELOPES}; measure it with bench gate --envelope {workload.name}"
        )
    specs = plan_to_end(
        workload,
        reference,
        registry,
        workload.settings(ROOT_SEED, 1),
        purpose="gate",
        studies=options.count,
        horizon=workload.budget,
    )
    execution = ExecutionOptions(jobs=options.jobs)
    records = {
        record.run_id: record
        for record in harness.run_trials(
            specs, options.runs, options=execution, watcher=SilentWatcher(), registry=registry
        )
    }
    runs = [judge_run(records[run_id(spec)], "A") for spec in specs]
    return [-np.inf if run.metric is None else envelope.log_budget(run.metric) for run in runs]


if __name__ == "__main__":
    sys.exit(main())
