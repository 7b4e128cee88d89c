"""The check that `evaluate` and `metrics` agree is made once in a template."""

from __future__ import annotations

from typing import Any

import pytest

from harness.worker import agreement
from tests.worker import screened


@pytest.fixture(autouse=True)
def _no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_agreeing", set())


def test_a_workload_that_a_template_has_checked_is_not_checked_again() -> None:
    workload: Any = screened.Screened()
    model = screened.untrained(workload)
    assert agreement.agrees(workload, model, None, {})
    assert len(workload.windows) == 2, "without a template, `feedback` is measured twice"
    agreement.remember_agreement(workload, model, None)
    checked: Any = screened.Screened()
    other: Any = screened.Shuffled()
    assert agreement.agrees(checked, model, None, {})
    assert not checked.windows
    assert agreement.agrees(other, model, None, {})
    assert other.windows, "another workload is checked"


def test_a_workload_that_errs_is_not_remembered() -> None:
    workload: Any = screened.Overridden()
    model = screened.untrained(workload)
    agreement.remember_agreement(workload, model, None)
    assert not agreement.agrees(workload, model, None, {})


def test_a_stream_is_compared_on_score() -> None:
    workload: Any = screened.ScreenedStream()
    model = screened.untrained(workload)
    metrics = workload.metrics(workload.measure(model, "score", stage=0), "score", 0)
    assert agreement.agrees(workload, model, 0, metrics)
    assert not agreement.agrees(workload, model, 0, {name: value + 0.1 for name, value in metrics.items()})
    agreement.remember_agreement(workload, model, 1)
    assert agreement.agrees(workload, model, 0, {})
