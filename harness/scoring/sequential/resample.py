"""A/A resolution: gates resampled from stored runs of one submission, whose verdicts can only be false."""

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
class Resolution:
    """The outcomes of resampled A/A gates.

    Args:
        gates, pairs: how many, and the most pairs of one.
        false: share of `better` and `worse`, with its Wilson interval.
        equivalent: share of `equivalent`.
        median_pairs: median of the pairs until `equivalent`; None where no gate came to it.
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
) -> Resolution:
    """Gates between runs of one submission, drawn from those that are stored.

    Each gate shuffles the runs and pairs neighbours, shuffling again where one pass gives too few pairs: no run meets
    itself, and the sign of a pair is a fair coin by construction. The seeds differ within a pair, so the differences
    are wider than those of a gate, whose two sides share the seed.

    Args:
        log_multipliers: (runs,) or (runs, workloads): one value per run, −inf for a broken one.
        gates: gates to draw.
        max_pairs: pairs after which a gate ends.
        alpha, min_effect: of each gate.
        seed: of the draw.

    Raises:
        UsageError: fewer than two runs, NaN or +inf, or no gates or pairs.
    """
    import numpy as np

    values = np.asarray(log_multipliers, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) < 2 or not values.shape[1]:
        raise UsageError(
            f"cannot pair runs from an array of shape {np.shape(log_multipliers)}", fix="give two runs or more"
        )
    if np.isnan(values).any() or (values == np.inf).any():
        raise UsageError("a log multiplier is NaN or inf", fix="write -inf for a run that missed or broke")
    if gates < 1 or max_pairs < 1:
        raise UsageError(f"cannot resample {gates} gates of {max_pairs} pairs", fix="give at least one of each")
    differences = _draw_differences(values, gates, max_pairs, np.random.default_rng(seed))
    runs = run_gates(differences, alpha=alpha, min_effect=min_effect)
    false = sum(outcome in ("better", "worse") for outcome in runs.outcomes)
    even = [n for n, outcome in zip(runs.pairs, runs.outcomes, strict=True) if outcome == "equivalent"]
    return Resolution(
        gates=gates,
        pairs=max_pairs,
        false=hit_rate(false, gates),
        equivalent=len(even) / gates,
        median_pairs=float(np.median(even)) if even else None,
    )


def _draw_differences(values: Floats, gates: int, pairs: int, rng: np.random.Generator) -> Floats:
    """(gates, pairs): means over workloads of the differences of neighbours in shuffled runs."""
    import numpy as np

    half = len(values) // 2
    passes = -(-pairs // half)
    shuffled = rng.permuted(np.tile(np.arange(len(values)), (gates, passes, 1)), axis=-1)[..., : 2 * half]
    order = shuffled.reshape(gates, passes * half, 2)[:, :pairs]
    a, b = values[order[..., 0]], values[order[..., 1]]
    with np.errstate(invalid="ignore"):
        differences = np.where(a == b, 0.0, a - b)
        means = differences.mean(axis=-1)
    # Breaks on both sides of one seed, on different workloads, are a tie, as in `mean_over_workloads`.
    return np.where(np.isnan(means), 0.0, means)
