"""Writes a run's final weights to a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from harness.system.files import write_atomically


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's parameters and buffers by name, in the order in which they are stored.

    A tied tensor is stored under only one of its names, since safetensors rejects tensors that share memory.
    """
    stored_pointers: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.numel() and tensor.data_ptr() in stored_pointers:
            continue
        stored_pointers.add(tensor.data_ptr())
        tensors[name] = tensor.detach()
    return tensors


def save_weights(model: nn.Module, path: Path) -> str:
    """Write the model's parameters and buffers as safetensors. Models with equal names and values give equal files.

    Returns:
        SHA-256 of the file, as hexadecimal digits.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in stored_tensors(model).items()}
    payload = safetensors.torch.save(tensors)
    write_atomically(path, payload)
    return hashlib.sha256(payload).hexdigest()
