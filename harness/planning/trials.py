"""Plan the trials of one submission on one workload: their hyperparameters, budgets, stops and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Fixed, HParams, Scalar, Space
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.limits import check_integers, check_number_of_trials
from harness.contract.ruleset import Ruleset
from harness.contract.run import Nonce, PartRef, Purpose, RunSpec, Seeds, SubmissionRef, WorkloadRef
from harness.contract.schedule import planned_updates
from harness.contract.workload import WorkloadFacts, default_device, scale_budget
from harness.errors import UsageError, unknown_name_error
from harness.hardware import detect
from harness.planning import sampling
from harness.planning.compose import Composition, PartLookup, compose
from harness.planning.seeds import nonce_root, with_seeds
from harness.planning.stopping_rules import stopping_rule
from harness.plugins.code_hash import code_hash
from harness.plugins.entry_points import OWN_NAME
from harness.plugins.source_hash import may_change, source_hash
from harness.plugins.submission_size import check_size

#: Maximum number of rejected points per accepted point, when points are drawn from a search space.
MAX_REJECTED_DRAWS = 50
#: Number of evaluations in a smoke run, not counting the evaluation of the untrained model.
SMOKE_EVALUATIONS = 2


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """The ruleset and the options of `bench run` from which trials are planned.

    Args:
        ruleset: the rules; see `harness.planning.rulesets`.
        studies: number of independent repetitions; None for the ruleset's number.
        tuning_studies: number of studies that choose a setting or a stop; None for the ruleset's number, which is also
            the smallest one.
        seed: the root seed, from which all other seeds are derived.
        overrides: values of hyperparameters that the user set, by name. Trials with overrides are never ranked.
        device: `cpu`, `cuda`, `cuda:0` …, `mps`; None for the device of the workload's tier.
        threads: number of intra-op threads of a trial.
        smoke: whether each trial runs only a few steps.
        profile: whether to time the phases of a step.
        deterministic: whether to use deterministic kernels on a GPU.
        prune: whether trials end early if they are unlikely to reach the target.
        ranks: number of devices that share a trial.
        screening: whether an evaluation may use only a part of the split `score`, if this part already shows that a
            target is missed.
        nonce: number from which the seeds are derived; None to derive them from the root seed.

    Raises:
        UsageError: a number is not an integer or is outside its range, or there are fewer tuning studies than the
            ruleset requires.
    """

    ruleset: Ruleset
    studies: int | None = None
    tuning_studies: int | None = None
    seed: int = 0
    overrides: Mapping[str, Scalar | str] = field(default_factory=dict)
    device: str | None = None
    threads: int = 1
    smoke: bool = False
    profile: bool = False
    deterministic: bool = False
    prune: bool = False
    ranks: int = 1
    screening: bool = True
    nonce: Nonce | None = None

    def __post_init__(self) -> None:
        numbers = ("studies", "tuning_studies", "seed", "threads", "ranks")
        check_integers({name: getattr(self, name) for name in numbers})
        least = self.ruleset.tuning_studies
        if self.tuning_studies is not None and (not least or self.tuning_studies < least):
            problem = (
                f"the number of tuning studies of {self.ruleset.name} is at least {least}, not {self.tuning_studies}"
                if least
                else f"{self.ruleset.name} has no tuning studies"
            )
            raise UsageError(
                problem, fix="leave out --tuning-studies; bench rulesets lists the studies of each ruleset"
            )

    @property
    def planned_tuning_studies(self) -> int:
        """Number of tuning studies; 0 for a ruleset without them."""
        return self.tuning_studies or self.ruleset.tuning_studies

    @property
    def trials(self) -> int:
        """Number of trials of a submission on a workload, in scored studies and tuning studies together."""
        ruleset = self.ruleset
        scored = (self.studies or ruleset.studies) * stopping_rule(ruleset.stopping).scored_trials(ruleset)
        return scored + self.planned_tuning_studies * ruleset.trials

    def study_seed(self, facts: WorkloadFacts, study: int) -> int:
        """Return the number that determines the ruleset's random choices in a study, such as a random budget."""
        return self.seed if self.nonce is None else int(nonce_root(self.nonce, facts.id, study), 16)


def plan_trials(
    workload: WorkloadEntry,
    submission: SubmissionEntry,
    registry: PartLookup,
    settings: PlanSettings,
    *,
    purpose: Purpose = "score",
    studies: int | None = None,
    first_study: int = 0,
    points: Sequence[HParams] | None = None,
    stop: int | None = None,
    horizon: int | None = None,
) -> tuple[RunSpec, ...]:
    """Plan the trials of one submission on one workload, for one purpose.

    Args:
        workload: the workload.
        submission: the submission.
        registry: the registry in which parts are looked up.
        settings: the ruleset and options.
        purpose: purpose of the trials, which determines their seeds.
        studies: number of studies; None for the number in the settings or the ruleset.
        first_study: index of the first study. The seeds of a study are derived from its index.
        points: hyperparameters to try in every study, one point for each trial; None for the ruleset's points.
        stop: number of examples after which a trial ends; None for the ruleset's stop.
        horizon: horizon in examples, at which the runs end whether or not they meet the target. None for the horizon of
            the ruleset or, if it has none, of the workload.

    Raises:
        UsageError: there are too many trials, or a hyperparameter does not exist, is out of range, or conflicts with
            another hyperparameter.
    """
    facts = apply_budget(workload.facts, settings)
    composition = compose(submission, registry)
    device = settings.device or default_device(facts)
    ref = _submission_ref(composition)
    hparams_of_study = hyperparameter_settings(composition, facts, settings, points)
    rule = stopping_rule(settings.ruleset.stopping)
    changes = may_change(workload.load, workload.distribution)
    common = RunSpec(
        workload=WorkloadRef(
            facts=facts,
            load=workload.load,
            arguments=workload.arguments,
            distribution=workload.distribution,
            source_hash=source_hash([workload.load]) if changes else "",
            code_hash=code_hash([workload.load]) if changes else "",
        ),
        submission=ref,
        hparams={},
        overridden=tuple(sorted(settings.overrides)),
        ruleset=settings.ruleset,
        purpose=purpose,
        study=0,
        trial=0,
        root_seed=0 if settings.nonce else settings.seed,
        seeds=Seeds(model=0, data=0, submission=0, replay=0),
        stop=rule.stop(facts, settings.ruleset) if stop is None else stop,
        prune=settings.prune,
        ranks=settings.ranks,
        device=device,
        threads=settings.threads,
        hardware=detect.hardware_class(device, settings.threads, settings.ranks),
        smoke=settings.smoke,
        profile=settings.profile,
        deterministic=settings.deterministic,
        screening=settings.screening,
        nonce=settings.nonce,
    )
    specs = []
    count = studies or settings.studies or settings.ruleset.studies
    check_number_of_trials(count * (settings.ruleset.trials if points is None else len(points)))
    for study in range(first_study, first_study + count):
        study_horizon = horizon or rule.horizon(facts, settings.study_seed(facts, study), study)
        template = common if study_horizon is None else _replace_horizon(common, study_horizon)
        specs += [
            with_seeds(
                msgspec.structs.replace(template, hparams=hparams, study=study, trial=trial),
                redraws_held_out=workload.redraws_held_out,
            )
            for trial, hparams in enumerate(hparams_of_study(study))
        ]
    return tuple(specs)


def _replace_horizon(spec: RunSpec, horizon: int) -> RunSpec:
    """Return the specification with another horizon. The run ends at this horizon.

    The budgets of seconds and gradient-examples are scaled in proportion to the horizon.
    """
    workload = msgspec.structs.replace(spec.workload, facts=with_horizon(spec.workload.facts, horizon))
    return msgspec.structs.replace(spec, workload=workload, stop=horizon)


def hyperparameter_settings(
    composition: Composition, facts: WorkloadFacts, settings: PlanSettings, points: Sequence[HParams] | None = None
) -> Callable[[int], Sequence[HParams]]:
    """Return a function from the index of a study to the hyperparameters of its trials.

    Under `tuning: space`, the studies share one sequence of points: study 0 takes the first `trials` points, study 1
    takes the next `trials` points, and so on. Points that fail a check are skipped. If the submission itself declares a
    list of points, every study tries the first `trials` points of this list instead.

    Raises:
        UsageError: a hyperparameter does not exist, is out of range, or conflicts with another hyperparameter.
    """
    n, tuning = settings.ruleset.trials, settings.ruleset.tuning
    if stopping_rule(settings.ruleset.stopping).plans_to_end:
        composition = _plan_to_end(composition, settings)
    if points is None and tuning == "space" and composition.entry.points:
        points = composition.entry.points[:n]
    if points is None and tuning == "rates":
        default_rate = float(hyperparameters.default(composition.space["lr"])) if "lr" in composition.space else 0.0
        points = [{"lr": rate} for rate in sampling.learning_rates(default_rate, n)] if default_rate else [{}]
    if points is None and tuning == "defaults":
        points = [{}] * n
    if points is not None:
        resolved = [_resolve_hparams(composition, facts, settings, point) for point in points]
        return lambda study: resolved
    sequence = sampling.draw_points(composition.space)
    drawn: list[HParams] = []
    rejected = 0

    def draw_for_study(study: int) -> Sequence[HParams]:
        nonlocal rejected
        while len(drawn) < (study + 1) * n:
            try:
                drawn.append(_resolve_hparams(composition, facts, settings, next(sequence)))
            except UsageError:
                rejected += 1
                # A large number of rejections shows that the space or an override is wrong.
                if rejected > MAX_REJECTED_DRAWS * (1 + len(drawn)):
                    raise
        return drawn[study * n : (study + 1) * n]

    return draw_for_study


def _plan_to_end(composition: Composition, settings: PlanSettings) -> Composition:
    """Return the composition with `horizon_fraction` fixed at 1.

    Raises:
        UsageError: an override sets this hyperparameter.
    """
    name = "horizon_fraction"
    if name not in composition.space:
        return composition
    if name in settings.overrides:
        problem = f"{name} is 1 in every run of {settings.ruleset.name}, which plans schedules for the whole budget"
        raise UsageError(problem, fix=f"leave out {name}")
    points = tuple({key: value for key, value in point.items() if key != name} for point in composition.entry.points)
    entry = msgspec.structs.replace(composition.entry, points=points)
    return replace(composition, entry=entry, space={**composition.space, name: Fixed(1.0)})


def _resolve_hparams(composition: Composition, facts: WorkloadFacts, settings: PlanSettings, point: HParams) -> HParams:
    """Return the value of every hyperparameter: the override, the point's value or the default, in this order."""
    space = dict(composition.space)
    # Every submission may use any batch size that the workload offers.
    space["batch_size"] = Choice(tuple(facts.batch_sizes), default=batch_size(composition.space, facts))
    assigned = {**point, **settings.overrides}
    for name in assigned:
        if name not in space:
            # An override applies to all submissions of a plan, so the message names the submission that lacks the
            # hyperparameter.
            raise unknown_name_error(f"hyperparameter of {composition.entry.name}", name, space)
    for name in composition.taken_over.keys() & settings.overrides.keys():
        part = composition.taken_over[name]
        raise UsageError(
            f"{name} has no effect in {composition.entry.name}: {part} sets it at every update",
            fix=f"leave out {name}; bench show {part} lists the hyperparameters that determine {name}",
        )
    values = hyperparameters.resolve(space, assigned, (), {})
    fraction, size = float(values.get("horizon_fraction", 1.0)), int(values["batch_size"])
    shortest = min((stage.max_examples for stage in facts.stages), default=None) if facts.boundaries else None
    planned = {
        name: None if examples is None else planned_updates(examples, fraction, size)
        for name, examples in (("horizon", facts.budget.horizon), ("task", shortest))
    }
    for check in composition.checks:
        hyperparameters.check_relation(check, values, planned)
    return values


def batch_size(space: Space, facts: WorkloadFacts) -> int:
    """Return the workload's batch size that is nearest, on a log scale, to the default in a submission's space.

    If the space has no batch size, return the workload's first batch size.
    """
    domain = space.get("batch_size")
    if domain is None:
        return facts.batch_sizes[0]
    default_size = float(hyperparameters.default(domain))
    return min(facts.batch_sizes, key=lambda size: abs(math.log(size / default_size)))


def apply_budget(facts: WorkloadFacts, settings: PlanSettings) -> WorkloadFacts:
    """Return the facts with the budget under the ruleset, or with the short budget of a smoke run."""
    budget, factor = facts.budget, settings.ruleset.budget_factor
    if settings.smoke:
        horizon = min(budget.horizon, SMOKE_EVALUATIONS * facts.eval_every)
        budget = msgspec.structs.replace(budget, horizon=horizon)
        return msgspec.structs.replace(facts, budget=budget)
    return facts if factor == 1.0 else scale_budget(facts, factor)


def with_horizon(facts: WorkloadFacts, horizon: int) -> WorkloadFacts:
    """Return the facts with another horizon. The other budgets are scaled in proportion to it."""
    facts = scale_budget(facts, horizon / facts.budget.horizon)
    return msgspec.structs.replace(facts, budget=msgspec.structs.replace(facts.budget, horizon=horizon))


def _submission_ref(composition: Composition) -> SubmissionRef:
    entry = composition.entry
    loads = [part.load for part in composition.parts] + ([entry.load] if entry.load else [])
    check_size(entry.name, loads)
    sources = {part.distribution for part in composition.parts} | ({entry.distribution} if entry.load else set())
    return SubmissionRef(
        name=entry.name,
        version=entry.version,
        load=entry.load,
        parts=tuple(PartRef(kind=part.kind, name=part.name, load=part.load) for part in composition.parts),
        needs=composition.needs,
        model_options=entry.model_options,
        distribution=entry.distribution,
        source_hash=source_hash(loads),
        # The source hash identifies the code of submissions that are distributed with the harness, because the run IDs
        # of published runs were computed from it.
        code_hash="" if sources <= {OWN_NAME} else code_hash(loads),
    )
