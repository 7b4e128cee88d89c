"""The metrics of all streams of labelled images, and the values from which the metrics are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from harness.api import WHOLE, Shard, Split


def of_tasks(correct: Sequence[Tensor]) -> dict[str, float]:
    """Return `accuracy/<k>` of each task k, and the unweighted mean `avg_seen`.

    Their standard errors are `se/<k>` and `se`.

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


class TaskAccuracy(ABC):
    """A workload on a stream. `measure` returns whether the model classifies each held-out image correctly.

    The values of task k have the name `correct/<k>`. Tasks that have not been trained yet are not measured.
    """

    @abstractmethod
    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """Return `correct/<k>` of every task k seen so far, for a shard (part) of each task's images.

        Args:
            model: in eval mode.
            split: name of the held-out split.
            shard: which part of every task's images is measured; a shard's images are a random sample.
            stage: index of the current stage, from 0; None for all stages.
        """

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return `accuracy/<k>` of every task k seen so far, and `avg_seen`, their unweighted mean; see `of_tasks`.

        Args: see `measure`.
        """
        return self.metrics(self.measure(model, split, WHOLE, stage), split, stage)

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `evaluate`, computed from the values of `measure`."""
        return of_tasks([measured[f"correct/{k}"] for k in range(len(measured))])

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return metric -> tensors with one value per image: one per task for `avg_seen`, one for `accuracy/<k>`.

        The metric is the mean of the tensors' means.
        """
        tasks = tuple(measured[f"correct/{k}"] for k in range(len(measured)))
        return {"avg_seen": tasks, **{f"accuracy/{k}": (correct_B,) for k, correct_B in enumerate(tasks)}}
