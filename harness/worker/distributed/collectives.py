"""The ranks of one run: what they agree on, sum, gather, and must hold in common."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store

from harness.contract.workload import Shard
from harness.errors import RejectedError
from harness.worker.distributed.gradient_sync import average

#: A rank waits for the others for so long. Longer than any evaluation that rank 0 makes alone: that a rank has died is
#: seen by whoever started it, not by this.
PATIENCE = timedelta(hours=1)
#: Weights may differ between ranks by this share of their own size: rounding, where kernels are not deterministic.
DRIFT = 1e-3


class ProcessGroup:
    """A run on one device: there is nothing to agree on. The base of `CombinedWatcher`, with the same methods."""

    rank = 0
    count = 1

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """This rank's part of whatever is divided."""
        return Shard(index=self.rank, count=self.count)

    def broadcast(self, payload: bytes) -> bytes:
        """What rank 0 says."""
        return payload

    def all_gather_bytes(self, payload: bytes) -> list[bytes]:
        """What every rank says, by rank."""
        return [payload]

    def all_reduce_total(self, value: float) -> float:
        """The sum over ranks."""
        return value

    def all_reduce_max(self, value: int) -> int:
        """The maximum over ranks."""
        return value

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, a new tensor; queued on the device, not waited for."""
        return tensor

    def all_gather_rows(self, measured: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Measurements of every rank's examples, one after the other in the order of ranks; on the CPU."""
        return measured

    def average_buffers(self, model: nn.Module) -> None:
        """Make running statistics, which every rank takes over its own examples, the mean over ranks."""

    def require_equal(self, model: nn.Module) -> None:
        """See that every rank holds the same weights.

        Raises:
            RejectedError: on every rank; names the tensor that differs most.
        """

    def close(self) -> None:
        """Leave the group."""


class CombinedWatcher(ProcessGroup):
    """One rank of several; its methods are called by all ranks in the same order.

    Args:
        rank, count: which one of how many.
        store: where they find each other.
        device: of this rank.
    """

    def __init__(self, rank: int, count: int, store: Store, device: torch.device) -> None:
        self.rank = rank
        self.count = count
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)

    def broadcast(self, payload: bytes) -> bytes:
        size = torch.tensor([len(payload)])
        dist.broadcast(size, src=0)
        message = _tensor(payload) if self.first else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(message, src=0)
        return message.numpy().tobytes()

    def all_gather_bytes(self, payload: bytes) -> list[bytes]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(payload)]))
        longest = max(int(size) for size in sizes)
        messages = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
        dist.all_gather(messages, nn.functional.pad(_tensor(payload), (0, longest - len(payload))))
        return [m[: int(size)].numpy().tobytes() for m, size in zip(messages, sizes, strict=True)]

    def all_reduce_total(self, value: float) -> float:
        return float(self.all_reduce_sum(torch.tensor(value, dtype=torch.float64)))

    def all_reduce_max(self, value: int) -> int:
        tensor = torch.tensor(value)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    def all_gather_rows(self, measured: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        parts = [
            from_bytes(said) for said in self.all_gather_bytes(to_bytes({k: t.cpu() for k, t in measured.items()}))
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in measured}

    def average_buffers(self, model: nn.Module) -> None:
        with torch.no_grad():
            average([b for b in model.buffers() if b.is_floating_point()])

    def require_equal(self, model: nn.Module) -> None:
        # Rank 0's, tensor by tensor, so that one more of them is held and not one more model.
        worst, name = 0.0, ""
        with torch.no_grad():
            for key, value in (*model.named_parameters(), *model.named_buffers()):
                theirs = value.detach().clone()
                dist.broadcast(theirs, src=0)
                apart = 0.0 if torch.equal(theirs, value) else _relative_difference(theirs, value)
                if apart > worst:
                    worst, name = apart, key
        found = [text.decode().partition(" ") for text in self.all_gather_bytes(f"{worst!r} {name}".encode())]
        rank, (apart_, _, name) = max(enumerate(found), key=lambda entry: float(entry[1][0]))
        if float(apart_) > DRIFT:
            raise RejectedError(
                f"{name} differs by {float(apart_):.2g} of its size between rank 0 and rank {rank}",
                fix="what a step computes must be equal on every rank: gradients come from work.backward or from "
                "backward() of what work.loss returned, not from autograd.grad (needs={'raw-grad'} says so)",
            )

    def close(self) -> None:
        dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup()


def to_bytes(state: Any) -> bytes:
    """Plain state as bytes that `from_bytes` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(payload: bytes) -> Any:
    """What `to_bytes` was given, on the CPU."""
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def _tensor(payload: bytes) -> Tensor:
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.empty(0, dtype=torch.uint8)


def _relative_difference(a: Tensor, b: Tensor) -> float:
    """The largest difference as a share of the first one's root mean square."""
    a, b = a.double(), b.double()
    scale = float(a.square().mean().sqrt()) or 1.0
    apart = float((a - b).abs().max()) / scale
    # Not a number on both sides is a divergence, which has a status of its own; on one side it is drift.
    return apart if apart == apart else (0.0 if torch.equal(a.isnan(), b.isnan()) else float("inf"))
