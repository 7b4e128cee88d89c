"""The metrics of every stream of labelled images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def of_tasks(correct: Sequence[Tensor]) -> dict[str, float]:
    """Return `accuracy/<k>` of each task k, their unweighted mean `avg_seen`, and standard errors `se/<k>` and `se`.

    Args:
        correct: one tensor of shape (n,) per task seen so far: 1 for a held-out example that was classified correctly,
            otherwise 0. n may differ between tasks.
    """
    accuracies = [float(correct_B.double().mean()) for correct_B in correct]
    variances = [p * (1 - p) / len(correct_B) for p, correct_B in zip(accuracies, correct, strict=True)]
    metrics = {"avg_seen": sum(accuracies) / len(accuracies), "se": sum(variances) ** 0.5 / len(accuracies)}
    for k, (accuracy, variance) in enumerate(zip(accuracies, variances, strict=True)):
        metrics |= {f"accuracy/{k}": accuracy, f"se/{k}": variance**0.5}
    return metrics
