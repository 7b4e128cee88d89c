"""The file of a run's final weights, and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from harness.system.files import write_atomically


def save_weights(model: nn.Module, path: Path) -> str:
    """Write parameters and buffers as safetensors.

    Returns:
        The SHA-256 of the file.

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
