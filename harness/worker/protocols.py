"""What plugin authors implement, and what the harness gives them.

A workload implements `Workload` (and `Sharded`, to be evaluated on several devices at once). A submission implements
`Submission`, or is a `Recipe` of parts, some of which implement `Averager`, `Order` or `Replayer`. The harness gives a
submission a `Task` when it is constructed and a `Work` at every step.

Shapes: n is the number of examples of a batch; an example is one image or one sequence of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from harness.contract.domains import HParams
from harness.contract.workload import Kind, Shard, Split, WorkloadFacts
from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.replay import ReplayBuffer
from harness.worker.data.streams import Stream


@runtime_checkable
class Workload(Protocol):
    """Model, data, loss and evaluation. The class is called with its entry's `arguments` as keywords.

    A workload may have an attribute `micro_batch`: the most examples that it wants in one pass on one device. Larger
    batches are then computed in parts, with the same losses and gradients.

    Attributes:
        facts: the same object as in the workload's entry.
    """

    facts: WorkloadFacts

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """A new model on the CPU in fp32.

        Args:
            seed: equal seeds and options give equal weights.
            options: the model options that the submission asks for, such as `dropout=0.1`.
        """
        ...

    def parameter_kinds(self, model: nn.Module) -> Mapping[str, Kind]:
        """The kind of every parameter, by its name in `named_parameters()`; a tied parameter has one name there."""
        ...

    def train_data(self, seed: int) -> Pool | Stream:
        """The training data, a pool or a stream as `facts.access` says.

        Args:
            seed: may decide what is generated. It must not decide the order of a pool, which is the submission's.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """The mean loss over the batch (a scalar), or the loss of each example (shape (n,)), with its graph."""
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's outputs for a batch (logits); the leading dimension is n."""
        ...

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Metrics on a held-out split, by name; those of all targets must be among them.

        The model is in evaluation mode and gradients are off. Global randomness is restored afterwards.

        Args:
            stage: on a stream, the current stage, from 0; the metrics then cover all stages seen so far.
        """
        ...


@runtime_checkable
class Sharded(Protocol):
    """A workload whose evaluation can be divided among ranks: `evaluate` returns the `metrics` of all examples' values.

    The ranks exchange values per example, so that means, spreads and whatever else `metrics` computes do not depend on
    the number of ranks. A workload without these two methods is evaluated by rank 0 alone.
    """

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = ..., stage: int | None = None
    ) -> Mapping[str, Tensor]:
        """Named values for every example of a shard, in the order of the examples.

        Args:
            shard: which part of the split; `shard.rows(n)` are its rows of n examples.
            stage: as for `Workload.evaluate`.

        Returns:
            Tensors whose leading dimension is the number of examples in the shard.
        """
        ...

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """The metrics, from the values of all examples of the split."""
        ...


@runtime_checkable
class Submission(Protocol):
    """Everything that a training algorithm decides. The class is called with (model, task, hparams), on the clock.

    Args:
        model: on its device, in fp32. Its values are the submission's to change, its architecture is not.
        task: what the submission may know of the run.
        hparams: the hyperparameters of this trial, by name.
    """

    def __init__(self, model: nn.Module, task: Task, hparams: HParams) -> None: ...

    def step(self, work: Work) -> None:
        """Make one update of the model."""
        ...

    def eval_weights(self) -> AbstractContextManager[None]:
        """While open, the model holds the weights to evaluate (EMA, SWA …). Entering and leaving are on the clock."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to resume, as tensors, scalars, strings, lists and dicts. The harness saves the model."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state: later steps must compute what they would have computed without the interruption."""
        ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable tensor of the model.

    Args:
        name: as in the model's `named_parameters()`.
        tensor: the parameter itself.
        kind: what it is used for, such as `matrix`, `norm` or `bias`.
    """

    name: str
    tensor: nn.Parameter
    kind: Kind


@dataclass(kw_only=True)
class Task:
    """What a submission may know of the run. The harness updates it while the run goes on.

    Args:
        parameters: every trainable tensor with its kind.
        horizon: examples that the run may draw; None when the ruleset hides it.
        horizon_is_cap: whether the horizon is an upper bound and not a plan: on a stream it is the sum of the most
            examples that each stage may draw.
        batch_size: examples per update.
        tokens_per_example: tokens in an example (1 for images).
        device: where the model and the batches are.
        rng: the submission's own source of randomness, a generator on the CPU; the harness checkpoints it.
        scores: the pool's scores by name, each a float tensor of shape (pool_size,); empty where there are none.
        pool_size: number of examples in the pool; None on a stream.
        feedback: (examples drawn, metrics on the feedback split) for every evaluation so far; empty unless the
            submission declares the need `feedback`.
        task_index: the current stage of a stream whose boundaries are visible, from 0; None otherwise.
        task_began: examples that were drawn when this stage began.
        task_horizon: the most fresh examples that this stage may draw; None when boundaries or the horizon are hidden.
        snapshot: takes a snapshot of weights, buffers, the submission's state and randomness, on the clock.
        restore: goes back to a snapshot; it may be restored any number of times. What was drawn stays drawn.
    """

    parameters: Sequence[Parameter]
    horizon: int | None
    horizon_is_cap: bool = False
    batch_size: int
    tokens_per_example: int = 1
    device: torch.device
    rng: torch.Generator
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    pool_size: int | None = None
    feedback: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    task_index: int | None = None
    task_began: int = 0
    task_horizon: int | None = None
    snapshot: Callable[[], Any] = field(repr=False)
    restore: Callable[[Any], None] = field(repr=False)


class Work(Protocol):
    """The harness's side of a step: it hands out data and has passes computed, on whatever devices, and counts both.

    A batch, its loss and its gradient are always whole here, also where they are computed in parts or on several
    devices.

    Attributes:
        replay: the harness's memory of a stream; None where the workload has none.
        holdout: training examples that are never drawn; None unless the submission declares the need `holdout`.
    """

    replay: ReplayBuffer | None
    holdout: Pool | None

    @property
    def examples(self) -> int:
        """Fresh examples drawn so far."""
        ...

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        """Fresh examples, on the task's device.

        Args:
            n: how many come next in the data's order; the batch size by default.
            indices: chooses examples of a pool instead (int64, shape (n,), values in [0, pool_size)).

        Raises:
            RejectedError: a step draws more than `eval_every` examples, a draw is empty, or a stream has no indices.
        """
        ...

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        """Add the gradient of the mean loss times `scale` to `.grad`; a counted forward and backward pass.

        Returns:
            The mean loss, without `scale` (a scalar), detached.
        """
        ...

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        """The mean loss (a scalar) or the loss of each example (shape (n,)), with its graph; a counted forward pass.

        Backward passes through the graph are counted, too.
        """
        ...

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """The outputs for a batch (leading dimension n), with their graph; a counted forward pass.

        Args:
            model: a frozen copy of the run's model, such as a teacher; None for the run's model itself.
        """
        ...


class Averager(Protocol):
    """The `averaging` part of a recipe: weights for evaluation that are not those being trained.

    It averages parameters only, and writes them in place, since an optimizer may hold views of them. The recipe
    recomputes batch norm's statistics for the weights that are evaluated.
    """

    def update(self) -> None:
        """Called after every update of the model."""
        ...

    def swapped(self) -> AbstractContextManager[None]:
        """While open, the model holds the averaged weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to resume, as tensors, scalars, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Order(Protocol):
    """The `order` part of a recipe: which examples of a pool come next."""

    def take(self, n: int, examples: int) -> Tensor:
        """The indices of the next examples (int64, shape (n,), values in [0, pool_size)).

        Args:
            n: how many.
            examples: fresh examples drawn so far.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to resume, as tensors, scalars, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Replayer(Protocol):
    """The `replay` part of a recipe: which examples are remembered, and which are trained on again."""

    def mix(self, fresh: Batch, replay: ReplayBuffer) -> Batch:
        """The batch to train on.

        Args:
            fresh: the examples just drawn.
            replay: the harness's memory; this method may add to it and sample from it.
        """
        ...
