"""The workload `continual-digits`: scikit-learn's digits in stages of two classes, with one head for all ten classes.

Source: van de Ven and Tolias, Three scenarios for continual learning (arXiv 1904.07734), class-incremental.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from harness.api import WHOLE, BenchError, Shard, Split, StagedStream, TensorPool, evaluation_rows
from workloads.continual.classifier import PerceptronClassifier
from workloads.continual.facts import CONTINUAL_DIGITS, CONTINUAL_DIGITS_NOISE, LABEL_NOISE, TASKS
from workloads.continual.metrics import TaskAccuracy
from workloads.continual.model import build
from workloads.resnet import digits_data

_HIDDEN = (1000, 1000)
_CLASSES = digits_data.CLASSES
_PER_STAGE = _CLASSES // TASKS


class ContinualDigits(PerceptronClassifier, TaskAccuracy):
    """Five stages of two digits each. `train_data` draws the order of the digits from its seed.

    `evaluate` uses the order that `train_data` or `prepare_evaluation` drew last. Before the first draw, the order is 0
    to 9.

    Args:
        label_noise: fraction of the training images with a wrong label, the other digit of their stage. It is 0, or
            `LABEL_NOISE` for the variant `+noise`.

    Raises:
        BenchError: `label_noise` has another value.
    """

    facts = CONTINUAL_DIGITS

    def __init__(self, label_noise: float = 0.0) -> None:
        if label_noise not in (0.0, LABEL_NOISE):
            raise BenchError(
                f"continual-digits has no variant with label_noise={label_noise:g}", fix=f"use 0 or {LABEL_NOISE:g}"
            )
        if label_noise:
            self.facts = CONTINUAL_DIGITS_NOISE
        self._label_noise = label_noise
        self._order = tuple(range(_CLASSES))

    @property
    def class_order(self) -> tuple[int, ...]:
        """The ten digits in the order of the stages, two per stage."""
        return self._order

    def network(self, seed: int, dropout: float) -> nn.Module:
        return build(seed, inputs=64, hidden=_HIDDEN, classes=_CLASSES, dropout=dropout)

    def train_data(self, seed: int) -> StagedStream:
        """Return the stream. It has nine copies of each image, one for every shift by at most one pixel.

        Fields: `x_BCHW` (float32, (n, 1, 8, 8)) and `labels_B` (int64, (n,), the digit itself).

        Args:
            seed: seed of the order of the classes and of the examples.
        """
        generator = self._draw_order(seed)
        digits = digits_data.load("train")
        copies = torch.from_numpy(digits_data.normalised(digits_data.shifted(digits.images_BHW)))
        labels_B = torch.from_numpy(digits.labels_B)
        pools = []
        for stage in range(len(self.facts.stages)):
            positions_B = _find_positions(labels_B, self._classes_of(stage))
            x_BCHW = copies[:, positions_B].reshape(-1, 1, 8, 8)
            stage_labels_B = self._add_label_noise(labels_B[positions_B], stage, generator)
            pools.append(TensorPool(x_BCHW=x_BCHW, labels_B=stage_labels_B.repeat(len(copies))))
        return StagedStream(pools, seed)

    def prepare_evaluation(self, seed: int) -> None:
        """Draw the order of the classes, which determines the tasks."""
        self._draw_order(seed)

    def _draw_order(self, seed: int) -> torch.Generator:
        """Draw the order of the classes. Return the generator, from which further random numbers may be drawn."""
        generator = torch.Generator().manual_seed(seed)
        self._order = tuple(torch.randperm(_CLASSES, generator=generator).tolist())
        return generator

    def _classes_of(self, stage: int) -> tuple[int, ...]:
        return self._order[_PER_STAGE * stage : _PER_STAGE * (stage + 1)]

    def _add_label_noise(self, labels_B: Tensor, stage: int, generator: torch.Generator) -> Tensor:
        if not self._label_noise:
            return labels_B
        wrong_B = torch.rand(len(labels_B), generator=generator) < self._label_noise
        return torch.where(wrong_B, sum(self._classes_of(stage)) - labels_B, labels_B)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """See `TaskAccuracy`. The model does not receive the task of an example."""
        device = next(model.parameters()).device
        x_BCHW, labels_B = _held_out(split)
        seen = range(len(self.facts.stages) if stage is None else stage + 1)
        positions = [_find_positions(labels_B, self._classes_of(k)) for k in seen]
        groups = [group[evaluation_rows(shard, len(group))] for group in positions]
        every = torch.cat(groups)
        with torch.no_grad():
            predicted_B = model(x_BCHW[every].to(device)).argmax(1).cpu()
        correct = (predicted_B == labels_B[every]).split([len(g) for g in groups])
        return {f"correct/{k}": correct_B for k, correct_B in enumerate(correct)}


def _find_positions(labels_B: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Return the positions (int64) of the examples of some classes."""
    return torch.isin(labels_B, torch.tensor(classes)).nonzero().flatten()


@cache
def _held_out(split: Split) -> tuple[Tensor, Tensor]:
    digits = digits_data.load(split)
    x_BHW = torch.from_numpy(digits_data.normalised(digits.images_BHW))
    return x_BHW[:, None], torch.from_numpy(digits.labels_B)
