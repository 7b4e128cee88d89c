"""The harness's side of a step: it hands out data, runs passes and counts both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker import rng
from harness.worker.compile_cache import uses_compiler
from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import Pool, SubsetPool
from harness.worker.data.prefetch import Prefetch, prefetchable
from harness.worker.data.replay import ReplayBuffer
from harness.worker.data.streams import Stream
from harness.worker.data.synthetic import random_like
from harness.worker.protocols import Workload

#: Share of the training data that is set apart for a submission that declares the need `holdout`.
HOLDOUT_SHARE = 1 / 16

#: Graphs that a loss may be compiled to.
_GRAPHS = 64


class CountedWork:
    """Implements `harness.worker.protocols.Work`.

    Passes made through this object are counted here, with a hook on the root of each graph for the backward;
    a hook on the module counts the passes that a submission makes past it.

    Args:
        spec: the trial.
        workload, model: what is trained; the model is the raw fp32 module.
        data: the training data.
        device: where the model lives.
    """

    def __init__(
        self, spec: RunSpec, workload: Workload, model: nn.Module, data: Pool | Stream, device: torch.device
    ) -> None:
        facts = spec.workload.facts
        self._workload = workload
        self._model = model
        self._device = device
        self._on_cpu = device.type == "cpu"
        self._compiles = uses_compiler(spec)
        self._eval_every = facts.eval_every
        self._batch_size = int(spec.hparams.get("batch_size", facts.batch_sizes[0]))
        self._autocast = _autocast(facts.precision.dtype, device)
        # The submission and the checkpoints see the raw module; only the harness's own call of the loss is compiled.
        self._loss = compiled(workload.loss) if self._compiles else workload.loss
        # Decided once: isinstance on a protocol is slow, and draw() is in the timed loop.
        self._stream: Stream | None = cast(Stream, data) if facts.access == "stream" else None
        self._pool: Pool | None = cast(Pool, data) if facts.access == "pool" else None
        self._generator = torch.Generator().manual_seed(spec.seeds.data)
        self.holdout: Pool | None = None
        if self._pool is not None:
            if "holdout" in spec.submission.needs:
                shuffled = torch.randperm(len(self._pool), generator=self._generator)
                cut = max(1, int(len(self._pool) * HOLDOUT_SHARE))
                self.holdout = SubsetPool(self._pool, shuffled[:cut])
                self._pool = SubsetPool(self._pool, shuffled[cut:])
            self._order = ShuffledOrder(len(self._pool), self._generator)
        # On the processor a thread would only take time from the step; nothing there waits for a copy.
        ahead = prefetchable(self._pool) and not self._on_cpu
        self._prefetch = Prefetch(cast(Pool, self._pool).gather, self._order, device) if ahead else None
        capacity = facts.replay_capacity
        self.replay = ReplayBuffer(capacity, spec.seeds.replay, device) if capacity else None
        self.examples = 0
        self.gradient_examples = 0
        self.forward_examples = 0
        self.steps = 0
        self.last_loss: Tensor | None = None
        self.phases: dict[str, float] = {}
        self.counting = False
        self._inside = False
        self._drawn_in_step = 0
        self._passes_before_step = 0
        model.register_forward_hook(self._count_direct_forward)

    @property
    def pool(self) -> Pool | None:
        """What the submission draws from (less the holdout); None on a stream."""
        return self._pool

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def __deepcopy__(self, memo: dict[int, Any]) -> CountedWork:
        """Itself: a copied model (a teacher, an average) keeps counting here, and copies no data."""
        return self

    # --- data ------------------------------------------------------------------------------------

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        if indices is not None:
            if self._pool is None:
                raise RejectedError("draw(indices=…) on a stream, whose order the workload owns")
            n = len(indices)
        elif n is None:
            n = self._batch_size
        if n < 1:
            raise RejectedError(f"draw({n}): a batch has at least one example")
        self.examples += n
        self._drawn_in_step += n
        if self._drawn_in_step > self._eval_every:
            raise RejectedError(
                f"one step drew {self._drawn_in_step} examples, more than the {self._eval_every} between evaluations"
            )
        if self._prefetch is not None and indices is None:
            return self._prefetch.take(n)
        if self._pool is not None:
            batch = self._pool.gather(self._order.take(n) if indices is None else indices)
        else:
            batch = self._source_stream.draw(n)
        return batch if self._on_cpu else batch.to(self._device)

    # --- passes ----------------------------------------------------------------------------------

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        self.forward_examples += batch.n
        loss = self._forward(batch, False)
        # Counted here and without a hook, which would cost a call from C++ into Python on every step.
        self.gradient_examples += batch.n
        (loss if scale == 1.0 else loss * scale).backward()  # type: ignore[no-untyped-call]
        self.last_loss = detached = loss.detach()
        return detached

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        self.forward_examples += batch.n
        loss = self._forward(batch, per_example)
        self.last_loss = loss.detach()
        if loss.requires_grad:
            loss.register_hook(self._on_backward(batch.n))  # type: ignore[no-untyped-call]
        return loss

    def _forward(self, batch: Batch, per_example: bool) -> Tensor:
        self._inside = True
        try:
            with self._autocast():
                return self._loss(self._model, batch, per_example)
        finally:
            self._inside = False

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        self.forward_examples += batch.n
        outputs = self._outputs(batch, self._model if model is None else model)
        if outputs.requires_grad:
            outputs.register_hook(self._on_backward(batch.n))  # type: ignore[no-untyped-call]
        return outputs

    def _outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        self._inside = True
        try:
            with self._autocast():
                return self._workload.outputs(model, batch)
        finally:
            self._inside = False

    def _on_backward(self, n: int) -> Callable[[Tensor], None]:
        """What happens when a backward pass begins at the root of a graph that was handed out."""
        return self._count_gradients_of(n)

    def _count_gradients_of(self, n: int) -> Callable[[Tensor], None]:
        def count(_: Tensor) -> None:
            self.gradient_examples += n

        return count

    def _count_direct_forward(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Count a pass that a submission made by calling the model itself."""
        if self._inside or not self.counting:
            return
        n = args[0].shape[0] if args and isinstance(args[0], Tensor) and args[0].ndim else self._batch_size
        self.forward_examples += n
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(self._count_gradients_of(n))  # type: ignore[no-untyped-call]

    # --- before the clock ------------------------------------------------------------------------

    @property
    def needs_warm_up(self) -> bool:
        """Whether the first pass costs what later ones do not: tracing, kernels, finding out what fits into memory."""
        return self._compiles or not self._on_cpu

    def warm_up_step(self) -> None:
        """One pass over random examples off the clock, after which model, data, randomness and counts are as before."""
        state = copy.deepcopy(self.state_dict())
        randomness = rng.rng_state()
        buffers = [(b, b.clone()) for b in self._model.buffers()]
        data = self._pool if self._stream is None else self._stream
        source = random_like(cast(Any, data), "pool" if self._stream is None else "stream")
        n = self._batch_size
        batch = source.gather(torch.arange(n) % len(source)) if isinstance(source, Pool) else source.draw(n)
        self._run_warm_up(batch.to(self._device))
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for parameter in self._model.parameters():
            parameter.grad = None
        self.last_loss = None
        self.load_state_dict(state)
        rng.set_rng_state(randomness)

    def _run_warm_up(self, batch: Batch) -> None:
        self.backward(batch)

    # --- bookkeeping -----------------------------------------------------------------------------

    def begin_step(self) -> None:
        self._drawn_in_step = 0
        self._passes_before_step = self.forward_examples

    def end_step(self) -> None:
        """Count an update.

        Raises:
            RejectedError: the step neither drew nor computed anything, so the run would never end.
        """
        if not self._drawn_in_step and self.forward_examples == self._passes_before_step:
            raise RejectedError("step() drew no data and made no pass over any")
        self.steps += 1

    def charge(self, phase: str, seconds: float) -> None:
        """Book seconds under a phase, when the run is profiled."""

    def advance(self) -> None:
        """Go on to the stream's next stage."""
        self._source_stream.advance()

    @property
    def _source_stream(self) -> Stream:
        assert self._stream is not None, "a pool has no stages"
        return self._stream

    def state_dict(self) -> dict[str, Any]:
        position = self._order if self._stream is None else self._stream
        return {
            "position": position.state_dict(),
            "replay": self.replay.state_dict() if self.replay is not None else None,
            "examples": self.examples,
            "gradient_examples": self.gradient_examples,
            "forward_examples": self.forward_examples,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        position = self._order if self._stream is None else self._stream
        position.load_state_dict(state["position"])
        if self.replay is not None:
            self.replay.load_state_dict(state["replay"])
        self.examples = state["examples"]
        self.gradient_examples = state["gradient_examples"]
        self.forward_examples = state["forward_examples"]
        self.steps = state["steps"]


def compiled(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss as one graph per shape of a batch (and per set of parameters that are trained)."""
    # Torch gives up on a function after eight, which a batch size that grows in steps may need.
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, _GRAPHS)
    return torch.compile(loss, fullgraph=True, dynamic=False)


def _autocast(dtype: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    if dtype == "float32":
        return nullcontext
    kind = {"bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
    return lambda: torch.autocast(device.type, kind)
