"""Builds the task: everything that a submission may know of its run."""

from __future__ import annotations

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.errors import PluginError
from harness.worker.data.pools import Pool
from harness.worker.protocols import Parameter, Task, Workload
from harness.worker.snapshot import Snapshots


def build_task(
    spec: RunSpec, workload: Workload, model: nn.Module, pool: Pool | None, device: torch.device, snapshots: Snapshots
) -> Task:
    """The task of a run at its beginning; what the ruleset hides is None.

    Args:
        pool: the examples that the submission may draw; None on a stream.
        snapshots: share their generator with the task, and cover its state.

    Raises:
        PluginError: the workload names no kind for a parameter.
    """
    facts = spec.workload.facts
    kinds = workload.parameter_kinds(model)
    unnamed = [name for name, _ in model.named_parameters() if name not in kinds]
    if unnamed:
        raise PluginError(
            f"{facts.id} names no kind for the parameter(s) {', '.join(unnamed[:5])}",
            fix="have parameter_kinds() return a kind for every name in named_parameters()",
        )
    snapshots.rng.manual_seed(spec.seeds.submission)
    # The runs of the reference's envelope know their horizon under every ruleset.
    hidden = "horizon" in spec.ruleset.hides and spec.purpose != "envelope"
    visible = bool(facts.stages) and facts.boundaries
    return Task(
        parameters=[Parameter(name, p, kinds[name]) for name, p in model.named_parameters() if p.requires_grad],
        horizon=None if hidden else facts.budget.horizon,
        horizon_is_cap=facts.access == "stream",
        batch_size=batch_size(spec),
        tokens_per_example=facts.tokens_per_example,
        device=device,
        rng=snapshots.rng,
        scores=dict(pool.scores) if pool is not None else {},
        pool_size=len(pool) if pool is not None else None,
        task_index=0 if visible else None,
        task_horizon=facts.stages[0].max_examples if visible and not hidden else None,
        snapshot=snapshots.take,
        restore=snapshots.restore,
    )


def batch_size(spec: RunSpec) -> int:
    """Examples per update: the hyperparameter, or the workload's first choice."""
    return int(spec.hparams.get("batch_size", spec.workload.facts.batch_sizes[0]))
