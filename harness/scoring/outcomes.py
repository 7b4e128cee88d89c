"""What a record amounts to: time, examples or steps to target, then studies, then a table of times."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec

from harness.errors import UsageError
from harness.scoring.score import Skipped, study_time, workload_time
from harness.types import Point, Record, RunSpec, Status, SubmissionRef, Target

#: `time` is the scored time: processor seconds on a CPU, wall seconds elsewhere.
Axis = Literal["time", "wall", "process", "examples", "steps"]
StudyKey = tuple[int, int]
#: How a run ends that did not come to the end of its budget or its time.
BROKEN: frozenset[Status] = frozenset({"diverged", "out-of-memory", "crashed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where a run met its targets.

    Args:
        status: `hit`, `miss`, or `unknown` where the record cannot tell.
        value: amount consumed at the first evaluation that met all targets; inf unless `hit`.
        lower: amount at the evaluation before; the crossing lies in (lower, value].
        index: of that evaluation.
        reason: why it is a miss or unknown.
    """

    status: Literal["hit", "miss", "unknown"]
    value: float = math.inf
    lower: float = 0.0
    index: int | None = None
    reason: str = ""


class Run(NamedTuple):
    """What scoring keeps of a record: without its points, so that thousands of records need little memory."""

    run_id: str
    started: str
    spec: RunSpec
    outcome: Outcome


class Ran(Protocol):
    """What a record, and everything made of one, says of its run."""

    @property
    def run_id(self) -> str: ...
    @property
    def started(self) -> str: ...
    @property
    def spec(self) -> RunSpec: ...


R = TypeVar("R", bound=Ran)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricAt:
    """The primary metric at a budget.

    Args:
        value: the metric; of a run that broke before the budget the worst there is, inf or -inf.
        at: where it was measured, in the budget's unit.
        stopped_early: the run stopped at its hit before the budget.
    """

    value: float
    at: float
    stopped_early: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Records as a table.

    Args:
        by: what was consumed.
        times: submission id -> workload id -> median over studies.
        studies: submission id -> workload id -> (root seed, study) -> best of its trials.
        coarse: workloads that stay outside the anchored mean.
        skipped: runs that were left out, studies that are incomplete, and why.
    """

    by: Axis
    times: Mapping[str, Mapping[str, float]]
    studies: Mapping[str, Mapping[str, Mapping[StudyKey, float]]]
    coarse: frozenset[str]
    skipped: tuple[Skipped, ...]


def amount(point: Point, spec: RunSpec, by: Axis) -> float:
    """What had been consumed at a point: seconds, examples (the larger of drawn and gradient-examples) or steps."""
    if by == "examples":
        return float(point.cost)
    if by == "steps":
        return float(point.steps)
    if by == "time":
        return point.scored(spec.clock)
    return point.scored(by)


def problem(record: Record) -> str | None:
    """What makes a record unusable, in words; None when nothing does."""
    before = 0.0
    # A diverged run ends at a metric that is no number; JSON has none, so there it is absent, which is a miss.
    told = not record.spec.workload.facts.stages and record.status != "diverged"
    names = [t.metric for t in record.spec.workload.facts.targets] if told else []
    for i, point in enumerate(record.points):
        seconds, process = point.seconds, point.process_seconds
        if not 0 <= seconds < math.inf:
            return f"point {i} has seconds {seconds!r}"
        if not 0 <= process < math.inf:
            return f"point {i} has process_seconds {process!r}"
        if seconds < before:
            return f"point {i} is earlier than the one before it ({seconds!r} after {before!r} seconds)"
        before = seconds
        for name in names:
            if name not in point.metrics:
                return f"point {i} has no metric {name!r}"
    if record.hit is not None and not 0 <= record.hit < len(record.points):
        return f"hit is {record.hit}, and there are {len(record.points)} points"
    return None


def hit_index(record: Record, targets: Sequence[Target] | None = None) -> int | None:
    """Index of the first point within the budget that meets all targets, recomputed; None where no point does.

    A stream's targets steered its stages, so there the recorded hit stands.

    Args:
        record: the run.
        targets: other targets than the workload's own.

    Raises:
        UsageError: other targets for a stream.
    """
    facts = record.spec.workload.facts
    if facts.stages:
        if targets is not None:
            raise UsageError(
                f"{facts.id} is a stream: its targets decided when each stage ended, so no others can be applied",
                fix="recompute only workloads without stages",
            )
        return record.hit
    wanted = facts.targets if targets is None else targets
    for i, point in enumerate(record.points):
        if record.spec.allows(point) and all(t.met(point.metrics) for t in wanted):
            return i
    return None


def outcome(record: Record, by: Axis = "time", targets: Sequence[Target] | None = None) -> Outcome:
    """Where a run met the targets, or why it did not.

    Crash and divergence are misses. A run that stopped at its own target cannot tell when it would have met a
    harder one, and an interrupted run cannot tell at all: these are `unknown`, never misses.

    Raises:
        UsageError: other targets for a stream.
    """
    wrong = problem(record)
    if wrong:
        return Outcome(status="unknown", reason=wrong)
    index = hit_index(record, targets)
    if targets is None and index != record.hit and record.status != "rejected":
        return Outcome(status="unknown", reason=f"the record says hit {record.hit}, its points say {index}")
    if record.status == "rejected":
        return Outcome(status="miss", reason=f"rejected: {record.reason}".rstrip(": "))
    if index is not None:
        value = amount(record.points[index], record.spec, by)
        if not value > 0:
            return Outcome(status="unknown", reason=f"the hit at point {index} is at {value!r} {by}")
        lower = amount(record.points[index - 1], record.spec, by) if index else 0.0
        return Outcome(status="hit", value=value, lower=lower, index=index)
    if record.status == "interrupted":
        return Outcome(status="unknown", reason="interrupted: not finished")
    if record.status == "reached":
        return Outcome(status="unknown", reason="stopped at its own target before it met this one")
    return Outcome(status="miss", reason=f"{record.status}: {record.reason}".rstrip(": "))


def metric_at(record: Record, budget: float, by: Axis = "time") -> MetricAt | None:
    """The primary metric at the last evaluation within a budget; None where there is none.

    Args:
        record: the run.
        budget: seconds, examples or steps, as `by` says.
        by: what the budget counts.
    """
    targets = record.spec.workload.facts.targets
    if problem(record) or record.status == "rejected" or not targets:
        return None
    within = [p for p in record.points if amount(p, record.spec, by) <= budget]
    at = amount(within[-1], record.spec, by) if within else 0.0
    value = within[-1].metrics.get(targets[0].metric) if within else None
    ended = len(within) == len(record.points)
    if ended and record.status in BROKEN and (value is None or at < budget):
        # What it had before it broke would be a better place than that of a run which went on.
        return MetricAt(value=math.inf if targets[0].goal == "min" else -math.inf, at=at, stopped_early=False)
    stopped = record.status == "reached" and ended and at < budget
    return None if value is None or math.isnan(value) else MetricAt(value=value, at=at, stopped_early=stopped)


def run_of(record: Record, by: Axis = "time", targets: Mapping[str, Sequence[Target]] | None = None) -> Run:
    """A record with its outcome in place of its points.

    Args:
        record: the run.
        by: what to count.
        targets: workload name -> other targets than its own.

    Raises:
        UsageError: other targets for a stream.
    """
    wanted = targets.get(record.spec.workload.facts.name) if targets else None
    return Run(record.run_id, record.started, record.spec, outcome(record, by, wanted))


def table_key(record: Ran) -> tuple[str, str]:
    """(hardware class, ruleset@version): records that differ in it never share a table."""
    return record.spec.hardware, f"{record.spec.ruleset.name}@{record.spec.ruleset.version}"


def split_tables(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """Records by `table_key`, in the order of first appearance."""
    tables: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        tables.setdefault(table_key(record), []).append(record)
    return tables


def check_mixed(records: Iterable[Record | Run]) -> None:
    """Refuse records that may not share a table.

    Raises:
        UsageError: two hardware classes, rulesets, versions of a workload, or two meanings of one version.
    """
    first: Record | Run | None = None
    seen: dict[str, Record | Run] = {}
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


def one_version_each(records: Sequence[R]) -> tuple[list[R], list[Skipped]]:
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
            skipped.append(Skipped(what=describe(one), why=f"{chosen.id} is newer"))
        elif (facts.budget, facts.targets, facts.stages) != (chosen.budget, chosen.targets, chosen.stages):
            skipped.append(Skipped(what=describe(one), why=f"another budget or target of {facts.id}"))
        else:
            kept.append(one)
    return kept, skipped


def _newness(one: Ran) -> tuple[list[tuple[int, str]], str]:
    pieces = re.findall(r"\d+|\D+", one.spec.workload.facts.version)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in pieces], one.started


def several_sources(records: Iterable[Ran]) -> frozenset[str]:
    """The `name@version` under which there are runs of more than one source."""
    sources: dict[str, set[str]] = {}
    for one in records:
        sources.setdefault(one.spec.submission.id, set()).add(one.spec.submission.source_hash)
    return frozenset(name for name, hashes in sources.items() if len(hashes) > 1)


def with_source(ref: SubmissionRef) -> SubmissionRef:
    """A submission whose version says of which source it is: two sources under one name are two submissions."""
    return msgspec.structs.replace(ref, version=f"{ref.version}#{ref.source_hash[:6] or 'unknown'}")


def id_among(ref: SubmissionRef, several: Collection[str]) -> str:
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


def usable(runs: Iterable[Run], *, explore: bool = False) -> tuple[list[Run], list[Skipped]]:
    """Runs that count, in the order they were started, and those that do not with the reason.

    Of two runs of one trial the earlier counts, so that trying again until the luck is better gains nothing.

    Args:
        runs: any runs.
        explore: count smoke, profiled and hand-set runs too.
    """
    kept: list[Run] = []
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
        if why is None and run.outcome.status == "unknown":
            why = run.outcome.reason
        if why is None:
            trials[place] = run.run_id
            kept.append(run)
        else:
            skipped.append(Skipped(what=describe(run), why=why))
    return kept, skipped


def describe(record: Ran) -> str:
    """`submission/workload/study/trial (run_id)`, to name a record in messages."""
    spec = record.spec
    return f"{spec.submission.id}/{spec.workload.facts.id}/study {spec.study}/trial {spec.trial} ({record.run_id})"


def aggregate(
    records: Iterable[Record],
    by: Axis = "time",
    *,
    targets: Mapping[str, Sequence[Target]] | None = None,
    explore: bool = False,
) -> Aggregate:
    """Records of one table as times per submission and workload.

    Args:
        records: of one hardware class and ruleset (see `split_tables`); a generator is read once and not kept.
        by: what to count.
        targets: workload name -> other targets than its own.
        explore: count runs that are never ranked.

    Raises:
        UsageError: records that may not be mixed, or no record that counts.
    """
    return aggregate_runs((run_of(record, by, targets) for record in records), by, explore=explore)


def aggregate_runs(runs: Iterable[Run], by: Axis = "time", *, explore: bool = False) -> Aggregate:
    """The same from runs whose outcomes are known already; `by` only names what they count.

    Raises:
        UsageError: runs that may not be mixed, or none that counts.
    """
    kept, skipped = usable(runs, explore=explore)
    check_mixed(kept)
    trials: dict[str, dict[str, dict[StudyKey, list[float]]]] = {}
    coarse = {run.spec.workload.facts.id for run in kept if run.spec.workload.facts.coarse}
    for run in kept:
        by_study = trials.setdefault(run.spec.submission.id, {}).setdefault(run.spec.workload.facts.id, {})
        by_study.setdefault((run.spec.root_seed, run.spec.study), []).append(run.outcome.value)
    if not trials:
        raise UsageError("no record that counts", fix="; ".join(map(str, skipped[:3])) or "run something first")
    skipped += _incomplete(trials, kept[0].spec.ruleset.trials)
    studies = {s: {w: {k: study_time(v) for k, v in by.items()} for w, by in row.items()} for s, row in trials.items()}
    times = {s: {w: workload_time(list(by.values())) for w, by in row.items()} for s, row in studies.items()}
    return Aggregate(by=by, times=times, studies=studies, coarse=frozenset(coarse), skipped=tuple(skipped))


def _incomplete(trials: Mapping[str, Mapping[str, Mapping[StudyKey, list[float]]]], expected: int) -> list[Skipped]:
    """Studies with fewer trials than the ruleset gives, and workloads that a submission lacks."""
    found = []
    workloads = dict.fromkeys(w for row in trials.values() for w in row)
    for submission, row in trials.items():
        for workload in workloads:
            if workload not in row:
                found.append(
                    Skipped(what=f"{submission}/{workload}", why="no run that counts; acts as a miss", counted=True)
                )
            for (root, study), values in row.get(workload, {}).items():
                if len(values) != expected:
                    what = f"{submission}/{workload}/study {study} (root seed {root})"
                    found.append(Skipped(what=what, why=f"{len(values)} of {expected} trials", counted=True))
    return found
