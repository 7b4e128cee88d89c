"""Measures the memory of a run for its record."""

from __future__ import annotations

import resource
import sys
from typing import Any

import torch
from torch import Tensor, nn


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the GPU if the run uses one, otherwise of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB on Linux


def state_bytes(state: Any, model: nn.Module) -> int:
    """Return the size in bytes of the tensors in a submission's state.

    Tensors of the model are not counted, and tensors that share storage are counted once.
    """
    model_tensors = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}

    def add_tensors(value: Any) -> None:
        if isinstance(value, Tensor):
            if value.data_ptr() not in model_tensors:
                sizes[value.data_ptr()] = value.numel() * value.element_size()
        elif isinstance(value, dict):
            for item in value.values():
                add_tensors(item)
        elif isinstance(value, list | tuple):
            for item in value:
                add_tensors(item)

    add_tensors(state)
    return sum(sizes.values())
