"""Recognises torch errors that report exhausted memory, a failed device or a failed matrix decomposition."""

from __future__ import annotations

import torch

#: Parts of the messages of errors that report exhausted memory but are not of the class `OutOfMemoryError`.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that the memory of the device or of this machine is exhausted."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def is_device_failure(error: BaseException) -> bool:
    """Return whether an error reports that a device failed. This process cannot use the device again."""
    if is_out_of_memory(error):
        return False
    # Libraries (cuBLAS, cuDNN, NCCL) report failures as plain runtime errors with their own messages.
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and str(error).lstrip().startswith(("CUDA error", "HIP error"))
    )


def is_decomposition_failure(error: BaseException) -> bool:
    """Return whether a matrix decomposition or a linear solver failed."""
    return isinstance(error, torch.linalg.LinAlgError)  # type: ignore[attr-defined]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or ["no message"])[0]
