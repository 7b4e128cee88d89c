"""Computes paired differences: the log multiplier of A over B at each seed. A breakdown is the worst outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.errors import UsageError


def pair_log_multipliers(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return a − b for each pair of log multipliers.

    The log multiplier of a run is the log of the reference's budget for the run's metric, up to a constant.

    If both runs broke down, the difference is 0. If one of them broke down, it is −inf (run of A) or inf (run of B).

    Args:
        a: log multipliers of A, one for each seed. Higher is better; −inf for a run that missed or broke down.
        b: log multipliers of B at the same seeds, in the same order.

    Raises:
        UsageError: the lengths differ, or a value is NaN or +inf.

    >>> pair_log_multipliers([0.5, -math.inf, -math.inf, 0.0], [0.25, 0.0, -math.inf, -math.inf])
    [0.25, -inf, 0.0, inf]
    """
    if len(a) != len(b):
        raise UsageError(f"cannot pair {len(a)} runs with {len(b)}", fix="give one run of A and one run of B per seed")
    for value in (*a, *b):
        if math.isnan(value) or value == math.inf:
            raise UsageError(f"a log multiplier is {value!r}", fix="write -inf for a run that missed or broke down")
    return [0.0 if x == y else x - y for x, y in zip(a, b, strict=True)]


def mean_over_workloads(differences: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the mean over workloads of the differences of each seed.

    If a seed has an infinite difference, its mean is infinite. If it has both +inf and −inf, its mean is 0.

    Args:
        differences: workload -> one difference for each seed, in the same order of seeds for every workload.

    Raises:
        UsageError: there are no workloads, or the workloads have different numbers of pairs.

    >>> mean_over_workloads({"v": [1.0, 2.0, math.inf], "w": [3.0, -math.inf, -math.inf]})
    [2.0, -inf, 0.0]
    """
    counts = {workload: len(values) for workload, values in differences.items()}
    if not counts:
        raise UsageError("there is no workload, so a gate has no verdict", fix="name at least one workload")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{workload} {count}" for workload, count in counts.items())
        raise UsageError(
            f"the workloads have different numbers of pairs ({listed})", fix="run the same seeds on every workload"
        )
    return [_mean(seed) for seed in zip(*differences.values(), strict=True)]


def _mean(values: Sequence[float]) -> float:
    if math.inf in values and -math.inf in values:
        return 0.0
    return math.fsum(values) / len(values)


def check_differences(differences: Sequence[float]) -> None:
    """Raise an error if the differences cannot be tested.

    Raises:
        UsageError: there are no differences, or a difference is NaN.
    """
    if not len(differences):
        raise UsageError("there is no pair, so a gate has no verdict", fix="run at least one seed of A and of B")
    if any(math.isnan(value) for value in differences):
        raise UsageError("a paired difference is NaN", fix="write -inf for a run without a metric, or omit its seed")


def check_gate(alpha: float, min_effect: float) -> None:
    """Raise an error if the error level or the smallest effect of a gate is out of range.

    Raises:
        UsageError: alpha is outside (0, 1), or the smallest effect is negative or not finite.
    """
    if not 0 < alpha < 1:
        raise UsageError(
            f"the error level alpha is {alpha!r}, which is not between 0 and 1", fix="give a level such as 0.05"
        )
    if not 0 <= min_effect < math.inf:
        raise UsageError(
            f"the smallest effect is {min_effect!r}, which is negative or not finite",
            fix="give a non-negative log ratio, for example log(1.03)",
        )
