"""Draws examples and computes forward and backward passes for the submission, and counts them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.worker import rng
from harness.worker.data.batch import Batch
from harness.worker.data.replay import ReplayBuffer
from harness.worker.data.source import BatchSource
from harness.worker.forward import ForwardPass
from harness.worker.pass_watch import PassWatch
from harness.worker.passes import Passes
from harness.worker.profiling import Profiler, timed
from harness.worker.rule import RuleChecker


class CountedWork:
    """Implements `harness.worker.protocols.Work`.

    * The methods `backward`, `loss` and `outputs` count their own forward passes. `backward` counts its backward pass.
    * A tensor hook on each returned loss or output counts the backward passes through the graph of this tensor.
    * A forward hook on the model counts the passes that a submission makes by calling the model directly.

    Args:
        forward: the model and its forward pass.
        source: the source of the training examples.
        passes: computes forward and backward passes.
        rules: provides the checks of draws, passes and steps.
        batch_size: number of examples of a draw that specifies no number.
        replay: the replay buffer of a stream; None if the workload has none.
        profiler: measures the phases of a step; None without profiling.

    Attributes:
        examples: number of examples drawn.
        gradient_examples: number of examples per backward pass, summed over backward passes.
        forward_examples: number of examples per forward pass, summed over forward passes.
        steps: number of updates.
        last_loss: the loss of the last pass, detached; None before the first pass.
        counting: whether direct calls of the model are counted, which is the case only during training.
    """

    def __init__(
        self,
        *,
        forward: ForwardPass,
        source: BatchSource,
        passes: Passes,
        rules: RuleChecker,
        batch_size: int,
        replay: ReplayBuffer | None = None,
        profiler: Profiler | None = None,
    ) -> None:
        self._forward = forward
        self._model = forward.model
        self._source = source
        self._passes = passes
        self._draw_checks = rules.draw_checks
        self._step_checks = rules.step_checks
        self._pass_checks = rules.pass_checks
        self._forward_checks = rules.forward_checks
        self._backward_checks = rules.backward_checks
        self._profiler = profiler
        self._draw_batch = timed(profiler, "data", source.draw)
        self._backward = timed(profiler, "backward", passes.backward)
        self.batch_size = batch_size
        self.replay = replay
        self.holdout = source.holdout
        self.examples = 0
        self.gradient_examples = 0
        self.forward_examples = 0
        self.steps = 0
        self.last_loss: Tensor | None = None
        self._losses: list[Tensor] = []
        self.counting = False
        self._drawn_in_step = 0
        self._forward_examples_before_step = 0
        self._model.register_forward_hook(self._count_direct_forward)
        self._watch = PassWatch(
            self._model, self._pass_checks, lambda: forward.running, is_permanent=not forward.compiles
        )

    @property
    def phases(self) -> dict[str, float]:
        """The wall seconds so far by phase of a step; empty without profiling."""
        return self._profiler.phases if self._profiler is not None else {}

    @property
    def micro_batch(self) -> int | None:
        """The largest number of examples that a device computes at once; None for no limit."""
        return self._passes.micro_batch

    def __deepcopy__(self, memo: dict[int, Any]) -> CountedWork:
        """Return this object itself, so that it also counts the calls of a copied model (a teacher, an average)."""
        return self

    # --- methods for the submission --------------------------------------------------------------

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        if indices is not None:
            n = len(indices)
        elif n is None:
            n = self.batch_size
        drawn_in_step = self._drawn_in_step + n
        for check in self._draw_checks:
            check(n, indices is not None, drawn_in_step)
        self._drawn_in_step = drawn_in_step
        self.examples += n
        return self._draw_batch(n, indices)

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        self._count_forward(batch.n)
        # This pass is counted without a hook, since a hook would cost a call from C++ to Python in every step.
        self.gradient_examples += batch.n
        for report in self._backward_checks:
            report(batch.n)
        self.last_loss = loss = self._backward(batch, scale, self.steps)
        for check in self._pass_checks:
            check()
        self._losses.append(loss)
        return loss

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        self._count_forward(batch.n)
        loss = self._passes.loss(batch, per_example)
        for check in self._pass_checks:
            check()
        self.last_loss = loss.detach()
        self._losses.append(self.last_loss)
        self._count_backward(loss, batch.n)
        return loss

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        self._count_forward(batch.n)
        with self._watch.watched_forward():
            outputs = self._passes.outputs(batch, self._model if model is None else model)
        for check in self._pass_checks:
            check()
        self._count_backward(outputs, batch.n)
        return outputs

    # --- counting --------------------------------------------------------------------------------

    def _count_forward(self, n: int) -> None:
        """Count `n` forward-examples."""
        self.forward_examples += n
        for report in self._forward_checks:
            report(n)

    def _count_backward(self, root: Tensor, n: int) -> None:
        """Count `n` gradient-examples for every backward pass through the graph of `root`."""

        def count(gradient: Tensor) -> None:
            self.gradient_examples += n
            for report in self._backward_checks:
                report(n)

        if root.requires_grad:
            root.register_hook(count)  # type: ignore[no-untyped-call]

    def _count_direct_forward(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Count a forward pass that the submission makes by calling the model directly."""
        if self._forward.running or not self.counting:
            return
        n = args[0].shape[0] if args and isinstance(args[0], Tensor) and args[0].ndim else self.batch_size
        self._count_forward(n)
        if isinstance(output, Tensor):
            self._count_backward(output, n)

    # --- methods for the training loop -----------------------------------------------------------

    def begin_evaluation(self) -> None:
        """Begin the context `eval_weights`. Examples that are drawn in this context do not count for a step."""
        self._drawn_in_step = 0
        self._watch.move()

    def begin_step(self) -> None:
        """Begin an update: reset the counts per step, and start the profiler."""
        self._drawn_in_step = 0
        self._forward_examples_before_step = self.forward_examples
        self._forward.rng.begin_step(self.steps)
        if self._profiler is not None:
            self._profiler.start("optimizer")

    def end_step(self) -> None:
        """End an update: stop the profiler, check the rules for the step, and count the update.

        Raises:
            RejectedError: the step broke a rule.
        """
        if self._profiler is not None:
            self._profiler.stop()
        for check in self._step_checks:
            check(self._drawn_in_step, self.forward_examples - self._forward_examples_before_step)
        self.steps += 1

    @contextmanager
    def pause_counting(self) -> Iterator[None]:
        """Return a context for the evaluations of the harness, in which direct calls of the model are not counted."""
        counting, self.counting = self.counting, False
        try:
            yield
        finally:
            self.counting = counting

    def take_mean_loss(self) -> float | None:
        """Return the mean loss of the passes since the last call; None if there was no pass.

        The losses are kept as tensors until this call, since the process must wait for the GPU to read their values.
        """
        losses, self._losses = self._losses, []
        means = [loss if loss.ndim == 0 else loss.mean() for loss in losses]
        return float(torch.stack([mean.float() for mean in means]).mean()) if means else None

    def charge(self, phase: str, seconds: float) -> None:
        """Add measured seconds to a phase. Without profiling, do nothing."""
        if self._profiler is not None:
            self._profiler.charge(phase, seconds)

    @property
    def needs_warm_up(self) -> bool:
        """Whether the first pass compiles or loads kernels and therefore takes longer than later passes."""
        return self._forward.needs_warm_up

    def warm_up_step(self) -> None:
        """Make a forward and a backward pass over random examples, and undo their effects. The clock must be stopped.

        The model's buffers, the position in the data, the RNG states and the counts are restored. The gradients are
        cleared.
        """
        state = copy.deepcopy(self.state_dict())
        rng_state = rng.rng_state()
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        self._passes.warm_up(self._source.random_batch(self.batch_size))
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for parameter in self._model.parameters():
            parameter.grad = None
        self.load_state_dict(state)
        rng.set_rng_state(rng_state)
        if self._profiler is not None:
            self._profiler.reset()

    def advance(self) -> None:
        """Advance to the stream's next stage."""
        self._source.advance()

    # --- checkpoints -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is equal on all ranks."""
        return {
            "position": self._source.state_dict(),
            "replay": self.replay.state_dict() if self.replay is not None else None,
            "examples": self.examples,
            "gradient_examples": self.gradient_examples,
            "forward_examples": self.forward_examples,
            "steps": self.steps,
            "seeds_passes": self._forward.rng.active,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._source.load_state_dict(state["position"])
        if self.replay is not None:
            self.replay.load_state_dict(state["replay"])
        self.examples = state["examples"]
        self.gradient_examples = state["gradient_examples"]
        self.forward_examples = state["forward_examples"]
        self.steps = state["steps"]
        self._forward.rng.active = state["seeds_passes"]

    def rank_state(self) -> dict[str, Any] | None:
        """Return the state that differs between ranks; None if there is no such state (one device, whole batches)."""
        return self._passes.rank_state()

    def load_rank_state(self, state: dict[str, Any]) -> None:
        self._passes.load_rank_state(state)
