"""Computes passes in parts: every rank computes its shard of a batch, one micro-batch at a time.

A submission always sees whole batches, whole losses and whole gradients (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute_in_backward

from harness.worker import rng, torch_errors
from harness.worker.data.batch import Batch
from harness.worker.distributed.collective_grad import GatherRows, WeightedMean
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.distributed.gradient_sync import GradientSync, average_over_ranks
from harness.worker.forward import ForwardPass
from harness.worker.pass_rng import PassId
from harness.worker.profiling import Profiler, timed
from harness.worker.protocols import Workload

#: In the first `RETRY_STEPS` updates, a pass that runs out of memory is computed again with a smaller
#: micro-batch. The optimizer allocates its state in the first update, so a pass of the second update needs more memory
#: than a pass of the first.
RETRY_STEPS = 2


def preferred_micro_batch(workload: Workload) -> int | None:
    """Return a workload's attribute `micro_batch`: the largest size of a micro-batch; None for no limit."""
    size: int | None = getattr(workload, "micro_batch", None)
    return size


class MicrobatchedPasses:
    """Computes passes in parts. With one rank and one micro-batch, the results equal those of `WholeBatchPasses`.

    `backward` averages gradients over ranks while it computes further gradients. `loss` and `outputs` return values for
    the whole batch. If the submission starts a backward pass from a returned value, the gradients are averaged over
    ranks at the end of that pass.

    Args:
        forward: computes losses and outputs of a micro-batch.
        group: the ranks (processes) of the run.
        micro_batch: largest number of examples in a micro-batch; None for no limit.
        warn: function that receives a message if the memory is too small for a pass.
        profiler: measures the phases of a step; None without profiling.
    """

    def __init__(
        self,
        forward: ForwardPass,
        *,
        group: ProcessGroup = SINGLE_PROCESS,
        micro_batch: int | None = None,
        warn: Callable[[str], None] = lambda text: None,
        profiler: Profiler | None = None,
    ) -> None:
        self.micro_batch = micro_batch
        self._forward = forward
        self._model = forward.model
        self._group = group
        self._warn = warn
        self._local_loss = timed(profiler, "forward", self._compute_local_loss)
        self._gradient_sync = GradientSync(self._model.parameters()) if group.count > 1 else None
        # With batch norm, no forward pass is recomputed, since this would update the running statistics a second time.
        self._has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self._model.modules())
        self._averaging_queued = False

    # --- passes ----------------------------------------------------------------------------------

    def backward(self, batch: Batch, scale: float, step: int) -> Tensor:
        local, _ = self._local_shard(batch)
        accumulate = self._retry_smaller_on_oom if self._may_retry_smaller(step) else self._accumulate
        return self._group.all_reduce_sum(accumulate(local, batch.n, scale, self._forward.rng.next_pass()))

    def _accumulate(self, local: Batch, n: int, scale: float, pass_id: PassId | None) -> Tensor:
        """Compute forward and backward passes over this rank's examples, one micro-batch at a time.

        Args:
            local: this rank's examples.
            n: number of examples of the whole batch.
            scale: factor on the gradient.
            pass_id: identifies the pass and determines its dropout masks; None if the pass is not seeded.

        Returns:
            This rank's contribution to the mean loss over all `n` examples, detached.
        """
        microbatches = list(self._microbatches(local))
        total: Tensor | None = None
        for index, microbatch in enumerate(microbatches):
            # A rank with an empty shard computes one example with weight 0, so that the rank takes part in averaging.
            weight = microbatch.n / n if len(self._local_rows(n)) else 0.0
            loss = self._local_loss(microbatch, False, pass_id, index)
            # The factor includes the number of ranks, since gradients are averaged over ranks and not summed.
            factor = weight * self._group.count * scale
            is_last = index + 1 == len(microbatches)
            with self._gradient_sync.overlapping() if is_last and self._gradient_sync is not None else nullcontext():
                (loss if factor == 1.0 else loss * factor).backward()  # type: ignore[no-untyped-call]
            part = loss.detach() if weight == 1.0 else loss.detach() * weight
            total = part if total is None else total + part
        assert total is not None
        return total

    def loss(self, batch: Batch, per_example: bool) -> Tensor:
        local, rows = self._local_shard(batch)
        local_loss = self._local_loss(local, per_example, self._forward.rng.next_pass())
        if self._group.count == 1:
            return local_loss
        if per_example:
            loss: Tensor = GatherRows.apply(local_loss[: len(rows)], self._group, batch.n)  # type: ignore[no-untyped-call]
        else:
            loss = WeightedMean.apply(local_loss, self._group, len(rows) / batch.n)  # type: ignore[no-untyped-call]
        self._average_after_backward(loss)
        return loss

    def outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        local, rows = self._local_shard(batch)
        local_outputs = self._forward.outputs(local, model)
        if self._group.count == 1:
            return local_outputs
        outputs: Tensor = GatherRows.apply(local_outputs[: len(rows)], self._group, batch.n)  # type: ignore[no-untyped-call]
        self._average_after_backward(outputs)
        return outputs

    def _compute_local_loss(self, batch: Batch, per_example: bool, pass_id: PassId | None, part: int = 0) -> Tensor:
        """Return the loss of this rank's examples, computed one micro-batch at a time.

        Args:
            batch: this rank's examples, or one micro-batch of them.
            per_example: whether to return the loss of each example.
            pass_id: see `_accumulate`.
            part: index of the micro-batch in the pass, if the batch is a micro-batch.
        """
        microbatches = list(self._microbatches(batch))
        if len(microbatches) == 1:
            return self._forward.partial_loss(batch, per_example, pass_id, part)
        losses = [
            self._checkpointed_forward(microbatch, per_example, pass_id, index)
            for index, microbatch in enumerate(microbatches)
        ]
        if per_example:
            return torch.cat(losses)
        return torch.stack(
            [loss * (microbatch.n / batch.n) for loss, microbatch in zip(losses, microbatches, strict=True)]
        ).sum()

    def _checkpointed_forward(self, microbatch: Batch, per_example: bool, pass_id: PassId | None, part: int) -> Tensor:
        """Return a micro-batch's loss without storing its activations, unless the model has batch norm.

        The backward pass recomputes the activations with the same dropout masks.
        """

        def forward() -> Tensor:
            return self._forward.partial_loss(microbatch, per_example, pass_id, part)

        if not torch.is_grad_enabled() or self._has_batch_norm:
            return forward()
        loss: Tensor = recompute_in_backward(forward, use_reentrant=False)
        return loss

    # --- examples --------------------------------------------------------------------------------

    def _local_rows(self, n: int) -> range:
        return self._group.shard.rows(n)

    def _local_shard(self, batch: Batch) -> tuple[Batch, range]:
        """Return the examples that this rank computes, and the indices of its rows in the batch.

        If there are fewer examples than ranks, this rank may have no rows. It then computes the first example of the
        batch, and the returned range is empty.
        """
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

    def _may_retry_smaller(self, step: int) -> bool:
        """Return whether an out-of-memory pass may be computed again with smaller micro-batches.

        There are three conditions:

        * The update is among the first `RETRY_STEPS`. Later, a new size would change rounding and speed in mid-run.
        * No parameter has a gradient before the pass. What an unfinished pass adds to a gradient cannot be removed.
        * There is only one rank. Several ranks must use the same size, which they choose in `warm_up`.
        """
        may_change_size = step < RETRY_STEPS and self._group.count == 1
        return may_change_size and all(p.grad is None for p in self._model.parameters())

    def _retry_smaller_on_oom(self, local: Batch, n: int, scale: float, pass_id: PassId | None) -> Tensor:
        """Call `_accumulate`. Whenever the memory is too small, halve the micro-batch and call `_accumulate` again."""
        rng_state = rng.rng_state()
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        while True:
            try:
                return self._accumulate(local, n, scale, pass_id)
            except RuntimeError as error:
                if not torch_errors.is_out_of_memory(error) or not self._halve_microbatch(local.n, error):
                    raise
            # In the `except` block, the error's traceback would keep the graph in memory. The memory is freed here.
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            self._clear_gradients()
            rng.set_rng_state(rng_state)
            if self._forward.device.type == "cuda":
                torch.cuda.empty_cache()

    def _halve_microbatch(self, n: int, error: BaseException) -> bool:
        """Halve the size of micro-batches. Return False if the size is 1 already."""
        previous_size = min(n, self.micro_batch or n)
        if previous_size == 1:
            return False
        self.micro_batch = (previous_size + 1) // 2
        self._warn(
            f"a pass over {previous_size:,} examples does not fit into the device's memory: passes now use at most "
            f"{self.micro_batch:,} examples ({torch_errors.first_line(error)})"
        )
        return True

    def warm_up(self, batch: Batch) -> None:
        """Make a first pass. Before it, several ranks choose a micro-batch size that fits into every rank's memory."""
        if self._group.count > 1:
            self._synchronize_microbatch_size(batch)
        self.backward(batch, 1.0, 0)

    def _synchronize_microbatch_size(self, batch: Batch) -> None:
        """Find the micro-batch size that fits into each rank's memory, and use the smallest size on all ranks."""
        local, _ = self._local_shard(batch)
        # Gradients are not averaged here, since the other ranks would wait for a rank whose pass fails.
        gradient_sync, self._gradient_sync = self._gradient_sync, None
        self._retry_smaller_on_oom(local, batch.n, 1.0, self._forward.rng.next_pass())
        self._gradient_sync = gradient_sync
        self._clear_gradients()
        local_size = min(local.n, self.micro_batch or local.n)
        smallest = -self._group.all_reduce_max(-local_size)
        if smallest < local_size:
            self.micro_batch = smallest
            self._warn(
                f"a pass over {local_size:,} examples does not fit into another rank's memory: passes now use at most "
                f"{smallest:,} examples"
            )

    def _clear_gradients(self) -> None:
        for parameter in self._model.parameters():
            parameter.grad = None

    # --- several ranks ---------------------------------------------------------------------------

    def _average_after_backward(self, root: Tensor) -> None:
        """Register a hook that averages gradients over ranks at the end of every backward pass from `root`."""

        def queue_averaging(gradient: Tensor) -> None:
            # A backward pass with several roots calls this hook several times.
            if not self._averaging_queued:
                self._averaging_queued = True
                torch.autograd.Variable._execution_engine.queue_callback(self._average_gradients)

        if root.requires_grad:
            root.register_hook(queue_averaging)  # type: ignore[no-untyped-call]

    def _average_gradients(self) -> None:
        """Average `.grad` over ranks at the end of a backward pass.

        Gradients that `.grad` contained before the pass are equal on all ranks, so averaging does not change them.
        """
        self._averaging_queued = False
        average_over_ranks([p.grad for p in self._model.parameters() if p.grad is not None])

    # --- checkpoints -----------------------------------------------------------------------------

    def rank_state(self) -> dict[str, Any] | None:
        return {"micro_batch": self.micro_batch}

    def load_rank_state(self, state: dict[str, Any]) -> None:
        # The warm-up of this process may have chosen a smaller size than the process that wrote the checkpoint.
        sizes = [size for size in (state["micro_batch"], self.micro_batch) if size is not None]
        self.micro_batch = min(sizes, default=None)
