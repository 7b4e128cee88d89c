"""Evaluates a model on a held-out split, without changing the model or the states of the random number generators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import torch
from torch import nn

from harness.contract.workload import Split, WorkloadFacts
from harness.errors import BenchError, PluginError
from harness.worker import rng
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.protocols import Sharded, Workload


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of a model on the score split.

    Args:
        metrics: the metrics by name.
        examples: number of examples from which the metrics are estimated; None for the whole split.
        se: standard error of the primary metric; None for the whole split.
        screened: with shadow evaluation, the screened evaluation of the same weights that came before this one; None if
            there was none.
    """

    metrics: dict[str, float]
    examples: int | None = None
    se: float | None = None
    screened: Evaluation | None = None


def evaluate_split(
    workload: Workload, model: nn.Module, split: Split, stage: int | None = None, group: ProcessGroup = SINGLE_PROCESS
) -> dict[str, float]:
    """Evaluate a model on a split, and return the workload's metrics by name. All ranks return equal metrics.

    Args:
        workload: computes the metrics.
        model: the model with the weights to evaluate. Its modules may be in training mode.
        split: name of the held-out split.
        stage: index of the current stage, from 0, if the training data is a stream; None if it is a pool.
        group: the ranks (processes) of the run. They share the examples if the workload is `Sharded`.

    Raises:
        PluginError: the workload did not return the metric of a target.
    """
    with evaluation_mode(model):
        metrics = _evaluate_on_ranks(workload, model, split, stage, group)
    require_target_metrics(workload.facts, split, metrics)
    return {name: float(value) for name, value in metrics.items()}


def evaluate_audit(workload: Workload, model: nn.Module, stage: int | None) -> tuple[dict[str, float], str]:
    """Return the metrics on the split `audit`, and a warning if the workload cannot be evaluated on this split."""
    try:
        return finite_metrics(evaluate_split(workload, model, "audit", stage)), ""
    except Exception as error:
        reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        return {}, f"the weights could not be evaluated on the split audit, so the record stays self-reported: {reason}"


def finite_metrics(metrics: dict[str, float]) -> dict[str, float]:
    """Return the metrics without infinite and NaN values, which JSON cannot store."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def require_target_metrics(facts: WorkloadFacts, split: Split, metrics: Mapping[str, float]) -> None:
    """Raise PluginError if the metric of a target is missing."""
    for target in facts.targets:
        if target.metric not in metrics:
            raise PluginError(
                f"{facts.id} must return the target metric {target.metric!r} on the split {split}, but it "
                f"returned only {sorted(metrics)}",
                fix="change the workload so that evaluate() returns the metric of every target",
            )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Within this context, all modules are in evaluation mode and gradients are disabled.

    At the end, the modules' training modes and the states of the random number generators are restored.
    """
    rng_state = rng.rng_state()
    training_modules = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training_modules:
            module.training = True
        rng.set_rng_state(rng_state)


def _evaluate_on_ranks(
    workload: Workload, model: nn.Module, split: Split, stage: int | None, group: ProcessGroup
) -> dict[str, float]:
    """Return the metrics on all ranks.

    If the workload is `Sharded`, every rank evaluates one shard of the examples. Otherwise rank 0 evaluates all
    examples and broadcasts the metrics.
    """
    if group.count == 1:
        return workload.evaluate(model, split, stage)
    if isinstance(workload, Sharded):
        values = group.all_gather_rows(workload.measure(model, split, group.shard, stage))
        return workload.metrics(values, split, stage)
    metrics = workload.evaluate(model, split, stage) if group.first else {}
    return msgspec.msgpack.decode(group.broadcast(msgspec.msgpack.encode(metrics)), type=dict[str, float])
