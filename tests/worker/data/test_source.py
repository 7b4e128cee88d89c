"""Where fresh examples come from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.worker.data.pools import TensorPool
from harness.worker.data.source import BatchSource, PoolSource, StreamSource
from harness.worker.data.streams import StagedStream
from tests.worker.build import CPU


def pool(size: int = 64) -> TensorPool:
    return TensorPool(x=torch.arange(size), scores={"quality": torch.linspace(0, 1, size)})


def drawn(source: BatchSource, n: int) -> list[int]:
    return source.draw(n, None)["x"].tolist()


def test_a_holdout_is_never_drawn() -> None:
    source = PoolSource(pool(), 0, CPU, hold_out=True)
    assert source.pool is not None
    assert source.holdout is not None
    assert (len(source.pool), len(source.holdout)) == (60, 4)
    held_out = source.holdout.gather(torch.arange(4))["x"].tolist()
    assert sorted(drawn(source, 60) + held_out) == list(range(64))
    assert len(source.pool.scores["quality"]) == 60
    chosen = source.draw(2, torch.tensor([0, 59]))["x"].tolist()
    assert not set(chosen) & set(held_out)


def test_without_a_holdout_all_examples_are_drawn() -> None:
    source = PoolSource(pool(), 0, CPU)
    assert source.holdout is None
    assert sorted(drawn(source, 64)) == list(range(64))


def stream_source() -> StreamSource:
    return StreamSource(StagedStream([pool(), pool(8)], seed=0), CPU)


@pytest.mark.parametrize("make", [lambda: PoolSource(pool(), 3, CPU), stream_source], ids=["pool", "stream"])
def test_a_source_goes_on_from_its_state(make: Any) -> None:
    source, other = make(), make()
    drawn(source, 50)
    state = copy.deepcopy(source.state_dict())
    expected = drawn(source, 50)
    other.load_state_dict(state)
    assert drawn(other, 50) == expected


def test_a_stream_advances_and_has_no_indices() -> None:
    source = stream_source()
    assert source.pool is None
    assert source.holdout is None
    source.advance()
    assert sorted(drawn(source, 8)) == list(range(8))


@pytest.mark.parametrize("make", [lambda: PoolSource(pool(), 3, CPU), stream_source], ids=["pool", "stream"])
def test_a_random_batch_may_be_larger_than_the_data(make: Any) -> None:
    batch: Tensor = make().random_batch(200)["x"]
    assert (batch.shape, batch.dtype) == ((200,), torch.int64)
