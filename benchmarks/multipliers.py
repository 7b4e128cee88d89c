"""Simulate intervals and ranks of the ruleset fixed-budget, with known true multipliers.

usage: python -m benchmarks.multipliers

An envelope is the metric of the reference submission as a function of its budget. A submission's compute multiplier is
(budget at which the envelope has the submission's metric) / (budget of the submission).

The first table shows how often the 95 % interval of a compute multiplier contains the true multiplier. The envelope is
measured with noise, and all runs have noise. The second table is about leaderboards of copies of one submission. It
shows the fraction of leaderboards in which at least two copies have different ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.calibration.envelopes import SHARE_RATIO, SMALLEST_SHARE
from harness.contract.envelope import EnvelopeHorizon, ReferenceEnvelope
from harness.scoring.compute_multiplier import MultiplierCurve
from harness.scoring.mean_ties import rank_mean_ties
from harness.scoring.multipliers import estimate_compute

BUDGET, SEEDS = 100_000, 5
#: Budgets at which the envelope is measured, as shares of `BUDGET`.
SHARES = [SMALLEST_SHARE * SHARE_RATIO**step for step in range(9)]
#: Standard deviations, over seeds, of the log multiplier.
SPREADS = (0.02, 0.1)
#: True multipliers of the simulated submissions.
MULTIPLIERS = (0.3, 0.7, 1.0, 1.4)
#: Correlation of the noise of runs with the same seed at different shares of the budget.
CORRELATION = 0.4
REPEATS, TABLES = 4_000, 600
#: Number of copies, and of workloads, in a leaderboard of copies.
COPIES, WORKLOADS = 12, 9

Function = Callable[[float], float]


@dataclass(frozen=True)
class Truth:
    """A true envelope: the metric as a function of the share of the budget."""

    name: str
    metric: Function

    def slope(self, share: float) -> float:
        """Return the derivative of the log metric with respect to the log share, without its sign."""
        step = 1e-3
        ends = self.metric(share * math.exp(step)), self.metric(share * math.exp(-step))
        return abs(math.log(ends[0] / ends[1])) / (2 * step)

    def measure(self, rng: np.random.Generator, spread: float) -> MultiplierCurve:
        """Return an envelope from noisy runs. `spread` is the standard deviation of the log multiplier."""
        common = rng.normal(size=SEEDS)
        horizons = []
        for share in SHARES:
            own = rng.normal(size=SEEDS)
            noise = math.sqrt(CORRELATION) * common + math.sqrt(1 - CORRELATION) * own
            horizons.append(
                EnvelopeHorizon(
                    examples=round(share * BUDGET),
                    hparams={},
                    metrics=tuple(self.sample(noise, share, spread)),
                )
            )
        return MultiplierCurve(
            ReferenceEnvelope(
                workload="w@1",
                metric="loss",
                goal="min",
                budget=BUDGET,
                reference="r@1",
                hardware="simulated",
                horizons=tuple(horizons),
            )
        )

    def sample(self, noise: np.ndarray[tuple[int], np.dtype[np.float64]], share: float, spread: float) -> list[float]:
        """Return the metrics of runs at a share of the budget, given standard normal noise."""
        metrics: list[float] = (self.metric(share) * np.exp(noise * spread * self.slope(share))).tolist()
        return metrics


TRUTHS = (
    Truth("power law", lambda b: 0.3 + b**-0.3),
    Truth("high floor", lambda b: 1.05 + 0.1 * b**-0.5),
    Truth("steep", lambda b: 0.05 + 0.15 * b**-1.5),
    Truth("threshold", lambda b: 0.05 + 2.3 / (1 + (2 * b) ** 1.5)),
)


def measure_coverage(
    truth: Truth, spread: float, multiplier: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return how often an interval contains the true multiplier, with and without the envelope's error.

    The third number is the fraction of the repeats that gave an interval. A multiplier beyond the envelope gives only a
    bound.
    """
    covered, covered_by_narrow, intervals = 0, 0, 0
    for _ in range(REPEATS):
        curve = truth.measure(rng, spread)
        metrics = truth.sample(rng.normal(size=SEEDS), multiplier, spread)
        estimate = estimate_compute(curve.multipliers(metrics))
        ends = estimate.interval()
        if ends is None or estimate.errors is None:
            continue
        narrow_ends = type(estimate)(log=estimate.log, errors=estimate.errors[:1]).interval()
        intervals += 1
        covered += ends[0] <= multiplier <= ends[1]
        covered_by_narrow += narrow_ends is not None and narrow_ends[0] <= multiplier <= narrow_ends[1]
    return covered / intervals, covered_by_narrow / intervals, intervals / REPEATS


def rate_of_different_ranks(spread: float, rng: np.random.Generator) -> float:
    """Return the fraction of tables of copies in which at least two copies have different ranks."""
    names, differing = [f"copy{i:02}" for i in range(COPIES)], 0
    for _ in range(TABLES):
        studies: dict[str, dict[str, dict[int, float]]] = {name: {} for name in names}
        for workload in range(WORKLOADS):
            truth = TRUTHS[workload % len(TRUTHS)]
            curve, share = truth.measure(rng, spread), float(rng.choice(MULTIPLIERS))
            common = rng.normal(size=SEEDS)
            for name in names:
                noise = math.sqrt(CORRELATION) * common + math.sqrt(1 - CORRELATION) * rng.normal(size=SEEDS)
                logs = [run.log for run in curve.multipliers(truth.sample(noise, share, spread))]
                studies[name][f"w{workload}"] = {k: math.exp(-log) for k, log in enumerate(logs)}
        order = sorted(names, key=lambda name: sum(math.log(t) for row in studies[name].values() for t in row.values()))
        differing += bool(
            len(set(rank_mean_ties(studies, order=order, workloads=list(studies[names[0]])).ranks.values())) > 1
        )
    return differing / TABLES


def main() -> None:
    """Print both tables as Markdown."""
    rng = np.random.default_rng(0)
    print("| envelope | spread | multiplier | coverage | coverage without the envelope's error | with an interval |")
    print("|---|---|---|---|---|---|")
    coverages = []
    for truth in TRUTHS:
        for spread in SPREADS:
            for multiplier in MULTIPLIERS:
                coverage, narrow, with_interval = measure_coverage(truth, spread, multiplier, rng)
                coverages.append(coverage)
                print(
                    f"| {truth.name} | {spread} | {multiplier} | {coverage:.3f} | {narrow:.3f} | {with_interval:.2f} |"
                )
    print(f"\nmean coverage {np.mean(coverages):.3f}, from {min(coverages):.3f} to {max(coverages):.3f}")
    print(f"\n| spread | tables of {COPIES} copies with different ranks |\n|---|---|")
    for spread in SPREADS:
        print(f"| {spread} | {rate_of_different_ranks(spread, rng):.3f} |")


if __name__ == "__main__":
    main()
