"""The model that decides which pairs of submissions a workload separates.

Each submission is called an arm, and has one value on every seed. The model is value = arm + seed + residual. The
residuals of all arms have one variance, which is estimated with (arms - 1)(seeds - 1) degrees of freedom. For each pair
of arms, Student's t test is applied to the difference of the means. Holm's procedure corrects over all pairs.

Source: The Arrangement of Field Experiments, Fisher 1926 (randomised blocks; here, a block is a seed)
Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from harness.errors import UsageError
from harness.scoring.stats import holm

#: Error rate over all pairs of a workload.
ALPHA = 0.05
#: Differences and standard deviations below this fraction of the largest value are rounding errors.
_ROUNDING = 1e-12

#: The names of two arms, in alphabetical order.
ArmPair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """The model fitted to the values of all arms on all seeds.

    Args:
        means: arm -> mean of its values over seeds, for the arms without a broken run.
        left_out: the arms with a broken run.
        p_values: pair -> p-value of its difference after Holm's procedure. A pair with an arm that is left out has the
            p-value 1, so it counts as not separated.
        spread: standard deviation of an arm's values over seeds, pooled over arms.
        residual: standard deviation of the residuals, without the effect of the seed.
        correlation: correlation between two arms over the seeds that they share, pooled over pairs; 0 if `spread` is 0.
    """

    means: Mapping[str, float]
    left_out: tuple[str, ...]
    p_values: Mapping[ArmPair, float]
    spread: float
    residual: float
    correlation: float

    @property
    def separated(self) -> tuple[ArmPair, ...]:
        """The pairs that the model separates."""
        return tuple(pair for pair, p in self.p_values.items() if p <= ALPHA)

    @property
    def range_over_spread(self) -> float:
        """The range of the arms' means, divided by the standard deviation over seeds (`spread`).

        If `spread` is 0, the result is 0 for equal means, and inf for different means.
        """
        width = max(self.means.values()) - min(self.means.values())
        if self.spread == 0:
            return math.inf if width > 0 else 0.0
        return width / self.spread

    def difference(self, pair: ArmPair) -> float | None:
        """Return the difference of two arms' means; None if an arm was left out."""
        a, b = (self.means.get(arm) for arm in pair)
        return None if a is None or b is None else a - b


def separate_pairs(values: Mapping[str, Sequence[float | None]]) -> Separation:
    """Fit the model, and test every pair of arms.

    Args:
        values: arm -> values on the same seeds in the same order; None if the run broke. A broken run has no value that
            the model could use, so its arm is left out of all pairs.

    Raises:
        UsageError: there are fewer than two seeds, at most one arm is free of broken runs, an arm lacks a seed, or a
            value is not finite.
    """
    _check_values(values)
    complete = {arm: [v for v in row if v is not None] for arm, row in sorted(values.items()) if None not in row}
    if len(complete) < 2:
        raise UsageError(
            f"{len(complete)} arms are free of broken runs, but two are needed",
            fix="read the logs of the runs that broke",
        )
    means = {arm: statistics.fmean(row) for arm, row in complete.items()}
    arms, seeds = len(complete), len(next(iter(complete.values())))
    by_seed = [statistics.fmean(column) for column in zip(*complete.values(), strict=True)]
    grand_mean = statistics.fmean(by_seed)
    residual_squares = math.fsum(
        (value - means[arm] - by_seed[seed] + grand_mean) ** 2
        for arm, row in complete.items()
        for seed, value in enumerate(row)
    )
    arm_squares = math.fsum((value - means[arm]) ** 2 for arm, row in complete.items() for value in row)
    scale = max(abs(value - grand_mean) for row in complete.values() for value in row) + abs(grand_mean)
    freedom = (arms - 1) * (seeds - 1)
    residual = _drop_rounding(math.sqrt(residual_squares / freedom), scale)
    spread = _drop_rounding(math.sqrt(arm_squares / (arms * (seeds - 1))), scale)
    pairs = list(combinations(sorted(values), 2))
    raw = [_p_value(means, pair, residual * math.sqrt(2 / seeds), freedom, scale) for pair in pairs]
    return Separation(
        means=means,
        left_out=tuple(arm for arm in sorted(values) if arm not in complete),
        p_values=dict(zip(pairs, holm(raw), strict=True)),
        spread=spread,
        residual=residual,
        correlation=1 - (residual / spread) ** 2 if spread > 0 else 0.0,
    )


def _check_values(values: Mapping[str, Sequence[float | None]]) -> None:
    lengths = {len(row) for row in values.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        raise UsageError(
            f"the arms have {', '.join(map(str, sorted(lengths))) or 'no'} seeds",
            fix="run all arms on two seeds or more",
        )
    for arm, row in values.items():
        if not all(value is None or math.isfinite(value) for value in row):
            raise UsageError(f"a value of {arm} is not finite", fix="give None for a run that broke")


def _drop_rounding(value: float, scale: float) -> float:
    return value if value > _ROUNDING * scale else 0.0


def _p_value(means: Mapping[str, float], pair: ArmPair, error: float, freedom: int, scale: float) -> float:
    """Return the two-sided p-value of a pair; 1 if an arm was left out or the means are equal."""
    from scipy.special import stdtr

    a, b = pair
    if a not in means or b not in means:
        return 1.0
    difference = _drop_rounding(abs(means[a] - means[b]), scale)
    if difference == 0:
        return 1.0
    return 2 * float(stdtr(freedom, -difference / error)) if error > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseSeparations:
    """How often the model separates arms whose labels are permuted.

    Args:
        count: number of permutations in which any pair is separated.
        permutations: number of permutations.
        low, high: 95 % confidence interval of the rate (Clopper and Pearson).
    """

    count: int
    permutations: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Fraction of the permutations in which any pair is separated."""
        return self.count / self.permutations


def count_false_separations(
    values: Mapping[str, Sequence[float | None]], permutations: int = 10_000, seed: int = 0
) -> FalseSeparations:
    """Permute the arms' labels within each seed, and count the permutations in which the model separates any pair.

    After a permutation, every difference between arms is due to chance, so every separation is false. Holm's procedure
    separates at least one pair if and only if (smallest p-value × number of pairs) is at most the error rate. The
    smallest p-value belongs to the arms with the highest and the lowest mean, so only these two are compared. Arms with
    a broken run are left out, as in the model.

    Args:
        values: see `separate_pairs`.
        permutations: number of permutations.
        seed: seed of the permutations.
    """
    import numpy as np
    from scipy.special import stdtr
    from scipy.stats import beta

    _check_values(values)
    table = np.array([[v for v in row if v is not None] for _, row in sorted(values.items()) if None not in row])
    table = table - table.mean(axis=0)  # The model removes the mean of each seed.
    arms, seeds = table.shape
    freedom, pairs = (arms - 1) * (seeds - 1), math.comb(len(values), 2)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.broadcast_to(table, (permutations, arms, seeds)), axis=1)
    means = shuffled.mean(axis=2)
    squares = (table**2).sum() - seeds * (means**2).sum(axis=1)
    error = np.sqrt(np.maximum(squares, 0.0) / freedom * 2 / seeds)
    width = np.ptp(means, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(width > _ROUNDING * np.abs(table).max(), 2 * stdtr(freedom, -width / error), 1.0)
    count = int((p * pairs <= ALPHA).sum())
    low = float(beta.ppf(0.025, count, permutations - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, permutations - count)) if count < permutations else 1.0
    return FalseSeparations(count=count, permutations=permutations, low=low, high=high)
