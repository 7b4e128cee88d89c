"""The loss of a head in parts: the values and gradients of the plain one, and never its logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from harness.api import Batch
from workloads.lm.facts import LM_16M
from workloads.lm.head_loss import head_loss
from workloads.lm.model import GPTConfig, build, mean_loss_in_parts, next_symbol_loss
from workloads.lm.web import Lm16m, Lm124m, Lm124mSynthetic

N, D, V = 37, 16, 101


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_ND = torch.randn(N, D, generator=generator, dtype=dtype, requires_grad=True)
    weight_VD = torch.randn(V, D, generator=generator, dtype=dtype, requires_grad=True)
    return x_ND, weight_VD, torch.randint(V, (N,), generator=generator)


def plain(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(F.linear(x_ND, weight_VD).float(), targets_N, label_smoothing=label_smoothing)


@pytest.mark.parametrize("rows", [1, 8, 36, 37, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_value_and_gradients_are_those_of_the_plain_loss(rows: int, smoothing: float) -> None:
    x_ND, weight_VD, targets_N = inputs()
    expected = plain(x_ND, weight_VD, targets_N, smoothing)
    # Whatever is made of the loss afterwards scales the gradient.
    wanted = torch.autograd.grad(3 * expected, (x_ND, weight_VD))
    loss = head_loss(x_ND, weight_VD, targets_N, rows=rows, label_smoothing=smoothing)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for a, b in zip(torch.autograd.grad(3 * loss, (x_ND, weight_VD)), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_in_bf16_it_is_nearer_to_the_truth_than_the_plain_loss() -> None:
    x_ND, weight_VD, targets_N = inputs()
    truth = torch.autograd.grad(plain(x_ND, weight_VD, targets_N, 0.0), (x_ND, weight_VD))
    with torch.autocast("cpu", torch.bfloat16):
        loss = head_loss(x_ND, weight_VD, targets_N, rows=8)
        ordinary = F.cross_entropy(F.linear(x_ND, weight_VD).float(), targets_N)
    assert loss.item() == pytest.approx(ordinary.item(), rel=1e-2)
    ours, theirs = (torch.autograd.grad(value, (x_ND, weight_VD)) for value in (loss, ordinary))
    for exact, a, b in zip(truth, ours, theirs, strict=True):
        assert a.dtype == torch.float32
        assert (a - exact).norm() <= 1.2 * (b - exact).norm()
        assert (a - exact).norm() < 0.02 * exact.norm()


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_the_logits_of_a_batch_never_exist() -> None:
    x_ND, weight_VD, targets_N = inputs()
    with Largest() as seen:  # type: ignore[no-untyped-call]
        plain(x_ND, weight_VD, targets_N, 0.0).backward()  # type: ignore[no-untyped-call]
    assert seen.elements == N * V
    with Largest() as seen:  # type: ignore[no-untyped-call]
        head_loss(x_ND, weight_VD, targets_N, rows=4).backward()  # type: ignore[no-untyped-call]
    assert seen.elements == V * D  # the weight and its gradient
    assert 4 * V < V * D < N * V


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_learns_the_same(tied: bool) -> None:
    config = GPTConfig(layers=1, width=16, heads=2, context=8, vocabulary=50, tied=tied)
    tokens_BT = torch.randint(50, (5, 9), generator=torch.Generator().manual_seed(0))
    models = [build(0, config) for _ in range(2)]
    losses = [
        next_symbol_loss(models[0], tokens_BT, label_smoothing=0.1),
        mean_loss_in_parts(models[1], tokens_BT, rows=7, label_smoothing=0.1),
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("autocast", [True, False])
def test_it_is_one_graph(autocast: bool) -> None:
    """Forward and backward, as the harness compiles the loss of a workload."""
    work = Lm16m()
    config = GPTConfig(layers=1, width=16, heads=2, context=8, vocabulary=50, tied=True, norm="rmsnorm", qk_norm=True)
    model = build(0, config)
    batch = Batch(tokens_BT=torch.randint(50, (5, 9), generator=torch.Generator().manual_seed(0)))
    torch._dynamo.reset()
    compiled = torch.compile(work.loss, fullgraph=True, dynamic=False, backend="aot_eager")
    found = []
    for loss in (compiled, work.loss):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss(model, batch)
        value.backward()  # type: ignore[no-untyped-call]
        found.append([value.detach(), *[p.grad for p in model.parameters()]])
        model.zero_grad()
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2 if autocast else 1e-5, atol=1e-3 if autocast else 1e-6)
    torch._dynamo.reset()


def test_per_example_losses_have_the_mean_of_the_batch() -> None:
    work = Lm16m()
    model = build(0, GPTConfig(layers=1, width=16, heads=2, context=8, vocabulary=50))
    batch = Batch(tokens_BT=torch.randint(50, (5, 9), generator=torch.Generator().manual_seed(0)))
    losses_B = work.loss(model, batch, per_example=True)
    assert losses_B.shape == (5,)
    torch.testing.assert_close(losses_B.mean(), work.loss(model, batch), rtol=1e-6, atol=1e-6)


def test_passes_of_the_big_model_are_cut() -> None:
    assert Lm124m().micro_batch == Lm124mSynthetic().micro_batch == 64
    assert Lm16m().micro_batch is None
    assert LM_16M.batch_sizes[0] == 128
