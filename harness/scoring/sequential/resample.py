"""Estimates the rate of false verdicts from gates between stored runs of one submission (A/A tests).

In such a gate, A and B are the same submission. The outcomes `better` and `worse` are therefore false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.scoring.hit_rates import Rate, hit_rate
from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.batch import run_gates
from harness.scoring.sequential.verdict import ALPHA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResampledGates:
    """The outcomes of resampled A/A gates.

    Args:
        gates: number of gates.
        pairs: largest number of pairs of a gate.
        false: fraction of gates with the outcome `better` or `worse`, with its Wilson interval.
        equivalent: fraction of gates with the outcome `equivalent`.
        median_pairs: median number of pairs until `equivalent`; None if no gate has this outcome.
    """

    gates: int
    pairs: int
    false: Rate
    equivalent: float
    median_pairs: float | None


def resample_gates(
    log_multipliers: ArrayLike,
    *,
    gates: int = 2000,
    max_pairs: int = 40,
    alpha: float = ALPHA,
    min_effect: float = MIN_EFFECT,
    seed: int = 0,
) -> ResampledGates:
    """Compute gates between stored runs of one submission. The runs of each pair are drawn at random.

    For each gate, the runs are shuffled, and neighbouring runs form pairs. If one shuffle gives too few pairs, the runs
    are shuffled again. Both signs of a difference are equally likely.

    The two runs of a pair have different seeds. The differences therefore vary more than in a real gate, in which the
    runs of a pair share a seed.

    Args:
        log_multipliers: array of shape (runs,) or (runs, workloads); −inf for a run that missed or broke down.
        gates: number of gates.
        max_pairs: number of pairs after which a gate ends.
        alpha: error level of each gate.
        min_effect: smallest effect that is relevant, as a log ratio.
        seed: seed of the random draws.

    Raises:
        UsageError: there are fewer than two runs, a value is NaN or +inf, or `gates` or `max_pairs` is below 1.
    """
    import numpy as np

    values = np.asarray(log_multipliers, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) < 2 or not values.shape[1]:
        raise UsageError(
            f"cannot pair runs from an array of shape {np.shape(log_multipliers)}", fix="give two runs or more"
        )
    if np.isnan(values).any() or (values == np.inf).any():
        raise UsageError("a log multiplier is NaN or inf", fix="write -inf for a run that missed or broke down")
    if gates < 1 or max_pairs < 1:
        raise UsageError(f"cannot resample {gates} gates of {max_pairs} pairs", fix="give at least one of each")
    differences = _draw_differences(values, gates, max_pairs, np.random.default_rng(seed))
    runs = run_gates(differences, alpha=alpha, min_effect=min_effect)
    false_verdicts = sum(outcome in ("better", "worse") for outcome in runs.outcomes)
    equivalent_pairs = [n for n, outcome in zip(runs.pairs, runs.outcomes, strict=True) if outcome == "equivalent"]
    return ResampledGates(
        gates=gates,
        pairs=max_pairs,
        false=hit_rate(false_verdicts, gates),
        equivalent=len(equivalent_pairs) / gates,
        median_pairs=float(np.median(equivalent_pairs)) if equivalent_pairs else None,
    )


def _draw_differences(values: Floats, gates: int, pairs: int, rng: np.random.Generator) -> Floats:
    """Draw differences of neighbours in shuffled runs, averaged over workloads, in the shape (gates, pairs)."""
    import numpy as np

    half = len(values) // 2
    passes = -(-pairs // half)
    shuffled = rng.permuted(np.tile(np.arange(len(values)), (gates, passes, 1)), axis=-1)[..., : 2 * half]
    order = shuffled.reshape(gates, passes * half, 2)[:, :pairs]
    a, b = values[order[..., 0]], values[order[..., 1]]
    with np.errstate(invalid="ignore"):
        differences = np.where(a == b, 0.0, a - b)
        means = differences.mean(axis=-1)
    # As in `mean_over_workloads`, a pair with +inf on one workload and −inf on another has the mean 0.
    return np.where(np.isnan(means), 0.0, means)
