"""Adafactor, torch's own.

Source: Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, arXiv 1804.04235, algorithm 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source
from submissions.optimizers.groups import decay_groups

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="adafactor",
    load=f"{__name__}:adafactor",
    summary="factored second moments, clipped updates relative to each tensor's size (torch.optim.Adafactor)",
    space={
        # Relative to the root mean square of each tensor; torch takes the smaller of it and 1/√t.
        "lr": LogUniform(1e-2, 3e-1, default=5e-2),
        "beta2_decay": Fixed(-0.8, limits=(-10.0, 0.0)),
        "weight_decay": LogUniform(1e-4, 1e-1, default=1e-2, limits=(0.0, None)),
        "clip": Fixed(1.0, limits=(1.0, None)),
        "smallest": Fixed(1e-3, limits=(0.0, None)),
    },
    sources=(
        Source(
            title="Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
            arxiv="1804.04235",
            equation="algorithm 4",
        ),
    ),
)


def adafactor(
    parameters: Sequence[Parameter], lr: float, beta2_decay: float, weight_decay: float, clip: float, smallest: float
) -> torch.optim.Optimizer:
    """torch.optim.Adafactor; no decay on norms and biases, whose steps are relative to at least `smallest`."""
    import torch

    groups = decay_groups(parameters, weight_decay)
    return torch.optim.Adafactor(groups, lr=lr, beta2_decay=beta2_decay, eps=(None, smallest), d=clip, foreach=True)
