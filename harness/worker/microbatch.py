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
from torch.utils.checkpoint import checkpoint as recomputed

from harness.contract.run import RunSpec
from harness.worker import rng, torch_errors
from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream
from harness.worker.distributed.collective_grad import _Everyones, _Mean
from harness.worker.distributed.collectives import ALONE, Group
from harness.worker.distributed.gradient_sync import Exchange, average
from harness.worker.protocols import Workload
from harness.worker.work import CountedWork

#: In so many updates a pass may be cut to what the memory holds: the second one has the optimizer's state beside it.
FITTING_STEPS = 2


def micro_batch(workload: Workload) -> int | None:
    """The most examples that a workload wants in one pass on one device; None leaves it to the memory."""
    size: int | None = getattr(workload, "micro_batch", None)
    return size


class PartedWork(CountedWork):
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
        group: Group = ALONE,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__(spec, workload, model, data, device)
        self._group = group
        self._warn = warn
        self.micro_batch = micro_batch(workload)
        self._exchange = Exchange(model.parameters()) if group.count > 1 else None
        # Running statistics would move twice if a pass were computed twice.
        self._keeps_statistics = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        self._reducing = False
        self._stream_of_rank = _stream(device, f"{spec.seeds.submission}/{group.rank}") if group.count > 1 else None

    # --- passes ----------------------------------------------------------------------------------

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        self.forward_examples += batch.n
        self.gradient_examples += batch.n
        own, _ = self._own(batch)
        loss = (self._fitted if self._fits_yet else self._accumulate)(own, batch.n, scale)
        self.last_loss = loss = self._group.summed(loss)
        return loss

    def _accumulate(self, own: Batch, n: int, scale: float) -> Tensor:
        """Forward and backward over this rank's examples, piece by piece: its part of the mean loss over all `n`."""
        pieces = list(self._pieces(own))
        total: Tensor | None = None
        for at, piece in enumerate(pieces):
            # A rank without examples of its own goes along with one that counts for nothing.
            share = piece.n / n if len(self._group_rows(n)) else 0.0
            loss = self._forward(piece, False)
            # Times the number of ranks, since gradients are averaged and not summed.
            factor = share * self._group.count * scale
            last = at + 1 == len(pieces)
            with self._exchange.during() if last and self._exchange is not None else nullcontext():
                (loss if factor == 1.0 else loss * factor).backward()  # type: ignore[no-untyped-call]
            part = loss.detach() if share == 1.0 else loss.detach() * share
            total = part if total is None else total + part
        assert total is not None
        return total

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        if self._group.count == 1:
            return super().loss(batch, per_example)
        self.forward_examples += batch.n
        own, rows = self._own(batch)
        mine = self._forward(own, per_example)
        if per_example:
            loss: Tensor = _Everyones.apply(mine[: len(rows)], self._group, batch.n)  # type: ignore[no-untyped-call]
        else:
            loss = _Mean.apply(mine, self._group, len(rows) / batch.n)  # type: ignore[no-untyped-call]
        self.last_loss = loss.detach()
        if loss.requires_grad:
            loss.register_hook(self._on_backward(batch.n))  # type: ignore[no-untyped-call]
        return loss

    def _outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        if self._group.count == 1:
            return super()._outputs(batch, model)
        own, rows = self._own(batch)
        with self._own_randomness():
            mine = super()._outputs(own, model)
        outputs: Tensor = _Everyones.apply(mine[: len(rows)], self._group, batch.n)  # type: ignore[no-untyped-call]
        return outputs

    def _forward(self, batch: Batch, per_example: bool) -> Tensor:
        """The loss of a batch in pieces. Where a graph is wanted, only one piece's activations exist at a time."""
        pieces = list(self._pieces(batch))
        if len(pieces) == 1:
            return self._forward_piece(batch, per_example)
        losses = [self._slim(piece, per_example) for piece in pieces]
        if per_example:
            return torch.cat(losses)
        return torch.stack([loss * (piece.n / batch.n) for loss, piece in zip(losses, pieces, strict=True)]).sum()

    def _slim(self, piece: Batch, per_example: bool) -> Tensor:
        """A piece's loss, computed again in the backward pass, with the dropout that it had."""
        if not torch.is_grad_enabled() or self._keeps_statistics:
            return self._forward_piece(piece, per_example)
        began = self._stream_of_rank

        def forward() -> Tensor:
            now, self._stream_of_rank = self._stream_of_rank, began
            try:
                return self._forward_piece(piece, per_example)
            finally:
                # Also when torch has all it wants of the second time, and breaks it off.
                if now is not began:
                    self._stream_of_rank = now

        loss: Tensor = recomputed(forward, use_reentrant=False)
        return loss

    def _forward_piece(self, batch: Batch, per_example: bool) -> Tensor:
        with self._own_randomness():
            return super()._forward(batch, per_example)

    # --- examples --------------------------------------------------------------------------------

    def _group_rows(self, n: int) -> range:
        return self._group.shard.rows(n)

    def _own(self, batch: Batch) -> tuple[Batch, range]:
        """This rank's examples of a batch, one at least, and the rows that are its own (none if there are too few)."""
        if self._group.count == 1:
            return batch, range(batch.n)
        rows = self._group_rows(batch.n)
        return (batch.rows(rows.start, rows.stop) if len(rows) else batch.rows(0, 1)), rows

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        if self.micro_batch is None or batch.n <= self.micro_batch:
            yield batch
            return
        for start in range(0, batch.n, self.micro_batch):
            yield batch.rows(start, min(start + self.micro_batch, batch.n))

    # --- memory ----------------------------------------------------------------------------------

    @property
    def _fits_yet(self) -> bool:
        """Whether a pass that the memory does not hold may be made again in smaller pieces.

        Only at the beginning, while the optimizer's state comes to be: a run whose passes are cut later would be
        another one from there on. And not where there are gradients already, since those of half a pass could not be
        told from them; nor on several ranks, which would have to agree (they do so before the run, in `rehearse`).
        """
        early = self.steps < FITTING_STEPS and self._group.count == 1
        return early and all(p.grad is None for p in self._model.parameters())

    def _fitted(self, own: Batch, n: int, scale: float) -> Tensor:
        """`_accumulate`, made again with half as many examples at a time for as long as the memory does not suffice."""
        randomness = rng.rng_state(), self._stream_of_rank
        buffers = [(b, b.clone()) for b in self._model.buffers()]
        while True:
            try:
                return self._accumulate(own, n, scale)
            except RuntimeError as error:
                if not torch_errors.out_of_memory(error) or not self._halve(own.n, error):
                    raise
            # Outside the handler: the error's traceback holds on to the graph.
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            for parameter in self._model.parameters():
                parameter.grad = None
            rng.set_rng_state(randomness[0])
            self._stream_of_rank = randomness[1]
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _halve(self, n: int, error: BaseException) -> bool:
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

    def _rehearsed(self, batch: Batch) -> None:
        if self._group.count > 1:
            self._agree_on_size(batch)
        self.backward(batch)

    def _agree_on_size(self, batch: Batch) -> None:
        """Cut passes on all ranks to what the smallest memory holds, found out by each for itself."""
        own, _ = self._own(batch)
        # Without the exchange: a rank whose pass fails does not come to it, and the others would wait.
        exchange, self._exchange = self._exchange, None
        self._fitted(own, batch.n, 1.0)
        self._exchange = exchange
        for parameter in self._model.parameters():
            parameter.grad = None
        mine = min(own.n, self.micro_batch or own.n)
        least = -self._group.largest(-mine)
        if least < mine:
            self.micro_batch = least
            self._warn(f"the memory of another rank does not hold a pass over {mine:,} examples: {least:,} at a time")

    # --- several ranks ---------------------------------------------------------------------------

    def _on_backward(self, n: int) -> Callable[[Tensor], None]:
        count = self._counter(n)
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
    def _own_randomness(self) -> Iterator[None]:
        """Inside, torch's generators are this rank's, so that dropout differs; outside, they are equal on all ranks.

        Whatever else is random in a step (augmentation, noise, an order) is therefore the same on every rank.
        """
        if self._stream_of_rank is None:
            yield
            return
        everyones = _generators(self._device)
        _set_generators(self._device, self._stream_of_rank)
        try:
            yield
        finally:
            self._stream_of_rank = _generators(self._device)
            _set_generators(self._device, everyones)

    def rehearse(self) -> None:
        before = copy.deepcopy(self._stream_of_rank)
        super().rehearse()
        self._stream_of_rank = before

    # --- checkpoints -----------------------------------------------------------------------------

    def rank_state(self) -> dict[str, Any]:
        """What differs between ranks."""
        return {"stream": self._stream_of_rank, "micro_batch": self.micro_batch}

    def load_rank_state(self, state: dict[str, Any]) -> None:
        self._stream_of_rank = state["stream"]
        # The rehearsal before a resumption may have found less memory than there was.
        sizes = [size for size in (state["micro_batch"], self.micro_batch) if size is not None]
        self.micro_batch = min(sizes, default=None)


def _stream(device: torch.device, name: str) -> list[Tensor]:
    """States of the generators of a rank at the beginning."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1)
        return _generators(device)


def _generators(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_generators(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
