"""Batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.worker.data.batch import Batch


def test_a_batch_refuses_unequal_fields() -> None:
    with pytest.raises(ValueError, match="first dimension"):
        Batch(x=torch.zeros(3), y=torch.zeros(4))


def test_a_batch_goes_to_a_gpu_through_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine can see of it: no copy from pageable memory, and none that is waited for."""
    pinned: list[Tensor] = []
    moved: list[tuple[bool, torch.device, bool]] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    def to(tensor: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        moved.append((any(tensor is copy for copy in pinned), device, non_blocking))
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", to)
    gpu = torch.device("cuda", 0)
    Batch(x=torch.zeros(3), y=torch.ones(3)).to(gpu)
    assert moved == [(True, gpu, True)] * 2
    moved.clear()
    Batch(x=torch.zeros(3)).to(torch.device("mps"))
    assert moved == [(False, torch.device("mps"), True)]
