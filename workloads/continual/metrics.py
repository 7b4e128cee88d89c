"""What every stream of labelled images reports of the tasks seen, and from which values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from harness.api import WHOLE, Shard, Split


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


class TaskAccuracy(ABC):
    """A stream whose `measure` returns `correct/<k>` of each task k seen: whether each held-out image is right."""

    @abstractmethod
    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """`correct/<k>` of every task k seen, for a shard of each task's images.

        Args:
            model: in eval mode.
            split: which held-out images.
            shard: the shard; a window of it is in random order.
            stage: the current stage, from 0; None counts all as seen.
        """

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """`accuracy/<k>` of every task k seen, `avg_seen`, their unweighted mean; see `of_tasks`.

        Args: see `measure`.
        """
        return self.metrics(self.measure(model, split, WHOLE, stage), split, stage)

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """The metrics of `evaluate`."""
        return of_tasks([measured[f"correct/{k}"] for k in range(len(measured))])

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """The values whose means are the accuracies: of each task, and of all tasks seen."""
        tasks = tuple(measured[f"correct/{k}"] for k in range(len(measured)))
        return {"avg_seen": tasks, **{f"accuracy/{k}": (correct_B,) for k, correct_B in enumerate(tasks)}}
