"""From names, ruleset and settings to RunSpecs; everything a user can get wrong is found here, before anything runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from harness import loading, provenance, sampling, spaces
from harness.errors import UsageError, unknown
from harness.scoring import anytime
from harness.types import (
    Choice,
    HParams,
    PartEntry,
    PartRef,
    Purpose,
    Ruleset,
    RunSpec,
    Scalar,
    Seeds,
    Space,
    SubmissionEntry,
    SubmissionRef,
    Uniform,
    WorkloadEntry,
    WorkloadFacts,
    WorkloadRef,
)

#: The share of the budget that a schedule plans for: a decaying run crosses its target near its planned end.
HORIZON_FRACTION = Uniform(0.3, 1.0, default=0.75, limits=(1e-6, 1.0))
#: Points passed over for each one taken before a space is taken to be wrong.
MOST_REFUSED = 50
#: Evaluations in a smoke run, the one of the untrained model not counted.
SMOKE_EVALUATIONS = 2


class Parts(Protocol):
    """Where parts are looked up: the plugin registry."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run, beside what: the values of `bench run`'s options."""

    ruleset: Ruleset
    studies: int | None = None
    seed: int = 0
    overrides: Mapping[str, Scalar | str] = field(default_factory=dict)
    device: str | None = None
    threads: int = 1
    smoke: bool = False
    profile: bool = False
    deterministic: bool = False
    prune: bool = False
    ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A submission with its parts looked up: one space, one list of checks, one set of needs."""

    entry: SubmissionEntry
    parts: tuple[PartEntry, ...]
    space: Space
    checks: tuple[str, ...]
    needs: frozenset[str]


def compose(entry: SubmissionEntry, registry: Parts) -> Composition:
    """Look up a submission's parts and merge what they declare.

    Raises:
        UsageError: two parts define one hyperparameter, or a kind of part stands there twice.
    """
    parts = tuple(registry.part(*_kind_and_name(name), prefer=entry.distribution) for name in entry.parts)
    kinds = [part.kind for part in parts]
    for kind in kinds:
        if kinds.count(kind) > 1:
            both = " and ".join(part.name for part in parts if part.kind == kind)
            raise UsageError(f"{entry.name!r} has two parts of kind {kind}: {both}", fix="keep one of them")
    if entry.load is None and "optimizer" not in kinds:
        raise UsageError(f"{entry.name!r} has no optimizer", fix="put one in front: OPTIMIZER+" + "+".join(entry.parts))
    for part in parts:
        for other in parts:
            if other.kind in part.excludes:
                raise UsageError(f"{part.id} goes with no {other.kind} part, not with {other.name}", fix="leave it out")
    space: Space = {}
    owner: dict[str, PartEntry] = {}
    for part in parts:
        for name, domain in part.space.items():
            # Equal domains are one hyperparameter, such as the start of an average and of its own schedule.
            if name in owner and name not in entry.space and domain != space[name]:
                raise UsageError(
                    f"{part.id} and {owner[name].id} both define the hyperparameter {name!r}",
                    fix="they cannot be composed unless the submission's own space says what it is",
                )
            owner[name] = part
            space[name] = domain
    needs = entry.needs.union(*(part.needs for part in parts))
    space |= entry.space
    if "horizon" in needs:
        space.setdefault("horizon_fraction", HORIZON_FRACTION)
    checks = (*entry.checks, *(check for part in parts for check in part.checks))
    return Composition(entry=entry, parts=parts, space=space, checks=checks, needs=needs)


def ineligible(composition: Composition, facts: WorkloadFacts, ruleset: Ruleset, ranks: int = 1) -> str:
    """Why a submission cannot run on a workload under a ruleset, by the name of what is missing; or an empty string."""
    needs, stream = composition.needs, facts.access == "stream"
    # No workload lacks `tokens`: each says how many an example is, images one.
    missing = {
        "horizon": "horizon" in ruleset.hides and "the horizon, which the ruleset hides",
        "pool": stream and "random access to its training data",
        "scores": not facts.scores and "per-example scores",
        "holdout": stream and "a holdout, which a stream does not give",
        "stream": not stream and "a stream of tasks",
        "replay": not facts.replay_capacity and "a replay buffer",
        "boundaries": (not stream or not facts.boundaries) and "visible task boundaries",
        "raw-grad": ranks > 1
        and "gradients of its own making (raw-grad), which several devices do not exchange: it runs with --gpus 1",
        "feedback": stream and not facts.boundaries and "feedback, which would reveal the boundaries",
    }
    for need, reason in missing.items():
        if need in needs and reason:
            return f"needs {reason}"
    for option, value in composition.entry.model_options.items():
        if option not in facts.model_options:
            return f"needs the model option {option!r}"
        spaces.validate(option, value, facts.model_options[option])
    return ""


def plan(
    workload: WorkloadEntry,
    submission: SubmissionEntry,
    registry: Parts,
    settings: Settings,
    *,
    purpose: Purpose = "score",
    studies: int | None = None,
    points: Sequence[HParams] | None = None,
    stop: int | None = None,
    horizon: int | None = None,
) -> tuple[RunSpec, ...]:
    """Every trial of one submission on one workload, for one purpose.

    Args:
        purpose: what the trials are for; their seeds depend on it.
        studies: repetitions; the settings' or the ruleset's when None.
        points: the settings to try in every study; the ruleset's when None.
        stop: examples after which a trial ends; the ruleset's when None.
        horizon: another budget than the workload's, in examples; the runs end there.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
    """
    facts = _budgeted(workload.facts, settings)
    composition = compose(submission, registry)
    device = settings.device or ("cpu" if facts.tier == "cpu" else "cuda")
    ref = _submission_ref(composition)
    chosen = trials(composition, facts, settings, points)
    common = RunSpec(
        workload=WorkloadRef(
            facts=facts, load=workload.load, arguments=workload.arguments, distribution=workload.distribution
        ),
        submission=ref,
        hparams={},
        overridden=tuple(sorted(settings.overrides)),
        ruleset=settings.ruleset,
        purpose=purpose,
        study=0,
        trial=0,
        root_seed=settings.seed,
        seeds=Seeds(model=0, data=0, submission=0, replay=0),
        stop=_stop(facts, settings) if stop is None else stop,
        prune=settings.prune,
        ranks=settings.ranks,
        device=device,
        threads=settings.threads,
        hardware=provenance.hardware_class(device, settings.threads, settings.ranks),
        smoke=settings.smoke,
        profile=settings.profile,
        deterministic=settings.deterministic,
    )
    specs = []
    for study in range(studies or settings.studies or settings.ruleset.studies):
        own = horizon or _drawn(facts, settings, study)
        place = common if own is None else _at_horizon(common, own)
        specs += [
            msgspec.structs.replace(
                place,
                hparams=hparams,
                study=study,
                trial=trial,
                seeds=seeds(settings.seed, facts.name, study, trial, purpose),
            )
            for trial, hparams in enumerate(chosen(study))
        ]
    return tuple(specs)


def _drawn(facts: WorkloadFacts, settings: Settings, study: int) -> int | None:
    """The budget of a study where the ruleset draws one; the same for every submission."""
    if settings.ruleset.stopping != "drawn":
        return None
    digest = hashlib.sha256(f"{settings.seed}/{facts.name}/{study}/budget".encode()).digest()
    return anytime.drawn_horizon(facts.budget.horizon, facts.eval_every, int.from_bytes(digest[:4]) / 2**32)


def _at_horizon(spec: RunSpec, horizon: int) -> RunSpec:
    """The spec with another budget, at whose end it stops; seconds and gradient-examples grow or shrink with it."""
    facts = _scaled(spec.workload.facts, horizon / spec.workload.facts.budget.horizon)
    facts = msgspec.structs.replace(facts, budget=msgspec.structs.replace(facts.budget, horizon=horizon))
    workload = msgspec.structs.replace(spec.workload, facts=facts)
    return msgspec.structs.replace(spec, workload=workload, stop=horizon)


def trials(
    composition: Composition, facts: WorkloadFacts, settings: Settings, points: Sequence[HParams] | None = None
) -> Callable[[int], Sequence[HParams]]:
    """From a study to its settings, one per trial.

    A study draws points of its own, all from one sequence: study 0 has the first ones, study 1 the next.
    A point that its checks refuse is passed over. A submission's own list of points comes before its space.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
    """
    n, tuning = settings.ruleset.trials, settings.ruleset.tuning
    if points is None and tuning == "space" and composition.entry.points:
        points = composition.entry.points[:n]
    if points is None and tuning == "rates":
        middle = float(spaces.default(composition.space["lr"])) if "lr" in composition.space else 0.0
        points = [{"lr": rate} for rate in sampling.rates(middle, n)] if middle else [{}]
    if points is None and tuning == "defaults":
        points = [{}] * n
    if points is not None:
        listed = [_hparams(composition, facts, settings, point) for point in points]
        return lambda study: listed
    sequence = sampling.draws(composition.space)
    drawn: list[HParams] = []
    refused = 0

    def of(study: int) -> Sequence[HParams]:
        nonlocal refused
        while len(drawn) < (study + 1) * n:
            try:
                drawn.append(_hparams(composition, facts, settings, next(sequence)))
            except UsageError:
                refused += 1
                # With so many refused it is the space, or a value set by hand, that is wrong.
                if refused > MOST_REFUSED * (1 + len(drawn)):
                    raise
        return drawn[study * n : (study + 1) * n]

    return of


def _stop(facts: WorkloadFacts, settings: Settings) -> int | None:
    """Where a run ends by the ruleset alone, at an evaluation."""
    if settings.ruleset.stopping != "share":
        return None
    return int(facts.budget.horizon * settings.ruleset.stop_share / facts.eval_every + 1e-9) * facts.eval_every


def seeds(root: int, workload: str, study: int, trial: int, purpose: Purpose = "score") -> Seeds:
    """Seeds of a trial, one per role; equal for every submission, so that runs pair, and other for every purpose."""
    prefix = "" if purpose == "score" else f"{purpose}/"

    def draw(role: str) -> int:
        text = f"{prefix}{root}/{workload}/{study}/{trial}/{role}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    return Seeds(model=draw("model"), data=draw("data"), submission=draw("submission"), replay=draw("replay"))


def parse_parts(text: str) -> SubmissionEntry:
    """The unnamed submission that `"muon+rex+ema"` composes; that of an optimizer alone has a constant rate.

    Raises:
        UsageError: there is nothing before, after or between two `+`.

    >>> parse_parts("muon + rex").parts
    ('muon', 'rex')
    """
    parts = tuple(part.strip() for part in text.split("+"))
    if not all(parts):
        raise UsageError(f"{text!r} names no part at one side of a '+'", fix="write OPTIMIZER+SCHEDULE")
    return SubmissionEntry(
        name="+".join(parts), summary=f"composed of {', '.join(parts)}", parts=parts, tags=("composed",)
    )


def _kind_and_name(name: str) -> tuple[str | None, str]:
    kind, colon, rest = name.partition(":")
    return (kind, rest) if colon else (None, name)


def _hparams(composition: Composition, facts: WorkloadFacts, settings: Settings, point: HParams) -> HParams:
    """A point's values, what was set by hand over them, and the defaults of the rest."""
    space = dict(composition.space)
    # Every submission may choose its batch size, among those the workload offers.
    space["batch_size"] = Choice(tuple(facts.batch_sizes), default=batch_size(composition.space, facts))
    given = {**point, **settings.overrides}
    for name in given:
        if name not in space:
            # What is set by hand is set for every submission named: say which one lacks it.
            raise unknown(f"hyperparameter of {composition.entry.name}", name, space)
    values = spaces.resolve(space, given, (), {})
    share = float(values.get("horizon_fraction", 1.0)) / int(values["batch_size"])
    shortest = min((stage.max_examples for stage in facts.stages), default=None) if facts.boundaries else None
    planned = {
        name: None if examples is None else max(1, round(examples * share))
        for name, examples in (("horizon", facts.budget.horizon), ("task", shortest))
    }
    for check in composition.checks:
        spaces.require(check, values, planned)
    return values


def batch_size(space: Space, facts: WorkloadFacts) -> int:
    """The offered batch size nearest to the one that a submission's space asks for, or the workload's own."""
    asked = space.get("batch_size")
    if asked is None:
        return facts.batch_sizes[0]
    wanted = float(spaces.default(asked))
    return min(facts.batch_sizes, key=lambda size: abs(math.log(size / wanted)))


def _budgeted(facts: WorkloadFacts, settings: Settings) -> WorkloadFacts:
    """The facts with the budget that this ruleset, or a smoke run, gives."""
    budget, factor = facts.budget, settings.ruleset.budget_factor
    if settings.smoke:
        horizon = min(budget.horizon, SMOKE_EVALUATIONS * facts.eval_every)
        budget = msgspec.structs.replace(budget, horizon=horizon)
        return msgspec.structs.replace(facts, budget=budget)
    return facts if factor == 1.0 else _scaled(facts, factor)


def _scaled(facts: WorkloadFacts, factor: float) -> WorkloadFacts:
    """The facts with so many times the budget, and on a stream with stages as much longer."""
    budget = facts.budget
    stages = tuple(
        msgspec.structs.replace(stage, max_examples=round(stage.max_examples * factor)) for stage in facts.stages
    )
    return msgspec.structs.replace(
        facts,
        stages=stages,
        budget=msgspec.structs.replace(
            budget,
            horizon=round(budget.horizon * factor),
            gradient_examples=round(budget.gradient_examples * factor),
            seconds={name: seconds * factor for name, seconds in budget.seconds.items()},
        ),
    )


def _submission_ref(composition: Composition) -> SubmissionRef:
    entry = composition.entry
    loads = [part.load for part in composition.parts] + ([entry.load] if entry.load else [])
    return SubmissionRef(
        name=entry.name,
        version=entry.version,
        load=entry.load,
        parts=tuple(PartRef(kind=part.kind, name=part.name, load=part.load) for part in composition.parts),
        needs=composition.needs,
        model_options=entry.model_options,
        distribution=entry.distribution,
        source_hash=loading.source_hash(loads),
    )
