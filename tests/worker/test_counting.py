"""Every draw and every pass is counted, also those past the harness."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from harness.contract.record import Record
from harness.errors import RejectedError
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


def test_a_rehearsal_is_in_no_phase_of_a_profile() -> None:
    """It is off the clock, and the phases have to fit into the clock's seconds."""
    workload = micro.Micro()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), profile=True)
    work = work_of(spec, workload)
    work.warm_up_step()
    assert set(work.phases.values()) == {0.0}
    work.begin_step()
    work.backward(work.draw())
    assert work.phases["backward"] > 0


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


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Greedy", "drew 10000 examples"),
        ("Idle", "no pass"),
        ("Grows", "stash"),
        ("OtherPrecision", "float32 matmul precision"),
    ],
)
def test_rules_are_enforced(name: str, word: str, tmp_path: Path) -> None:
    try:
        record = smoke(name, tmp_path)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert record.status == "rejected"
    assert word in record.reason


def test_indices_on_a_stream_are_rejected() -> None:
    workload = micro.MicroStream()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), micro.STREAM_ENTRY)
    work = work_of(spec, workload)
    with pytest.raises(RejectedError, match="stream"):
        work.draw(indices=torch.arange(3))
