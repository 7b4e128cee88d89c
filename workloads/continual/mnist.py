"""The workload `continual-mnist`: five tasks on MNIST, in one of four scenarios.

Source: van de Ven and Tolias, Three scenarios for continual learning (arXiv 1904.07734); permuted MNIST as in
An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural Networks (arXiv 1312.6211).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Batch, BenchError, Shard, Split, StagedStream, TensorPool
from workloads import mnist
from workloads.continual.classifier import PerceptronClassifier
from workloads.continual.metrics import TaskAccuracy
from workloads.continual.mnist_facts import FACTS, hidden
from workloads.continual.model import build
from workloads.mnist import Digits

#: Number of classes of a task, except in the scenario `permuted`.
_PAIR = 2
#: Number of held-out images per evaluation. An evaluation on all images would take longer than the training between two
#: evaluations.
_HELD_OUT = 2_000


class ContinualMnist(PerceptronClassifier, TaskAccuracy):
    """Five tasks on MNIST. `train_data` draws the order of the digits or the permutations of the pixels from its seed.

    In the scenarios `domain` and `task`, the order is always 0 to 9. The first digits weigh most in the metric, because
    they belong to the mean of every stage, and some pairs of digits are much harder than others. With a drawn order,
    the metric would depend more on the seed than on the submission (ADR 34).

    `evaluate` uses what `train_data` or `prepare_evaluation` drew last. Before the first draw, the order is 0 to 9.

    Args:
        scenario: name of the scenario.
            `class`: two new digits per task, and ten logits; the model is not told the task.
            `domain`: two new digits per task, and two logits, for the first and the second digit of the task.
            `task`: two new digits per task, and ten logits; only the two logits of the task's digits are used.
            `permuted`: all ten digits in every task, and ten logits; each task permutes the pixels differently.
        variant: name of a variant of the workload; empty for the workload itself.

    Raises:
        BenchError: the scenario or the variant does not exist.
    """

    def __init__(self, scenario: str = "class", variant: str = "") -> None:
        if (scenario, variant) not in FACTS:
            known = ", ".join(sorted(facts.name for facts in FACTS.values()))
            raise BenchError(
                f"continual-mnist has no scenario {scenario!r} with variant {variant!r}", fix=f"known: {known}"
            )
        self.facts = FACTS[scenario, variant]
        self._scenario = scenario
        self._hidden = hidden(variant)
        self._tasks = len(self.facts.stages)
        self._order = torch.arange(mnist.CLASSES)
        self._permutations_TP = torch.arange(mnist.PIXELS).repeat(self._tasks, 1)

    @property
    def class_order(self) -> tuple[int, ...]:
        """The ten digits in the order of the tasks, two per task. The scenario `permuted` does not use it."""
        return tuple(self._order.tolist())

    def network(self, seed: int, dropout: float) -> nn.Module:
        classes = _PAIR if self._scenario == "domain" else mnist.CLASSES
        return build(seed, inputs=mnist.PIXELS, hidden=self._hidden, classes=classes, dropout=dropout)

    def train_data(self, seed: int) -> StagedStream:
        """Return the stream.

        Fields: `x_BCHW` (uint8, (n, 1, 28, 28)) and `labels_B` (int64, (n,)). The label is the digit. In the scenarios
        `domain` and `task`, it is instead the index of the digit in the task's pair, 0 or 1. In the scenario `task`, a
        third field `classes_BK` (int64, (n, 2)) contains the pair.

        Args:
            seed: seed of the order of the classes, the permutations, and the order of the examples.

        Raises:
            DataError: the dataset is missing or damaged.
        """
        self.prepare_evaluation(seed)
        digits = mnist.load("train")
        pools = [TensorPool(scores=None, **self._task_fields(digits, k)) for k in range(self._tasks)]
        return StagedStream(pools, seed)

    def prepare_evaluation(self, seed: int) -> None:
        """Draw the order of the classes and the permutations, which determine the tasks.

        Args:
            seed: see `train_data`.
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(mnist.CLASSES, generator=generator)
        self._order = torch.arange(mnist.CLASSES) if self._scenario in ("domain", "task") else order
        permutations = [torch.randperm(mnist.PIXELS, generator=generator) for _ in range(self._tasks)]
        self._permutations_TP = torch.stack(permutations)

    def _task_fields(self, digits: Digits, task: int, shard: Shard = WHOLE) -> dict[str, Tensor]:
        """Return a shard (part) of a task's examples as the fields of a batch.

        The examples are in the order of a hash, so the first ones are a random sample.
        """
        if self._scenario == "permuted":
            # Every task has different images. This saves memory, and no image occurs in two permutations.
            chosen = _shard_of(torch.arange(task, len(digits.labels_B), self._tasks), shard)
            x_BP = digits.x_BCHW[chosen].flatten(1)[:, self._permutations_TP[task]]
            return {"x_BCHW": x_BP.view(-1, 1, 28, 28), "labels_B": digits.labels_B[chosen]}
        pair_K = self._order[_PAIR * task : _PAIR * (task + 1)]
        chosen = _shard_of(torch.isin(digits.labels_B, pair_K).nonzero().flatten(), shard)
        x_BCHW, labels_B = digits.x_BCHW[chosen], digits.labels_B[chosen]
        if self._scenario == "class":
            return {"x_BCHW": x_BCHW, "labels_B": labels_B}
        fields = {"x_BCHW": x_BCHW, "labels_B": (labels_B == pair_K[1]).long()}
        if self._scenario == "task":
            fields["classes_BK"] = pair_K.repeat(len(chosen), 1)
        return fields

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits: (n, 10), or (n, 2) for the pair in the scenarios `domain` and `task`."""
        logits_BK: Tensor = model(mnist.normalised(batch["x_BCHW"]))
        return logits_BK.gather(1, batch["classes_BK"]) if self._scenario == "task" else logits_BK

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        """See `TaskAccuracy`.

        Raises:
            DataError: the dataset is missing or damaged.
        """
        device = next(model.parameters()).device
        digits = mnist.load(split)
        digits = Digits(x_BCHW=digits.x_BCHW[:_HELD_OUT], labels_B=digits.labels_B[:_HELD_OUT])
        seen = range(self._tasks if stage is None else stage + 1)
        measured = {}
        for k in seen:
            batch = Batch(**self._task_fields(digits, k, shard)).to(device)
            with torch.no_grad():
                predicted_B = self.outputs(model, batch).argmax(1)
            measured[f"correct/{k}"] = (predicted_B == batch["labels_B"]).cpu()
        return measured


def _shard_of(positions: Tensor, shard: Shard) -> Tensor:
    rows = shard.rows(len(positions))
    return positions[rows.start : rows.stop]
