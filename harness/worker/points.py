"""Converts the numbers of an evaluation to numbers that JSON can store."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from harness.contract.run import Point


def finite_point(point: Point) -> Point:
    """Return the point without its non-finite values, which JSON cannot store. The reason of the run's end has them."""
    metrics = {name: value for name, value in point.metrics.items() if math.isfinite(value)}
    loss = point.train_loss if point.train_loss is not None and math.isfinite(point.train_loss) else None
    lr = point.lr if point.lr is not None and math.isfinite(point.lr) else None
    return msgspec.structs.replace(point, metrics=metrics, train_loss=loss, lr=lr)


def learning_rate(submission: Any) -> float | None:
    """Return a submission's attribute `lr`, which may be a number or a tensor of one element; None without it."""
    lr = getattr(submission, "lr", None)
    try:
        return None if lr is None else float(lr)
    except (TypeError, ValueError):
        return None
