"""GaLore: Adam on gradients projected to a low rank, from pytorch_optimizer.

Source: GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection, arXiv 2403.03507, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Integer, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BETA1, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="galore",
    load=f"{__name__}:galore",
    summary="Adam on low-rank projections of the gradients of matrices (pytorch_optimizer.GaLore); extra `optimizers`",
    space={
        "lr": LogUniform(3e-3, 1e-1, default=1e-2),
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
        # As a share of a matrix's shorter side: workloads differ in width.
        "rank": Uniform(0.1, 0.5, default=0.25, limits=(1e-6, 1.0)),
        "scale": Uniform(0.1, 1.0, default=0.25, limits=(1e-6, None)),
        # Updates between new projections.
        "every": Integer(10, 200, default=50, limits=(1, None)),
    },
    sources=(
        Source(
            title="GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection",
            arxiv="2403.03507",
            equation="algorithm 2",
        ),
        Source(
            title="Scalable Parameter and Memory Efficient Pretraining for LLM: "
            "Recent Algorithmic Advances and Benchmarking"
        ),
    ),
)


@wraps("pytorch_optimizer")
def galore(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    rank: float,
    scale: float,
    every: int,
) -> torch.optim.Optimizer:
    """pytorch_optimizer.GaLore; hidden matrices are projected, the rest gets its AdamW; no decay on norms and biases.

    Args:
        rank: as a share of a matrix's shorter side, at least 1; matrices of one rank make a group.

    Raises:
        BenchError: the library is not installed.
    """
    require("pytorch_optimizer", "galore")
    from submissions.optimizers.own.galore import PlainGaLore

    groups = decay_groups([p for p in parameters if p.kind != "matrix"], weight_decay)
    by_rank: dict[int, list[torch.nn.Parameter]] = {}
    for p in parameters:
        if p.kind == "matrix":
            by_rank.setdefault(max(1, round(rank * min(p.tensor.shape))), []).append(p.tensor)
    projection = {"update_proj_gap": every, "scale": scale, "projection_type": "std", "weight_decay": weight_decay}
    groups += [{"params": tensors, "rank": number, **projection} for number, tensors in sorted(by_rank.items())]
    made: torch.optim.Optimizer = PlainGaLore(groups, lr=lr, betas=(beta1, beta2), eps=eps)
    return made
