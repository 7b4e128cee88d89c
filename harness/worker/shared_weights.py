"""Passes the weights of a model from the worker to the evaluator through shared memory.

The evaluator creates the memory and determines its layout from a model that it built itself. It reads only these bytes:
whatever another process writes there, the evaluator reads tensors of the known names, shapes and types.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sys
import tempfile

import torch
from torch import Tensor, nn

from harness.errors import RejectedError
from harness.worker.weights import stored_tensors

#: Tensors begin at multiples of this number of bytes.
_ALIGNMENT = 64
_MADV_POPULATE_WRITE = 23  # linux/mman.h


class SharedWeights:
    """Shared memory with the parameters and buffers of a model.

    Args:
        model: the model as the workload built it.
        descriptor: file descriptor of existing memory; None to create it.

    Raises:
        ValueError: the existing memory does not have the size of the model's layout.
    """

    def __init__(self, model: nn.Module, descriptor: int | None = None) -> None:
        tensors = stored_tensors(model)
        offsets, size = _list_offsets(tensors)
        self.descriptor = _create_memory(size) if descriptor is None else descriptor
        if os.fstat(self.descriptor).st_size != size:
            raise ValueError(f"the shared memory has {os.fstat(self.descriptor).st_size} bytes instead of {size}")
        self._memory = mmap.mmap(self.descriptor, size)
        _populate(self._memory)
        self._views = {name: _make_view(self._memory, offsets[name], t) for name, t in tensors.items()}

    def write(self, model: nn.Module) -> None:
        """Copy the model's parameters and buffers to the memory.

        Raises:
            RejectedError: the model does not have the names, shapes and types with which it was built.
        """
        state = model.state_dict()
        tensors = []
        for name, view in self._views.items():
            tensor = state.get(name)
            if tensor is None or tensor.shape != view.shape or tensor.dtype != view.dtype:
                raise RejectedError(
                    f"the model was changed outside model_options: {name}",
                    fix="change only the values of parameters and buffers, and store other tensors in the submission",
                )
            tensors.append(tensor)
        _copy(tensors, [*self._views.values()])

    def read(self, model: nn.Module) -> None:
        """Replace the model's parameters and buffers by those in the memory."""
        tensors = stored_tensors(model)
        views = [self._views[name] for name in tensors]
        # A bool is stored as a byte, whose only valid values are 0 and 1.
        valid = [view.view(torch.uint8) != 0 if view.dtype == torch.bool else view for view in views]
        _copy(valid, [*tensors.values()])


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Copy tensors in one call, which takes less time than one call for each tensor."""
    if targets:
        with torch.no_grad():
            torch._foreach_copy_(targets, sources)


def _populate(memory: mmap.mmap) -> None:
    """Let the kernel provide all pages of the memory now, which takes less time than one page at each first access."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel before 5.14
            memory.madvise(_MADV_POPULATE_WRITE)


def _list_offsets(tensors: dict[str, Tensor]) -> tuple[dict[str, int], int]:
    """Return the offset of every tensor in bytes, and the size of the memory."""
    offsets, size = {}, 0
    for name, tensor in tensors.items():
        offsets[name] = size
        size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    return offsets, max(size, mmap.PAGESIZE)


def _create_memory(size: int) -> int:
    """Return the descriptor of new shared memory, which the kernel frees when the last process has closed it."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("weights", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    # If another process could shrink the memory, reading it would end this process (SIGBUS).
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def _make_view(memory: mmap.mmap, offset: int, model_tensor: Tensor) -> Tensor:
    """Return a tensor with the shape and type of the model's tensor, whose values are in the memory."""
    if not model_tensor.numel():
        return torch.empty(model_tensor.shape, dtype=model_tensor.dtype)
    flat = torch.frombuffer(memory, dtype=model_tensor.dtype, count=model_tensor.numel(), offset=offset)
    return flat.reshape(model_tensor.shape)
