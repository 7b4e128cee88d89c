"""Imports the submission and the workload of a trial, and builds the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import nn

from harness.contract.run import RunSpec, SubmissionRef
from harness.contract.workload import SOURCE_MARK
from harness.errors import PluginError
from harness.plugins import loading
from harness.plugins.source_hash import source_hash
from harness.worker import rng
from harness.worker.protocols import Submission, Workload
from harness.worker.recipe import Recipe, bare_optimizer
from harness.worker.redrawing import draw_held_out


def load_submission(ref: SubmissionRef) -> Callable[..., Submission]:
    """Import a submission and return its factory, a function (model, task, hparams) -> Submission.

    Raises:
        PluginError: an import failed; the imported object is not a submission; the object is a recipe with needs or
            parts that its entry does not declare; or the source was edited after planning, so the record would contain
            the hash of another source.
    """
    import_paths = [part.load for part in ref.parts] + ([ref.load] if ref.load else [])
    if ref.source_hash and source_hash(import_paths) != ref.source_hash:
        for import_path in import_paths:
            loading.load_object(import_path)  # if a module is missing, this raises a more precise error
        fix = "run the command again: finished runs are kept, all others use the edited source"
        raise PluginError(f"{ref.id} was edited after its trials had been planned", fix=fix)
    parts = {f"{part.kind}:{part.name}": call_prepare(loading.load_object(part.load)) for part in ref.parts}
    if ref.load is None:
        return Recipe(**{name.partition(":")[0]: part for name, part in add_constant_schedule(parts).items()})
    loaded = call_prepare(loading.load_object(ref.load))
    if isinstance(loaded, Recipe):
        if undeclared := loaded.all_needs - ref.needs:
            # Planning has not checked that the workload provides them.
            needs = ", ".join(map(repr, sorted(loaded.all_needs)))
            problem = f"{ref.load} needs {', '.join(sorted(undeclared))}, which the entry of {ref.id} does not declare"
            raise PluginError(problem, fix=f"add needs={{{needs}}} to the entry")
        if missing := set(loaded.parts) - set(parts):
            names = ", ".join(sorted(missing))
            problem = f"{ref.load} consists of {names}, which the entry of {ref.id} does not list"
            raise PluginError(problem, fix="list no parts in the entry, or exactly the parts of the recipe")
        return loaded.resolved(add_constant_schedule(parts))
    if isinstance(loaded, type) and issubclass(loaded, torch.optim.Optimizer):
        return bare_optimizer(loaded)
    if callable(getattr(loaded, "step", None)) and callable(loaded):
        factory: Callable[..., Submission] = loaded
        return factory
    raise PluginError(
        f"{ref.load} is not a submission: expected a Recipe, a class with step(), eval_weights() and state_dict(), or "
        "a torch optimizer class",
        fix="set the entry's `load` to the import path of one of these",
    )


def call_prepare(loaded: Any) -> Any:
    """Call the function `prepare` of a part or submission, if it has one, and return the part or submission.

    The clock is stopped during this call. Slow imports therefore belong in `prepare`.
    """
    prepare = getattr(loaded, "prepare", None)
    if callable(prepare):
        prepare()
    return loaded


def add_constant_schedule(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the parts, with a constant learning rate if they do not include a schedule."""
    if any(name.startswith("schedule:") for name in parts):
        return parts
    return {**parts, "schedule:constant": lambda progress: 1.0}


def load_workload(spec: RunSpec) -> Workload:
    """Import the trial's workload, and construct it with the `arguments` of its `WorkloadEntry`.

    If the trial has seeds of held-out data, the workload draws its held-out data from these seeds.

    Raises:
        PluginError: the workload cannot be imported, its facts differ from the plan, its file was edited after
            planning, or it cannot draw held-out data.
    """
    ref = spec.workload
    workload: Workload = loading.load_object(ref.load)(**ref.arguments)
    facts = workload.facts
    if loading.is_file(loading.split_load(ref.load)[0]):
        if ref.source_hash and source_hash([ref.load]) != ref.source_hash:
            fix = "run the command again: it runs the trials on the edited workload"
            raise PluginError(f"{ref.facts.id} was edited after its trials had been planned", fix=fix)
        # If a workload is in a file, planning appends a mark and the hash of its source to its version.
        _, mark, source = ref.facts.version.rpartition(SOURCE_MARK)
        facts = msgspec.structs.replace(facts, version=f"{facts.version}{mark}{source if mark else ''}")
    # Rulesets and smoke runs change the budget and the stages. All other facts must be equal.
    if msgspec.structs.replace(facts, budget=ref.facts.budget, stages=ref.facts.stages) != ref.facts:
        raise PluginError(
            f"{ref.load} is not the planned workload {ref.facts.id}: its facts differ from those of its entry",
            fix="make the class's `facts` and the entry's `facts` the same object",
        )
    if spec.held_out is not None:
        draw_held_out(workload, ref.load, spec.held_out)
    return workload


def build_model(spec: RunSpec, workload: Workload, device: torch.device) -> nn.Module:
    """Seed the global random number generators, and return the untrained model of a trial on a device."""
    rng.seed_everything(spec.seeds.model)
    return workload.build_model(spec.seeds.model, **spec.submission.model_options).to(device)


def build_evaluation(spec: RunSpec, device: torch.device) -> tuple[Workload, nn.Module]:
    """Return the workload and the untrained model of a trial, for a process that only evaluates.

    The metrics may depend on the seed of the training data: on a stream, for example, the tasks may follow from this
    seed. Therefore `prepare_evaluation` of the workload is called with the seed. If the workload does not have this
    method, the training data are built instead.
    """
    workload = load_workload(spec)
    model = build_model(spec, workload, device)
    prepare = getattr(workload, "prepare_evaluation", workload.train_data)
    prepare(spec.seeds.data)
    return workload, model
