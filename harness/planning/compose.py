"""A submission with its parts looked up and merged, and whether it can run on a workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.contract import hyperparameters
from harness.contract.domains import Space, Uniform
from harness.contract.entries import PartEntry, SubmissionEntry
from harness.contract.part_kinds import PART_KINDS
from harness.contract.run import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError

#: The share of the budget that a schedule plans for: a decaying run crosses its target near its planned end.
HORIZON_FRACTION = Uniform(0.3, 1.0, default=0.75, limits=(1e-6, 1.0))


class Parts(Protocol):
    """Where parts are looked up: the plugin registry."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry: ...


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
    for row in PART_KINDS.values():
        if entry.load is None and row.required and row.name not in kinds:
            fix = f"put one in front: {row.name.upper()}+{'+'.join(entry.parts)}"
            raise UsageError(f"{entry.name!r} has no {row.name}", fix=fix)
    for part in parts:
        for other in parts:
            if other.kind in part.excludes:
                problem = f"{part.id} cannot be combined with a part of kind {other.kind}"
                raise UsageError(problem, fix=f"leave out {other.name}")
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
    needs = entry.needs.union(*(part.all_needs for part in parts))
    space |= entry.space
    if "horizon" in needs:
        space.setdefault("horizon_fraction", HORIZON_FRACTION)
    checks = (*entry.checks, *(check for part in parts for check in part.checks))
    return Composition(entry=entry, parts=parts, space=space, checks=checks, needs=needs)


def find_ineligibility(composition: Composition, facts: WorkloadFacts, ruleset: Ruleset, ranks: int = 1) -> str:
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
        hyperparameters.validate(option, value, facts.model_options[option])
    return ""


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
    kind, colon, bare_name = name.partition(":")
    return (kind, bare_name) if colon else (None, name)
