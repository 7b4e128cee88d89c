"""What every stream of labelled images reports of the tasks seen."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def of_tasks(correct: Sequence[Tensor]) -> dict[str, float]:
    """`accuracy/<k>` of each task k, `avg_seen`, their unweighted mean, and `se`, the mean's standard error.

    Args:
        correct: of each task seen, 1 where a held-out example was right and 0 where not, (n,); n may differ.
    """
    shares = [float(correct_B.double().mean()) for correct_B in correct]
    variance = sum(p * (1 - p) / len(correct_B) for p, correct_B in zip(shares, correct, strict=True))
    mean = {"avg_seen": sum(shares) / len(shares), "se": variance**0.5 / len(shares)}
    return mean | {f"accuracy/{k}": share for k, share in enumerate(shares)}
