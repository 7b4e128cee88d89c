"""What an error of torch means: out of memory, or a failed device."""

from __future__ import annotations

import torch

#: How torch, CUDA and its libraries report that memory ran out, where they do not raise `OutOfMemoryError`.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or on this machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def is_device_failure(error: BaseException) -> bool:
    """Whether a device failed or disappeared. This process can compute nothing on it any more."""
    if is_out_of_memory(error):
        return False
    # Libraries (cuBLAS, cuDNN, NCCL) report it in their own words, as plain runtime errors.
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and str(error).lstrip().startswith(("CUDA error", "HIP error"))
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or ["no message"])[0]
