"""The common base of the image workloads: everything except their images and their network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Batch, BenchError, Kind, Pool, Shard, Split, WorkloadFacts, evaluation_rows
from workloads.resnet.model import parameter_kinds


class ImageClassifier(ABC):
    """Base class of workloads that classify images `x_BCHW` (float32) with the correct classes `labels_B` (int64).

    Args:
        facts: the facts of the workload or of its variant.
    """

    #: A cross-entropy is never negative.
    value_bounds: Mapping[str, tuple[float, float]] = {"cross_entropy": (0.0, math.inf)}

    def __init__(self, facts: WorkloadFacts) -> None:
        self.facts = facts
        self._label_smoothing = 0.0

    @abstractmethod
    def network(self, seed: int, **options: Any) -> nn.Module:
        """Build a new network on the CPU. `options` has values of some options in `facts.model_options`."""

    @abstractmethod
    def train_data(self, seed: int) -> Pool:
        """Return the training images."""

    @abstractmethod
    def held_out(self, split: Split, shard: Shard = WHOLE) -> Iterator[Batch]:
        """Yield a shard (a part of a split) as batches for evaluation.

        The function `evaluation_rows` returns the order of the shard's images.
        """

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """Build a new network. `label_smoothing` does not change the network; it is stored and used by `loss`.

        Args:
            seed: seed of the initial weights.
            options: values of options in `facts.model_options`.

        Raises:
            BenchError: an option is not in `facts.model_options`, or two options exclude each other.
        """
        offered = self.facts.model_options
        if unknown := sorted(set(options) - set(offered)):
            raise BenchError(
                f"{self.facts.name} has no model option {unknown[0]!r}", fix=f"known: {', '.join(sorted(offered))}"
            )
        ghost, norm = options.get("ghost_bn", 0), options.get("norm", "batch")
        if ghost and norm != "batch":
            raise BenchError(
                f"ghost_bn={ghost} with norm={norm}: only batch norm uses statistics over examples",
                fix="set norm=batch or ghost_bn=0",
            )
        self._label_smoothing = float(options.pop("label_smoothing", 0.0))
        return self.network(seed, **options)

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        return parameter_kinds(model)

    def prepare_evaluation(self, seed: int) -> None:  # noqa: B027 - there is nothing to prepare
        """Do nothing: the metrics do not depend on the training data."""

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the cross-entropy in nats with label smoothing: the mean, or with `per_example` all n values."""
        return nn.functional.cross_entropy(
            # Autocast on a GPU converts the logits to fp32, but autocast on a CPU does not.
            self.outputs(model, batch).float(),
            batch["labels_B"],
            reduction="none" if per_example else "mean",
            label_smoothing=self._label_smoothing,
        )

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits, shape (n, classes)."""
        logits_BK: Tensor = model(batch["x_BCHW"])
        return logits_BK

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return `cross_entropy` (nats, without label smoothing) and `accuracy` on a split.

        `se` is the standard error of the metric of the workload's target.

        Args:
            model: in eval mode.
            split: name of the held-out split.
            stage: not used.
        """
        return self.metrics(self.measure(model, split), split)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """Return `nats_B` (cross-entropy, float32) and `correct_B` (bool) of the images in a shard."""
        device = next(model.parameters()).device
        nats, correct = [torch.empty(0, device=device)], [torch.empty(0, dtype=torch.bool, device=device)]
        with torch.no_grad(), self._forward_precision(device):
            for batch in self.held_out(split, shard):
                moved = batch.to(device)
                logits_BK, labels_B = self.outputs(model, moved).float(), moved["labels_B"]
                nats.append(nn.functional.cross_entropy(logits_BK, labels_B, reduction="none"))
                correct.append(logits_BK.argmax(1) == labels_B)
        # The results are moved to the CPU, because several ranks concatenate them there before they are averaged.
        return {"nats_B": torch.cat(nats).cpu(), "correct_B": torch.cat(correct).cpu()}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `evaluate`, computed from the values of `measure`."""
        values = {"cross_entropy": measured["nats_B"], "accuracy": measured["correct_B"].double()}
        has_accuracy_target = any(target.metric == "accuracy" for target in self.facts.targets[:1])
        primary_B = values["accuracy" if has_accuracy_target else "cross_entropy"]
        means = {name: float(value_B.mean()) for name, value_B in values.items()}
        return {**means, "se": float(primary_B.std() / len(primary_B) ** 0.5)}

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return the values whose means are `cross_entropy` and `accuracy`."""
        return {"cross_entropy": (measured["nats_B"],), "accuracy": (measured["correct_B"],)}

    def _forward_precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the autocast context of training, so that evaluation has the same precision."""
        if self.facts.precision.dtype == "float32":
            return nullcontext()
        return torch.autocast(device.type, getattr(torch, self.facts.precision.dtype))


def pieces(batch: Batch, size: int, shard: Shard = WHOLE) -> Iterator[Batch]:
    """Yield a shard of a batch in pieces of at most `size` examples.

    If the shard has no window and no list of chosen examples, the examples of a piece are consecutive in the batch.
    """
    rows = evaluation_rows(shard, batch.n, size)
    for chosen in torch.split(rows, size) if len(rows) else ():
        yield batch.take(chosen) if shard.windowed else batch.rows(int(chosen[0]), int(chosen[-1]) + 1)
