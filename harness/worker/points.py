"""Prepares the numbers of an evaluation for the record, which is a JSON document."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import torch
from torch import nn

from harness.contract.run import Point


def finite_point(point: Point) -> Point:
    """Return the evaluation without infinite and NaN values, which JSON cannot store.

    If such a value ends the run, the reason in the record contains the value.
    """
    metrics = {name: value for name, value in point.metrics.items() if math.isfinite(value)}
    names = ("lr", "train_loss", "mean_train_loss", "grad_norm")
    values = {name: getattr(point, name) for name in names}
    finite = {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
    return msgspec.structs.replace(point, metrics=metrics, **finite)


def gradient_norm(model: nn.Module) -> float | None:
    """Return the L2 norm of the gradients of all parameters together; None if no parameter has a gradient.

    The gradients are those of the last update. If the update clipped the gradients, the result is the norm of the
    clipped gradients. With several ranks, the gradients are those of the global batch. Sparse gradients are converted
    to dense gradients.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not gradients:
        return None
    norms = [torch.linalg.vector_norm(g.to_dense() if g.is_sparse else g, dtype=torch.float32) for g in gradients]
    return float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms])))


def learning_rate(submission: Any) -> float | None:
    """Return a submission's learning rate: its attribute `lr`, which is a number or a tensor with one element.

    Return None if the attribute is missing, None or not a number.
    """
    lr = getattr(submission, "lr", None)
    try:
        return None if lr is None else float(lr)
    except (TypeError, ValueError):
        return None
