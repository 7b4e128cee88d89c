"""The default order of a pool."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.worker.data.order import ShuffledOrder


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 40), draws=st.lists(st.integers(1, 25), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_a_shuffled_order_gives_every_index_once_per_pass(size: int, draws: list[int], seed: int) -> None:
    order = ShuffledOrder(size, torch.Generator().manual_seed(seed))
    taken = torch.cat([order.take(n) for n in draws])
    assert len(taken) == sum(draws)
    for start in range(0, len(taken) - size + 1, size):
        assert sorted(taken[start : start + size].tolist()) == list(range(size))


def test_an_order_goes_on_from_its_state() -> None:
    order = ShuffledOrder(10, torch.Generator().manual_seed(1))
    order.take(7)
    state = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in order.state_dict().items()}
    expected = order.take(25)
    other = ShuffledOrder(10, torch.Generator().manual_seed(99))
    other.load_state_dict(state)
    assert torch.equal(other.take(25), expected)
