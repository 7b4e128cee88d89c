"""The replay buffer."""

from __future__ import annotations

import pytest
import torch

from harness.worker.data.batch import Batch
from harness.worker.data.replay import ReplayBuffer


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
