"""Plan trials from names, a ruleset and options: `harness.plan`.

Errors in a user's input are reported here, before any trial runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from harness.contract.domains import Scalar
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.limits import check_number_of_trials
from harness.contract.ruleset import Ruleset
from harness.contract.run import Nonce
from harness.errors import BenchError, UsageError, combine_errors
from harness.planning.grid import Override, expand_grid, name_point
from harness.planning.phases import PhasedPlan, SubmissionOnWorkload, plan_phases
from harness.planning.requirements import choose_workloads
from harness.planning.resolve import check_distinct_names, reference_submissions, resolve_submission, split_names
from harness.planning.rulesets import ruleset as find_ruleset
from harness.planning.trials import PlanSettings
from harness.plugins.registry import Registry, load_registry

#: A function that returns the best known values of hyperparameters for a submission and a workload.
BestSettingsOf: TypeAlias = Callable[[SubmissionEntry, WorkloadEntry], Mapping[str, Scalar]]


def plan(
    submissions: str | Iterable[str],
    workloads: str | Iterable[str],
    *,
    ruleset: str | Ruleset = "quick",
    studies: int | None = None,
    tuning_studies: int | Mapping[str, int] | None = None,
    seed: int = 0,
    overrides: Mapping[str, Override] | None = None,
    best_settings: BestSettingsOf | None = None,
    device: str | None = None,
    threads: int = 1,
    ranks: int = 1,
    smoke: bool = False,
    profile: bool = False,
    deterministic: bool = False,
    prune: bool = False,
    screening: bool = True,
    nonce: Nonce | None = None,
    allow_slow: bool = False,
    require_machine: bool = True,
    registry: Registry | None = None,
) -> PhasedPlan:
    """Plan the trials of submissions on workloads, each as a `RunSpec`, without running them.

    >>> import harness
    >>> specs = harness.plan("wsd,adamw-cosine", "resnet-digits", studies=2)
    >>> [(spec.submission.name, spec.study) for spec in specs]
    [('wsd', 0), ('adamw-cosine', 0), ('wsd', 1), ('adamw-cosine', 1)]

    Args:
        submissions: submissions, separated by commas or as a sequence. Each is the name of an installed submission, a
            file `./mine.py` or `./mine.py:Name`, a class `torch.optim:Adam`, or several parts `adamw+wsd`.
        workloads: workloads, separated by commas or as a sequence. Each is the name of an installed workload, a file,
            or `tier:cpu` for all workloads of a tier.
        ruleset: name of a ruleset (see `bench rulesets`), path of a YAML file, or a `Ruleset`.
        studies: number of independent repetitions; None for the ruleset's number.
        tuning_studies: number of studies that choose a setting or a stop, under a ruleset with such studies. It is a
            number for all workloads, or numbers by the name of the workload. None, or a workload that is not named,
            means the ruleset's number, which is also the smallest one.
        seed: root seed, from which all seeds are derived.
        overrides: values of hyperparameters, by name. Trials with overrides are never ranked. If a value is a sequence,
            it spans a grid: trials are planned for every combination of values.
        best_settings: function that returns the best known setting of a submission on a workload. Values in `overrides`
            take precedence over this setting. Trials with such a setting are never ranked.
        device: `cpu`, `cuda`, `cuda:0` …, `mps`; None for the device of the workload's tier.
        threads: number of intra-op threads of a trial. It is part of the hardware class.
        ranks: number of devices that share a trial.
        smoke: whether each trial runs only a few steps. Such trials are never ranked.
        profile: whether to time the phases of a step. Such trials are never ranked.
        deterministic: whether to use deterministic kernels on a GPU.
        prune: whether trials end early if they are unlikely to reach the target. Such trials are never ranked.
        screening: whether an evaluation may use only a part of the split `score`, if this part already shows that a
            target is missed.
        nonce: number from which the seeds are derived; None to derive them from the root seed.
        allow_slow: whether GPU workloads may run on the CPU.
        require_machine: whether it is an error if this machine lacks a device or data. If False, the plan lists what is
            missing.
        registry: the plugins; None for the installed plugins.

    Returns:
        The plan. Iterating over it yields the specifications that can run now. Rulesets such as `fixed-stop` have a
        second phase that depends on the records of the first phase. `run_trials` runs both phases.

    Raises:
        UsageError: a name, an option or a hyperparameter is wrong, there are too many trials, or no trial can run. If
            there are several problems, the message lists all of them.
        DataError: the data of a workload are missing. The error suggests the command that fetches the data.
    """
    registry = registry if registry is not None else load_registry()
    settings = PlanSettings(
        ruleset=find_ruleset(ruleset) if isinstance(ruleset, str) else ruleset,
        studies=studies,
        seed=seed,
        threads=threads,
        smoke=smoke,
        profile=profile,
        deterministic=deterministic,
        prune=prune,
        ranks=ranks,
        screening=screening,
        nonce=nonce,
    )
    choice = choose_workloads(_as_names(workloads), registry, device, allow_slow, settings.ranks)
    problems: list[BenchError] = []
    found: dict[str, SubmissionEntry] = {}
    for name in _as_names(submissions):
        try:
            entry = resolve_submission(name, registry)
            check_distinct_names({**found, name: entry})
        except BenchError as error:
            problems.append(error)
        else:
            # Two names may denote one submission, such as `wsd` and `algorace:wsd`.
            if entry not in found.values():
                found[name] = entry
    entries = list(found.values())
    problems += choice.unknown
    points = expand_grid(overrides or {})
    settings_of = {
        workload.name: replace(
            settings,
            tuning_studies=tuning_studies.get(workload.name) if isinstance(tuning_studies, Mapping) else tuning_studies,
        )
        for workload, _ in choice.workloads
    }
    trials = sum(settings_of[workload.name].trials for workload, _ in choice.workloads)
    check_number_of_trials(len(entries) * len(points) * trials)
    pairs = [
        SubmissionOnWorkload(
            submission=entry,
            workload=workload,
            settings=replace(
                settings_of[workload.name],
                device=chosen_device,
                overrides={**(best_settings(entry, workload) if best_settings else {}), **point},
            ),
            point=name_point(point) if len(points) > 1 else "",
        )
        for workload, chosen_device in choice.workloads
        for entry in entries
        for point in points
    ]
    try:
        phased_plan = plan_phases(pairs, registry, reference_submissions(registry))
    except BenchError as error:
        problems.append(error)
    problems += choice.missing if require_machine else ()
    if problems:
        raise combine_errors(problems)
    skipped = (*choice.skipped, *phased_plan.skipped)
    phased_plan = replace(phased_plan, skipped=skipped, missing=choice.missing)
    if not phased_plan.phase1:
        raise UsageError("nothing to run", fix="; ".join(phased_plan.skipped) or None)
    return phased_plan


def _as_names(names: str | Iterable[str]) -> list[str]:
    return split_names([names] if isinstance(names, str) else names)
