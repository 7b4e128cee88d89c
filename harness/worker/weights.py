"""Weights on disk and their fingerprints; memory, as a record states it."""

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from harness.system.files import write_atomically


def save(model: nn.Module, path: Path) -> str:
    """Write parameters and buffers as safetensors; the SHA-256 of the file.

    The file is a function of names and values alone, so equal weights give equal hashes.
    """
    # A tied tensor stands under one name only: safetensors refuses shared memory.
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.numel() and tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        tensors[name] = tensor.detach().cpu().contiguous()
    payload = safetensors.torch.save(tensors)
    write_atomically(path, payload)
    return hashlib.sha256(payload).hexdigest()


def peak_memory(device: torch.device) -> int:
    """Most bytes held at once: of the device's allocator on a GPU, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def state_bytes(state: Any, model: nn.Module) -> int:
    """Bytes of the tensors in a submission's state, the model's own excepted and shared memory counted once."""
    own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Tensor):
            if value.data_ptr() not in own:
                found[value.data_ptr()] = value.numel() * value.element_size()
        elif isinstance(value, dict):
            for item in value.values():
                visit(item)
        elif isinstance(value, list | tuple):
            for item in value:
                visit(item)

    visit(state)
    return sum(found.values())
