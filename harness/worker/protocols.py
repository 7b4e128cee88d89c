"""What a workload and a submission must offer, and what a submission is given."""

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
    """Model, data, loss and evaluation. The class is called with its entry's `arguments` as keywords."""

    facts: WorkloadFacts

    def build_model(self, seed: int, **options: Any) -> nn.Module:
        """A fresh model on the CPU in fp32; equal seeds and options give equal weights."""
        ...

    def parameter_kinds(self, model: nn.Module) -> Mapping[str, Kind]:
        """The kind of every parameter by its name in `named_parameters()` (tied ones once)."""
        ...

    def train_data(self, seed: int) -> Pool | Stream:
        """The training data; the seed may decide what is generated, never how it is ordered (on a pool)."""
        ...

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        """Mean loss over the batch (a scalar), or the loss of each example (shape (n,))."""
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model says of a batch (logits), leading dimension n."""
        ...

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        """Metrics on a held-out split. Called with the model in eval mode, gradients off, RNG restored afterwards.

        Args:
            stage: on a stream, the current stage; metrics then cover all stages seen.
        """
        ...


@runtime_checkable
class Sharded(Protocol):
    """A workload whose evaluation may be shared out among ranks; `evaluate` is then `metrics` of the whole's `measure`.

    What is exchanged are values per example, so that means, spreads and whatever else `metrics` makes of them do not
    depend on the number of ranks. A workload without these two methods is evaluated by rank 0 alone.
    """

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = ..., stage: int | None = None
    ) -> Mapping[str, Tensor]:
        """Named values of every example of a shard, in its order: tensors whose leading dimension is the examples."""
        ...

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """The metrics, from what was measured on all examples."""
        ...


@runtime_checkable
class Submission(Protocol):
    """Everything a training algorithm decides. The class is called with (model, task, hparams)."""

    def __init__(self, model: nn.Module, task: Task, hparams: HParams) -> None: ...

    def step(self, work: Work) -> None:
        """Make one update."""
        ...

    def eval_weights(self) -> AbstractContextManager[None]:
        """While it is open the model holds the weights to evaluate (EMA, SWA …); timed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors, scalars, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable tensor with its name and kind."""

    name: str
    tensor: nn.Parameter
    kind: Kind


@dataclass(kw_only=True)
class Task:
    """What a submission may know of the run.

    Args:
        parameters: every trainable tensor with its kind.
        horizon: examples the run may draw; None when the ruleset hides it.
        horizon_is_cap: on a stream the horizon is the sum of the stages' caps, not a plan.
        batch_size: examples per update.
        tokens_per_example: tokens in an example (1 for images).
        device: where the model lives.
        rng: the submission's own source of randomness (CPU generator), checkpointed by the harness.
        scores: the pool's per-example scores, empty where there are none.
        pool_size: number of examples in the pool; None on a stream.
        feedback: metrics on the feedback split, one entry per evaluation so far, (examples, metrics);
            empty unless the submission declares the need `feedback`.
        task_index: current stage of a stream whose boundaries are visible; otherwise None.
        task_began: examples drawn when that stage began.
        task_horizon: fresh examples that stage may draw; None when boundaries or the horizon are hidden.
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
    """The harness's side of a step: it counts everything and hides devices."""

    replay: ReplayBuffer | None
    holdout: Pool | None

    @property
    def examples(self) -> int:
        """Fresh examples drawn so far."""
        ...

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        """`n` fresh examples (default: the batch size), or those at `indices` of a pool."""
        ...

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        """Counted forward and backward of the mean loss times `scale` into `.grad`; returns the loss, detached."""
        ...

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        """Counted forward, graph kept."""
        ...

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """Counted forward of the model, or of a frozen copy of it."""
        ...


class Averager(Protocol):
    """The `averaging` part of a recipe: other weights for evaluation than for training.

    It averages parameters only and writes them in place: an optimizer may hold views of them. Statistics of batch
    norm are the recipe's, which takes them anew for the weights that are evaluated.
    """

    def update(self) -> None:
        """Called after every update."""
        ...

    def swapped(self) -> AbstractContextManager[None]:
        """While open, the model holds the averaged weights."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Order(Protocol):
    """The `order` part of a recipe: which examples of a pool come next."""

    def take(self, n: int, examples: int) -> Tensor:
        """The next `n` indices (int64, shape (n,)) after `examples` drawn."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Replayer(Protocol):
    """The `replay` part of a recipe: what is replayed beside fresh examples, and what is kept."""

    def mix(self, fresh: Batch, replay: ReplayBuffer) -> Batch:
        """The batch to train on; may add to and sample from the buffer."""
        ...
