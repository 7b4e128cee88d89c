"""Batches, orders, streams and the replay buffer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import Pool, SubsetPool, TensorPool
from harness.worker.data.replay import ReplayBuffer
from harness.worker.data.streams import StagedStream


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


def test_a_batch_refuses_unequal_fields() -> None:
    with pytest.raises(ValueError, match="first dimension"):
        Batch(x=torch.zeros(3), y=torch.zeros(4))


def test_pools() -> None:
    pool = TensorPool(x=torch.arange(10), scores={"quality": torch.linspace(0, 1, 10)})
    assert isinstance(pool, Pool)
    part = SubsetPool(pool, torch.tensor([7, 3]))
    assert part.gather(torch.tensor([1, 0]))["x"].tolist() == [3, 7]
    assert part.scores["quality"].tolist() == pytest.approx([7 / 9, 3 / 9])
    with pytest.raises(ValueError, match="quality"):
        TensorPool(x=torch.arange(10), scores={"quality": torch.zeros(3)})


def test_a_staged_stream_shows_one_stage_at_a_time() -> None:
    stream = StagedStream([TensorPool(x=torch.zeros(5)), TensorPool(x=torch.ones(5))], seed=0)
    assert stream.draw(12)["x"].sum() == 0
    stream.advance()
    assert stream.draw(12)["x"].sum() == 12
    again = StagedStream([TensorPool(x=torch.zeros(5)), TensorPool(x=torch.ones(5))], seed=0)
    again.load_state_dict(stream.state_dict())
    assert again.draw(1)["x"].item() == 1


def test_the_reservoir_is_a_uniform_sample() -> None:
    """Each of 60 examples is kept in 10 of 60 places: 400 trials, three standard deviations and a bit."""
    counts = torch.zeros(60)
    for seed in range(400):
        buffer = ReplayBuffer(10, seed)
        for start in range(0, 60, 7):
            buffer.add(Batch(x=torch.arange(start, min(start + 7, 60))))
        assert len(buffer) == 10
        kept = buffer.state_dict()["store"]["x"]
        assert len(set(kept.tolist())) == 10
        counts[kept] += 1
    expected, deviation = 400 / 6, (400 * (1 / 6) * (5 / 6)) ** 0.5
    assert (counts - expected).abs().max() < 4.5 * deviation
    assert abs(float(counts[:30].sum()) - 2000) < 4.5 * (400 * 10 * 0.25) ** 0.5


def test_replay_goes_on_from_its_state() -> None:
    buffer = ReplayBuffer(10, 0)
    with pytest.raises(ValueError, match="empty"):
        buffer.sample(1)
    buffer.add(Batch(x=torch.arange(25)))
    other = ReplayBuffer(10, 1)
    other.load_state_dict(buffer.state_dict())
    for _ in range(3):
        assert torch.equal(buffer.sample(5)["x"], other.sample(5)["x"])
        buffer.add(Batch(x=torch.arange(30)))
        other.add(Batch(x=torch.arange(30)))


def test_what_is_replayed_from_a_checkpoint_is_where_new_examples_are() -> None:
    """A checkpoint is read on the CPU; `meta` stands for a GPU."""
    buffer = ReplayBuffer(10, 0)
    buffer.add(Batch(x=torch.arange(4.0)))
    there = ReplayBuffer(10, 0, torch.device("meta"))
    there.load_state_dict(buffer.state_dict())
    assert {t.device.type for t in there._store.values()} == {"meta"}
    assert len(there) == 4


def test_a_batch_goes_to_a_gpu_through_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine can see of it: no copy from pageable memory, and none that is waited for."""
    pinned: list[Tensor] = []
    moved: list[tuple[bool, torch.device, bool]] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    def to(tensor: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        moved.append((any(tensor is copy for copy in pinned), device, non_blocking))
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", to)
    gpu = torch.device("cuda", 0)
    Batch(x=torch.zeros(3), y=torch.ones(3)).to(gpu)
    assert moved == [(True, gpu, True)] * 2
    moved.clear()
    Batch(x=torch.zeros(3)).to(torch.device("mps"))
    assert moved == [(False, torch.device("mps"), True)]
