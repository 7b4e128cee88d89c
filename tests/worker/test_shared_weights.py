"""Weights cross from one process to the other bit for bit, and no other bytes do."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import nn

from harness.errors import RejectedError
from harness.worker.shared_weights import SharedWeights


class Mixed(nn.Module):
    """A model with a tied tensor, an empty one, and buffers of several types."""

    mask: torch.Tensor
    empty: torch.Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(3)
        self.narrow = nn.Parameter(torch.randn(5).to(torch.bfloat16))
        self.register_buffer("mask", torch.rand(9) > 0.5)
        self.register_buffer("empty", torch.zeros(0, 4))


def pair() -> tuple[SharedWeights, SharedWeights]:
    """The evaluator's end and the worker's end."""
    evaluator = SharedWeights(Mixed(0))
    return evaluator, SharedWeights(Mixed(0), os.dup(evaluator.descriptor))


def test_every_parameter_and_buffer_arrives() -> None:
    reader, writer = pair()
    trained, target = Mixed(1), Mixed(0)
    with torch.no_grad():
        trained.norm.running_mean.fill_(float("nan"))  # type: ignore[union-attr]
        trained.norm.num_batches_tracked.fill_(12)  # type: ignore[union-attr]
    writer.write(trained)
    reader.read(target)
    for name, value in trained.state_dict().items():
        assert torch.equal(target.state_dict()[name].nan_to_num(7.0), value.nan_to_num(7.0)), name
    assert target.head.weight is target.embedding.weight


def test_what_is_read_stays_when_the_memory_changes() -> None:
    reader, writer = pair()
    target = Mixed(0)
    writer.write(Mixed(1))
    reader.read(target)
    before = target.narrow.clone()
    writer.write(Mixed(2))
    assert torch.equal(target.narrow, before)


def test_any_bytes_are_weights_of_the_known_shapes() -> None:
    reader, _ = pair()
    size = os.fstat(reader.descriptor).st_size
    os.pwrite(reader.descriptor, b"\xff" * size, 0)
    target = Mixed(0)
    reader.read(target)
    assert target.mask.all()
    assert int(target.mask.sum()) == 9
    assert {n: t.shape for n, t in target.state_dict().items()} == {
        n: t.shape for n, t in Mixed(0).state_dict().items()
    }


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can seal memory")
def test_the_worker_cannot_shrink_the_memory() -> None:
    reader, _ = pair()
    with pytest.raises(PermissionError):
        os.ftruncate(reader.descriptor, 0)


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes instead of"):
        SharedWeights(nn.Linear(100, 100), SharedWeights(nn.Linear(2, 2)).descriptor)


@pytest.mark.parametrize("change", ["shape", "dtype", "missing"])
def test_a_changed_model_is_rejected_by_name(change: str) -> None:
    _, writer = pair()
    model: Any = Mixed(1)
    if change == "shape":
        model.narrow = nn.Parameter(torch.zeros(6, dtype=torch.bfloat16))
    elif change == "dtype":
        model.narrow = nn.Parameter(torch.zeros(5))
    else:
        del model.narrow
    with pytest.raises(RejectedError, match="narrow"):
        writer.write(model)
