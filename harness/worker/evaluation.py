"""The metrics of a model on a split of the held-out data; the model and all randomness stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import torch
from torch import nn

from harness.contract.workload import Split
from harness.errors import PluginError
from harness.worker import rng
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.protocols import Sharded, Workload


def evaluate_split(
    workload: Workload, model: nn.Module, split: Split, stage: int | None = None, group: ProcessGroup = SINGLE_PROCESS
) -> dict[str, float]:
    """The workload's metrics on a split, the same on every rank.

    Args:
        model: holds the weights to evaluate; any of its modules may be in training mode.
        split: which held-out data.
        stage: on a stream, the current stage; None on a pool.
        group: the ranks among which the examples are divided.

    Raises:
        PluginError: the metric of a target is missing.
    """
    with evaluation_mode(model):
        metrics = _evaluate_on_ranks(workload, model, split, stage, group)
    for target in workload.facts.targets:
        if target.metric not in metrics:
            raise PluginError(
                f"{workload.facts.id} reports no {target.metric!r} on {split}, only {sorted(metrics)}",
                fix="have evaluate() return the metric of every target",
            )
    return {name: float(value) for name, value in metrics.items()}


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Inside, modules are in evaluation mode and gradients are off; afterwards modes and randomness are as before."""
    randomness = rng.rng_state()
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
        rng.set_rng_state(randomness)


def _evaluate_on_ranks(
    workload: Workload, model: nn.Module, split: Split, stage: int | None, group: ProcessGroup
) -> dict[str, float]:
    """Every rank measures its shard of the examples where the workload can; otherwise rank 0 evaluates alone."""
    if group.count == 1:
        return workload.evaluate(model, split, stage)
    if isinstance(workload, Sharded):
        measured = group.all_gather_rows(workload.measure(model, split, group.shard, stage))
        return workload.metrics(measured, split, stage)
    metrics = workload.evaluate(model, split, stage) if group.first else {}
    return msgspec.msgpack.decode(group.broadcast(msgspec.msgpack.encode(metrics)), type=dict[str, float])
