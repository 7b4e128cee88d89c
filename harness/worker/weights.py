"""Writes a run's final weights to a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from harness.system.files import write_atomically


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's parameters and buffers by name, in the order in which they are stored.

    A tied tensor, which has several names, is stored under only one of them. Tensors that share only a part of their
    memory are all stored.
    """
    stored: set[tuple[object, ...]] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in sorted(model.state_dict().items()):
        key = tensor.data_ptr(), tensor.shape, tensor.stride()
        if tensor.numel() and key in stored:
            continue
        stored.add(key)
        tensors[name] = tensor.detach()
    return tensors


def save_weights(model: nn.Module, path: Path) -> str:
    """Write the model's parameters and buffers as safetensors. Models with equal names and values give equal files.

    Returns:
        SHA-256 of the file, as hexadecimal digits.
    """
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, stored in stored_tensors(model).items():
        tensor = stored.cpu().contiguous()
        # safetensors rejects tensors that share memory.
        storage = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    payload = safetensors.torch.save(tensors)
    write_atomically(path, payload)
    return hashlib.sha256(payload).hexdigest()
