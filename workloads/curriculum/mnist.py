"""The workload `curriculum-mnist`: digits, some with wrong labels, and a quality score for each digit.

The quality scores are motivated by the paper How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM
Pretraining (arXiv 2511.18903). The label noise is not from this paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Batch, BenchError, Pool, Shard, Split, TensorPool, evaluation_rows
from workloads import mnist
from workloads.continual.classifier import PerceptronClassifier
from workloads.continual.model import build
from workloads.curriculum.mnist_facts import CLEAN_SHARE, FACTS, NOISE, POOL, RELIABILITY, hidden

#: Number of images of `score` and of `audit`. More images would make the evaluations longer.
_HELD_OUT = 4_000


class CurriculumMnist(PerceptronClassifier):
    """Digits with hidden probabilities of a wrong label, and a visible score `quality` that correlates with them.

    Args:
        variant: name of a variant of the workload; empty for the workload itself.

    Raises:
        BenchError: the variant does not exist.
    """

    #: A cross-entropy is never negative.
    value_bounds: Mapping[str, tuple[float, float]] = {"cross_entropy": (0.0, math.inf)}

    def __init__(self, variant: str = "") -> None:
        if variant not in FACTS:
            known = ", ".join(sorted(facts.name for facts in FACTS.values()))
            raise BenchError(f"curriculum-mnist has no variant {variant!r}", fix=f"known: {known}")
        self.facts = FACTS[variant]
        self._hidden = hidden(variant)

    def network(self, seed: int, dropout: float) -> nn.Module:
        return build(seed, inputs=mnist.PIXELS, hidden=self._hidden, classes=mnist.CLASSES, dropout=dropout)

    def train_data(self, seed: int) -> Pool:
        """Return the pool: fields `x_BCHW` (uint8, (n, 1, 28, 28)) and `labels_B` (int64, (n,)); score `quality`.

        Args:
            seed: seed of the choice of images, their noise rates, their labels and their scores.

        Raises:
            DataError: the dataset is missing or damaged.
        """
        generator = torch.Generator().manual_seed(seed)
        digits = mnist.load("train")
        chosen = torch.randperm(len(digits.labels_B), generator=generator)[:POOL]
        rates_B = noise_rates(len(chosen), generator)
        labels_B = mnist.noisy(digits.labels_B[chosen], rates_B, mnist.CLASSES, generator)
        return TensorPool(
            x_BCHW=digits.x_BCHW[chosen], labels_B=labels_B, scores={"quality": visible_quality(rates_B, generator)}
        )

    def prepare_evaluation(self, seed: int) -> None:
        """Do nothing: the metrics do not depend on the training data."""

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits, shape (n, 10)."""
        logits_BK: Tensor = model(mnist.normalised(batch["x_BCHW"]))
        return logits_BK

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return `cross_entropy` (nats, without label smoothing), its standard error `se`, and `accuracy`.

        The held-out images have their true labels.
        """
        return self.metrics(self.measure(model, split), split)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """Return `nats_B` (cross-entropy, float32) and `correct_B` (bool) of a shard (part) of a split."""
        device = next(model.parameters()).device
        digits = mnist.load(split)
        rows_B = evaluation_rows(shard, min(len(digits.labels_B), _HELD_OUT))
        x_BCHW, labels_B = digits.x_BCHW[rows_B].to(device), digits.labels_B[rows_B].to(device)
        with torch.no_grad():
            logits_BK = model(mnist.normalised(x_BCHW)).float()
        nats_B = nn.functional.cross_entropy(logits_BK, labels_B, reduction="none")
        return {"nats_B": nats_B.cpu(), "correct_B": (logits_BK.argmax(1) == labels_B).cpu()}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `evaluate`, computed from the values of `measure`."""
        nats_B = measured["nats_B"]
        return {
            "cross_entropy": float(nats_B.mean()),
            "se": float(nats_B.std() / len(nats_B) ** 0.5),
            "accuracy": float(measured["correct_B"].double().mean()),
        }

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return the values whose means are `cross_entropy` and `accuracy`."""
        return {"cross_entropy": (measured["nats_B"],), "accuracy": (measured["correct_B"],)}


def noise_rates(n: int, generator: torch.Generator) -> Tensor:
    """Return the probability that the label of each example is wrong, float32, (n,).

    The probability is 0 for a fraction `CLEAN_SHARE` of the examples, and uniform on the range `NOISE` for the others.
    """
    low, high = NOISE
    rates_B = low + (high - low) * torch.rand(n, generator=generator)
    rates_B[: round(CLEAN_SHARE * n)] = 0.0
    return rates_B[torch.randperm(n, generator=generator)]


def visible_quality(rates_B: Tensor, generator: torch.Generator) -> Tensor:
    """Return the quality score of each example, float32, (n,), in [0, 1]; higher is better.

    The examples are ranked by 1 − rate + normal noise. The score is the rank, divided by the highest rank. Because of
    the noise, a score does not show whether its example is clean. The squared correlation of 1 − rate + noise with the
    rate is about `RELIABILITY`.
    """
    error = float(rates_B.std()) * math.sqrt(1 / RELIABILITY - 1)
    observed_B = 1 - rates_B + error * torch.randn(len(rates_B), generator=generator)
    return observed_B.argsort().argsort().float() / max(len(rates_B) - 1, 1)
