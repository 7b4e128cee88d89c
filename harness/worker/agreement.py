"""Checks that a workload's `evaluate` returns the same metrics as its `measure` and `metrics`.

Both are code of the workload, so the result does not depend on the weights. A template (`templates.py`) therefore makes
this check once, and the evaluators that are forked from it need not repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from harness.contract.workload import WHOLE, Split
from harness.worker.evaluation import evaluate_split, evaluation_mode
from harness.worker.protocols import Sharded, Workload
from harness.worker.screenability import are_close

#: The workloads that a template has checked. Forked processes inherit the set.
_agreeing: set[str] = set()


def remember_agreement(workload: Workload, model: nn.Module, stage: int | None) -> None:
    """Check a workload, and remember in this process and in all processes forked from it if the check has succeeded.

    Args:
        workload: the workload.
        model: a model of the workload.
        stage: index of a stage of a stream; None on a pool.
    """
    if isinstance(workload, Sharded) and _evaluates_as_measured(workload, model, stage, None):
        _agreeing.add(_name(workload))


def agrees(workload: Workload, model: nn.Module, stage: int | None, metrics: Mapping[str, float]) -> bool:
    """Return whether a workload passes the check or has passed it in a template.

    Args:
        workload: a workload that is `Sharded`.
        model: a model of the workload.
        stage: index of a stage of a stream; None on a pool.
        metrics: the metrics on `score` according to `metrics`.
    """
    return _name(workload) in _agreeing or _evaluates_as_measured(workload, model, stage, metrics)


def _evaluates_as_measured(
    workload: Workload, model: nn.Module, stage: int | None, metrics: Mapping[str, float] | None
) -> bool:
    # A pool has the split `feedback`, which has fewer examples.
    split: Split = "feedback" if stage is None else "score"
    if stage is None or metrics is None:
        assert isinstance(workload, Sharded)
        with evaluation_mode(model):
            metrics = workload.metrics(workload.measure(model, split, WHOLE, stage), split, stage)
    return are_close(evaluate_split(workload, model, split, stage), metrics)


def _name(workload: Workload) -> str:
    return f"{type(workload).__module__}:{type(workload).__qualname__} {workload.facts.id}"
