"""Imports a submission and a workload, and prepares the parts of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import torch

from harness.contract.run import RunSpec, SubmissionRef
from harness.errors import PluginError
from harness.plugins import loading
from harness.plugins.source_hash import source_hash
from harness.worker.protocols import Submission, Workload
from harness.worker.recipe import Recipe, bare_optimizer


def load_submission(ref: SubmissionRef) -> Callable[..., Submission]:
    """The factory (model, task, hparams) -> Submission that a submission's `load` and `parts` name.

    Raises:
        PluginError: something cannot be imported, or is not a submission; or its source is no longer the one that was
            planned, so that its record would be filed under another source's hash.
    """
    loads = [part.load for part in ref.parts] + ([ref.load] if ref.load else [])
    if ref.source_hash and source_hash(loads) != ref.source_hash:
        for load in loads:
            loading.load_object(load)  # if a module is gone, this raises the better error
        fix = "give the command again: finished runs keep the source that they had, the others run with this one"
        raise PluginError(f"{ref.id} was edited after its trials had been planned", fix=fix)
    parts = {f"{part.kind}:{part.name}": call_prepare(loading.load_object(part.load)) for part in ref.parts}
    if ref.load is None:
        return Recipe(**{name.partition(":")[0]: part for name, part in add_constant_schedule(parts).items()})
    loaded = call_prepare(loading.load_object(ref.load))
    if isinstance(loaded, Recipe):
        return loaded.resolved(add_constant_schedule(parts))
    if isinstance(loaded, type) and issubclass(loaded, torch.optim.Optimizer):
        return bare_optimizer(loaded)
    if callable(getattr(loaded, "step", None)) and callable(loaded):
        factory: Callable[..., Submission] = loaded
        return factory
    raise PluginError(
        f"{ref.load} is not a submission: expected a Recipe, a class with step(), eval_weights() and state_dict(), or "
        "a torch optimizer class",
        fix="name one of these in the entry's `load`",
    )


def call_prepare(loaded: Any) -> Any:
    """A part or submission after its `prepare()`, if it has one: the place for long imports, off the clock."""
    prepare = getattr(loaded, "prepare", None)
    if callable(prepare):
        prepare()
    return loaded


def add_constant_schedule(parts: dict[str, Any]) -> dict[str, Any]:
    """The parts, with a constant learning rate where they have no schedule."""
    if any(name.startswith("schedule:") for name in parts):
        return parts
    return {**parts, "schedule:constant": lambda progress: 1.0}


def load_workload(spec: RunSpec) -> Workload:
    """The trial's workload, called with its entry's arguments.

    Raises:
        PluginError: it cannot be imported, or its facts are not those that were planned.
    """
    ref = spec.workload
    workload: Workload = loading.load_object(ref.load)(**ref.arguments)
    # Rulesets and smoke runs change the budget, and stages with it; everything else must be as planned.
    if msgspec.structs.replace(workload.facts, budget=ref.facts.budget, stages=ref.facts.stages) != ref.facts:
        raise PluginError(
            f"{ref.load} is not the {ref.facts.id} that was planned: its facts differ from its entry's",
            fix="make the class's `facts` and the entry's `facts` the same object",
        )
    return workload
