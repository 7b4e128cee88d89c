"""The common base of workloads that classify images with a perceptron: the model options, the loss and the outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from harness.api import Batch, BenchError, Kind, WorkloadFacts
from workloads.continual.model import parameter_kinds

_OPTIONS = ("dropout", "label_smoothing")


class PerceptronClassifier(ABC):
    """A workload on images `x_BCHW` with labels `labels_B` (int64). Subclasses set the attribute `facts`."""

    facts: WorkloadFacts
    _label_smoothing = 0.0

    @abstractmethod
    def network(self, seed: int, dropout: float) -> nn.Module:
        """Build a new network on the CPU. `dropout` is a probability in [0, 1)."""

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """Build a new network. `label_smoothing` does not change the network; it is stored and used by `loss`.

        Args:
            seed: seed of the initial weights.
            options: values of options in `facts.model_options`.

        Raises:
            BenchError: an option is not in `facts.model_options`.
        """
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise BenchError(
                f"{self.facts.name} has no model option {unknown[0]!r}", fix=f"known: {', '.join(_OPTIONS)}"
            )
        self._label_smoothing = float(options.get("label_smoothing", 0.0))
        return self.network(seed, float(options.get("dropout", 0.0)))

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        return parameter_kinds(model)

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the cross-entropy of `outputs` in nats: the mean over examples, or with `per_example` all n values."""
        return nn.functional.cross_entropy(
            self.outputs(model, batch),
            batch["labels_B"],
            reduction="none" if per_example else "mean",
            label_smoothing=self._label_smoothing,
        )

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits, shape (n, classes)."""
        logits_BK: Tensor = model(batch["x_BCHW"])
        return logits_BK
