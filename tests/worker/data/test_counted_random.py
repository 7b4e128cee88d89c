"""Numbers that a seed and a counter determine."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.worker.data.counted_random import _key, uniforms_at
from workloads.integers import randoms


@given(seed=st.integers(0, 2**32 - 1), start=st.integers(0, 2**40), n=st.integers(1, 9), count=st.integers(1, 6))
def test_they_are_the_sequence_of_splitmix64(seed: int, start: int, n: int, count: int) -> None:
    """As NumPy's unsigned integers compute it."""
    found = uniforms_at(seed, torch.arange(start, start + n), count)
    wanted = randoms(_key(seed) % 2**64, start * count, n * count) >> np.uint64(40)
    assert (found * 2**24).long().flatten().tolist() == wanted.tolist()


def test_a_position_has_its_numbers_alone() -> None:
    state = torch.get_rng_state()
    whole = uniforms_at(3, torch.arange(10), 4)
    assert (whole.shape, whole.dtype) == ((10, 4), torch.float32)
    assert torch.equal(uniforms_at(3, torch.tensor([7, 2]), 4), whole[[7, 2]])
    assert not torch.equal(uniforms_at(4, torch.arange(10), 4), whole)
    assert torch.equal(torch.get_rng_state(), state)


def test_they_are_uniform_and_unrelated() -> None:
    n = 100_000
    x_NK = uniforms_at(0, torch.arange(n), 3).double()
    assert 0 <= float(x_NK.min()) < float(x_NK.max()) < 1
    # Four standard errors of a mean, of a share, and of a correlation.
    assert (x_NK.mean(0) - 0.5).abs().max() < 4 * math.sqrt(1 / 12 / n)
    shares_10 = torch.histc(x_NK[:, 0].float(), 10, 0, 1).double() / n
    assert (shares_10 - 0.1).abs().max() < 4 * math.sqrt(0.09 / n)
    next_seed, later = uniforms_at(1, torch.arange(n), 1)[:, 0].double(), x_NK[:, 0].roll(1)
    correlations = torch.corrcoef(torch.stack([*x_NK.T, next_seed, later])).fill_diagonal_(0)
    assert correlations.abs().max() < 4.5 / math.sqrt(n)
