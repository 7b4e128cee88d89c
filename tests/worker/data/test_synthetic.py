"""Random data in the shapes of real data."""

from __future__ import annotations

import pytest
import torch

from harness.worker.data import synthetic
from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream
from tests import micro


@pytest.mark.parametrize("made", [micro.Micro, micro.MicroStream])
def test_random_data_has_the_shapes_and_not_the_values(made: type[micro.Micro]) -> None:
    real, fake = made().train_data(0), synthetic.random_like(made().train_data(0))
    at = torch.arange(40)

    def drawn(data: Pool | Stream) -> Batch:
        return data.gather(at) if isinstance(data, Pool) else data.draw(40)

    a, b = drawn(real), drawn(fake)
    assert {k: (t.shape, t.dtype, t.stride()) for k, t in a.items()} == {
        k: (t.shape, t.dtype, t.stride()) for k, t in b.items()
    }
    assert not torch.equal(a["x"], b["x"])
    assert set(b["y"].tolist()) <= set(a["y"].tolist())
