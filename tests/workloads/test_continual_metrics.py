"""The standard error of a mean over tasks is what the mean scatters by."""

from __future__ import annotations

import pytest
import torch

from workloads.continual.metrics import of_tasks


def test_the_standard_error_is_the_scatter_of_the_mean() -> None:
    torch.manual_seed(0)
    shares, sizes = (0.9, 0.5, 0.7), (100, 50, 400)
    drawn = [of_tasks([torch.rand(n) < p for p, n in zip(shares, sizes, strict=True)]) for _ in range(2_000)]
    means = torch.tensor([metrics["avg_seen"] for metrics in drawn])
    assert float(means.mean()) == pytest.approx(0.7, abs=0.003)
    assert drawn[0]["se"] == pytest.approx(float(means.std()), rel=0.1)


def test_tasks_weigh_the_same_whatever_their_size() -> None:
    metrics = of_tasks([torch.ones(10), torch.tensor([1.0, 0.0])])
    assert metrics == {
        "avg_seen": 0.75,
        "se": pytest.approx(0.125**0.5 / 2),
        "accuracy/0": 1.0,
        "accuracy/1": 0.5,
        "se/0": 0.0,
        "se/1": pytest.approx(0.125**0.5),
    }
