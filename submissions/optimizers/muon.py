"""Muon for matrices and convolutions, AdamW for everything else; both torch's own.

Source: Muon: An optimizer for hidden layers in neural networks (Jordan et al., 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.groups import decay_groups

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

#: Kinds whose update is orthogonalised; embeddings and heads are matrices in form only.
_HIDDEN = frozenset({"matrix", "conv"})

ENTRY = PartEntry(
    kind="optimizer",
    name="muon",
    load=f"{__name__}:muon",
    summary="orthogonalised momentum for hidden matrices and convolutions (torch.optim.Muon), AdamW for the rest",
    space={
        "lr": LogUniform(3e-3, 1e-1, default=2e-2),
        "momentum": Uniform(0.8, 0.98, default=0.95, limits=(0.0, 0.999999)),
        "weight_decay": LogUniform(1e-3, 1.0, default=0.1, limits=(0.0, None)),
        "adam_lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "adam_beta1": Fixed(0.9, limits=(0.0, 0.999999)),
        "adam_beta2": Fixed(0.95, limits=(0.0, 0.999999)),
    },
    sources=(
        Source(title="Muon: An optimizer for hidden layers in neural networks"),
        Source(title="Fantastic Pretraining Optimizers and Where to Find Them", arxiv="2509.02046"),
    ),
)


def muon(
    parameters: Sequence[Parameter],
    lr: float,
    momentum: float,
    weight_decay: float,
    adam_lr: float,
    adam_beta1: float,
    adam_beta2: float,
) -> list[torch.optim.Optimizer]:
    """[Muon over the hidden weights, AdamW over the rest], without either where a model has no such parameters."""
    import torch

    from submissions.optimizers.flattened import FlattenedMuon

    hidden = [p.tensor for p in parameters if p.kind in _HIDDEN]
    rest = [p for p in parameters if p.kind not in _HIDDEN]
    made: list[torch.optim.Optimizer] = []
    if hidden:
        made.append(FlattenedMuon(hidden, lr=lr, momentum=momentum, weight_decay=weight_decay))
    if rest:
        groups = decay_groups(rest, weight_decay)
        made.append(torch.optim.AdamW(groups, lr=adam_lr, betas=(adam_beta1, adam_beta2), fused=True))
    return made
