"""The workload `continual-synthetic`: five tasks on synthetic images, each with its own permutation of the pixels.

Source of the scenario: An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural Networks (arXiv
1312.6211), permuted MNIST.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Batch, BenchError, Shard, Split, StagedStream, TensorPool, evaluation_rows
from workloads.continual.classifier import PerceptronClassifier
from workloads.continual.metrics import TaskAccuracy
from workloads.continual.model import build
from workloads.continual.synthetic_facts import FACTS, TASKS
from workloads.redrawing import Redrawing
from workloads.synthetic_images import CLASSES, SIDE, ImageSource

_PIXELS = SIDE * SIDE
_HIDDEN = (256, 256)
#: Probability that a pixel is inverted.
_NOISE = 1 / 16
#: Variant → seed of the patterns of the classes.
_SEEDS = {"": 1, "classes": 2}
#: Variant → highest possible expected accuracy on a task (see `ImageSource.bayes_accuracy`). Computing it takes a
#: second, so it is stored. A test repeats the computation.
BAYES_ACCURACY = {"": 0.99974, "classes": 0.99958}
#: Number of images per task in each held-out split.
_IMAGES: dict[Split, int] = {"feedback": 256, "score": 1_024, "audit": 1_024}


class ContinualSynthetic(Redrawing, PerceptronClassifier, TaskAccuracy):
    """Five tasks with the same ten classes. The images of a task have their pixels permuted, differently in every task.

    `train_data` draws the permutations and the images from its seed. As the permutations are random, all tasks are
    equally difficult. The model is not told the task. `evaluate` uses the permutations that `train_data` or
    `prepare_evaluation` drew last. Before the first draw, the pixels are not permuted.

    The metric `gap` is the highest possible accuracy, that of a classifier that knows the patterns, the noise and the
    task, minus `avg_seen`.

    Args:
        variant: name of a variant; empty for the workload itself. In the variant `classes`, the classes have other
            patterns.

    Raises:
        BenchError: the variant does not exist.
    """

    facts = FACTS[""]

    def __init__(self, variant: str = "") -> None:
        if variant not in FACTS:
            raise BenchError(f"continual-synthetic has no variant {variant!r}", fix="known: classes")
        self.facts = FACTS[variant]
        self._seed, self._best = _SEEDS[variant], BAYES_ACCURACY[variant]
        self._permutations_TP = torch.arange(_PIXELS).repeat(TASKS, 1)

    @property
    def source(self) -> ImageSource:
        """The source of the images before their pixels are permuted."""
        return _source(self._seed)

    def network(self, seed: int, dropout: float) -> nn.Module:
        return build(seed, inputs=_PIXELS, hidden=_HIDDEN, classes=CLASSES, dropout=dropout)

    def train_data(self, seed: int) -> StagedStream:
        """Return the stream. The pool of a stage has twice as many images as the stage's maximum number of examples.

        Fields: `x_BCHW` (float32, −1 or 1, (n, 1, 8, 8)) and `labels_B` (int64, (n,)).

        Args:
            seed: seed of the permutations, of the images and of their order.
        """
        self.prepare_evaluation(seed)
        pools = []
        for task, stage in enumerate(self.facts.stages):
            images = _draw(self._seed, 2 * stage.max_examples, f"continual/train/{seed}/{task}")
            pools.append(TensorPool(x_BCHW=self._permute(images["x_BP"], task), labels_B=images["labels_B"]))
        return StagedStream(pools, seed)

    def prepare_evaluation(self, seed: int) -> None:
        """Draw the permutations, which determine the tasks.

        Args:
            seed: see `train_data`.
        """
        generator = torch.Generator().manual_seed(seed)
        self._permutations_TP = torch.stack([torch.randperm(_PIXELS, generator=generator) for _ in range(TASKS)])

    def _permute(self, x_BP: Tensor, task: int) -> Tensor:
        """Return images with the pixels in the order of a task, shape (n, 1, 8, 8)."""
        return x_BP[:, self._permutations_TP[task]].reshape(-1, 1, SIDE, SIDE)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """See `TaskAccuracy`. Every task has different held-out images."""
        device = next(model.parameters()).device
        images, n = _held_out(self._seed, split, self.sample(split)), _IMAGES[split]
        seen = range(TASKS if stage is None else stage + 1)
        rows_B = evaluation_rows(shard, n)
        x_BCHW = torch.cat([self._permute(images["x_BP"][k * n + rows_B], k) for k in seen])
        labels_B = torch.cat([images["labels_B"][k * n + rows_B] for k in seen])
        with torch.no_grad():
            predicted_B = model(x_BCHW.to(device)).argmax(1).cpu()
        correct = (predicted_B == labels_B).split(len(rows_B))
        return {f"correct/{k}": correct_B for k, correct_B in zip(seen, correct, strict=True)}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `TaskAccuracy`, and `gap`."""
        found = super().metrics(measured, split, stage)
        return found | {"gap": self._best - found["avg_seen"]}

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return the values whose means are `avg_seen`, `accuracy/<k>` and `gap`."""
        values = super().example_values(measured, split, shard, stage)
        return values | {"gap": tuple(self._best - correct_B.double() for correct_B in values["avg_seen"])}


@cache
def _source(seed: int) -> ImageSource:
    return ImageSource(seed, _NOISE)


def _draw(seed: int, n: int, stream_seed: str) -> Batch:
    """Return `n` images, float32 `x_BP` with flat pixels −1 or 1, and their classes `labels_B`."""
    images = _source(seed).draw(n, stream_seed)
    return Batch(
        x_BP=torch.from_numpy(images.pixels_NHW).float().flatten(1), labels_B=torch.from_numpy(images.labels_N)
    )


@lru_cache(maxsize=8)
def _held_out(seed: int, split: Split, sample: str) -> Batch:
    return _draw(seed, TASKS * _IMAGES[split], f"continual/held-out/{sample}")
