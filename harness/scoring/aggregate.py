"""Aggregates the runs of a table into times by submission and workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract.record import Record
from harness.contract.workload import Target
from harness.errors import UsageError
from harness.scoring.scored_time import cost_runs
from harness.scoring.scores import Skipped, study_time, workload_time
from harness.scoring.selection import ResultRun, StudyKey, check_mixed, select_usable, study_key
from harness.scoring.time_to_target import Axis, score_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Times of the submissions of one table.

    Args:
        by: the aggregated quantity, such as `time`, `examples` or `steps`. The other fields call it time.
        times: submission id -> workload id -> median of the times over studies.
        studies: submission id -> workload id -> (root seed, study) -> smallest time of the study's trials.
        coarse: ids of workloads that do not count in the anchored score, because they are coarse (see `is_coarse`).
        skipped: runs that were left out and studies that are incomplete, with the reasons.
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
    """Aggregate records of one table into times by submission and workload.

    Args:
        records: records of one hardware class and ruleset (see `table_key`); a generator saves memory.
        by: the quantity to aggregate, such as `time`, `examples` or `steps`. The result calls it time.
        targets: workload name -> targets to use instead of the workload's targets.
        explore: whether smoke runs, profiled runs and runs with overrides are also scored.

    Raises:
        UsageError: the records cannot share a table, or no record can be scored.
    """
    runs, skipped = select_usable((score_run(record, by, targets) for record in records), explore=explore)
    return aggregate_runs(cost_runs(runs, by), by, skipped)


def aggregate_runs(runs: Sequence[ResultRun], by: Axis = "time", skipped: Sequence[Skipped] = ()) -> Aggregate:
    """Aggregate scored runs into times by submission and workload.

    Args:
        runs: usable runs (see `select_usable`) of one hardware class and ruleset.
        by: name of the aggregated quantity; it is copied to the result.
        skipped: runs that `select_usable` left out; they are copied to the result.

    Raises:
        UsageError: the runs cannot share a table, or there are no runs.
    """
    check_mixed(runs)
    if not runs:
        reasons = "; ".join(map(str, skipped[:3]))
        raise UsageError("no record can be scored", fix=reasons or "make records with bench run")
    trials: dict[str, dict[str, dict[StudyKey, list[float]]]] = {}
    coarse = {run.spec.workload.facts.id for run in runs if run.spec.workload.facts.coarse}
    for run in runs:
        by_study = trials.setdefault(run.spec.submission.id, {}).setdefault(run.spec.workload.facts.id, {})
        by_study.setdefault(study_key(run.spec), []).append(run.result.value)
    skipped = [*skipped, *_find_incomplete(trials, runs[0].spec.ruleset.trials)]
    studies = {
        s: {w: {k: study_time(v) for k, v in per_study.items()} for w, per_study in row.items()}
        for s, row in trials.items()
    }
    times = {
        s: {w: workload_time(list(per_study.values())) for w, per_study in row.items()} for s, row in studies.items()
    }
    return Aggregate(by=by, times=times, studies=studies, coarse=frozenset(coarse), skipped=tuple(skipped))


def _find_incomplete(
    trials: Mapping[str, Mapping[str, Mapping[StudyKey, list[float]]]], expected: int
) -> list[Skipped]:
    """Return the incomplete studies, and the pairs (submission, workload) without a run.

    A study is incomplete if its number of trials is not the number that the ruleset requires.

    Args:
        trials: submission id -> workload id -> (root seed, study) -> times of the trials.
        expected: number of trials per study that the ruleset requires.
    """
    skipped = []
    workloads = dict.fromkeys(w for row in trials.values() for w in row)
    for submission, row in trials.items():
        for workload in workloads:
            if workload not in row:
                item = f"{submission}/{workload}"
                skipped.append(Skipped(item=item, reason="no run that can be scored; counts as a miss", counted=True))
            for (root, study), values in row.get(workload, {}).items():
                if len(values) != expected:
                    item = f"{submission}/{workload}/study {study} (root seed {root})"
                    skipped.append(Skipped(item=item, reason=f"{len(values)} of {expected} trials", counted=True))
    return skipped
