"""Collective operations among the ranks (processes) of one run. In a group of one rank, they change nothing."""

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

#: How long a rank waits for the other ranks. This must be longer than any evaluation that rank 0 makes alone. The
#: timeout is not needed to detect dead ranks: rank 0 is the parent process of the other ranks, and detects their end.
TIMEOUT = timedelta(hours=1)


class ProcessGroup:
    """The group of a run with one rank. The subclass `DistributedGroup` is for a run with several ranks.

    Attributes:
        rank: index of this process among the ranks, from 0.
        count: number of ranks.
    """

    rank = 0
    count = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only rank that writes files and emits events."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """The part of the examples that this rank computes."""
        return Shard(index=self.rank, count=self.count)

    def broadcast(self, payload: bytes) -> bytes:
        """Return rank 0's payload."""
        return payload

    def broadcast_tensor(self, tensor: Tensor) -> Tensor:
        """Return rank 0's tensor, which must have the same shape on every rank."""
        return tensor

    def all_gather_bytes(self, payload: bytes) -> list[bytes]:
        """Return the payloads of all ranks, in the order of ranks."""
        return [payload]

    def all_gather_rows(self, measured: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors by name, with the rows of all ranks concatenated in the order of ranks.

        With several ranks, the returned tensors are on the CPU.
        """
        return measured

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over ranks, without waiting for the device."""
        return tensor

    def all_reduce_float(self, value: float) -> float:
        """Return the sum of a number over ranks."""
        return value

    def all_reduce_max(self, value: int) -> int:
        """Return the maximum of a number over ranks."""
        return value

    def average_buffers(self, model: nn.Module) -> None:
        """Replace the model's floating-point buffers by their means over ranks.

        Such buffers are, for example, running statistics, which each rank computes from its own examples.
        """

    def close(self) -> None:
        """Leave the group."""


class DistributedGroup(ProcessGroup):
    """The group of a run with several ranks. All ranks must call the methods in the same order.

    Args:
        rank: index of this rank, from 0.
        count: number of ranks.
        store: the key-value store through which the ranks connect.
        device: this rank's device.
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


#: The group of a run with one rank.
SINGLE_PROCESS = ProcessGroup()


def to_bytes(state: Any) -> bytes:
    """Serialize an object that consists of tensors, scalars, strings, lists and dicts."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(payload: bytes) -> Any:
    """Deserialize the result of `to_bytes`. The tensors are placed on the CPU."""
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def _as_tensor(payload: bytes) -> Tensor:
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.empty(0, dtype=torch.uint8)
