"""What an error of torch means: memory that is spent, or a device that failed."""

from __future__ import annotations

import torch

#: How torch, CUDA and its libraries say that memory is spent, where they do not raise `OutOfMemoryError`.
_SPENT = ("out of memory", "can't allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is spent, of the device or of this machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SPENT)


def is_device_failure(error: BaseException) -> bool:
    """Whether a device failed or is gone. Nothing can be computed on it by this process from then on."""
    if is_out_of_memory(error):
        return False
    # Libraries report it in words of their own (cuBLAS, cuDNN, NCCL) as plain runtime errors.
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and str(error).lstrip().startswith(("CUDA error", "HIP error"))
    )


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).strip().splitlines() or ["no message"])[0]
