"""Times of the studies of a table, by submission and workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract.record import Record
from harness.contract.workload import Target
from harness.errors import UsageError
from harness.scoring.scores import Skipped, study_time, workload_time
from harness.scoring.selection import StudyKey, check_mixed, select_usable, study_key
from harness.scoring.time_to_target import Axis, ScoredRun, score_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Records as a table.

    Args:
        by: what was consumed.
        times: submission id -> workload id -> median over studies.
        studies: submission id -> workload id -> (root seed, study) -> best of its trials.
        coarse: workloads outside the anchored mean (see `is_coarse`).
        skipped: runs that were left out, studies that are incomplete, and why.
    """

    by: Axis
    times: Mapping[str, Mapping[str, float]]
    studies: Mapping[str, Mapping[str, Mapping[StudyKey, float]]]
    coarse: frozenset[str]
    skipped: tuple[Skipped, ...]


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
        explore: count smoke runs, profiled runs and runs with overrides too.

    Raises:
        UsageError: records that may not be mixed, or no record that can be scored.
    """
    runs, skipped = select_usable((score_run(record, by, targets) for record in records), explore=explore)
    return aggregate_runs(runs, by, skipped)


def aggregate_runs(runs: Sequence[ScoredRun], by: Axis = "time", skipped: Sequence[Skipped] = ()) -> Aggregate:
    """The same from usable runs (see `select_usable`) whose times are known already.

    Args:
        runs: of one hardware class and ruleset.
        by: what their times count, for the result.
        skipped: runs that were left out before.

    Raises:
        UsageError: runs that may not be mixed, or no run.
    """
    check_mixed(runs)
    if not runs:
        reasons = "; ".join(map(str, skipped[:3]))
        raise UsageError("no record can be scored", fix=reasons or "bench run … makes records")
    trials: dict[str, dict[str, dict[StudyKey, list[float]]]] = {}
    coarse = {run.spec.workload.facts.id for run in runs if run.spec.workload.facts.coarse}
    for run in runs:
        by_study = trials.setdefault(run.spec.submission.id, {}).setdefault(run.spec.workload.facts.id, {})
        by_study.setdefault(study_key(run.spec), []).append(run.result.value)
    skipped = [*skipped, *_incomplete(trials, runs[0].spec.ruleset.trials)]
    studies = {s: {w: {k: study_time(v) for k, v in by.items()} for w, by in row.items()} for s, row in trials.items()}
    times = {s: {w: workload_time(list(by.values())) for w, by in row.items()} for s, row in studies.items()}
    return Aggregate(by=by, times=times, studies=studies, coarse=frozenset(coarse), skipped=tuple(skipped))


def _incomplete(trials: Mapping[str, Mapping[str, Mapping[StudyKey, list[float]]]], expected: int) -> list[Skipped]:
    """Studies with fewer trials than the ruleset gives, and workloads that a submission lacks."""
    skipped = []
    workloads = dict.fromkeys(w for row in trials.values() for w in row)
    for submission, row in trials.items():
        for workload in workloads:
            if workload not in row:
                item = f"{submission}/{workload}"
                skipped.append(Skipped(item=item, reason="no run that counts; acts as a miss", counted=True))
            for (root, study), values in row.get(workload, {}).items():
                if len(values) != expected:
                    item = f"{submission}/{workload}/study {study} (root seed {root})"
                    skipped.append(Skipped(item=item, reason=f"{len(values)} of {expected} trials", counted=True))
    return skipped
