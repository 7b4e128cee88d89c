"""Remove the additions of a submission one at a time, and gate the submission against each variant.

An addition is a part or the value of a hyperparameter.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Domain, Fixed, Scalar
from harness.contract.entries import SubmissionEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import UsageError
from harness.gating.gate import GateLimits
from harness.gating.session import GateEnding, GateSession
from harness.gating.setup import GateWorkload
from harness.planning.compose import Composition, compose
from harness.plugins.code_reading import submission_from_path
from harness.plugins.loading import split_load
from harness.plugins.registry import Registry
from harness.system.files import write_atomically

#: Folder for copies of a submission's file, each without one part of the submission.
FOLDER = Path(".bench-ablation")
#: Hyperparameters that are never removed: training needs them, the gate sets them, or they prevent a division by 0.
NOT_REMOVED = frozenset({"lr", "batch_size", "horizon_fraction", "eps"})
#: What an addition does, compared with the submission without the addition.
Effect: TypeAlias = Literal["helps", "none", "harms", "undecided", "not run"]
_EFFECTS: dict[str, Effect] = {"better": "helps", "worse": "harms", "equivalent": "none", "identical": "none"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A submission without one of its additions.

    Args:
        addition: the addition that is removed, such as `averaging:ema` or `warmup=0.05`.
        removal: how the addition is removed: `left out`, or the value that replaces it.
        make: function that returns the submission without the addition. It may write and read a file.
    """

    addition: str
    removal: str
    make: Callable[[], SubmissionEntry]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The outcome for one addition.

    Args:
        variant: the submission without the addition.
        ending: the gate of the whole submission (A) against the variant (B); None if it was not run.
        reason: why the gate was not run, and what to do; empty if it was run.
    """

    variant: Variant
    ending: GateEnding | None = None
    reason: str = ""

    @property
    def effect(self) -> Effect:
        """What the addition does."""
        if self.ending is None:
            return "not run"
        return _EFFECTS.get(self.ending.result.outcome, "undecided")


# --- variants -----------------------------------------------------------------------------------


def list_variants(entry: SubmissionEntry, registry: Registry, only: Sequence[str] = ()) -> tuple[Variant, ...]:
    """Return the variants of a submission.

    Variants that lack a part come before variants in which the value of a hyperparameter is replaced.

    The optimizer is never removed, because every submission needs one. A hyperparameter has up to two variants: one
    with the part's default if the submission changes this default, and one with 0 if 0 is allowed.

    Args:
        entry: the submission.
        registry: the registry in which parts are looked up.
        only: the additions to remove, each as a part, a kind of part or a hyperparameter; empty for all additions.

    Raises:
        UsageError: the submission has no addition that can be removed, or no addition with a name in `only`.
    """
    composition = compose(entry, registry)
    parts = [*_without_installed_parts(composition), *_without_parts_in_file(composition)]
    variants = [*parts, *_without_settings(composition)]
    if not variants:
        raise UsageError(
            f"{entry.name} has no part and no hyperparameter that can be removed",
            fix="name a submission with several parts",
        )
    names = {name for variant in variants for name in _names(variant)}
    for name in only:
        if name not in names:
            problem = f"{entry.name} has no addition {name!r} that can be removed"
            raise UsageError(problem, fix=f"choose among {', '.join(sorted(names))}")
    return tuple(variant for variant in variants if not only or _names(variant) & set(only))


def _names(variant: Variant) -> set[str]:
    """Return the names by which a user can choose an addition."""
    kind, _, name = variant.addition.partition(":")
    return {variant.addition, kind, name} if name else {variant.addition.partition("=")[0]}


def _without_installed_parts(composition: Composition) -> Iterator[Variant]:
    """Yield a variant for each part of a submission that consists only of installed parts."""
    entry = composition.entry
    if entry.load is not None:
        return
    for part in composition.parts:
        if PART_KINDS[part.kind].required:
            continue
        remaining = [other for other in composition.parts if other is not part]
        lost = set(part.space) - {name for other in remaining for name in other.space}
        variant = msgspec.structs.replace(
            entry,
            name=f"{entry.name}-without-{part.kind}",
            parts=tuple(other.id for other in remaining),
            space={name: domain for name, domain in entry.space.items() if name not in lost},
            checks=_remaining_checks(entry.checks, lost),
        )
        yield Variant(addition=part.id, removal="left out", make=partial(msgspec.structs.replace, variant))


def _remaining_checks(checks: Sequence[str], lost: set[str]) -> tuple[str, ...]:
    return tuple(check for check in checks if not set(re.findall(r"\w+", check)) & lost)


def _without_parts_in_file(composition: Composition) -> Iterator[Variant]:
    """Yield a variant for each part of a recipe in a file. The variant is a copy of the file with one more line."""
    entry = composition.entry
    if entry.load is None or not split_load(entry.load)[0].endswith(".py"):
        return
    path, name = split_load(entry.load)
    source = Path(path).read_text(encoding="utf-8")
    for kind in _recipe_kinds(source, name) or [part.kind for part in composition.parts]:
        if PART_KINDS[kind].required:
            continue
        installed = {part.kind: part for part in composition.parts}
        kept_names = sorted({used for part in installed.values() if part.kind != kind for used in part.space})
        addition = installed[kind].id if kind in installed else kind
        make = partial(_write_without, Path(path), source, name, kind, kept_names)
        yield Variant(addition=addition, removal="left out", make=make)


def _write_without(path: Path, source: str, name: str, kind: str, keep: Sequence[str]) -> SubmissionEntry:
    """Copy a recipe's file, remove one part from the recipe in the copy, and return the entry of this recipe.

    Args:
        path: the file.
        source: its content.
        name: name of the recipe.
        kind: kind of the part.
        keep: names of the hyperparameters that other installed parts use. They stay in the recipe.
    """
    FOLDER.mkdir(exist_ok=True)
    copy = FOLDER / f"{path.stem}_without_{kind}.py"
    line = f"{name} = {name}.without({kind!r}, keep={list(keep)!r})"
    write_atomically(copy, f"{source.rstrip()}\n\n\n# The line that `bench ablate` added:\n{line}\n".encode())
    return submission_from_path(f"{copy}:{name}").entry


def _recipe_kinds(source: str, name: str) -> list[str]:
    """Return the kinds of parts of the recipe that a file assigns to a name; empty if the source does not show them.

    >>> _recipe_kinds("Mine = Recipe(optimizer=sgd, schedule='wsd', averaging=None)", "Mine")
    ['optimizer', 'schedule']
    """
    for node in ast.parse(source).body:
        targets = [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []
        if name in targets and isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            given = {
                keyword.arg: keyword.value
                for keyword in node.value.keywords
                if not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
            }
            return [kind for kind in PART_KINDS if kind in given]
    return []


def _without_settings(composition: Composition) -> Iterator[Variant]:
    """Yield the variants in which the part's default or the value 0 replaces the value of a hyperparameter."""
    entry = composition.entry
    for name, domain in composition.space.items():
        # If a part sets the hyperparameter during the run, the submission's value for it has no effect.
        if name in NOT_REMOVED or name in composition.taken_over:
            continue
        current = hyperparameters.default(domain)
        values: list[Scalar] = []
        domain_of_part = next((part.space[name] for part in composition.parts if name in part.space), None)
        if name in entry.space and domain_of_part is not None:
            values.append(hyperparameters.default(domain_of_part))
        if _allows_zero(name, domain):
            values.append(type(current)(0))
        for value in dict.fromkeys(values):
            if value != current:
                replaced: Domain = Fixed(value)
                space = {**entry.space, name: replaced}
                variant = msgspec.structs.replace(entry, name=f"{entry.name}-{name}-{value}", space=space, points=())
                make = partial(msgspec.structs.replace, variant)
                yield Variant(addition=f"{name}={current}", removal=f"{name}={value}", make=make)


def _allows_zero(name: str, domain: Domain) -> bool:
    """Return whether a hyperparameter is numeric and may be 0."""
    current = hyperparameters.default(domain)
    if isinstance(domain, Choice) or isinstance(current, bool | str):
        return False
    try:
        hyperparameters.validate(name, 0, domain)
    except UsageError:
        return False
    return True


# --- gates --------------------------------------------------------------------------------------


def run_ablation(
    session: GateSession,
    entry: SubmissionEntry,
    variants: Sequence[Variant],
    workloads: tuple[GateWorkload, ...],
    limits: GateLimits,
    *,
    on_variant: Callable[[Variant], None] = lambda variant: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Ablation]:
    """Gate a submission against each of its variants, and yield the outcomes.

    The runs of the whole submission are the same in all gates, so they are run once. The error level of each gate is
    alpha divided by the number of gates. The probability of any false `helps` or `harms` is therefore at most alpha.

    Args:
        session: the session that runs the gates.
        entry: the whole submission.
        variants: variants of this submission.
        workloads: the workloads of the gates.
        limits: limits of the gates. `max_minutes` is the limit of all gates together.
        on_variant: function that is called before each gate.
        clock: function that returns wall seconds.
    """
    start = clock()
    limits_per_gate = replace(limits, alpha=limits.alpha / len(variants))
    for variant in variants:
        left = None if limits.max_minutes is None else limits.max_minutes - (clock() - start) / 60
        if left is not None and left <= 0:
            yield Ablation(variant=variant, reason="the minutes of --max-minutes are spent; repeat the command")
            continue
        on_variant(variant)
        try:
            setup = session.setup_entries(entry, variant.make(), workloads)
            ending = session.gate(setup, replace(limits_per_gate, max_minutes=left))
        except UsageError as error:
            yield Ablation(variant=variant, reason=str(error))
            continue
        yield Ablation(variant=variant, ending=ending)
