"""NAdamW: Adam with Nesterov momentum and decoupled weight decay, the baseline of AlgoPerf.

Source: Benchmarking Neural Network Training Algorithms, arXiv 2306.07179 (its baseline's code); Incorporating Nesterov
Momentum into Adam (Dozat, 2016). torch.optim.NAdam is another algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source
from submissions.optimizers.domains import BETA1, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="nadamw",
    load=f"{__name__}:nadamw",
    summary="Adam with Nesterov momentum and decoupled weight decay, as in AlgoPerf",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
    },
    sources=(
        Source(title="Benchmarking Neural Network Training Algorithms", arxiv="2306.07179"),
        Source(title="Incorporating Nesterov Momentum into Adam"),
    ),
)

#: AlgoPerf's submission for its self-tuning ruleset (v0.5): one setting for every workload. Warmup is a share of the
#: horizon, followed by a cosine to zero; label smoothing and dropout are asked of the model.
SELF_TUNING: dict[str, float] = {
    "lr": 0.0017486387539278373,
    "beta1": 1 - 0.06733926164,
    "beta2": 0.9955159689799007,
    "weight_decay": 0.08121616522670176,
    "warmup": 0.02,
    "label_smoothing": 0.0,
    "dropout": 0.1,
}

#: The five points that AlgoPerf's baseline tries under its external-tuning ruleset, in its order.
POINTS: tuple[dict[str, float], ...] = tuple(
    dict(zip(("lr", "beta1", "beta2", "weight_decay", "warmup", "label_smoothing", "dropout"), point, strict=True))
    for point in (
        (1.3082e-3, 1 - 0.026867, 0.998123, 0.163753, 0.1, 0.1, 0.0),
        (8.4451e-4, 1 - 0.110424, 0.997850, 0.081354, 0.05, 0.2, 0.0),
        (1.3082e-3, 1 - 0.026867, 0.998123, 0.163753, 0.1, 0.0, 0.0),
        (4.9585e-3, 1 - 0.136256, 0.629185, 0.114739, 0.02, 0.0, 0.0),
        (1.7486e-3, 1 - 0.067339, 0.995516, 0.081216, 0.02, 0.0, 0.1),
    )
)


def nadamw(
    parameters: Sequence[Parameter], lr: float, beta1: float, beta2: float, weight_decay: float, eps: float
) -> torch.optim.Optimizer:
    """NAdamW; no decay on norms and biases."""
    from submissions.optimizers.own.nadamw import NAdamW

    return NAdamW(decay_groups(parameters, weight_decay), lr=lr, betas=(beta1, beta2), eps=eps)
