"""One forward pass: compiled for every size of a batch, and in the workload's precision."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from harness.contract.workload import Precision
from harness.worker.data.batch import Batch
from harness.worker.forward import ForwardPass, compile_loss
from tests import micro
from tests.helpers import spec_of, submission
from tests.worker.build import CPU


@pytest.mark.slow
def test_many_sizes_of_a_batch_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    loss = compile_loss(micro.Micro().loss)
    model = micro.Micro().build_model(0)
    for n in range(2, 20):
        x, y = micro.points(n, 0)
        assert float(loss(model, Batch(x=x, y=y), False).detach()) == pytest.approx(
            float(micro.Micro().loss(model, Batch(x=x, y=y)).detach())
        )
    torch._dynamo.reset()


class Notes(micro.Micro):
    """Notes the dtype in which the loss is computed, and whether its pass is marked as running."""

    forward: ForwardPass

    def loss(self, model: torch.nn.Module, batch: Batch, per_example: bool = False) -> torch.Tensor:
        self.dtype = model(batch["x"]).dtype
        self.running = self.forward.running
        return super().loss(model, batch, per_example)


@pytest.mark.parametrize(("dtype", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_pass_is_in_the_precision_of_the_workload(dtype: Any, kind: torch.dtype) -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Base"), facts={"precision": Precision(dtype=dtype)})
    workload: Any = Notes()
    workload.forward = forward = ForwardPass(spec, workload, workload.build_model(0), CPU)
    x, y = micro.points(4, 0)
    batch = Batch(x=x, y=y)
    assert forward.loss(batch, per_example=True).shape == (4,)
    assert (workload.dtype, workload.running, forward.running) == (kind, True, False)
    assert forward.outputs(batch, forward.model).dtype == kind
    assert not torch.is_autocast_enabled("cpu")


def test_a_pass_that_fails_is_no_longer_running() -> None:
    class Fails(micro.Micro):
        def loss(self, model: torch.nn.Module, batch: Batch, per_example: bool = False) -> torch.Tensor:
            raise RuntimeError("out of luck")

    workload: Any = Fails()
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    forward = ForwardPass(spec, workload, workload.build_model(0), CPU)
    with pytest.raises(RuntimeError, match="out of luck"):
        forward.loss(Batch(x=torch.zeros(2, 2)), per_example=False)
    assert not forward.running
