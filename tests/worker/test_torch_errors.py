"""What errors of torch mean."""

from __future__ import annotations

import pytest
import torch

from harness.worker import torch_errors


@pytest.mark.parametrize(
    ("error", "spent", "failed"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True, False),
        (torch.AcceleratorError("CUDA error: out of memory"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True, False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"), True, False),
        (MemoryError(), True, False),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), False, True),
        (RuntimeError("size mismatch"), False, False),
        (ValueError("ran out of memory for names"), False, False),
    ],
)
def test_errors_are_told_apart(error: Exception, spent: bool, failed: bool) -> None:
    assert torch_errors.is_out_of_memory(error) is spent
    assert torch_errors.is_device_failure(error) is failed
