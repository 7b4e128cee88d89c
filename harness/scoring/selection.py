"""Selects the usable runs of a table. They have one hardware class, one ruleset and one version of each workload."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from harness.contract.run import RunSpec, SubmissionRef
from harness.contract.workload import SOURCE_MARK, WorkloadFacts, scale_budget
from harness.errors import UsageError
from harness.scoring.scores import Skipped
from harness.scoring.time_to_target import TargetResult

#: Root seed (or nonce) and index of a study.
StudyKey: TypeAlias = tuple[str, int]
#: Remedy in the errors of `check_mixed`.
_FIX = "make one table for each"


class RunLike(Protocol):
    """A record, or a summary of one record."""

    @property
    def run_id(self) -> str: ...
    @property
    def started(self) -> str: ...
    @property
    def spec(self) -> RunSpec: ...


class ResultRun(RunLike, Protocol):
    """A run with its result."""

    @property
    def result(self) -> TargetResult: ...


R = TypeVar("R", bound=RunLike)
S = TypeVar("S", bound=ResultRun)


def table_key(run: RunLike) -> tuple[str, str]:
    """Return the hardware class and `ruleset@version` of a run. Only runs with equal keys share a table."""
    return run.spec.hardware, run.spec.ruleset.id


def study_key(spec: RunSpec) -> StudyKey:
    """Return the root seed (or the nonce) and the study of a trial."""
    return spec.root, spec.study


def check_mixed(runs: Iterable[RunLike]) -> None:
    """Raise an error if the runs cannot share a table.

    Raises:
        UsageError: the runs have different hardware classes or rulesets, or a workload has different versions, budgets
            or targets.
    """
    first: RunLike | None = None
    first_on: dict[str, RunLike] = {}
    for run in runs:
        first = first or run
        for kind, a, b in zip(("hardware classes", "rulesets"), table_key(first), table_key(run), strict=True):
            if a != b:
                raise UsageError(f"records of two {kind}: {a} and {b}", fix=_FIX)
        facts = run.spec.workload.facts
        first_facts = first_on.setdefault(facts.name, run).spec.workload.facts
        if facts is first_facts:
            continue
        if facts.id != first_facts.id:
            raise UsageError(f"records of two versions of a workload: {first_facts.id} and {facts.id}", fix=_FIX)
        if (facts.budget, facts.targets, facts.stages) != (first_facts.budget, first_facts.targets, first_facts.stages):
            raise UsageError(f"records of {facts.id} with different budgets or targets", fix=_FIX)


def keep_newest_versions(runs: Sequence[R], installed: Collection[WorkloadFacts] = ()) -> tuple[list[R], list[Skipped]]:
    """Return the runs of the newest version of each workload, and the runs that were left out.

    If runs of one version have different budgets or targets, only the runs with the budget and the targets of the
    latest run are returned.

    A record states its version, its targets and its start itself, so one invented record could displace all others. If
    a run has the version of the installed workload, this version therefore counts as the newest. If such a run also has
    the budget and the targets of the installed workload, only runs with these are returned.

    Args:
        runs: the runs of one table.
        installed: facts of the installed workloads.
    """
    facts_by_name = {facts.name: facts for facts in installed}
    newest: dict[str, R] = {}
    for run in runs:
        name = run.spec.workload.facts.name
        anchor = facts_by_name.get(name)
        if name not in newest or _newness(run, anchor) > _newness(newest[name], anchor):
            newest[name] = run
    selected, skipped = [], []
    for run in runs:
        facts = run.spec.workload.facts
        newest_facts = newest[facts.name].spec.workload.facts
        if facts.version != newest_facts.version:
            is_newer = _version_key(newest_facts.version) >= _version_key(facts.version)
            state = "newer" if is_newer else "the installed version"
            skipped.append(Skipped(item=describe(run), reason=f"{newest_facts.id} is {state}"))
        elif (facts.budget, facts.targets, facts.stages) != (
            newest_facts.budget,
            newest_facts.targets,
            newest_facts.stages,
        ):
            is_installed = _matches(newest[facts.name], facts_by_name.get(facts.name)) == (True, True)
            other = "installed workload" if is_installed else "latest run of"
            skipped.append(Skipped(item=describe(run), reason=f"the {other} {facts.id} has another budget or target"))
        else:
            selected.append(run)
    return selected, skipped


def held_out_variants(
    workloads: Iterable[WorkloadFacts], rows: Collection[Collection[str]]
) -> tuple[dict[str, str], list[str]]:
    """Return id of the variant -> id of its base workload, and the ids of variants that a profile score leaves out.

    A variant whose base workload is in the table is held out if every submission on the base workload also ran on the
    variant. Otherwise it is left out, because it would take the base workload away from the others.

    Args:
        workloads: facts of the workloads of a table.
        rows: for each submission, the ids of the workloads on which it has runs.
    """
    by_name = {facts.name: facts.id for facts in workloads}
    held_out, left_out = {}, []
    for name, variant in by_name.items():
        base = by_name.get(name.partition("+")[0])
        if base in (None, variant):
            continue
        if all(variant in row for row in rows if base in row):
            held_out[variant] = str(base)
        else:
            left_out.append(variant)
    return held_out, left_out


def _newness(run: RunLike, anchor: WorkloadFacts | None) -> tuple[tuple[bool, bool], list[tuple[int, str]], str]:
    """Return a sort key: whether the run has the version and the targets of the installed workload, the version of its
    workload, then the start of the run. Digits in the version sort as numbers.

    The version of a workload in a file contains a hash of its source. Hashes have no order, so the source that was run
    last is the newest.
    """
    return _matches(run, anchor), _version_key(run.spec.workload.facts.version), run.started


def _matches(run: RunLike, anchor: WorkloadFacts | None) -> tuple[bool, bool]:
    """Return whether a run has the version of the installed workload, and whether it also has its budget and targets.

    Args:
        run: the run.
        anchor: facts of the installed workload; None if no workload of this name is installed.
    """
    facts = run.spec.workload.facts
    if anchor is None or facts.version != anchor.version:
        return False, False
    factor = run.spec.ruleset.budget_factor
    expected = anchor if factor == 1.0 else scale_budget(anchor, factor)
    is_equal = (facts.budget, facts.targets, facts.stages) == (expected.budget, expected.targets, expected.stages)
    return True, is_equal


@lru_cache
def _version_key(version: str) -> list[tuple[int, str]]:
    pieces = re.findall(r"\d+|\D+", version.partition(SOURCE_MARK)[0])
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in pieces]


def ambiguous_names(runs: Iterable[RunLike]) -> frozenset[str]:
    """Return every `name@version` whose runs have more than one code hash."""
    code_hashes: dict[str, set[str]] = {}
    for run in runs:
        code_hashes.setdefault(run.spec.submission.id, set()).add(run.spec.submission.code_identity)
    return frozenset(name for name, hashes in code_hashes.items() if len(hashes) > 1)


def with_source(ref: SubmissionRef) -> SubmissionRef:
    """Return the submission with the first six digits of its code hash appended to its version."""
    return msgspec.structs.replace(ref, version=f"{ref.version}#{ref.code_identity[:6] or 'unknown'}")


def qualified_id(ref: SubmissionRef, ambiguous: Collection[str]) -> str:
    """Return a submission's id. If it is in `ambiguous` (see `ambiguous_names`), the start of the code hash follows."""
    return with_source(ref).id if ref.id in ambiguous else ref.id


def earliest_runs(runs: Iterable[R]) -> list[R]:
    """Return the earliest run of each trial, so that repeating a trial has no effect on the scores.

    Two runs are of one trial if they have the same table, purpose, submission, code hash, workload, horizon, stop and
    seeds.
    """
    first: dict[tuple[object, ...], R] = {}
    for run in sorted(runs, key=lambda r: (r.started, r.run_id)):
        spec, ref, facts = run.spec, run.spec.submission, run.spec.workload.facts
        seeds = (spec.purpose, spec.root, spec.study, spec.trial)
        key = (*table_key(run), ref.id, ref.code_identity, facts.id, facts.budget.horizon, spec.stop, *seeds)
        first.setdefault(key, run)
    return list(first.values())


def select_usable(runs: Iterable[S], *, explore: bool = False) -> tuple[list[S], list[Skipped]]:
    """Return the usable runs in the order of their start, and the omitted runs with the reasons.

    If a trial has several runs, the earliest run is scored, so repeating a trial has no effect.

    Args:
        runs: runs in any order.
        explore: whether runs that are never ranked are also usable: smoke runs, profiled runs, runs with overrides and
            runs with `--prune`.
    """
    usable: list[S] = []
    skipped: list[Skipped] = []
    ids: set[str] = set()
    trials: dict[tuple[str, str, str, str, str, int, int], str] = {}
    for run in sorted(runs, key=lambda r: (r.started, r.run_id)):
        spec = run.spec
        trial = (
            *table_key(run), spec.submission.id, spec.workload.facts.id, spec.root, spec.study, spec.trial,
        )  # fmt: skip
        reason = None
        if run.run_id in ids:
            reason = "a second record with this id"
        elif not explore and (exploration := _unranked_reason(spec)):
            reason = f"{exploration}: never ranked"
        elif trial in trials:
            reason = f"a second run of study {spec.study}, trial {spec.trial}; {trials[trial]} was started earlier"
        elif run.result.status == "unknown":
            reason = run.result.reason
        ids.add(run.run_id)
        if reason is None:
            trials[trial] = run.run_id
            usable.append(run)
        else:
            skipped.append(Skipped(item=describe(run), reason=reason))
    return usable, skipped


def describe_root_seeds(runs: Iterable[RunLike]) -> str:
    """Return a remark if the scored studies have different root seeds or nonces; empty if they have the same.

    The medians of a table are over the studies of all root seeds, but only studies of the same root seed are paired.

    Args:
        runs: the usable runs of a table.
    """
    submissions: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        root = f"nonce {run.spec.nonce.value[:8]}" if run.spec.nonce else run.spec.root
        submissions[root][run.spec.submission.id] += 1
    if len(submissions) < 2:
        return ""
    seeds = sorted(submissions, key=lambda seed: (-submissions[seed].total(), len(seed), seed))
    counts = []
    for seed in seeds:
        names = sorted(submissions[seed])
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        runs_of_seed = submissions[seed].total()
        counts.append(f"{seed} ({runs_of_seed} run{'' if runs_of_seed == 1 else 's'} of {listed})")
    return (
        f"studies of {len(seeds)} root seeds are scored together, but studies of different root seeds are not paired: "
        f"{'; '.join(counts)}"
    )


def _unranked_reason(spec: RunSpec) -> str:
    """Return why a run is never ranked; empty for a run that may be ranked."""
    if spec.prune:
        return "run with --prune, which ends trials early"
    if spec.smoke:
        return "smoke"
    if spec.profile:
        return "profiled"
    return "overrides" if spec.overridden else ""


def describe(run: RunLike) -> str:
    """Return the name of a run for messages: `submission/workload/study/trial (run_id)`."""
    spec = run.spec
    return f"{spec.submission.id}/{spec.workload.facts.id}/study {spec.study}/trial {spec.trial} ({run.run_id})"
