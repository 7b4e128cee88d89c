"""The cells of tables that compare metrics at a budget, and the mean rank of each submission."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from harness.contract.workload import Goal
from harness.scoring.cells import Cell, cell_of_metrics
from harness.scoring.selection import StudyKey, study_key
from harness.scoring.summary import RunSummary
from harness.scoring.time_to_target import MetricAt


def metric_cells(summaries: Iterable[RunSummary], goals: Mapping[str, Goal]) -> dict[str, dict[str, Cell]]:
    """Return submission -> workload -> cell. The cell combines the metrics of the best trial of each study.

    Args:
        summaries: the usable runs.
        goals: workload -> goal of the primary metric.
    """
    best: dict[str, dict[str, dict[StudyKey, MetricAt]]] = {}
    for summary in summaries:
        spec, metric = summary.spec, summary.metric
        workload = spec.workload.facts.id
        if metric is None or workload not in goals:
            continue
        by_study = best.setdefault(spec.submission.id, {}).setdefault(workload, {})
        study = study_key(spec)
        if study not in by_study or _is_better(metric.value, by_study[study].value, goals[workload]):
            by_study[study] = metric
    return {name: {w: cell_of_metrics(list(by.values())) for w, by in row.items()} for name, row in best.items()}


def _is_better(a: float, b: float, goal: Goal) -> bool:
    return a < b if goal == "min" else a > b


def mean_rank(name: str, cells: Mapping[str, Mapping[str, Cell]], goals: Mapping[str, Goal]) -> float:
    """Return the mean rank of a submission over workloads. It ranks last on every workload that it did not run.

    Args:
        name: the submission.
        cells: submission -> workload -> cell.
        goals: workload -> goal of the primary metric.
    """
    ranks = []
    for workload, goal in goals.items():
        values = [row[workload].value for row in cells.values() if workload in row]
        cell = cells[name].get(workload)
        better = len(values) if cell is None else sum(_is_better(value, cell.value, goal) for value in values)
        ranks.append(1 + better)
    return statistics.fmean(ranks)
