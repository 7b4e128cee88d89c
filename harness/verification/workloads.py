"""Find the workload of a record among the installed workloads, and compare it with what the record states.

A record may come from anybody. Its import path, and the arguments of its class, are therefore never used: they could
name any function on this machine. The workload is looked up by `name@version` instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from harness.contract import hyperparameters
from harness.contract.entries import WorkloadEntry
from harness.contract.run import RunSpec
from harness.contract.workload import Stage, WorkloadFacts
from harness.errors import PluginError, UsageError
from harness.planning.rulesets import rulesets
from harness.planning.stopping_rules import stopping_rule
from harness.planning.trials import PlanSettings, apply_budget, with_horizon
from harness.plugins.loading import is_file, split_load
from harness.verification.findings import Finding, make_finding

#: The workloads whose code may run, by `name@version`: the installed ones, and those in files that the user named.
Workloads: TypeAlias = Mapping[str, WorkloadEntry]


def index_workloads(entries: Iterable[WorkloadEntry]) -> Workloads:
    """Return workloads by `name@version`. If several distributions offer the same workload, it is left out."""
    entries = tuple(entries)
    offers = Counter(entry.facts.id for entry in entries)
    return {entry.facts.id: entry for entry in entries if offers[entry.facts.id] == 1}


def check_workload(spec: RunSpec, workloads: Workloads) -> Finding:
    """Return the finding about the workload of a trial: whether it is the installed workload of this name and version.

    Args:
        spec: the trial.
        workloads: the workloads whose code may run.
    """
    entry = workloads.get(spec.workload.facts.id)
    if entry is None:
        return make_finding("workload", [], describe_unknown_workload(spec, workloads))
    return make_finding("workload", list_workload_problems(spec, entry))


def describe_unknown_workload(spec: RunSpec, workloads: Workloads) -> str:
    """Return why the workload of a trial is not among the workloads whose code may run."""
    facts = spec.workload.facts
    versions = ", ".join(sorted(entry.facts.id for entry in workloads.values() if entry.facts.name == facts.name))
    if versions:
        return f"{facts.id} is not installed; at hand: {versions}"
    if _is_in_file(spec.workload.load):
        return f"{facts.name} is a workload in a file, which only the user may name: --workload-file FILE"
    return f"{facts.id} is not installed, or several packages offer it"


def list_workload_problems(spec: RunSpec, entry: WorkloadEntry) -> list[str]:
    """Return a one-line message for each difference between the workload of a trial and the installed workload."""
    ref, problems = spec.workload, []
    # The file of a workload may have been moved. Its version contains a hash of its code.
    both_in_files = _is_in_file(ref.load) and _is_in_file(entry.load)
    recorded, own = (load.rpartition(":")[2] if both_in_files else load for load in (ref.load, entry.load))
    if recorded != own:
        problems.append(f"its workload has the import path {recorded!r}, but {entry.facts.id} has {own!r}")
    if ref.arguments != entry.arguments:
        problems.append(f"its workload has other arguments than {entry.facts.id}")
    problems += _list_option_problems(spec, entry)
    expected, own_facts = expected_facts(spec, entry.facts), spec.workload.facts
    if _is_calibration(spec):
        expected, own_facts = _without_targets(expected), _without_targets(own_facts)
    names = [name for name in expected.__struct_fields__ if getattr(expected, name) != getattr(own_facts, name)]
    return [*problems, *(f"{name} in its facts differs from {entry.facts.id}" for name in names)]


def expected_facts(spec: RunSpec, facts: WorkloadFacts) -> WorkloadFacts:
    """Return the facts that a trial must have: those of the installed workload, with the budget under the ruleset.

    Where the planner may choose the horizon, the trial's own horizon is taken, and the other budgets follow from it.
    """
    settings = PlanSettings(ruleset=spec.ruleset, seed=spec.root_seed, smoke=spec.smoke, nonce=spec.nonce)
    facts = apply_budget(facts, settings)
    if _may_have_any_horizon(spec):
        return with_horizon(facts, spec.workload.facts.budget.horizon)
    seed = settings.study_seed(facts, spec.study)
    horizon = stopping_rule(spec.ruleset.stopping).horizon(facts, seed, spec.study)
    return facts if horizon is None else with_horizon(facts, horizon)


def _may_have_any_horizon(spec: RunSpec) -> bool:
    """Return whether the planner may choose the horizon: in envelopes, gates and searches, but never in a table."""
    if spec.purpose == "tuning":
        return spec.ruleset.name not in rulesets()
    return spec.purpose != "score"


def _is_calibration(spec: RunSpec) -> bool:
    """Return whether a run belongs to the calibration from which the targets of its workload were computed."""
    return spec.purpose == "target" or (spec.purpose == "tuning" and spec.ruleset.name == "calibration")


def _without_targets(facts: WorkloadFacts) -> WorkloadFacts:
    """Return the facts without what a calibration computes. Its own runs are older than these values."""

    def strip(stage: Stage) -> Stage:
        return msgspec.structs.replace(stage, targets=(), floors=())

    return msgspec.structs.replace(
        facts, targets=(), levels={}, resolution=None, coarse=False, stages=tuple(map(strip, facts.stages))
    )


def with_installed_workload(spec: RunSpec, workloads: Workloads) -> RunSpec:
    """Return the specification with the import path and the arguments of the installed workload.

    Raises:
        UsageError: the workload is not installed, or differs from the installed one.
    """
    entry = workloads.get(spec.workload.facts.id)
    if entry is None:
        raise UsageError(
            f"the workload of the record cannot run: {describe_unknown_workload(spec, workloads)}",
            fix="install the version that the record names, or give the file with --workload-file",
        )
    if problems := list_workload_problems(spec, entry):
        raise UsageError(
            f"the workload of the record is not the installed one: {'; '.join(problems[:3])}",
            fix="install the version with which the record was made, or do not believe the record",
        )
    workload = msgspec.structs.replace(
        spec.workload, load=entry.load, arguments=entry.arguments, source_hash="", code_hash=""
    )
    return msgspec.structs.replace(spec, workload=workload)


def _list_option_problems(spec: RunSpec, entry: WorkloadEntry) -> Iterable[str]:
    """Yield the problems of the model options. They are arguments of a method of the workload."""
    for name, value in spec.submission.model_options.items():
        if name not in entry.facts.model_options:
            yield f"{entry.facts.id} has no model option {name!r}"
            continue
        try:
            hyperparameters.validate(name, value, entry.facts.model_options[name])
        except UsageError as error:
            yield f"model option {error.what}"


def _is_in_file(load: str) -> bool:
    try:
        return is_file(split_load(load)[0])
    except PluginError:
        return False
