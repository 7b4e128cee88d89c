"""Test the estimation of costs on simulated and on real runs.

A cost is the estimated scored time of a submission for one interval between evaluations.

    python benchmarks/costs.py --simulate
    python benchmarks/costs.py --sessions --runs /tmp/costs        (about 10 minutes; nothing else should run)

`--simulate` prints the largest error of the total cost of 60 intervals if every third interval is more expensive. It
also prints the rate of false verdicts if a submission is compared with its copy.

`--sessions` runs two submissions ten times each in two sessions on one core. The first session is quiet. In the second,
another process keeps the same core busy. For each session, the script prints the ratio of the submissions' costs with
its confidence interval. It also prints how much the median process seconds differ between the sessions.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import statistics
from array import array
from pathlib import Path

import msgspec

import harness
from harness.calibration.cost_runs import measure_costs, plan_cost_runs
from harness.contract.record import Record
from harness.contract.run import Point, RunSpec
from harness.contract.watcher import SilentWatcher
from harness.planning.internal_rulesets import COST_RULESET
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.trials import PlanSettings
from harness.plugins.registry import load_registry
from harness.scoring.compare import compare_times
from harness.scoring.cost_ratio import cost_ratios
from harness.scoring.interval_costs import CostModel, arm_of, fit_costs
from harness.scoring.time_to_target import IntervalSeconds, ScoredRun, TargetResult

SUBMISSIONS = ("muon-wsd", "adamw-cosine")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true", help="run the simulations")
    parser.add_argument("--sessions", action="store_true", help="run the two sessions")
    parser.add_argument("--workload", default="resnet-digits")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--intervals", type=int, default=24)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--repeats", type=int, default=4000)
    options = parser.parse_args()
    if options.simulate:
        simulate_periodic()
        simulate_copies(options.repeats)
    if options.sessions:
        measure_sessions(options)


# --- simulations --------------------------------------------------------------------------------


def template_spec() -> RunSpec:
    """Return a specification, in which the simulations replace the submission's name and the study."""
    return harness.plan("adamw-cosine", "resnet-digits").phase1[0]


def simulated_run(spec: RunSpec, name: str, study: int, seconds: list[float]) -> ScoredRun:
    """Return a run of the submission `name` whose intervals up to the hit take `seconds`."""
    submission = msgspec.structs.replace(spec.submission, name=name)
    spec = msgspec.structs.replace(spec, submission=submission, study=study)
    result = TargetResult(status="hit", value=math.fsum(seconds), index=len(seconds) - 1)
    return ScoredRun(f"{name}-{study}", "", spec, result, IntervalSeconds(array("d", seconds)), 1.0)


def simulate_periodic() -> None:
    """Print the largest error of the total cost of 60 intervals. Every third takes 5 s, and the others take 1 s.

    The mean cost of an interval is therefore 7/3 s.
    """
    spec, source = template_spec(), random.Random(0)
    for scale in (0.02, 0.1, 0.3):
        errors = []
        for _ in range(200):
            runs = [
                simulated_run(
                    spec,
                    "a",
                    study,
                    [0.0, *((5.0 if k % 3 == 0 else 1.0) * math.exp(source.gauss(0, scale)) for k in range(1, 61))],
                )
                for study in range(10)
            ]
            total_cost = fit_costs(runs).time_to(arm_of(runs[0].spec), 60) or math.nan
            errors.append(abs(total_cost / (60 * 7 / 3) - 1))
        print(
            f"periodic work, noise {scale:.0%}: largest error of 200 total costs, each from ten runs {max(errors):.2%}"
        )


def simulate_copies(repeats: int) -> None:
    """Print the rate of false verdicts if a submission is compared with its copy.

    The rate is printed for three definitions of a run's time:

    - `shared costs`: the sum of the intervals' costs, each estimated from all runs of the submission
    - `own times`: the same sum, multiplied by the slowness of this run
    - `measured`: the measured time
    """
    spec, source = template_spec(), random.Random(1)
    n = 10
    for slowness_sd, examples_sd in ((0.05, 0.05), (0.2, 0.05), (0.05, 0.0)):
        false_verdicts = {"shared costs": 0, "own times": 0, "measured": 0}
        for _ in range(repeats):
            sides: dict[str, list[ScoredRun]] = {}
            for name in ("a", "b"):
                sides[name] = []
                for study in range(n):
                    slowness = math.exp(source.gauss(0, slowness_sd))
                    length = max(2, round(20 * math.exp(source.gauss(0, examples_sd))))
                    seconds = [slowness * math.exp(source.gauss(0, 0.02)) for _ in range(length)]
                    sides[name].append(simulated_run(spec, name, study, seconds))
            model = fit_costs([*sides["a"], *sides["b"]])
            for kind in false_verdicts:
                tables = [
                    {"w": {run.spec.study: _time_of_run(kind, run, model) for run in sides[name]}}
                    for name in ("a", "b")
                ]
                false_verdicts[kind] += compare_times(*tables).workloads[0].verdict != "inconclusive"
        rates = ", ".join(f"{kind} {count / repeats:.3f}" for kind, count in false_verdicts.items())
        print(
            f"copies, {n} pairs, sd of the log slowness {slowness_sd}, sd of the log examples {examples_sd}: "
            f"rates of false verdicts: {rates}"
        )


def _time_of_run(kind: str, run: ScoredRun, model: CostModel) -> float:
    """Return the time of a run in seconds by one of the three definitions."""
    assert run.intervals is not None
    assert run.result.index is not None
    if kind == "measured":
        return math.fsum(run.intervals.seconds)
    if kind == "shared costs":
        return model.time_to(arm_of(run.spec), run.result.index) or math.nan
    return model.own_times_to(arm_of(run.spec), run.intervals, [run.result.index])[0] or math.nan


# --- real sessions ------------------------------------------------------------------------------


def keep_busy(core: int) -> None:
    """Keep a core busy until this process is killed."""
    os.sched_setaffinity(0, {core})
    table = list(range(1 << 20))  # larger than the first- and second-level caches
    while True:
        sum(table)


def measure_sessions(options: argparse.Namespace) -> None:
    """Run both submissions in a quiet and in a busy session, and print their costs."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # the workers inherit this affinity, so they share the core
    registry = load_registry()
    workload = registry.workload(options.workload)
    settings = PlanSettings(ruleset=COST_RULESET, seed=0, threads=1, device="cpu")
    submissions = [
        SubmissionOnWorkload(submission=registry.submission(name), workload=workload, settings=settings)
        for name in SUBMISSIONS
    ]
    specs = plan_cost_runs(submissions, registry, repetitions=options.pairs, intervals=options.intervals)
    process_seconds: dict[str, list[float]] = {}
    for session in ("quiet", "busy"):
        neighbour = multiprocessing.Process(target=keep_busy, args=(core,), daemon=True)
        if session == "busy":
            neighbour.start()
        try:
            measured = measure_costs(specs, options.runs / session, SilentWatcher(), registry)
        finally:
            if session == "busy":
                neighbour.kill()
        (ratio, _) = cost_ratios(measured, SUBMISSIONS[-1])
        interval = f"{ratio.spread.low:.3f} – {ratio.spread.high:.3f}"
        process_seconds[session] = [
            _last_point(record).process_seconds for record in measured if record.spec.submission.name == SUBMISSIONS[0]
        ]
        wall_seconds = [
            _last_point(record).seconds for record in measured if record.spec.submission.name == SUBMISSIONS[0]
        ]
        print(
            f"{session}: cost of {SUBMISSIONS[0]} relative to {SUBMISSIONS[-1]} {ratio.ratio:.3f} [{interval}], "
            f"{ratio.n} pairs; median process seconds {statistics.median(process_seconds[session]):.3f}, "
            f"wall seconds {statistics.median(wall_seconds):.3f}"
        )
    change = statistics.median(process_seconds["busy"]) / statistics.median(process_seconds["quiet"]) - 1
    print(f"median process seconds, busy session relative to quiet session: {change:+.1%}")


def _last_point(record: Record) -> Point:
    return record.points[-1]


if __name__ == "__main__":
    main()
