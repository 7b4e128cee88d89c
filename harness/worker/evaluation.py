"""Evaluates a model on a split of the held-out data, without changing the model or the RNG states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec
import torch
from torch import nn

from harness.contract.workload import Split, WorkloadFacts
from harness.errors import PluginError
from harness.worker import rng
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.protocols import Sharded, Workload


def evaluate_split(
    workload: Workload, model: nn.Module, split: Split, stage: int | None = None, group: ProcessGroup = SINGLE_PROCESS
) -> dict[str, float]:
    """Return the workload's metrics on a split by name; they are equal on all ranks.

    Args:
        workload: evaluates the model.
        model: the model with the weights to evaluate. Its modules may be in training mode.
        split: the held-out split.
        stage: on a stream, index of the current stage; None on a pool.
        group: the ranks among which the examples are divided.

    Raises:
        PluginError: the metric of a target is missing.
    """
    with evaluation_mode(model):
        metrics = _evaluate_on_ranks(workload, model, split, stage, group)
    require_target_metrics(workload.facts, split, metrics)
    return {name: float(value) for name, value in metrics.items()}


def require_target_metrics(facts: WorkloadFacts, split: Split, metrics: Mapping[str, float]) -> None:
    """Raise PluginError if the metric of a target is missing."""
    for target in facts.targets:
        if target.metric not in metrics:
            raise PluginError(
                f"{facts.id} reports no {target.metric!r} on {split}, only {sorted(metrics)}",
                fix="have evaluate() return the metric of every target",
            )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Within this context, modules are in evaluation mode and gradients are off. Modes and RNG states are restored."""
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
    """Return the metrics. Every rank evaluates a shard if the workload is `Sharded`; otherwise rank 0 evaluates all."""
    if group.count == 1:
        return workload.evaluate(model, split, stage)
    if isinstance(workload, Sharded):
        values = group.all_gather_rows(workload.measure(model, split, group.shard, stage))
        return workload.metrics(values, split, stage)
    metrics = workload.evaluate(model, split, stage) if group.first else {}
    return msgspec.msgpack.decode(group.broadcast(msgspec.msgpack.encode(metrics)), type=dict[str, float])
