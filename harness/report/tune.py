"""Renders the result of a hyperparameter search as text and JSON.

The text contains the ranked settings, the command that runs the best setting, and the cost of the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.domains import HParams, Scalar
from harness.planning.search import Edge, Search
from harness.report import text
from harness.report.values import finite_or_none
from harness.scoring.search import Combination, RankedSetting, SearchBy, SearchRun, WorkloadOutcome

#: Version of the JSON format.
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """The result of a search.

    Args:
        submission: the submission, as the user named it.
        search: the searched hyperparameters.
        by: the quantity by which settings are ranked.
        combination: how the results of several workloads are combined.
        budgets: number of examples at which the runs ended, by workload; empty if the runs ended at the target.
        studies: number of seeds per setting.
        ranking: the settings from best to worst.
        neighbours: the settings nearest to the best one.
        edges: hyperparameters whose best value lies at an end of the searched range.
        left_out: one message for each value of a hyperparameter that could not be tried.
        runs: number of runs.
        core_minutes: sum of `SearchRun.core_seconds` / 60 over all runs.
        command: command that runs the best setting; empty if there is no winner.
        stored: path of the file in which the best setting was stored; empty if it was not stored.
    """

    submission: str
    search: Search
    by: SearchBy
    combination: Combination
    budgets: Mapping[str, int]
    studies: int
    ranking: tuple[RankedSetting, ...]
    neighbours: tuple[RankedSetting, ...]
    edges: tuple[Edge, ...]
    left_out: tuple[str, ...]
    runs: int
    core_minutes: float
    command: str
    stored: str = ""

    @property
    def winner(self) -> RankedSetting | None:
        """The best setting; None if every setting has a broken run (see `SearchRun.broke`)."""
        return None if self.ranking[0].broken else self.ranking[0]


def setting_text(search: Search, point: HParams) -> str:
    """Return the values of a setting, such as `lr=0.003 warmup=0.1`, followed by a remark if they are the defaults."""
    values = " ".join(f"{name}={_format_value(value)}" for name, value in search.values_of(point).items())
    return f"{values} (defaults)" if search.values_of(point) == search.defaults else values


def _format_value(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def tune_text(report: TuneReport) -> str:
    """Return the table of a search, remarks about its result, and the command that runs the best setting."""
    blocks = [_table(report)]
    lines = [f"broken run: {text.wrap(line)}" for line in _describe_broken_runs(report)]
    lines += [f"left out: {line}" for line in report.left_out]
    if report.winner is None:
        lines.append("there is no winner, because every setting has a broken run")
    else:
        lines += _describe_winner(report, report.winner)
    lines.append(f"cost: {report.runs} runs, {report.core_minutes:.1f} core-minutes")
    if report.stored:
        lines.append(f"stored in {report.stored}: bench run --best uses it")
    blocks.append("\n".join(text.wrap(line) for line in lines))
    if report.winner is not None:
        blocks.append(report.command)
    return "\n\n".join(blocks)


def _table(report: TuneReport) -> str:
    """Return a table with a row for each setting.

    Every workload has six columns: mean final metric, mean best metric, target, mean scored seconds, number of hits,
    and how the runs ended. `worse` says how much worse the setting is than the best one (see `excess_text`).
    """
    has_several_workloads = len(report.ranking[0].outcomes) > 1
    heading, right_aligned = ["rank", "setting"], {0}
    for outcome in report.ranking[0].outcomes:
        prefix = f"{outcome.workload.rpartition('@')[0]} " if has_several_workloads else ""
        columns = [f"{outcome.target.metric} final", "best", "target", "seconds", "hits", "ended"]
        right_aligned |= set(range(len(heading), len(heading) + 5))
        heading += [f"{prefix}{columns[0]}", *columns[1:]]
    heading.append("worse")
    right_aligned.add(len(heading) - 1)
    rows = [heading]
    for setting in report.ranking:
        cells = [cell for outcome in setting.outcomes for cell in _outcome_cells(outcome)]
        rows.append(
            [str(setting.rank), setting_text(report.search, setting.point), *cells, excess_text(setting.excess)]
        )
    return text.fit_table(rows, right_aligned=frozenset(right_aligned), leading_columns=2)


def _outcome_cells(outcome: WorkloadOutcome) -> list[str]:
    """Return the six cells of a setting for one workload."""
    statuses = dict.fromkeys(run.status for run in outcome.runs)
    counts = [sum(run.status == status for run in outcome.runs) for status in statuses]
    ended = ", ".join(
        status if len(statuses) == 1 else f"{count} {status}" for status, count in zip(statuses, counts, strict=True)
    )
    return [
        _format_metric(outcome.final),
        _format_metric(outcome.best),
        text.target_bound(outcome.target),
        f"{outcome.seconds:,.2f}",
        f"{outcome.hits}/{len(outcome.runs)}",
        ended,
    ]


def _format_metric(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def excess_text(excess: float | None) -> str:
    """Return how much worse a setting is than the best one, in percent or as a factor.

    The text is empty for an equally good setting, and `–` if the excess is unknown.

    >>> excess_text(1.0412), excess_text(1.0), excess_text(7.3), excess_text(None)
    ('4.1 %', '', '7.3×', '–')
    """
    if excess is None:
        return "–"
    if excess == 1.0:
        return ""
    return f"{excess:.1f}×" if excess >= 2 else f"{100 * (excess - 1):.2g} %"


def _describe_broken_runs(report: TuneReport) -> list[str]:
    return [
        f"{setting_text(report.search, setting.point)} on {run.workload}: {run.status}"
        f"{f', {run.reason}' if run.reason else ''}"
        for setting in report.ranking
        for outcome in setting.outcomes
        for run in outcome.runs
        if run.broke
    ]


def _describe_winner(report: TuneReport, winner: RankedSetting) -> list[str]:
    """Return lines about the best setting: criterion, neighbours, the defaults, and warnings about range and seeds."""
    search = report.search
    lines = [f"best: {setting_text(search, winner.point)}, {_criterion(report, winner)}"]
    if report.neighbours:
        neighbours = "; ".join(f"{setting_text(search, n.point)} {_compare_with_best(n)}" for n in report.neighbours)
        lines.append(f"{'neighbours' if search.only else 'nearest settings'}: {neighbours}")
    defaults = next((setting for setting in report.ranking if search.values_of(setting.point) == search.defaults), None)
    if defaults is not None and defaults is not winner and defaults not in report.neighbours:
        lines.append(f"the defaults: {_compare_with_best(defaults)}")
    for edge in report.edges:
        domain = search.domains[edge.name]
        low, high = getattr(domain, "low", ""), getattr(domain, "high", "")
        ends = "" if search.multiples_of_default else f" {low:g} to {high:g}"
        lines.append(
            f"warning: {edge.name}={edge.value:.3g} lies at the edge of the searched range{ends}; "
            f"widen the range: {edge.option}"
        )
    if report.studies == 1:
        lines.append(
            "one seed per setting: small differences may be chance; --studies 3 runs every setting on three seeds"
        )
    return lines


def _compare_with_best(setting: RankedSetting) -> str:
    """Return a text that compares a setting with the best one."""
    if setting.broken:
        return "has a broken run"
    if setting.excess is None:
        return (
            "missed the target"
            if any(outcome.hits < len(outcome.runs) for outcome in setting.outcomes)
            else "not comparable"
        )
    return "equally good" if setting.excess == 1.0 else f"{excess_text(setting.excess)} worse"


def _criterion(report: TuneReport, winner: RankedSetting) -> str:
    """Return the criterion by which the best setting was chosen."""
    if report.by == "metric":
        ends = sorted({f"{budget:,}" for budget in report.budgets.values()})
        criterion = f"by the final metric at {' and '.join(ends)} examples"
    else:
        criterion = f"by {report.by} to the target"
        if any(outcome.hits < len(outcome.runs) for outcome in winner.outcomes):
            criterion += ", which was missed; settings that miss the target are ranked by their final metric"
    if len(winner.outcomes) > 1:
        combined = "mean rank" if report.combination == "rank" else "mean ratio to the best"
        criterion += f", {combined} {winner.score:.3g} over {len(winner.outcomes)} workloads"
    return criterion


# --- JSON -------------------------------------------------------------------------------------------


def tune_json(report: TuneReport) -> dict[str, Any]:
    """Return the result of a search as plain data."""
    return {
        "schema": SCHEMA,
        "submission": report.submission,
        "by": report.by,
        "combination": report.combination,
        "budgets": dict(report.budgets),
        "studies": report.studies,
        "searched": report.search.domains,
        "defaults": report.search.defaults,
        "settings": [_setting_json(report.search, setting) for setting in report.ranking],
        "winner": None if report.winner is None else report.winner.number,
        "neighbours": [setting.number for setting in report.neighbours],
        "edges": [
            {"name": edge.name, "value": edge.value, "low": edge.low, "high": edge.high} for edge in report.edges
        ],
        "left_out": list(report.left_out),
        "runs": report.runs,
        "core_minutes": report.core_minutes,
        "command": report.command,
        "stored": report.stored,
    }


def _setting_json(search: Search, setting: RankedSetting) -> dict[str, Any]:
    return {
        "number": setting.number,
        "rank": setting.rank,
        "hparams": search.values_of(setting.point),
        "score": finite_or_none(setting.score),
        "excess": setting.excess,
        "broken": setting.broken,
        "runs": [_run_json(run) for outcome in setting.outcomes for run in outcome.runs],
    }


def _run_json(run: SearchRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "workload": run.workload,
        "status": run.status,
        "reason": run.reason,
        "metric": run.target.metric,
        "goal": run.target.goal,
        "target": run.target.value,
        "best": run.best,
        "final": run.final,
        "hit": run.hit,
        "seconds": run.seconds,
        "amount": None if math.isinf(run.amount) else run.amount,
    }


def plan_rows(search: Search, points: Sequence[HParams]) -> list[list[str]]:
    """Return a heading and a row for each setting that a search will try."""
    return [["number", "setting"], *([str(i), setting_text(search, point)] for i, point in enumerate(points))]
