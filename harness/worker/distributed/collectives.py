"""Collective operations of the ranks of one run; a run on one device has a group of one, for which they do nothing."""

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
from harness.worker.distributed.gradient_sync import average_over_ranks

#: How long a rank waits for the others. Longer than any evaluation that rank 0 makes alone: the death of a rank is
#: noticed by the process that started it, not by this limit.
TIMEOUT = timedelta(hours=1)


class ProcessGroup:
    """The ranks of a run. This base class is a run on one device; `DistributedGroup` has the same methods for several.

    Attributes:
        rank: which rank this process is, from 0.
        count: number of ranks.
    """

    rank = 0
    count = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only one that writes files and emits events."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """This rank's part of whatever is divided among ranks."""
        return Shard(index=self.rank, count=self.count)

    def broadcast(self, payload: bytes) -> bytes:
        """Rank 0's payload, on every rank."""
        return payload

    def broadcast_tensor(self, tensor: Tensor) -> Tensor:
        """Rank 0's values of a tensor that has the same shape on every rank."""
        return tensor

    def all_gather_bytes(self, payload: bytes) -> list[bytes]:
        """Every rank's payload, by rank."""
        return [payload]

    def all_gather_rows(self, measured: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Every rank's rows of each tensor, concatenated in the order of ranks; on the CPU."""
        return measured

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, as a new tensor; queued on the device, not waited for."""
        return tensor

    def all_reduce_float(self, value: float) -> float:
        """The sum of a number over ranks."""
        return value

    def all_reduce_max(self, value: int) -> int:
        """The maximum of a number over ranks."""
        return value

    def average_buffers(self, model: nn.Module) -> None:
        """Replace running statistics, which every rank takes over its own examples, by their mean over ranks."""

    def close(self) -> None:
        """Leave the group."""


class DistributedGroup(ProcessGroup):
    """One rank of several. All ranks call its methods, in the same order.

    Args:
        rank, count: this rank, and the number of ranks.
        store: where the ranks find each other.
        device: of this rank.
    """

    def __init__(self, rank: int, count: int, store: Store, device: torch.device) -> None:
        self.rank = rank
        self.count = count
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)

    def broadcast(self, payload: bytes) -> bytes:
        size = torch.tensor([len(payload)])
        dist.broadcast(size, src=0)
        message = _as_tensor(payload) if self.first else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(message, src=0)
        return message.numpy().tobytes()

    def broadcast_tensor(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.broadcast(tensor, src=0)
        return tensor

    def all_gather_bytes(self, payload: bytes) -> list[bytes]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(payload)]))
        longest = max(int(size) for size in sizes)
        messages = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
        dist.all_gather(messages, nn.functional.pad(_as_tensor(payload), (0, longest - len(payload))))
        return [m[: int(size)].numpy().tobytes() for m, size in zip(messages, sizes, strict=True)]

    def all_gather_rows(self, measured: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        payload = to_bytes({name: tensor.cpu() for name, tensor in measured.items()})
        parts = [from_bytes(part) for part in self.all_gather_bytes(payload)]
        return {name: torch.cat([part[name] for part in parts]) for name in measured}

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    def all_reduce_float(self, value: float) -> float:
        return float(self.all_reduce_sum(torch.tensor(value, dtype=torch.float64)))

    def all_reduce_max(self, value: int) -> int:
        tensor = torch.tensor(value)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def average_buffers(self, model: nn.Module) -> None:
        with torch.no_grad():
            average_over_ranks([b for b in model.buffers() if b.is_floating_point()])

    def close(self) -> None:
        dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup()


def to_bytes(state: Any) -> bytes:
    """Tensors, scalars, strings, lists and dicts as bytes that `from_bytes` reads."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(payload: bytes) -> Any:
    """The value that `to_bytes` was given, on the CPU."""
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def _as_tensor(payload: bytes) -> Tensor:
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.empty(0, dtype=torch.uint8)
