"""The interfaces that plugin authors implement or use.

A workload implements `Workload`, also `Sharded` if it can be evaluated on several devices at once, and `Screenable` if
an evaluation may stop at a part of the examples. A submission implements `Submission`, or is a `Recipe` of parts, some
of which implement `Averager`, `Order` or `Replayer`. The constructor of a submission receives a `Task`, and each of its
steps receives a `Work`.

In shapes, n is the number of examples of a batch. An example is one image or one sequence of tokens.
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
    """Model, data, loss and evaluation. The class is called with its entry's `arguments` as keyword arguments.

    A workload may have an attribute `micro_batch`: the largest number of examples per pass and device. The harness then
    computes larger batches in parts, with the same losses and gradients.

    Attributes:
        facts: the same object as in the workload's entry.
    """

    facts: WorkloadFacts

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """Return a new model on the CPU in fp32.

        Args:
            seed: seed of the initial weights. Equal seeds and options must give equal weights.
            options: the model options that the submission requests, such as `dropout=0.1`.
        """
        ...

    def parameter_kinds(self, model: nn.Module) -> Mapping[str, Kind]:
        """Return the kind of every parameter by its name in `named_parameters()`."""
        ...

    def train_data(self, seed: int) -> Pool | Stream:
        """Return the training data: a pool or a stream, as `facts.access` says.

        Args:
            seed: seed of generated data and of the order of a stream. It must not change the order of a pool, which
                the submission or the harness chooses.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the mean loss over the batch (a scalar) or the loss of each example (shape (n,)), with its graph."""
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's outputs for a batch (logits); the leading dimension is n."""
        ...

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics on a held-out split by name, including the metric of every target.

        The harness calls this with the model in evaluation mode and gradients off. It restores global RNG states
        afterwards.

        Args:
            model: the model with the weights to evaluate.
            split: the held-out split.
            stage: on a stream, index of the current stage, from 0. The metrics then cover all stages so far. None on a
                pool.
        """
        ...


@runtime_checkable
class Sharded(Protocol):
    """A workload whose evaluation can be divided among ranks. Rank 0 evaluates all other workloads alone.

    The ranks exchange values per example, so that the metrics do not depend on the number of ranks. `evaluate` must
    return what `metrics` returns for the values of all examples.
    """

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = ..., stage: int | None = None
    ) -> Mapping[str, Tensor]:
        """Return named values for every example of a shard, in the order of the examples.

        Args:
            model: the model with the weights to evaluate.
            split: the held-out split.
            shard: the shard of the split. `shard.rows(n)` are the indices of its examples among n examples.
            stage: on a stream, index of the current stage; None on a pool.

        Returns:
            Tensors whose leading dimension is the number of examples in the shard. On a stream, every tensor has the
            examples of one task.
        """
        ...

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics by name.

        Args:
            measured: the values that `measure` returns for all examples of the split.
            split: the held-out split.
            stage: on a stream, index of the current stage; None on a pool.
        """
        ...


@runtime_checkable
class Screenable(Sharded, Protocol):
    """A sharded workload that says which values of its examples a metric is the mean of.

    An evaluation may then stop at a part of the `score` split, if this part decides everything. The part is a window of
    the split, and it must be a random sample of it: `evaluation_rows` has a random order for every split whose stored
    order is not random. Without this method, a metric on a pool is estimated if `measure` returns a tensor with the
    metric's name, whose mean it is.
    """

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = ..., stage: int | None = None
    ) -> Mapping[str, Sequence[Tensor]]:
        """Return the values of the examples, by metric.

        Args:
            measured: the values that `measure` returns for the shard.
            split: the held-out split.
            shard: a window of the split, or the whole split, for a single rank.
            stage: on a stream, index of the current stage; None on a pool.

        Returns:
            For every metric that is an unweighted mean over tasks of means over examples, one tensor per task. Metrics
            of another form, such as standard errors, are left out.
        """
        ...


@runtime_checkable
class Submission(Protocol):
    """A training algorithm. The class is called with (model, task, hparams), on the clock.

    Args:
        model: the model in fp32 on the run's device. A submission may change the values of its parameters and buffers,
            but not its architecture.
        task: information about the run.
        hparams: values of all hyperparameters by name.
    """

    def __init__(self, model: nn.Module, task: Task, hparams: HParams) -> None: ...

    def step(self, work: Work) -> None:
        """Make one update of the model."""
        ...

    def eval_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the model has the weights to evaluate, such as averaged weights.

        Entering and leaving the context are on the clock.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` needs, without the model, which the harness saves.

        The state consists of tensors, scalars, strings, lists and dicts.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state. Later steps must compute the same as without the interruption."""
        ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable parameter of the model.

    Args:
        name: name of the parameter in the model's `named_parameters()`.
        tensor: the parameter itself.
        kind: role of the parameter in the model, such as `matrix`, `norm` or `bias`.
    """

    name: str
    tensor: nn.Parameter
    kind: Kind


@dataclass(kw_only=True)
class Task:
    """The context that a submission gets: information about the run, its generator, and functions for snapshots.

    The harness updates `feedback` and the fields of the current stage during the run.

    Args:
        parameters: all trainable parameters with their kinds.
        horizon: number of examples that the run may draw; None if the ruleset hides it.
        horizon_is_cap: whether the horizon is only an upper bound: on a stream, it is the sum of the stages' caps.
        batch_size: number of examples per update.
        tokens_per_example: number of tokens in an example (1 for images).
        device: device of the model and of the batches.
        rng: generator on the CPU for the submission's randomness. The harness saves it in checkpoints.
        scores: the pool's per-example scores by name, each a float tensor of shape (pool_size,); may be empty.
        pool_size: number of examples in the pool; None on a stream.
        feedback: for every evaluation so far, the number of examples drawn and the metrics on the feedback split;
            empty unless the submission declares the need `feedback`.
        task_index: index of the current stage, from 0, on a stream with visible boundaries; otherwise None.
        task_began: number of examples that had been drawn when the current stage began.
        task_horizon: cap on the examples drawn in the current stage; None if the boundaries or the horizon are hidden.
        snapshot: function that returns a snapshot of weights, buffers, the submission's state and RNG states. It runs
            on the clock.
        restore: function that restores a snapshot. A snapshot can be restored several times. The counters, the budget
            and the position in the data are not restored.
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
    """Draws data and computes passes for a submission, and counts both.

    Batches, losses and gradients are always whole, also if the harness computes them in parts or on several devices.

    Attributes:
        replay: the replay buffer of a stream; None if the workload has none.
        holdout: training examples that are never drawn; None unless the submission declares the need `holdout`.
    """

    replay: ReplayBuffer | None
    holdout: Pool | None

    @property
    def examples(self) -> int:
        """The number of examples drawn so far."""
        ...

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        """Draw examples and return them on the task's device.

        Args:
            n: number of examples to draw in the data's order; the batch size if None.
            indices: indices of the pool's examples to draw instead (int64, shape (n,), values in [0, pool_size)).

        Raises:
            RejectedError: a step drew more than `eval_every` examples, a draw was empty, or `indices` were used on a
                stream.
        """
        ...

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        """Add the gradient of the mean loss times `scale` to `.grad`. This counts as a forward and a backward pass.

        Returns:
            The mean loss without `scale` (a scalar), detached.
        """
        ...

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the mean loss (a scalar) or the loss of each example (shape (n,)), with its graph.

        This counts as a forward pass. Every backward pass through the graph is counted, too.
        """
        ...

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """Return the outputs for a batch (leading dimension n), with their graph.

        This counts as a forward pass. Every backward pass through the graph is counted, too.

        Args:
            batch: the examples.
            model: a frozen copy of the run's model, such as a teacher; None for the run's model itself.
        """
        ...


class Averager(Protocol):
    """The `averaging` part of a recipe, which provides the weights for evaluation.

    An averager must average parameters only and write them in place, since an optimizer may have views of them. The
    recipe recomputes batch norm's running statistics for the evaluated weights.
    """

    def update(self) -> None:
        """Include the model's weights in the average. Called after every update of the model."""
        ...

    def swapped(self) -> AbstractContextManager[None]:
        """Return a context in which the model has the averaged weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` needs, as tensors, scalars, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class Order(Protocol):
    """The `order` part of a recipe, which chooses the examples of a pool."""

    def take(self, n: int, examples: int) -> Tensor:
        """Return the indices of the next examples (int64, shape (n,), values in [0, pool_size)).

        Args:
            n: number of examples to choose.
            examples: number of examples drawn so far.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` needs, as tensors, scalars, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class Replayer(Protocol):
    """The `replay` part of a recipe, which chooses the examples to store and the stored examples to train on again."""

    def mix(self, fresh: Batch, replay: ReplayBuffer) -> Batch:
        """Return the batch to train on.

        Args:
            fresh: the newly drawn examples.
            replay: the replay buffer. This method may add examples to it and sample from it.
        """
        ...
