"""Passes that are computed in parts: every rank takes its share of a batch, and every share a few examples at a time.

Whatever the number of parts, a submission sees whole batches, whole losses and whole gradients: docs/adr/0005.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute_in_backward

from harness.contract.run import RunSpec
from harness.worker import rng, torch_errors
from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream
from harness.worker.distributed.collective_grad import GatherRows, WeightedMean
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.distributed.gradient_sync import GradientSync, average
from harness.worker.protocols import Workload
from harness.worker.work import CountedWork

#: In so many updates a pass may be cut to what the memory holds: the second one has the optimizer's state beside it.
RETRY_STEPS = 2


def micro_batch(workload: Workload) -> int | None:
    """The most examples that a workload wants in one pass on one device; None leaves it to the memory."""
    size: int | None = getattr(workload, "micro_batch", None)
    return size


class MicrobatchedWork(CountedWork):
    """Counted work in parts; on one device and in one part it computes what `CountedWork` does.

    In `backward` ranks exchange gradients while others are still being computed. Graphs that are handed out (`loss`,
    `outputs`) carry the whole value, and gradients are averaged when the backward pass that a submission starts there
    ends.

    Args:
        spec, workload, model, data, device: as for `CountedWork`.
        group: the ranks of the run.
        warn: told when the memory did not suffice.
    """

    def __init__(
        self,
        spec: RunSpec,
        workload: Workload,
        model: nn.Module,
        data: Pool | Stream,
        device: torch.device,
        group: ProcessGroup = SINGLE_PROCESS,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__(spec, workload, model, data, device)
        self._group = group
        self._warn = warn
        self.micro_batch = micro_batch(workload)
        self._gradient_sync = GradientSync(model.parameters()) if group.count > 1 else None
        # Running statistics would move twice if a pass were computed twice.
        self._has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        self._reducing = False
        self._rank_rng_state = (
            _initial_rng_state(device, f"{spec.seeds.submission}/{group.rank}") if group.count > 1 else None
        )

    # --- passes ----------------------------------------------------------------------------------

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        self.forward_examples += batch.n
        self.gradient_examples += batch.n
        local, _ = self._local_shard(batch)
        loss = (self._retry_smaller_on_oom if self._may_retry_smaller else self._accumulate)(local, batch.n, scale)
        self.last_loss = loss = self._group.all_reduce_sum(loss)
        return loss

    def _accumulate(self, local: Batch, n: int, scale: float) -> Tensor:
        """Forward and backward over this rank's examples, piece by piece: its part of the mean loss over all `n`."""
        microbatches = list(self._microbatches(local))
        total: Tensor | None = None
        for at, microbatch in enumerate(microbatches):
            # A rank without examples of its own goes along with one that counts for nothing.
            share = microbatch.n / n if len(self._local_rows(n)) else 0.0
            loss = self._forward(microbatch, False)
            # Times the number of ranks, since gradients are averaged and not summed.
            factor = share * self._group.count * scale
            last = at + 1 == len(microbatches)
            with self._gradient_sync.overlapping() if last and self._gradient_sync is not None else nullcontext():
                (loss if factor == 1.0 else loss * factor).backward()  # type: ignore[no-untyped-call]
            part = loss.detach() if share == 1.0 else loss.detach() * share
            total = part if total is None else total + part
        assert total is not None
        return total

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        if self._group.count == 1:
            return super().loss(batch, per_example)
        self.forward_examples += batch.n
        local, rows = self._local_shard(batch)
        mine = self._forward(local, per_example)
        if per_example:
            loss: Tensor = GatherRows.apply(mine[: len(rows)], self._group, batch.n)  # type: ignore[no-untyped-call]
        else:
            loss = WeightedMean.apply(mine, self._group, len(rows) / batch.n)  # type: ignore[no-untyped-call]
        self.last_loss = loss.detach()
        if loss.requires_grad:
            loss.register_hook(self._on_backward(batch.n))  # type: ignore[no-untyped-call]
        return loss

    def _outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        if self._group.count == 1:
            return super()._outputs(batch, model)
        local, rows = self._local_shard(batch)
        with self._use_rank_rng():
            mine = super()._outputs(local, model)
        outputs: Tensor = GatherRows.apply(mine[: len(rows)], self._group, batch.n)  # type: ignore[no-untyped-call]
        return outputs

    def _forward(self, batch: Batch, per_example: bool) -> Tensor:
        """The loss of a batch in pieces. Where a graph is wanted, only one piece's activations exist at a time."""
        microbatches = list(self._microbatches(batch))
        if len(microbatches) == 1:
            return self._forward_microbatch(batch, per_example)
        losses = [self._checkpointed_forward(microbatch, per_example) for microbatch in microbatches]
        if per_example:
            return torch.cat(losses)
        return torch.stack(
            [loss * (microbatch.n / batch.n) for loss, microbatch in zip(losses, microbatches, strict=True)]
        ).sum()

    def _checkpointed_forward(self, microbatch: Batch, per_example: bool) -> Tensor:
        """A piece's loss, computed again in the backward pass, with the dropout that it had."""
        if not torch.is_grad_enabled() or self._has_batch_norm:
            return self._forward_microbatch(microbatch, per_example)
        began = self._rank_rng_state

        def forward() -> Tensor:
            now, self._rank_rng_state = self._rank_rng_state, began
            try:
                return self._forward_microbatch(microbatch, per_example)
            finally:
                # Also when torch has all it wants of the second time, and breaks it off.
                if now is not began:
                    self._rank_rng_state = now

        loss: Tensor = recompute_in_backward(forward, use_reentrant=False)
        return loss

    def _forward_microbatch(self, batch: Batch, per_example: bool) -> Tensor:
        with self._use_rank_rng():
            return super()._forward(batch, per_example)

    # --- examples --------------------------------------------------------------------------------

    def _local_rows(self, n: int) -> range:
        return self._group.shard.rows(n)

    def _local_shard(self, batch: Batch) -> tuple[Batch, range]:
        """This rank's examples of a batch, one at least, and the rows that are its own (none if there are too few)."""
        if self._group.count == 1:
            return batch, range(batch.n)
        rows = self._local_rows(batch.n)
        return (batch.rows(rows.start, rows.stop) if len(rows) else batch.rows(0, 1)), rows

    def _microbatches(self, batch: Batch) -> Iterator[Batch]:
        if self.micro_batch is None or batch.n <= self.micro_batch:
            yield batch
            return
        for start in range(0, batch.n, self.micro_batch):
            yield batch.rows(start, min(start + self.micro_batch, batch.n))

    # --- memory ----------------------------------------------------------------------------------

    @property
    def _may_retry_smaller(self) -> bool:
        """Whether a pass that the memory does not hold may be made again in smaller pieces.

        Only at the beginning, while the optimizer's state comes to be: a run whose passes are cut later would be
        another one from there on. And not where there are gradients already, since those of half a pass could not be
        told from them; nor on several ranks, which would have to agree (they do so before the run, in `warm_up_step`).
        """
        early = self.steps < RETRY_STEPS and self._group.count == 1
        return early and all(p.grad is None for p in self._model.parameters())

    def _retry_smaller_on_oom(self, local: Batch, n: int, scale: float) -> Tensor:
        """`_accumulate`, made again with half as many examples at a time for as long as the memory does not suffice."""
        randomness = rng.rng_state(), self._rank_rng_state
        buffers = [(b, b.clone()) for b in self._model.buffers()]
        while True:
            try:
                return self._accumulate(local, n, scale)
            except RuntimeError as error:
                if not torch_errors.is_out_of_memory(error) or not self._halve_microbatch(local.n, error):
                    raise
            # Outside the handler: the error's traceback holds on to the graph.
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            for parameter in self._model.parameters():
                parameter.grad = None
            rng.set_rng_state(randomness[0])
            self._rank_rng_state = randomness[1]
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _halve_microbatch(self, n: int, error: BaseException) -> bool:
        """Take half as many examples per pass from now on; False when it is one already."""
        before = min(n, self.micro_batch or n)
        if before == 1:
            return False
        self.micro_batch = (before + 1) // 2
        self._warn(
            f"the device's memory does not hold a pass over {before:,} examples: {self.micro_batch:,} at a time from "
            f"now on ({torch_errors.first_line(error)})"
        )
        return True

    def _run_warm_up(self, batch: Batch) -> None:
        if self._group.count > 1:
            self._synchronize_microbatch_size(batch)
        self.backward(batch)

    def _synchronize_microbatch_size(self, batch: Batch) -> None:
        """Cut passes on all ranks to what the smallest memory holds, found out by each for itself."""
        local, _ = self._local_shard(batch)
        # Without the exchange: a rank whose pass fails does not come to it, and the others would wait.
        exchange, self._gradient_sync = self._gradient_sync, None
        self._retry_smaller_on_oom(local, batch.n, 1.0)
        self._gradient_sync = exchange
        for parameter in self._model.parameters():
            parameter.grad = None
        mine = min(local.n, self.micro_batch or local.n)
        least = -self._group.all_reduce_max(-mine)
        if least < mine:
            self.micro_batch = least
            self._warn(f"the memory of another rank does not hold a pass over {mine:,} examples: {least:,} at a time")

    # --- several ranks ---------------------------------------------------------------------------

    def _on_backward(self, n: int) -> Callable[[Tensor], None]:
        count = self._count_gradients_of(n)
        if self._group.count == 1:
            return count

        def began(gradient: Tensor) -> None:
            count(gradient)
            # Once for a pass, however many roots it has.
            if not self._reducing:
                self._reducing = True
                torch.autograd.Variable._execution_engine.queue_callback(self._average_gradients)

        return began

    def _average_gradients(self) -> None:
        """At the end of a backward pass. What was in `.grad` before is equal on all ranks, and so is its own mean."""
        self._reducing = False
        average([p.grad for p in self._model.parameters() if p.grad is not None])

    @contextmanager
    def _use_rank_rng(self) -> Iterator[None]:
        """Inside, torch's generators are this rank's, so that dropout differs; outside, they are equal on all ranks.

        Whatever else is random in a step (augmentation, noise, an order) is therefore the same on every rank.
        """
        if self._rank_rng_state is None:
            yield
            return
        shared_state = _generator_states(self._device)
        _set_generator_states(self._device, self._rank_rng_state)
        try:
            yield
        finally:
            self._rank_rng_state = _generator_states(self._device)
            _set_generator_states(self._device, shared_state)

    def warm_up_step(self) -> None:
        before = copy.deepcopy(self._rank_rng_state)
        super().warm_up_step()
        self._rank_rng_state = before

    # --- checkpoints -----------------------------------------------------------------------------

    def rank_state(self) -> dict[str, Any]:
        """What differs between ranks."""
        return {"stream": self._rank_rng_state, "micro_batch": self.micro_batch}

    def load_rank_state(self, state: dict[str, Any]) -> None:
        self._rank_rng_state = state["stream"]
        # The rehearsal before a resumption may have found less memory than there was.
        sizes = [size for size in (state["micro_batch"], self.micro_batch) if size is not None]
        self.micro_batch = min(sizes, default=None)


def _initial_rng_state(device: torch.device, name: str) -> list[Tensor]:
    """States of the generators of a rank at the beginning."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1)
        return _generator_states(device)


def _generator_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_generator_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
