"""Streams."""

from __future__ import annotations

import torch

from harness.worker.data.pools import TensorPool
from harness.worker.data.streams import StagedStream


def test_a_staged_stream_shows_one_stage_at_a_time() -> None:
    stream = StagedStream([TensorPool(x=torch.zeros(5)), TensorPool(x=torch.ones(5))], seed=0)
    assert stream.draw(12)["x"].sum() == 0
    stream.advance()
    assert stream.draw(12)["x"].sum() == 12
    again = StagedStream([TensorPool(x=torch.zeros(5)), TensorPool(x=torch.ones(5))], seed=0)
    again.load_state_dict(stream.state_dict())
    assert again.draw(1)["x"].item() == 1
