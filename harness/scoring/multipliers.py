"""Scores of the ruleset `fixed-budget`: compute multipliers and time multipliers of runs that use the whole budget.

The compute multiplier of a run is M = R / B. B is the workload's budget. R is the budget with which the reference
reaches the run's final metric. R is read from the envelope, the reference's metric as a function of its budget (see
`compute_multiplier`).

The time multiplier is M × c_ref / c. Here c is the submission's cost per example, and c_ref is the reference's cost per
example in the same table. All runs draw the same number of examples, so c_ref / c is also the ratio of their seconds.

A compute multiplier does not depend on the hardware. A table can therefore show results on a workload on which no run
was made on its hardware class, if `bench cost` measured c_ref / c there. This is called a projection (ADR 33).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.contract.attestation import Attestation
from harness.contract.domains import HParams
from harness.contract.envelope import ReferenceEnvelope
from harness.contract.record import Record, is_finished
from harness.contract.workload import Access, WorkloadFacts
from harness.errors import UsageError
from harness.scoring.budget_costs import run_seconds
from harness.scoring.compute_multiplier import Multiplier, MultiplierCurve
from harness.scoring.final_metric import final_metric, final_metric_name
from harness.scoring.multiplier_board import MultiplierBoard, MultiplierCell, ProjectedWorkload, rank_cells
from harness.scoring.multiplier_estimate import (
    ErrorSource,
    MultiplierEstimate,
    combine_errors,
    error_of_mean,
    join_bounds,
)
from harness.scoring.projection import BoardTable, TableKey, project_tables
from harness.scoring.relative_costs import MeasuredCosts, ProjectedCosts, RelativeCosts, pair_costs
from harness.scoring.scores import Skipped
from harness.scoring.selection import (
    ambiguous_names,
    earliest_runs,
    keep_newest_versions,
    qualified_id,
    study_key,
    table_key,
)
from harness.scoring.time_to_target import find_problem
from harness.scoring.trust import has_public_seeds, trust_level
from harness.scoring.tuning_cost import TuningCost, tuning_cost, tuning_studies

#: The stopping rule of the records that this module scores.
STOPPING = "budget"


def choose_setting(tuning: Sequence[Record]) -> HParams:
    """Return the hyperparameters with the best mean final metric over the tuning studies.

    A setting counts only if it has a final metric in every study. If no setting counts, the setting of the trial in the
    middle is returned, which is the default setting.

    Args:
        tuning: records of the tuning trials of one submission on one workload; not empty.
    """
    target = tuning[0].spec.workload.facts.targets[0]
    by_trial: dict[int, list[Record]] = defaultdict(list)
    for record in tuning:
        by_trial[record.spec.trial].append(record)
    best: tuple[float, HParams] | None = None
    for _, records in sorted(by_trial.items()):
        values = [final_metric(record).value for record in records]
        known = [value for value in values if value is not None]
        if len(known) == len(values) and (best is None or target.better(statistics.fmean(known), best[0])):
            best = statistics.fmean(known), records[0].spec.hparams
    trials = sorted(by_trial)
    return by_trial[trials[len(trials) // 2]][0].spec.hparams if best is None else best[1]


def score_boards(
    records: Iterable[Record],
    envelopes: Mapping[str, ReferenceEnvelope] | None = None,
    installed: Collection[WorkloadFacts] = (),
    attestations: Mapping[str, Sequence[Attestation]] = MappingProxyType({}),
) -> list[MultiplierBoard]:
    """Score the runs of every hardware class, ruleset and kind of access.

    Measured boards come before projected ones, and boards with more workloads before those with fewer.

    Args:
        records: records of any rulesets. Only those with the stopping rule `STOPPING` are scored. If a trial has
            several runs, only the earliest run counts. The runs of `bench cost` are used for projections.
        envelopes: `name@version` of a workload -> envelope of the workload's reference.
        installed: facts of the installed workloads, by which a board finds the workloads that it lacks.
        attestations: content hash of a record -> attestations of this record.
    """
    records = list(records)
    by_table: dict[TableKey, list[Record]] = defaultdict(list)
    for record in earliest_runs(record for record in records if is_scored_or_tuning(record)):
        by_table[*table_key(record), record.spec.workload.facts.access].append(record)
    tables = [BoardTable(key, by_table[key], {}) for key in sorted(by_table)]
    tables += project_tables(by_table, envelopes or {}, pair_costs(records))
    boards = [_score_board(table, envelopes or {}, installed, attestations) for table in tables]
    # The measured ranking of the most workloads comes first.
    return sorted(boards, key=lambda board: (bool(board.projected), -len(board.workloads)))


def is_scored_or_tuning(record: Record) -> bool:
    """Return whether a record has the stopping rule `STOPPING`, and is a scored run or a tuning trial.

    Runs that are never ranked, such as smoke runs, are excluded.
    """
    spec = record.spec
    is_exploration = bool(spec.overridden) or spec.smoke or spec.profile or spec.prune
    return spec.ruleset.stopping == STOPPING and spec.purpose in ("score", "tuning") and not is_exploration


def _score_board(
    table: BoardTable,
    envelopes: Mapping[str, ReferenceEnvelope],
    installed: Collection[WorkloadFacts],
    attestations: Mapping[str, Sequence[Attestation]],
) -> MultiplierBoard:
    hardware, ruleset, access = table.key
    newest, skipped = keep_newest_versions(table.records, installed)
    problems = {record.run_id: problem for record in newest if (problem := find_problem(record))}
    usable = [record for record in newest if record.run_id not in problems]
    skipped += [Skipped(item=run_id, reason=problem) for run_id, problem in problems.items()]
    references = {envelope.reference.rpartition("@")[0] for envelope in envelopes.values()}
    # The seconds of runs that ended early cannot be compared with those of whole runs.
    measured = [
        record
        for record in usable
        if record.spec.workload.facts.id not in table.projected and _has_final_metric(record)
    ]
    seconds = run_seconds(measured, references)
    ambiguous = ambiguous_names(usable)
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    tuning: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in usable:
        key = record.spec.workload.facts.id, qualified_id(record.spec.submission, ambiguous)
        (groups if record.spec.purpose == "score" else tuning)[key].append(record)
    scorers = {}
    for workload in {workload for workload, _ in groups}:
        reference = envelopes[workload].reference if workload in envelopes else ""
        reference_runs = [run.run_id for run in groups.get((workload, reference), ()) if run.run_id in seconds.by_run]
        costs: RelativeCosts = table.projected.get(workload) or MeasuredCosts(
            seconds=seconds.by_run,
            reference=reference,
            reference_logs=[math.log(seconds.by_run[run_id]) for run_id in reference_runs],
        )
        scorers[workload] = _WorkloadScorer(table.key, workload, envelopes, groups, tuning, costs)
    cells = [scorers[workload].score(submission, group) for (workload, submission), group in groups.items()]
    cells.sort(key=lambda cell: (cell.workload, cell.time is None, -cell.time.log if cell.time else 0, cell.submission))
    workloads = tuple(sorted(scorers))
    scored = [record for group in groups.values() for record in group]

    def scored_on(workload: str) -> list[Record]:
        return [record for record in scored if record.spec.workload.facts.id == workload]

    # Without a usable envelope, no submission has a multiplier. Such a workload must not take away all ranks.
    ranked = tuple(workload for workload in workloads if not scorers[workload].problem) or workloads
    rows, ties = rank_cells(cells, ranked)
    return MultiplierBoard(
        hardware=hardware,
        ruleset=ruleset,
        access=access,
        workloads=ranked,
        projected={
            workload: ProjectedWorkload(
                sources=tuple(sorted({record.spec.hardware for record in scored_on(workload)})),
                pairs=len(costs.blocks),
                sessions=costs.sessions,
            )
            for workload, costs in table.projected.items()
            if workload in workloads
        },
        unranked={workload: scorers[workload].problem for workload in workloads if workload not in ranked},
        references=frozenset(envelopes[workload].reference for workload in workloads if workload in envelopes),
        missing=_find_missing(access, [group[0].spec.workload.facts for group in groups.values()], installed),
        rows=tuple(rows),
        ties=ties,
        cells=tuple(cells),
        trust=Counter(trust_level(record, attestations.get(record.content_hash, ())) for record in scored),
        public_seeds=sum(map(has_public_seeds, scored)),
        cost_remarks=seconds.remarks,
        torch=tuple(sorted({record.environment.torch for record in usable if record.environment} | table.torch)),
        skipped=tuple(skipped),
    )


def _has_final_metric(record: Record) -> bool:
    return is_finished(record.status) and final_metric(record).value is not None


def _find_missing(
    access: Access, present: Sequence[WorkloadFacts], installed: Collection[WorkloadFacts]
) -> tuple[str, ...]:
    """Return the names of the installed workloads that belong to the same tiers and access, but are not present.

    Variants, such as `lm-tiny+postnorm`, do not belong to a tier.
    """
    tiers, names = {facts.tier for facts in present}, {facts.name for facts in present}
    wanted = (facts for facts in installed if facts.tier in tiers and facts.access == access and "+" not in facts.name)
    return tuple(sorted(facts.name for facts in wanted if facts.name not in names))


class _WorkloadScorer:
    """Scores the submissions on one workload.

    Args:
        table: hardware class, ruleset and kind of access of the table.
        workload: `name@version`.
        envelopes: the envelopes by workload.
        groups: (workload, submission) -> records of scored runs.
        tuning: (workload, submission) -> records of tuning trials.
        costs: the costs of the runs on the workload.
    """

    def __init__(
        self,
        table: TableKey,
        workload: str,
        envelopes: Mapping[str, ReferenceEnvelope],
        groups: Mapping[tuple[str, str], Sequence[Record]],
        tuning: Mapping[tuple[str, str], Sequence[Record]],
        costs: RelativeCosts,
    ) -> None:
        self._hardware, self._ruleset, _ = table
        self._workload = workload
        self._tuning = tuning
        self._costs = costs
        self._envelope = envelopes.get(workload)
        self._curve: MultiplierCurve | None = None
        self._problem = f"no envelope of {workload} (bench calibrate {workload.partition('@')[0]} --envelope)"
        #: Number of the reference's tuning studies; 0 if it was not tuned.
        self._reference_studies = 0
        if self._envelope is None:
            return
        self._reference_studies = tuning_studies(tuning.get((workload, self._envelope.reference), ()))
        facts = next(group[0].spec.workload.facts for (name, _), group in groups.items() if name == workload)
        if (self._envelope.metric, self._envelope.budget) != (final_metric_name(facts), facts.budget.horizon):
            self._problem = f"the envelope of {workload} has another metric or budget"
            return
        try:
            self._curve, self._problem = MultiplierCurve(self._envelope), ""
        except UsageError as error:
            self._problem = error.what

    @property
    def problem(self) -> str:
        """Why the envelope cannot be used; empty if it can."""
        return self._problem

    def score(self, submission: str, group: Sequence[Record]) -> MultiplierCell:
        """Return the cell of a submission, given the records of its scored runs."""
        spec = group[0].spec
        metrics = {record.run_id: final_metric(record) for record in group if is_finished(record.status)}
        broken = [record for record in group if record.run_id in metrics and metrics[record.run_id].value is None]
        cell = MultiplierCell(
            submission=submission,
            workload=self._workload,
            hardware=self._hardware,
            ruleset=self._ruleset,
            projected_from=spec.hardware if isinstance(self._costs, ProjectedCosts) else "",
            n=len(group),
            broken=len(broken),
            tuning=tuning_cost(self._tuning.get((self._workload, submission), ()), spec.hparams, self._curve),
            remark=self._remark(group, broken, len(metrics)),
        )
        if unequal := self._compare_tuning(cell.tuning, group):
            cell = replace(cell, remark="; ".join(filter(None, (cell.remark, unequal))), unequal_tuning=unequal)
        if self._curve is None:
            return cell
        values = {run_id: metric.value for run_id, metric in metrics.items() if metric.value is not None}
        known = self._curve.multipliers(list(values.values())) if values else []
        multipliers = dict(zip(values, known, strict=True))
        all_have_multipliers = len(multipliers) == len(group)
        is_reference = self._envelope is not None and submission == self._envelope.reference
        known_costs = self._costs.log_costs(group)
        log_costs = {run_id: known_costs[run_id] for run_id in multipliers if run_id in known_costs}
        cost, time_errors = self._cost_and_errors(log_costs, multipliers, is_reference)
        compute = estimate_compute(list(multipliers.values())) if all_have_multipliers else None
        time = None
        if compute is not None and cost is not None:
            errors = None if compute.bound else combine_errors(*time_errors)
            time = MultiplierEstimate(log=compute.log - math.log(cost), bound=compute.bound, errors=errors)
        studies = {
            study_key(record.spec): math.exp(log_costs[record.run_id] - multipliers[record.run_id].log)
            for record in group
            if record.run_id in log_costs
        }
        studies |= {study_key(record.spec): math.inf for record in broken}
        return replace(
            cell,
            compute=compute,
            cost=cost,
            time=time,
            studies=studies,
            envelope_deviations=_envelope_deviations(list(multipliers.values())),
            remark=cell.remark or ("" if cost is not None else f"its cost on {self._hardware} is unknown"),
        )

    def _remark(self, group: Sequence[Record], broken: Sequence[Record], finished: int) -> str:
        """Return the most important reason why a value is missing, or a warning."""
        expected, budget = group[0].spec.ruleset.studies, group[0].spec.workload.facts.budget.horizon
        if broken:
            cause = f"{broken[0].status}: {final_metric(broken[0]).reason}".rstrip(": ")
            return f"{len(broken)} of {len(group)} runs broke down ({cause})"
        if finished < len(group):
            return f"{len(group) - finished} of {len(group)} runs are not finished"
        if self._problem:
            return self._problem
        if self._costs.problem:
            return self._costs.problem
        if early := [record for record in group if record.points and record.points[-1].examples < budget]:
            shortest = min(record.points[-1].examples for record in early)
            return f"{len(early)} of {len(group)} runs ended early, at {shortest:,} of {budget:,} examples"
        return f"{len(group)} of {expected} seeds" if len(group) < expected else ""

    def _compare_tuning(self, cost: TuningCost | None, group: Sequence[Record]) -> str:
        """Return how the tuning of a submission differs from that of the reference; empty if it does not."""
        settings = {repr(sorted(record.spec.hparams.items())) for record in group}
        differences = [f"runs with {len(settings)} settings"] if len(settings) > 1 else []
        if self._reference_studies and cost is None:
            differences.append("not tuned, unlike the reference")
        elif self._reference_studies and cost is not None and cost.studies != self._reference_studies:
            differences.append(f"tuned on {cost.studies} seeds, the reference on {self._reference_studies}")
        return "; ".join(differences)

    def _cost_and_errors(
        self, log_costs: Mapping[str, float], multipliers: Mapping[str, Multiplier], is_reference: bool
    ) -> tuple[float | None, tuple[ErrorSource | None, ...]]:
        """Return the cost relative to the reference, and the sources of error of the time multiplier.

        The result is (None, ()) if the cost of the submission or of the reference is unknown.

        Args:
            log_costs: run ID -> log of the cost relative to the reference.
            multipliers: run ID -> compute multiplier.
            is_reference: whether the submission is the reference, whose cost is 1.
        """
        if self._costs.problem:
            return None, ()
        chosen = list(multipliers.values())
        envelope_error = _envelope_error(chosen) if chosen else None
        if is_reference:
            return 1.0, (error_of_mean([multiplier.log for multiplier in chosen]), envelope_error)
        if not log_costs:
            return None, ()
        own_error = error_of_mean([multipliers[run_id].log - log for run_id, log in log_costs.items()])
        return math.exp(statistics.fmean(log_costs.values())), (own_error, envelope_error, *self._costs.errors)


def estimate_compute(multipliers: Sequence[Multiplier]) -> MultiplierEstimate:
    """Return the geometric mean of the compute multipliers of a submission's runs.

    Its error has two sources: the spread of the runs, and the error of the envelope.
    """
    logs = [multiplier.log for multiplier in multipliers]
    bound = join_bounds(multiplier.bound for multiplier in multipliers)
    errors = None if bound else combine_errors(error_of_mean(logs), _envelope_error(multipliers))
    return MultiplierEstimate(log=statistics.fmean(logs), bound=bound, errors=errors)


def _envelope_error(multipliers: Sequence[Multiplier]) -> ErrorSource | None:
    """Return the part of the error of the mean log multiplier that the envelope causes."""
    return error_of_mean(_envelope_deviations(multipliers))


def _envelope_deviations(multipliers: Sequence[Multiplier]) -> tuple[float, ...]:
    """Return the deviation of the mean log multiplier that each seed of the envelope causes."""
    by_seed = zip(*(multiplier.deviations for multiplier in multipliers), strict=True)
    return tuple(statistics.fmean(deviations) for deviations in by_seed)
