"""From names, ruleset and settings to RunSpecs; everything a user can get wrong is found here, before anything runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from harness import loading, provenance, spaces
from harness.errors import UsageError
from harness.types import (
    Choice,
    HParams,
    PartEntry,
    PartRef,
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
    space: Space = {}
    owner: dict[str, PartEntry] = {}
    for part in parts:
        for name, domain in part.space.items():
            if name in owner and name not in entry.space:
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


def ineligible(composition: Composition, facts: WorkloadFacts, ruleset: Ruleset) -> str:
    """Why a submission cannot run on a workload under a ruleset, by the name of what is missing; or an empty string."""
    needs, stream = composition.needs, facts.access == "stream"
    missing = {
        "horizon": "horizon" in ruleset.hides and "the horizon, which the ruleset hides",
        "pool": stream and "random access to its training data",
        "scores": not facts.scores and "per-example scores",
        "holdout": stream and "a holdout, which a stream does not give",
        "stream": not stream and "a stream of tasks",
        "replay": not facts.replay_capacity and "a replay buffer",
        "boundaries": (not stream or not facts.boundaries) and "visible task boundaries",
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
    workload: WorkloadEntry, submission: SubmissionEntry, registry: Parts, settings: Settings
) -> tuple[RunSpec, ...]:
    """Every trial of one submission on one workload.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
    """
    facts = _budgeted(workload.facts, settings)
    composition = compose(submission, registry)
    hparams = _hparams(composition, facts, settings)
    device = settings.device or ("cpu" if facts.tier == "cpu" else "cuda")
    ref = _submission_ref(composition)
    studies = settings.studies or settings.ruleset.studies
    return tuple(
        RunSpec(
            workload=WorkloadRef(
                facts=facts, load=workload.load, arguments=workload.arguments, distribution=workload.distribution
            ),
            submission=ref,
            hparams=hparams,
            overridden=tuple(sorted(settings.overrides)),
            ruleset=settings.ruleset,
            study=study,
            trial=trial,
            root_seed=settings.seed,
            seeds=seeds(settings.seed, facts.name, study, trial),
            device=device,
            threads=settings.threads,
            hardware=provenance.hardware_class(device, settings.threads),
            smoke=settings.smoke,
            profile=settings.profile,
            deterministic=settings.deterministic,
        )
        for study in range(studies)
        for trial in range(settings.ruleset.trials)
    )


def seeds(root: int, workload: str, study: int, trial: int) -> Seeds:
    """Seeds of a trial, one per role; equal for every submission, so that runs pair."""

    def draw(role: str) -> int:
        text = f"{root}/{workload}/{study}/{trial}/{role}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    return Seeds(model=draw("model"), data=draw("data"), submission=draw("submission"), replay=draw("replay"))


def parse_parts(text: str) -> SubmissionEntry:
    """The unnamed submission that `"muon+rex+ema"` composes."""
    return SubmissionEntry(
        name=text, summary=f"composed of {text.replace('+', ', ')}", parts=tuple(text.split("+")), tags=("composed",)
    )


def _kind_and_name(name: str) -> tuple[str | None, str]:
    kind, colon, rest = name.partition(":")
    return (kind, rest) if colon else (None, name)


def _hparams(composition: Composition, facts: WorkloadFacts, settings: Settings) -> HParams:
    space = dict(composition.space)
    # Every submission may choose its batch size, among those the workload offers.
    space["batch_size"] = Choice(tuple(facts.batch_sizes), default=batch_size(composition.space, facts))
    given = dict(settings.overrides)
    values = spaces.resolve(space, given, (), {})
    horizon = facts.budget.horizon * float(values.get("horizon_fraction", 1.0)) / int(values["batch_size"])
    for check in composition.checks:
        spaces.require(check, values, {"horizon": max(1, round(horizon))})
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
    elif factor != 1.0:
        budget = msgspec.structs.replace(
            budget,
            horizon=round(budget.horizon * factor),
            gradient_examples=round(budget.gradient_examples * factor),
            seconds={name: seconds * factor for name, seconds in budget.seconds.items()},
        )
    return msgspec.structs.replace(facts, budget=budget)


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
