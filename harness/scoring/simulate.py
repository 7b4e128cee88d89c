"""Simulates times from known distributions, and measures coverage of intervals, rates of false verdicts, and power."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.scoring.compare import compare_times
from harness.scoring.medians import median_interval
from harness.scoring.sample_size import MIN_EFFECT, required_pairs_from_pilot
from harness.scoring.stats import interval, paired_log_ratios
from harness.scoring.ties import rank_ties

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeDistribution:
    """The distribution of simulated times: log(time) is `scale` times a random variable, and runs miss at random.

    Args:
        noise: name of an entry of `NOISES`, which draws the random variable.
        scale: factor of the random variable. With `log-normal` noise, a scale of 0.03 gives times with a standard
            deviation of about 3 % over seeds.
        misses: probability that a run misses.
    """

    noise: str = "log-normal"
    scale: float = 0.03
    misses: float = 0.0


#: Distributions of the random variable, with median 0 and a scale of about 1. For `log-normal`, the random variable is
#: normal, so the time is log-normal. The fourth moment of `heavy tails` is infinite.
NOISES: dict[str, Draw] = {
    "log-normal": lambda rng, size: rng.standard_normal(size),
    "heavy tails": lambda rng, size: rng.standard_t(2.5, size) * 0.6,
    "skewed": lambda rng, size: rng.exponential(1.0, size) - math.log(2),
}


def draw_times(
    rng: np.random.Generator, distribution: TimeDistribution, size: tuple[int, ...], effect: float = 0.0
) -> Floats:
    """Draw times of runs in seconds, inf for a miss. `effect` is added to the logarithms of the times."""
    import numpy as np

    result = np.exp(NOISES[distribution.noise](rng, size) * distribution.scale + effect)
    if distribution.misses:
        result[rng.random(size) < distribution.misses] = np.inf
    return result


def interval_coverage(
    distribution: TimeDistribution, n: int, repeats: int, seed: int = 0, effect: float = 0.05
) -> float:
    """Return the fraction of 95 % intervals from n pairs that contain the true log ratio `effect`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    a, b = draw_times(rng, distribution, (repeats, n), effect), draw_times(rng, distribution, (repeats, n))
    both_missed = np.isinf(a) & np.isinf(b)
    with np.errstate(invalid="ignore"):
        differences = np.where(both_missed, 0.0, np.log(a) - np.log(b))
    ends = [interval(row) for row in differences.tolist()]
    return sum(e.low <= effect <= e.high for e in ends) / repeats


def median_coverage(distribution: TimeDistribution, n: int, repeats: int, seed: int = 0) -> float:
    """Return the fraction of 95 % intervals from n studies that contain the true median, 1 second."""
    import numpy as np

    ends = [
        median_interval(row) for row in draw_times(np.random.default_rng(seed), distribution, (repeats, n)).tolist()
    ]
    return sum(e.low <= 1.0 <= e.high for e in ends) / repeats


def false_verdicts(
    distribution: TimeDistribution, n: int, repeats: int, workloads: int = 3, seed: int = 0
) -> tuple[float, float]:
    """Repeatedly compare a submission with a copy of itself. Every conclusive verdict is then false.

    Args:
        distribution: distribution of the times.
        n: number of pairs on each workload.
        repeats: number of comparisons.
        workloads: number of workloads.
        seed: seed of the random numbers.

    Returns:
        The fraction of comparisons with an overall verdict other than `inconclusive`, and the fraction with such a
        verdict on at least one workload.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    overall_verdicts = workload_verdicts = 0
    for _ in range(repeats):
        draws = draw_times(rng, distribution, (2, workloads, n)).tolist()
        tables = [{f"w{i}": dict(enumerate(row)) for i, row in enumerate(side)} for side in draws]
        result = compare_times(*tables)
        overall_verdicts += result.overall is not None and result.overall.verdict != "inconclusive"
        workload_verdicts += any(row.verdict != "inconclusive" for row in result.workloads)
    return overall_verdicts / repeats, workload_verdicts / repeats


def false_ranks(
    distribution: TimeDistribution, n: int, repeats: int, copies: int = 3, workloads: int = 3, seed: int = 0
) -> float:
    """Repeatedly rank copies of one submission by median time. Every difference in rank is then false.

    Args:
        distribution: distribution of the times.
        n: number of studies on each workload.
        repeats: number of tables.
        copies: number of copies in a table.
        workloads: number of workloads.
        seed: seed of the random numbers.

    Returns:
        The fraction of tables in which at least two copies are not tied.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    false_tables = 0
    for _ in range(repeats):
        draws = draw_times(rng, distribution, (copies, workloads, n))
        order = np.argsort(np.log(np.median(draws, axis=2)).mean(axis=1), kind="stable")
        studies = {
            f"s{i}": {f"w{j}": dict(enumerate(row)) for j, row in enumerate(draws[i].tolist())} for i in range(copies)
        }
        ties = rank_ties(studies, order=[f"s{i}" for i in order], workloads=[f"w{j}" for j in range(workloads)])
        false_tables += len(ties.tied) < math.comb(copies, 2)
    return false_tables / repeats


def power(
    distribution: TimeDistribution, repeats: int, pilot: int = 10, effect: float = MIN_EFFECT, seed: int = 0
) -> tuple[float, float]:
    """Simulate comparisons whose numbers of pairs are planned from pilot samples.

    Args:
        distribution: distribution of the times.
        repeats: number of comparisons.
        pilot: number of pairs in each pilot sample.
        effect: true value of log(time of A / time of B).
        seed: seed of the random numbers.

    Returns:
        The median of the planned numbers of pairs, and the fraction of comparisons with the verdict `slower`.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    planned, detected = [], 0
    for _ in range(repeats):
        a, b = draw_times(rng, distribution, (pilot,), effect), draw_times(rng, distribution, (pilot,))
        n = required_pairs_from_pilot(paired_log_ratios(a.tolist(), b.tolist())) or pilot
        times_a, times_b = (draw_times(rng, distribution, (n,), shift).tolist() for shift in (effect, 0.0))
        result = compare_times({"w": dict(enumerate(times_a))}, {"w": dict(enumerate(times_b))})
        planned.append(n)
        detected += result.workloads[0].verdict == "slower"
    return float(np.median(planned)), detected / repeats
