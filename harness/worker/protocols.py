"""The interfaces that plugin authors implement or use.

A workload implements `Workload`, and may also implement `Sharded` (several devices share an evaluation), `Screenable`
(an evaluation may stop early) and `Redrawable` (each run may have new held-out data; see `redrawing.py`). A submission
implements `Submission`, or is a `Recipe`, which consists of parts. Some parts implement `Averager`, `Order` or
`Replayer`. The constructor of a submission receives a `Task`, and each of its steps receives a `Work`.

Terms: an example is one image or one sequence of tokens. In shapes, n is the number of examples in a batch. A pool is
training data with random access. A stream is training data in stages, in an order that the workload determines.
docs/glossary.md defines further terms.
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
    """A training problem: model, data, loss and evaluation.

    The harness constructs the class with the `arguments` of its `WorkloadEntry` as keyword arguments. Optional members:

    * attribute `micro_batch`: largest number of examples that a device computes at once. Larger batches are divided.
    * method `prepare_evaluation(seed)`: a process that only evaluates calls it instead of `train_data(seed)`.

    Attributes:
        facts: the description of the workload as data; the same object as in the `WorkloadEntry`.
    """

    facts: WorkloadFacts

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """Return a new model with fp32 weights on the CPU.

        Args:
            seed: seed of the initial weights. Equal seeds and options must give equal weights.
            options: values of the model options that the submission requests, such as `dropout=0.1`.
        """
        ...

    def parameter_kinds(self, model: nn.Module) -> Mapping[str, Kind]:
        """Return the kind of every parameter, such as `matrix` or `bias`, by its name in `named_parameters()`."""
        ...

    def train_data(self, seed: int) -> Pool | Stream:
        """Return the training data: a pool or a stream, according to `facts.access`.

        Args:
            seed: seed of generated data and of the order of a stream. The seed must not change the order of a
                pool, since the submission or the harness chooses this order.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the loss with its autograd graph.

        Args:
            model: the model.
            batch: the examples.
            per_example: whether to return the loss of each example (shape (n,)) instead of the mean loss (a scalar).
        """
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's outputs for a batch, such as logits. The leading dimension is n."""
        ...

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics on a held-out split by name, including the metric of every target.

        The harness calls this method with the model in evaluation mode and gradients disabled. Afterwards the harness
        restores the global RNG states.

        Args:
            model: the model with the weights to evaluate.
            split: name of the held-out split.
            stage: index of the current stage of a stream, from 0; None on a pool. On a stream, the metrics must cover
                all stages so far.
        """
        ...


@runtime_checkable
class Sharded(Protocol):
    """A workload whose evaluation can be divided among ranks (processes, each with its own device).

    Each rank calls `measure` for its own examples. The ranks exchange the measured values. Then each rank calls
    `metrics` with the values of all examples. The metrics therefore do not depend on the number of ranks, and
    `Workload.evaluate` must return the same metrics. Without these methods, rank 0 evaluates all examples.
    """

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = ..., stage: int | None = None
    ) -> Mapping[str, Tensor]:
        """Return values for every example of a shard by name, in the order of the examples.

        Args:
            model: the model with the weights to evaluate.
            split: name of the held-out split.
            shard: the part of the split. `shard.rows(n)` returns the indices of its examples in a split of n examples.
            stage: index of the current stage of a stream, from 0; None on a pool.

        Returns:
            Tensors by name, with a row per example. On a stream, each tensor has one task's part of the shard.
        """
        ...

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics by name.

        Args:
            measured: the values of `measure` for all examples of the split, by name.
            split: name of the held-out split.
            stage: index of the current stage of a stream, from 0; None on a pool.
        """
        ...


@runtime_checkable
class Screenable(Sharded, Protocol):
    """A sharded workload whose metrics can be estimated from a part of a split.

    An evaluation may stop after a part of the `score` split, if this part suffices for all decisions. For this,
    `example_values` returns one value per example. The metric must follow from the values:

    * On a pool, the metric is the mean of all values.
    * On a stream, each task has a mean of its own values, and the metric is the unweighted mean of these means.

    A part is a window of the split (`Shard`), and must be a random sample of the split. If the stored order of a split
    is not random, the workload can take the examples in the order that `harness.api.evaluation_rows` returns.
    A pool can be screened without this class, by a `Sharded` workload whose `measure` names the values like the metric.
    """

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = ..., stage: int | None = None
    ) -> Mapping[str, Sequence[Tensor]]:
        """Return the values of the examples, by metric.

        Args:
            measured: the values that `measure` returns for the shard.
            split: the held-out split.
            shard: a window of the split, or the whole split. The shard contains the examples of all ranks.
            stage: index of the current stage of a stream, from 0; None on a pool.

        Returns:
            One tensor per task (a single tensor on a pool) for each metric that follows from them as described above.
            Other metrics, such as standard errors, are left out.
        """
        ...


@runtime_checkable
class Bounded(Protocol):
    """A sharded workload that declares bounds of its values. A few bad values can then prove that a target is missed.

    Attributes:
        value_bounds: lowest and highest possible value of an example, by metric. Bools need no declared bounds.
    """

    value_bounds: Mapping[str, tuple[float, float]]


@runtime_checkable
class Submission(Protocol):
    """A training algorithm. The harness constructs the class with (model, task, hparams) while the run's clock runs.

    Args:
        model: the model with fp32 weights on the run's device. A submission may change the values of the parameters and
            buffers, but not the architecture.
        task: information about the run.
        hparams: values of all hyperparameters by name.
    """

    def __init__(self, model: nn.Module, task: Task, hparams: HParams) -> None: ...

    def step(self, work: Work) -> None:
        """Make one update of the model."""
        ...

    def eval_weights(self) -> AbstractContextManager[None]:
        """Return a context manager. In its context, the model has the weights to evaluate, such as averaged weights.

        The run's clock runs while the context is entered and left.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` needs, except the model's state, which the harness saves.

        The state consists of tensors, scalars, strings, lists and dicts.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned. Later steps must give the results of an uninterrupted run."""
        ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable parameter of the model.

    Args:
        name: name of the parameter in the model's `named_parameters()`.
        tensor: the parameter itself.
        kind: role of the parameter in the model: `matrix`, `embedding`, `head`, `norm`, `bias` or `conv`.
    """

    name: str
    tensor: nn.Parameter
    kind: Kind


@dataclass(kw_only=True)
class Task:
    """Information about a run for its submission, with a random number generator and functions for snapshots.

    In the names of the fields `task_index`, `task_began` and `task_horizon`, a task is a stage of a stream. The harness
    updates these fields and `feedback` during the run.

    Args:
        parameters: all trainable parameters with their kinds.
        horizon: number of examples that the run may draw; None if the ruleset hides this number.
        horizon_is_cap: True on a stream. The horizon is then the sum of the stages' maxima, and a stage ends early if
            its targets are met.
        batch_size: number of examples per update.
        tokens_per_example: number of tokens in an example (1 for images).
        device: device of the model and of the batches.
        rng: CPU generator for the random numbers of the submission. The harness saves its state in checkpoints.
        scores: scores of the pool's examples by name, such as `quality` or `difficulty`; may be empty. Each is a float
            tensor of shape (pool_size,) with values in [0, 1].
        pool_size: number of examples in the pool; None on a stream.
        feedback: (number of examples drawn, metrics on the split `feedback` by name) for every evaluation so far. Empty
            unless the submission declares the need `feedback`.
        task_index: index of the current stage, from 0, on a stream with visible boundaries; otherwise None.
        task_began: number of examples that had been drawn when the current stage began.
        task_horizon: largest number of examples that may be drawn in the current stage; None on a pool, or if the
            stage boundaries or the horizon are hidden.
        snapshot: function that returns a copy of the weights, the buffers, the submission's state and the RNG states.
            The run's clock keeps running.
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
    """Draws examples and computes forward and backward passes for a submission, and counts them.

    A submission always works with whole batches and their losses and gradients. The harness may compute passes in parts
    or on several devices.

    Attributes:
        replay: the replay buffer of a stream; None if the workload has no replay buffer.
        holdout: training examples that `draw` never returns, for the submission's own measurements; None unless the
            submission declares the need `holdout`.
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
            n: number of examples to draw in the order of the harness (on a pool) or of the stream. None for
                `Task.batch_size`.
            indices: indices of the examples to draw from a pool (int64, shape (n,), values in [0, pool_size)). The
                argument `n` is then ignored.

        Raises:
            RejectedError: a step drew more than `eval_every` examples, a draw was empty, or `indices` were used on a
                stream.
        """
        ...

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        """Add the gradient of the mean loss, multiplied by `scale`, to the `.grad` of the parameters.

        This counts as one forward pass and one backward pass.

        Returns:
            The mean loss (a scalar), not multiplied by `scale` and detached from the graph.
        """
        ...

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        """Return the loss with its autograd graph.

        This counts as one forward pass. Every backward pass through the graph is counted, too.

        Args:
            batch: the examples.
            per_example: whether to return the loss of each example (shape (n,)) instead of the mean loss (a scalar).
        """
        ...

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """Return the model's outputs for a batch (leading dimension n), with their autograd graph.

        This counts as one forward pass. Every backward pass through the graph is counted, too.

        Args:
            batch: the examples.
            model: a copy of the run's model whose parameters are not trained, such as a teacher. None for the run's
                model itself.
        """
        ...


class Averager(Protocol):
    """The `averaging` part of a recipe. It provides averaged weights for evaluation.

    An averager must average only parameters, not buffers. It must write to the parameters in place, since an optimizer
    may hold views of them. The recipe recomputes the running statistics of batch norm for the averaged weights.
    """

    def update(self) -> None:
        """Include the model's current weights in the average. The recipe calls this after every update of the model."""
        ...

    def swapped(self) -> AbstractContextManager[None]:
        """Return a context manager. Within its context, the model has the averaged weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` needs, as tensors, scalars, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        ...


class Order(Protocol):
    """The `order` part of a recipe. It chooses the order in which a pool's examples are drawn."""

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
        """Restore a state that `state_dict` returned."""
        ...


class Replayer(Protocol):
    """The `replay` part of a recipe. It chooses the examples to store, and the stored examples to train on again."""

    def mix(self, fresh: Batch, replay: ReplayBuffer) -> Batch:
        """Return the batch to train on.

        Args:
            fresh: the newly drawn examples.
            replay: the replay buffer. This method may add examples to the buffer and sample from it.
        """
        ...
