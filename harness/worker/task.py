"""Builds the `Task`, the information about a run for its submission."""

from __future__ import annotations

from typing import get_args

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.contract.workload import Kind
from harness.errors import PluginError
from harness.worker.data.pools import Pool
from harness.worker.protocols import Parameter, Task, Workload
from harness.worker.snapshot import Snapshots


def build_task(
    spec: RunSpec, workload: Workload, model: nn.Module, pool: Pool | None, device: torch.device, snapshots: Snapshots
) -> Task:
    """Return the `Task` at the beginning of a run. Fields that the ruleset hides are None.

    Args:
        spec: the specification of the trial.
        workload: provides the kinds of the parameters.
        model: the run's model.
        pool: the pool that the submission draws from; None on a stream.
        device: device of the model and of the batches.
        snapshots: takes and restores snapshots, and provides the submission's generator.

    Raises:
        PluginError: the workload assigns no kind to a parameter, or a kind that does not exist.
    """
    facts = spec.workload.facts
    kinds = workload.parameter_kinds(model)
    without_kind = [name for name, _ in model.named_parameters() if name not in kinds]
    if without_kind:
        raise PluginError(
            f"{facts.id} must assign a kind to every parameter, but has none for {', '.join(without_kind[:5])}",
            fix="change the workload so that parameter_kinds() returns a kind for every name in named_parameters()",
        )
    known_kinds = get_args(Kind)
    if unknown := sorted({repr(kind) for kind in kinds.values()} - {repr(kind) for kind in known_kinds}):
        raise PluginError(
            f"{facts.id} assigns kinds to its parameters that do not exist: {', '.join(unknown[:5])}",
            fix=f"let parameter_kinds() return kinds among {', '.join(known_kinds)}",
        )
    snapshots.rng.manual_seed(spec.seeds.submission)
    # Runs for an envelope (docs/glossary.md) measure the reference's metric as a function of the horizon. In such runs,
    # the reference sees the horizon under every ruleset.
    hides_horizon = "horizon" in spec.ruleset.hides and spec.purpose != "envelope"
    shows_stages = bool(facts.stages) and facts.boundaries
    return Task(
        parameters=[Parameter(name, p, kinds[name]) for name, p in model.named_parameters() if p.requires_grad],
        horizon=None if hides_horizon else facts.budget.horizon,
        horizon_is_cap=facts.access == "stream",
        batch_size=batch_size(spec),
        tokens_per_example=facts.tokens_per_example,
        device=device,
        rng=snapshots.rng,
        scores=dict(pool.scores) if pool is not None else {},
        pool_size=len(pool) if pool is not None else None,
        task_index=0 if shows_stages else None,
        task_horizon=facts.stages[0].max_examples if shows_stages and not hides_horizon else None,
        snapshot=snapshots.take,
        restore=snapshots.restore,
    )


def batch_size(spec: RunSpec) -> int:
    """Return the number of examples per update: the hyperparameter `batch_size`, or the workload's default."""
    return int(spec.hparams.get("batch_size", spec.workload.facts.batch_sizes[0]))
