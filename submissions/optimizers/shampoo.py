"""Shampoo for matrices and convolutions, from pytorch_optimizer; torch's AdamW for everything else.

Source: Shampoo: Preconditioned Stochastic Tensor Optimization, arXiv 1802.09568, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

#: Kinds with a preconditioner per dimension; an embedding has a dimension as long as its vocabulary.
_HIDDEN = frozenset({"matrix", "conv"})

ENTRY = PartEntry(
    kind="optimizer",
    name="shampoo",
    load=f"{__name__}:shampoo",
    summary="preconditioned matrices and convolutions (pytorch_optimizer.Shampoo), AdamW for the rest; "
    "extra `optimizers`",
    space={
        "lr": LogUniform(3e-2, 3.0, default=0.3),
        "weight_decay": LogUniform(1e-3, 1.0, default=0.1, limits=(0.0, None)),
        "matrix_eps": Fixed(1e-4, limits=(1e-30, None)),
        "adam_lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "adam_beta1": Fixed(0.9, limits=(0.0, 0.999999)),
        "adam_beta2": Fixed(0.95, limits=(0.0, 0.999999)),
    },
    sources=(
        Source(
            title="Shampoo: Preconditioned Stochastic Tensor Optimization", arxiv="1802.09568", equation="algorithm 2"
        ),
    ),
)


@wraps("pytorch_optimizer")
def shampoo(
    parameters: Sequence[Parameter],
    lr: float,
    weight_decay: float,
    matrix_eps: float,
    adam_lr: float,
    adam_beta1: float,
    adam_beta2: float,
) -> list[torch.optim.Optimizer]:
    """[Shampoo over the hidden weights, AdamW over the rest], without either where a model has no such parameters.

    The roots are taken anew at every update, as in the paper: the library would make no step at all before the first.

    Raises:
        BenchError: the library is not installed.
    """
    import torch

    library = require("pytorch_optimizer", "shampoo")
    hidden = [p for p in parameters if p.kind in _HIDDEN]
    rest = [p for p in parameters if p.kind not in _HIDDEN]
    made: list[torch.optim.Optimizer] = []
    if hidden:
        groups = decay_groups(hidden, weight_decay)
        made.append(library.Shampoo(groups, lr=lr, weight_decouple=True, matrix_eps=matrix_eps))
    if rest:
        groups = decay_groups(rest, weight_decay)
        made.append(torch.optim.AdamW(groups, lr=adam_lr, betas=(adam_beta1, adam_beta2), fused=True))
    return made
