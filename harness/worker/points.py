"""Prepares the numbers of an evaluation for the record, which is a JSON document."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from harness.contract.run import Point


def finite_point(point: Point) -> Point:
    """Return the evaluation without infinite and NaN values, which JSON cannot store.

    If such a value ends the run, the reason in the record contains the value.
    """
    metrics = {name: value for name, value in point.metrics.items() if math.isfinite(value)}
    loss = point.train_loss if point.train_loss is not None and math.isfinite(point.train_loss) else None
    lr = point.lr if point.lr is not None and math.isfinite(point.lr) else None
    return msgspec.structs.replace(point, metrics=metrics, train_loss=loss, lr=lr)


def learning_rate(submission: Any) -> float | None:
    """Return a submission's learning rate: its attribute `lr`, which is a number or a tensor with one element.

    Return None if the attribute is missing, None or not a number.
    """
    lr = getattr(submission, "lr", None)
    try:
        return None if lr is None else float(lr)
    except (TypeError, ValueError):
        return None
