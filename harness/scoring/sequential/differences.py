"""Paired differences: the log multiplier of A over B at each seed, with breaks as the worst outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.errors import UsageError


def pair_log_multipliers(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """a − b per pair of log multipliers: 0 where both broke, −inf where A alone broke, +inf where B alone did.

    Args:
        a: log multipliers of A, one per seed; higher is better, −inf for a run that missed or broke.
        b: log multipliers of B at the same seeds.

    Raises:
        UsageError: unequal lengths, NaN or +inf.

    >>> pair_log_multipliers([0.5, -math.inf, -math.inf, 0.0], [0.25, 0.0, -math.inf, -math.inf])
    [0.25, -inf, 0.0, inf]
    """
    if len(a) != len(b):
        raise UsageError(f"cannot pair {len(a)} runs with {len(b)}", fix="give one run of each side per seed")
    for value in (*a, *b):
        if math.isnan(value) or value == math.inf:
            raise UsageError(f"a log multiplier is {value!r}", fix="write -inf for a run that missed or broke")
    return [0.0 if x == y else x - y for x, y in zip(a, b, strict=True)]


def mean_over_workloads(differences: Mapping[str, Sequence[float]]) -> list[float]:
    """The mean over workloads of each seed's differences.

    An infinite difference makes the mean infinite. A seed at which A alone broke on one workload and B alone on another
    is a tie (0): neither is worse.

    Args:
        differences: workload -> one difference per seed, the seeds in the same order everywhere.

    Raises:
        UsageError: no workloads, or workloads with different numbers of pairs.

    >>> mean_over_workloads({"v": [1.0, 2.0, math.inf], "w": [3.0, -math.inf, -math.inf]})
    [2.0, -inf, 0.0]
    """
    counts = {workload: len(values) for workload, values in differences.items()}
    if not counts:
        raise UsageError("no workload to decide on", fix="name at least one workload")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{workload} {count}" for workload, count in counts.items())
        raise UsageError(
            f"the workloads have different numbers of pairs ({listed})", fix="use the seeds that every workload has"
        )
    return [_mean(seed) for seed in zip(*differences.values(), strict=True)]


def _mean(values: Sequence[float]) -> float:
    if math.inf in values and -math.inf in values:
        return 0.0
    return math.fsum(values) / len(values)


def check_differences(differences: Sequence[float]) -> None:
    """Refuse differences from which nothing can be decided.

    Raises:
        UsageError: no differences, or NaN.
    """
    if not len(differences):
        raise UsageError("no pair to decide from", fix="run at least one seed of A and of B")
    if any(math.isnan(value) for value in differences):
        raise UsageError(
            "a paired difference is NaN", fix="count a run without a metric as broken (-inf), or leave its seed out"
        )


def check_gate(alpha: float, min_effect: float) -> None:
    """Refuse an error level or a smallest effect that cannot be used.

    Raises:
        UsageError: alpha outside (0, 1), or a smallest effect that is negative or not finite.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"the error level alpha is {alpha!r}", fix="give a number between 0 and 1, for example 0.05")
    if not 0 <= min_effect < math.inf:
        raise UsageError(
            f"the smallest effect is {min_effect!r}", fix="give a non-negative log ratio, for example log(1.03)"
        )
