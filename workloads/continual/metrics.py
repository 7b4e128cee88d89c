"""What every stream of labelled images reports of the tasks seen."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def of_tasks(correct: Sequence[Tensor]) -> dict[str, float]:
    """`accuracy/<k>` of each task k and `avg_seen`, their unweighted mean; `se/<k>` and `se` are their standard errors.

    Args:
        correct: of each task seen, 1 where a held-out example was right and 0 where not, (n,); n may differ.
    """
    shares = [float(correct_B.double().mean()) for correct_B in correct]
    variances = [p * (1 - p) / len(correct_B) for p, correct_B in zip(shares, correct, strict=True)]
    metrics = {"avg_seen": sum(shares) / len(shares), "se": sum(variances) ** 0.5 / len(shares)}
    for k, (share, variance) in enumerate(zip(shares, variances, strict=True)):
        metrics |= {f"accuracy/{k}": share, f"se/{k}": variance**0.5}
    return metrics
