"""Which records enter a table: tables told apart, versions, sources, and what is usable."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from harness.contract.record import Record
from harness.contract.run import RunSpec, SubmissionRef
from harness.errors import UsageError
from harness.scoring.scores import Skipped
from harness.scoring.time_to_target import ScoredRun


class HasRun(Protocol):
    """What a record, and everything made of one, says of its run."""

    @property
    def run_id(self) -> str: ...
    @property
    def started(self) -> str: ...
    @property
    def spec(self) -> RunSpec: ...


R = TypeVar("R", bound=HasRun)
#: (root seed, study): one independent repetition.
StudyKey: TypeAlias = tuple[int, int]


def table_key(record: HasRun) -> tuple[str, str]:
    """(hardware class, ruleset@version): records that differ in it never share a table."""
    return record.spec.hardware, f"{record.spec.ruleset.name}@{record.spec.ruleset.version}"


def study_key(spec: RunSpec) -> StudyKey:
    """The repetition that a trial belongs to."""
    return spec.root_seed, spec.study


def split_tables(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """Records by `table_key`, in the order of first appearance."""
    tables: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        tables.setdefault(table_key(record), []).append(record)
    return tables


def check_mixed(records: Iterable[Record | ScoredRun]) -> None:
    """Refuse records that may not share a table.

    Raises:
        UsageError: two hardware classes, rulesets, versions of a workload, or two meanings of one version.
    """
    first: Record | ScoredRun | None = None
    seen: dict[str, Record | ScoredRun] = {}
    for record in records:
        first = first or record
        for kind, mine, its in zip(("hardware class", "ruleset"), table_key(record), table_key(first), strict=True):
            if mine != its:
                raise UsageError(f"records of two {kind}es: {its} and {mine}".replace("setes", "sets"), fix=_SPLIT)
        facts = record.spec.workload.facts
        other = seen.setdefault(facts.name, record).spec.workload.facts
        if facts is other:
            continue
        if facts.id != other.id:
            raise UsageError(f"records of two versions of a workload: {other.id} and {facts.id}", fix=_SPLIT)
        if (facts.budget, facts.targets, facts.stages) != (other.budget, other.targets, other.stages):
            raise UsageError(f"records of {facts.id} with different budgets or targets", fix=_SPLIT)


_SPLIT = "make one table for each"


def keep_newest_versions(records: Sequence[R]) -> tuple[list[R], list[Skipped]]:
    """Those of the newest version of each workload; of one version under two budgets or targets, the latest run's."""
    best: dict[str, R] = {}
    for one in records:
        facts = one.spec.workload.facts
        if facts.name not in best or _newness(one) > _newness(best[facts.name]):
            best[facts.name] = one
    kept, skipped = [], []
    for one in records:
        facts, chosen = one.spec.workload.facts, best[one.spec.workload.facts.name].spec.workload.facts
        if facts.version != chosen.version:
            skipped.append(Skipped(item=describe(one), reason=f"{chosen.id} is newer"))
        elif (facts.budget, facts.targets, facts.stages) != (chosen.budget, chosen.targets, chosen.stages):
            skipped.append(Skipped(item=describe(one), reason=f"another budget or target of {facts.id}"))
        else:
            kept.append(one)
    return kept, skipped


def _newness(one: HasRun) -> tuple[list[tuple[int, str]], str]:
    pieces = re.findall(r"\d+|\D+", one.spec.workload.facts.version)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in pieces], one.started


def ambiguous_names(records: Iterable[HasRun]) -> frozenset[str]:
    """The `name@version` under which there are runs of more than one source."""
    sources: dict[str, set[str]] = {}
    for one in records:
        sources.setdefault(one.spec.submission.id, set()).add(one.spec.submission.source_hash)
    return frozenset(name for name, hashes in sources.items() if len(hashes) > 1)


def with_source(ref: SubmissionRef) -> SubmissionRef:
    """A submission whose version says of which source it is: two sources under one name are two submissions."""
    return msgspec.structs.replace(ref, version=f"{ref.version}#{ref.source_hash[:6] or 'unknown'}")


def qualified_id(ref: SubmissionRef, several: Collection[str]) -> str:
    """What a submission is called beside the others: with its source where its name has `several` (see above)."""
    return with_source(ref).id if ref.id in several else ref.id


def first_of_each(records: Iterable[R]) -> list[R]:
    """Of several runs to one stop on the same seeds the earliest, so that trying again gains nothing."""
    kept: dict[tuple[object, ...], R] = {}
    for one in sorted(records, key=lambda r: (r.started, r.run_id)):
        spec, ref, facts = one.spec, one.spec.submission, one.spec.workload.facts
        seeds = (spec.purpose, spec.root_seed, spec.study, spec.trial)
        kept.setdefault(
            (*table_key(one), ref.id, ref.source_hash, facts.id, facts.budget.horizon, spec.stop, *seeds), one
        )
    return list(kept.values())


def select_usable(runs: Iterable[ScoredRun], *, explore: bool = False) -> tuple[list[ScoredRun], list[Skipped]]:
    """Runs that count, in the order they were started, and those that do not with the reason.

    Of two runs of one trial the earlier counts, so that trying again until the luck is better gains nothing.

    Args:
        runs: any runs.
        explore: count smoke, profiled and hand-set runs too.
    """
    kept: list[ScoredRun] = []
    skipped: list[Skipped] = []
    ids: set[str] = set()
    trials: dict[tuple[str, str, str, str, int, int, int], str] = {}
    for run in sorted(runs, key=lambda r: (r.started, r.run_id)):
        spec = run.spec
        seeds = (spec.root_seed, spec.study, spec.trial)
        place = (*table_key(run), spec.submission.id, spec.workload.facts.id, *seeds)
        why = None
        if run.run_id in ids:
            why = "a second record with this id"
        elif not explore and (spec.smoke or spec.profile or spec.overridden or spec.prune):
            what = "smoke" if spec.smoke else "profiled" if spec.profile else "hyperparameters set by hand"
            what = "hopeless trials were ended early" if spec.prune else what
            why = f"{what}: never ranked"
        elif place in trials:
            why = f"a second run of study {spec.study}, trial {spec.trial}; {trials[place]} was started earlier"
        ids.add(run.run_id)
        if why is None and run.result.status == "unknown":
            why = run.result.reason
        if why is None:
            trials[place] = run.run_id
            kept.append(run)
        else:
            skipped.append(Skipped(item=describe(run), reason=why))
    return kept, skipped


def describe(record: HasRun) -> str:
    """`submission/workload/study/trial (run_id)`, to name a record in messages."""
    spec = record.spec
    return f"{spec.submission.id}/{spec.workload.facts.id}/study {spec.study}/trial {spec.trial} ({record.run_id})"
