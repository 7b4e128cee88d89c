"""Simulate screened evaluations of a loss: how often does a part of the split exclude a target that the split meets?

A screened evaluation measures a random part of a split. If the part shows that the whole split misses the target, the
part *excludes* the target. A difference estimate is the mean of an earlier evaluation of the whole split, plus the
part's mean change since then.

A scenario draws the values of three evaluations. The first two measure the whole split, and the last one measures
parts of increasing size. The target is exactly the mean of the whole split in the last evaluation. The split therefore
meets the target, and a part that excludes the target decides wrongly. Columns of the table:

- `wrong`: number of wrong decisions.
- `differences`: fraction of the evaluations in which the smallest part used a difference estimate.
- `share`: mean fraction of the split that suffices to exclude a second target. The whole split misses this target by a
  quarter of the standard deviation of the values.
- `wrong, plain`, `share, plain`: the same without difference estimates.

    python benchmarks/screening_simulation.py [--evaluations 7000] [--seed 0]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from harness.contract.workload import Target
from harness.worker.baseline import Baseline, TaskBaselines
from harness.worker.screening import FIRST_PART, estimate_metrics, is_decided, next_part

Values = NDArray[np.float64]
#: The values of all examples in three consecutive evaluations.
DrawnValues = tuple[Values, Values, Values]

EXAMPLES = 1792
#: The column `share` is computed from every evaluation whose index is a multiple of this number.
_EVERY = 20
_HEADINGS = ("scenario", "evaluations", "wrong", "wrong, plain", "differences", "share", "share, plain")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How the values of the examples change between evaluations.

    Args:
        name: the scenario in words.
        draw: returns the values of three evaluations. The standard deviation of the values
            is about 1, except in `heavy_values`.
    """

    name: str
    draw: Callable[[Generator], DrawnValues]


def normal_changes(ratio: float, slope: float = 1.0) -> Callable[[Generator], DrawnValues]:
    """Values and their changes are normal, with the standard deviations 1 and `ratio`.

    Before the last change, the values are multiplied by `slope`. If it is below 1, they move closer together.
    """

    def draw(rng: Generator) -> DrawnValues:
        earlier = rng.normal(10.0, 1.0, EXAMPLES)
        baseline = earlier - 0.2 + ratio * rng.normal(size=EXAMPLES)
        return earlier, baseline, slope * baseline - 0.1 + ratio * rng.normal(size=EXAMPLES)

    return draw


def skewed_values(rng: Generator) -> DrawnValues:
    """Values have a gamma distribution, and shrink by random factors."""
    earlier = 5 + rng.gamma(4.0, 0.5, EXAMPLES)
    baseline = earlier * rng.normal(0.97, 0.02, EXAMPLES)
    return earlier, baseline, baseline * rng.normal(0.97, 0.02, EXAMPLES)


def skewed_changes(rng: Generator) -> DrawnValues:
    """All examples improve by amounts with an exponential distribution, so most improve by less than the mean."""
    earlier = rng.normal(10.0, 1.0, EXAMPLES)
    baseline = earlier - rng.exponential(0.3, EXAMPLES)
    return earlier, baseline, baseline - rng.exponential(0.3, EXAMPLES)


def heavy_changes(rng: Generator) -> DrawnValues:
    """The changes have Student's t distribution with 2.5 degrees of freedom."""
    earlier = rng.normal(10.0, 1.0, EXAMPLES)
    baseline = earlier + 0.1 * rng.standard_t(2.5, EXAMPLES)
    return earlier, baseline, baseline + 0.1 * rng.standard_t(2.5, EXAMPLES)


def heavy_values(rng: Generator) -> DrawnValues:
    """Values have a log-normal distribution with a few very large ones, which improve most."""
    earlier = rng.lognormal(0.0, 1.5, EXAMPLES)
    baseline = 0.95 * earlier
    return earlier, baseline, baseline - 0.5 * np.maximum(baseline - 3.0, 0.0)


def group_improves(share: float, gain: float, ratio: float) -> Callable[[Generator], DrawnValues]:
    """Values change as in `normal_changes(ratio)`. At the last change, a random group improves by `gain` more.

    The group is the fraction `share` of the examples. It improves at most to the best value of the evaluation before.
    """

    def draw(rng: Generator) -> DrawnValues:
        earlier, baseline, later = normal_changes(ratio)(rng)
        group = rng.random(EXAMPLES) < share
        return earlier, baseline, np.where(group, np.maximum(later - gain, baseline.min()), later)

    return draw


SCENARIOS = (
    *(Scenario(name=f"normal, changes of {r} sd", draw=normal_changes(r)) for r in (0.02, 0.1, 0.3, 0.6, 1.2)),
    Scenario(name="values times 0.7, changes of 0.3 sd", draw=normal_changes(0.3, slope=0.7)),
    Scenario(name="gamma values, random factors", draw=skewed_values),
    Scenario(name="exponential improvements", draw=skewed_changes),
    Scenario(name="changes with t(2.5)", draw=heavy_changes),
    Scenario(name="log-normal values", draw=heavy_values),
    Scenario(name="1 % improve by 8 sd, changes of 0.05 sd", draw=group_improves(0.01, 8.0, 0.05)),
    Scenario(name="3 % improve by 3 sd, changes of 0.05 sd", draw=group_improves(0.03, 3.0, 0.05)),
    Scenario(name="10 % improve by 1 sd, changes of 0.05 sd", draw=group_improves(0.1, 1.0, 0.05)),
    Scenario(name="10 % improve by 3 sd, changes of 0.3 sd", draw=group_improves(0.1, 3.0, 0.3)),
    Scenario(name="10 % improve by 3 sd, changes of 0.05 sd", draw=group_improves(0.1, 3.0, 0.05)),
)


@dataclass(kw_only=True)
class Count:
    """The decisions of one scenario; one object counts those with difference estimates, another those without.

    Args:
        wrong: number of wrong decisions.
        shares: the fractions of the split that sufficed to exclude the second target.
    """

    wrong: int = 0
    shares: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=7_000, help="number of evaluations per scenario")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(_format_row(_HEADINGS))
    wrong = 0
    for scenario in SCENARIOS:
        cells, scenario_wrong = simulate(scenario, options.evaluations, np.random.default_rng(options.seed))
        wrong += scenario_wrong
        print(_format_row(cells), flush=True)
    print(f"{len(SCENARIOS) * options.evaluations:,} evaluations, {wrong} wrong decisions with differences")


def simulate(scenario: Scenario, evaluations: int, rng: Generator) -> tuple[list[str], int]:
    """Return a row of the table, and the number of wrong decisions with difference estimates."""
    counts = {True: Count(), False: Count()}
    with_differences = 0
    for i in range(evaluations):
        earlier, baseline, later = (torch.from_numpy(values) for values in scenario.draw(rng))
        stored_values = Baseline()
        stored_values.order = "stored"
        for values in (earlier, baseline):
            stored_values.renew({"loss": (values,)}, None, {"loss": "min"})
        first_estimates = estimate_metrics(
            {"loss": (later[:FIRST_PART],)}, {"loss": [EXAMPLES]}, stored_values.of_stage(None)
        )
        with_differences += first_estimates["loss"].uses_differences
        mean, sd = float(later.mean()), float(later.std())
        for differences, count in counts.items():
            baselines = stored_values.of_stage(None) if differences else {}
            count.wrong += share_that_decides(later, baselines, mean) < 1
            if i % _EVERY == 0:
                count.shares.append(share_that_decides(later, baselines, mean - 0.25 * sd))
    shares = [statistics.mean(counts[differences].shares) for differences in (True, False)]
    row = [scenario.name, f"{evaluations:,}", str(counts[True].wrong), str(counts[False].wrong)]
    return [*row, f"{with_differences / evaluations:.2f}", *(f"{share:.2f}" for share in shares)], counts[True].wrong


def share_that_decides(values: Tensor, baselines: TaskBaselines, target: float) -> float:
    """Return the smallest part that excludes a target, as a fraction of the split; 1 if no part excludes it."""
    totals: Mapping[str, Sequence[int]] = {"loss": [len(values)]}
    decisions = {"the target": (Target(metric="loss", goal="min", value=target),)}
    size = 0
    while (larger := next_part({}, decisions, totals, size, completes=True)) is not None:
        size = larger
        if is_decided(estimate_metrics({"loss": (values[:size],)}, totals, baselines), decisions):
            return size / len(values)
    return 1.0


def _format_row(cells: Sequence[str]) -> str:
    return f"{cells[0]:<40}" + "".join(f"{cell:>14}" for cell in cells[1:])


if __name__ == "__main__":
    main()
