"""Look up the parts of a submission, merge their declarations, and check on which workloads the submission can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.contract import hyperparameters
from harness.contract.domains import Fixed, Space, Uniform
from harness.contract.entries import PartEntry, SubmissionEntry
from harness.contract.part_kinds import PART_KINDS
from harness.contract.ruleset import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError

#: The domain of `horizon_fraction`, the fraction of the horizon at which a schedule ends. A run with a decaying
#: learning rate reaches its target near the end of the schedule. With the default 0.75, that is before the horizon.
HORIZON_FRACTION = Uniform(0.3, 1.0, default=0.75, limits=(1e-6, 1.0))


class PartLookup(Protocol):
    """A source of parts. This protocol contains the method of the plugin registry that looks up a part."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry: ...


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A submission with its parts, and the merged declarations of the submission and the parts.

    Args:
        entry: the submission.
        parts: the submission's parts.
        space: the search space, merged from the spaces of all parts and of the submission.
        checks: the checks (relations between hyperparameters) of the submission and of all parts.
        needs: the needs of the submission and of all parts.
        taken_over: hyperparameter -> id of the part that sets it during the run (see `PartEntry.takes_over`).
    """

    entry: SubmissionEntry
    parts: tuple[PartEntry, ...]
    space: Space
    checks: tuple[str, ...]
    needs: frozenset[str]
    taken_over: Mapping[str, str]


def compose(entry: SubmissionEntry, registry: PartLookup) -> Composition:
    """Look up the parts of a submission, and merge the declarations of the parts and of the submission.

    Raises:
        UsageError: two parts have the same kind, cannot be combined, or define the same hyperparameter differently; or
            there is no part of a required kind.
    """
    parts = tuple(registry.part(*_kind_and_name(name), prefer=entry.distribution) for name in entry.parts)
    kinds = [part.kind for part in parts]
    for kind in kinds:
        if kinds.count(kind) > 1:
            duplicates = " and ".join(part.name for part in parts if part.kind == kind)
            raise UsageError(f"{entry.name!r} has two parts of kind {kind}: {duplicates}", fix="keep one of them")
    for part_kind in PART_KINDS.values():
        if entry.load is None and part_kind.required and part_kind.name not in kinds:
            fix = f"add a part of this kind in front: {part_kind.name.upper()}+{'+'.join(entry.parts)}"
            raise UsageError(f"{entry.name!r} has no {part_kind.name}", fix=fix)
    for part in parts:
        for other in parts:
            if other.kind in part.excludes:
                problem = f"{part.id} cannot be combined with a part of kind {other.kind}"
                raise UsageError(problem, fix=f"leave out {other.name}")
    space: Space = {}
    defined_by: dict[str, PartEntry] = {}
    for part in parts:
        for name, domain in part.space.items():
            # If two parts define a hyperparameter with equal domains, they share this hyperparameter.
            if name in defined_by and name not in entry.space and domain != space[name]:
                raise UsageError(
                    f"{part.id} and {defined_by[name].id} both define the hyperparameter {name!r}",
                    fix=f"leave out one of the parts, or define {name!r} in the submission's own space",
                )
            defined_by[name] = part
            space[name] = domain
    needs = entry.needs.union(*(part.all_needs for part in parts))
    space |= entry.space
    # A value that a part replaces at every update has no effect, so tuning must not spend trials on it.
    taken_over = {name: part.id for part in parts for name in sorted(part.takes_over) if name in space}
    for name in taken_over:
        space[name] = Fixed(hyperparameters.default(space[name]))
    if "horizon" in needs:
        space.setdefault("horizon_fraction", HORIZON_FRACTION)
    checks = (*entry.checks, *(check for part in parts for check in part.checks))
    return Composition(entry=entry, parts=parts, space=space, checks=checks, needs=needs, taken_over=taken_over)


def find_ineligibility(composition: Composition, facts: WorkloadFacts, ruleset: Ruleset, ranks: int = 1) -> str:
    """Return why a submission is ineligible on a workload under a ruleset; "" if the submission is eligible.

    The reason is a clause whose subject is the submission, such as "needs a replay buffer".

    Args:
        composition: the submission.
        facts: the workload.
        ruleset: the ruleset.
        ranks: number of devices that share a trial.
    """
    needs, is_stream = composition.needs, facts.access == "stream"
    # need -> what this workload lacks under this ruleset; False if the need is met. The need `tokens` is not listed,
    # because every workload declares `tokens_per_example`.
    missing = {
        "horizon": "horizon" in ruleset.hides and "the horizon, which the ruleset hides",
        "pool": is_stream and "random access to its training data",
        "scores": not facts.scores and "per-example scores",
        "holdout": is_stream and "a holdout, which a stream does not provide",
        "stream": not is_stream and "a stream of tasks",
        "replay": not facts.replay_capacity and "a replay buffer",
        "boundaries": (not is_stream or not facts.boundaries) and "visible task boundaries",
        "raw-grad": ranks > 1
        and "raw gradients (raw-grad), which are not exchanged between devices; run the submission with --gpus 1",
        "feedback": is_stream and not facts.boundaries and "feedback, which would reveal the boundaries",
    }
    for need, description in missing.items():
        if need in needs and description:
            return f"needs {description}"
    for option, value in composition.entry.model_options.items():
        if option not in facts.model_options:
            return f"needs the model option {option!r}"
        hyperparameters.validate(option, value, facts.model_options[option])
    return ""


def parse_parts(text: str) -> SubmissionEntry:
    """Return the submission that consists of the parts in a text such as `"muon+rex+ema"`.

    Without a schedule, the submission has a constant learning rate.

    Raises:
        UsageError: the name before or after a `+` is missing.

    >>> parse_parts("muon + rex").parts
    ('muon', 'rex')
    """
    parts = tuple(part.strip() for part in text.split("+"))
    if not all(parts):
        raise UsageError(f"{text!r}: a part is missing before or after a '+'", fix="write OPTIMIZER+SCHEDULE")
    return SubmissionEntry(
        name="+".join(parts), summary=f"composed of {', '.join(parts)}", parts=parts, tags=("composed",)
    )


def _kind_and_name(name: str) -> tuple[str | None, str]:
    """Split `kind:name`. The kind is None if only a name is given."""
    kind, colon, bare_name = name.partition(":")
    return (kind, bare_name) if colon else (None, name)
