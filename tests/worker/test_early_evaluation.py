"""Whether a model still has its initial weights."""

from __future__ import annotations

import pytest
import torch

from harness.worker.early_evaluation import _is_equal

_TYPES = [
    torch.bool,
    torch.uint8,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int64,
    torch.complex64,
    torch.complex128,
]


@pytest.mark.parametrize("dtype", _TYPES, ids=str)
def test_tensors_are_compared_byte_by_byte(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = torch.rand(6, 4, generator=generator, dtype=torch.float64).mul(9).to(dtype)
    assert _is_equal(tensor, tensor.clone())
    assert _is_equal(tensor[:, ::2].t(), tensor[:, ::2].t().contiguous())
    changed = tensor.clone()
    changed[5, 3] = not changed[5, 3] if dtype == torch.bool else changed[5, 3] + 1
    assert not _is_equal(tensor, changed)
    assert _is_equal(tensor[0, 0], tensor[0, 0].clone())
    assert _is_equal(tensor[:0], tensor[:0].clone())


def test_equal_numbers_with_other_bytes_differ_and_nan_equals_itself() -> None:
    zero, nan = torch.zeros(3), torch.full((3,), float("nan"))
    assert not _is_equal(zero, -zero)
    assert _is_equal(nan, nan.clone())
