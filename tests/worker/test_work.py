"""Every draw and every pass is counted, also those past the harness."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from harness.contract.record import Record
from harness.errors import RejectedError
from harness.worker import forward
from tests import micro
from tests.helpers import run_here, spec_of, submission
from tests.worker.build import work_of

SMOKE_EXAMPLES = 128  # two evaluations of 64 examples


def smoke(name: str, tmp_path: Path, **fields: object) -> Record:
    entry = submission(f"tests.submissions_for_tests:{name}", **fields)
    return run_here(spec_of(entry, smoke=True), tmp_path)


@pytest.mark.parametrize(
    ("name", "passes"),
    [("Base", 1), ("Plain", 1), ("TenPasses", 10), ("PastTheHarness", 1), ("GradOfLoss", 1), ("Distils", 1)],
)
def test_passes_are_counted(name: str, passes: int, tmp_path: Path) -> None:
    record = smoke(name, tmp_path)
    assert record.status == "exhausted", record.reason
    assert record.counters.examples == SMOKE_EXAMPLES
    assert record.counters.steps == SMOKE_EXAMPLES // 16
    assert record.counters.gradient_examples == passes * SMOKE_EXAMPLES
    assert record.counters.forward_examples == passes * SMOKE_EXAMPLES


def test_the_gradient_budget_binds(tmp_path: Path) -> None:
    entry = submission("tests.submissions_for_tests:TenPasses")
    spec = spec_of(entry)
    record = run_here(spec, tmp_path)
    assert record.status in ("exhausted", "reached")
    cap = spec.workload.facts.budget.gradient_examples
    assert record.points[-1].gradient_examples <= cap + 10 * 16
    assert record.points[-1].cost == record.points[-1].gradient_examples


def test_functional_gradients_are_counted() -> None:
    """torch.func.grad through the hooked module is seen by the backward hook on its root."""
    workload = micro.Micro()
    model = workload.build_model(0)
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    work = work_of(spec, workload, model)
    work.counting = True
    batch = work.draw()

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        out = torch.func.functional_call(model, parameters, (batch["x"],))
        return nn.functional.cross_entropy(out, batch["y"])

    torch.func.grad(loss)(dict(model.named_parameters()))
    assert work.forward_examples == 16
    assert work.gradient_examples == 16


@pytest.mark.parametrize("made", [micro.Micro, micro.MicroStream])
def test_a_warm_up_step_leaves_everything_as_it_was(made: type[micro.Micro], monkeypatch: pytest.MonkeyPatch) -> None:
    workload = made()
    model = workload.build_model(0, dropout=0.5)
    entry = micro.ENTRY if made is micro.Micro else micro.STREAM_ENTRY
    spec = spec_of(submission("tests.submissions_for_tests:Base"), entry)
    work, other = work_of(spec, workload, model), work_of(spec, workload, model)
    torch.manual_seed(3)
    work.warm_up_step()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.rand(1).equal(after)
    assert all(p.grad is None for p in model.parameters())
    assert work.examples == work.forward_examples == work.gradient_examples == 0
    assert all(torch.equal(a, b) for a, b in zip(work.draw().values(), other.draw().values(), strict=True))
    assert not work.needs_warm_up


@pytest.mark.parametrize("where", ["in the middle", "until the end"])
def test_outputs_are_checked_if_the_loss_is_compiled(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "uses_compiler", lambda spec: True)
    work = work_of(spec_of(submission("tests.submissions_for_tests:Base")), micro.Micro())
    batch = work.draw()
    work.outputs(batch)
    work._model.register_forward_pre_hook(lambda *_: torch.set_default_dtype(torch.float64))
    if where == "in the middle":
        work._model.register_forward_hook(lambda *_: torch.set_default_dtype(torch.float32))
    try:
        with pytest.raises(RejectedError, match=r"default dtype was changed .* within a pass"):
            work.outputs(batch)
    finally:
        torch.set_default_dtype(torch.float32)
    hooks = [hook for module in work._model.children() for hook in module._forward_hooks]
    assert not hooks, "a compiled loss cannot contain hooks of the watch"
