"""Selects the data of single runs for the report's page: curves, settings and missed targets, in compressed blocks.

The size of the page must not grow with the number of records. Tables, medians and ranges are computed from all runs.
Curves and dots of single runs are drawn for a limited number of runs, which are chosen evenly.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from harness.contract.domains import HParams
from harness.contract.record import Record, Status, is_success
from harness.contract.workload import Goal, WorkloadFacts
from harness.report.curve_bands import CurveEnd, EndedCurve, curve_band, end_of
from harness.scoring.point_columns import PointColumns, finite_values
from harness.scoring.summary import LeaderboardQuery, RunSummary, summarize_content
from harness.scoring.time_to_target import Floats

T = TypeVar("T")
#: Largest number of evaluations per run from which medians and ranges are computed.
MAX_POINTS = 300
#: Largest number of runs per submission and workload whose curves are drawn.
MAX_CURVES = 40
#: Largest number of runs per submission and workload that are dots in the sensitivity chart.
MAX_DOTS = 250
#: Largest number of evaluations in all curves of the page.
TOTAL_POINTS = 64_000
#: Largest number of dots on the page.
TOTAL_DOTS = 10_000
#: Largest number of evaluations in all medians and ranges of the page.
TOTAL_BAND_POINTS = 20_000
#: Significant digits of the values in curves. More digits cannot be seen in a chart.
_DIGITS = {"time": 4, "examples": 6, "steps": 6, "metric": 5, "lr": 4, "stage": 4}
#: Smallest number of evaluations to which a curve is thinned.
MIN_POINTS = 40
#: Largest number of rows in the tables of missed targets and of settings.
MAX_ROWS = 1_000
#: Largest number of characters of the reason in the table of missed targets.
MAX_REASON = 500


class PageSummary(RunSummary, frozen=True, kw_only=True):
    """The part of a record that the page needs.

    Args:
        curve: `time` (scored seconds), `examples`, `steps`, `metric` and `lr` -> values at the evaluations, at most
            `MAX_POINTS`; NaN where unknown. A stream also has `stage`. Empty if the page does not draw the run.
        environment: the machine and the software of the worker, as JSON.
    """

    curve: dict[str, Floats]
    environment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRun:
    """One run as the page shows it.

    Args:
        study: index of the study.
        trial: index of the trial within the study.
        hparams: values of the hyperparameters, with six significant digits.
        status: final status.
        hit: whether the run met its targets.
        best: best value of the primary metric; None without a finite value.
        curve: values at each evaluation, by name (see `PageSummary`).
        scored: whether a table scores the run. Medians and ranges are computed from scored runs.
    """

    study: int
    trial: int
    hparams: HParams
    status: Status
    hit: bool
    best: float | None
    curve: dict[str, Floats]
    scored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Upper limits for one submission on one workload.

    Args:
        curves: number of runs with a curve.
        dots: number of runs with a dot in the sensitivity chart.
        points: number of evaluations per curve.
        band: number of evaluations in the curves of the median and the range.
    """

    curves: int
    dots: int
    points: int
    band: int


@dataclass(slots=True)
class _Setting:
    """The runs of one submission on one workload with equal hyperparameters."""

    hparams: HParams
    overrides: list[str]
    runs: int = 0
    hits: int = 0


@dataclass(slots=True)
class _TableRuns:
    """The runs of one leaderboard.

    Args:
        groups: workload -> submission -> runs.
        facts: workload -> its facts.
        missed: (sort key, cells) for each row of the table of missed targets.
        settings: (submission, workload, hyperparameters as text) -> runs with this setting.
    """

    groups: dict[str, dict[str, list[PageRun]]] = field(default_factory=dict)
    facts: dict[str, WorkloadFacts] = field(default_factory=dict)
    missed: list[tuple[tuple[Any, ...], list[Any]]] = field(default_factory=list)
    settings: dict[tuple[str, str, str], _Setting] = field(default_factory=dict)


class PageRuns:
    """The single runs of a page, added one by one."""

    def __init__(self) -> None:
        self._tables: dict[str, _TableRuns] = {}

    def add(self, summary: PageSummary, *, scored: bool) -> None:
        """Add a run.

        Args:
            summary: the run.
            scored: whether a table scores the run.
        """
        spec = summary.spec
        table = self._tables.setdefault(f"{spec.hardware}|{spec.ruleset.id}", _TableRuns())
        submission, workload = spec.submission.id, spec.workload.facts.id
        table.facts[workload] = spec.workload.facts
        hit = summary.result.status == "hit"
        run = PageRun(
            study=spec.study,
            trial=spec.trial,
            hparams={name: round_number(value, 6) for name, value in spec.hparams.items()},
            status=summary.status,
            hit=hit,
            best=_best(summary.curve["metric"], spec.workload.facts.targets[0].goal),
            curve=summary.curve,
            scored=scored,
        )
        table.groups.setdefault(workload, {}).setdefault(submission, []).append(run)
        failed = not is_success(summary.status)
        if failed or not hit:
            reason = summary.reason or (summary.result.reason if summary.result.status == "unknown" else "")
            cells = [
                submission,
                workload,
                spec.study,
                spec.trial,
                summary.status,
                shorten(reason),
                summary.run_id,
                failed,
            ]
            table.missed.append(((not failed, *cells[:4]), cells))
        hparams = {name: round_number(value, 4) for name, value in sorted(spec.hparams.items())}
        key = (submission, workload, json.dumps([hparams, spec.overridden]))
        setting = table.settings.setdefault(key, _Setting(hparams, list(spec.overridden)))
        setting.runs += 1
        setting.hits += hit

    def data(self) -> dict[str, Any]:
        """Return the names of the submissions, and the compressed blocks with the data of their runs.

        `shown` maps the name of a table to workloads, and each workload to the names of its submissions. `blocks` maps
        `table|workload` to curves and settings, and `table` to the rows of the tables of missed targets and settings.
        """
        groups = [runs for table in self._tables.values() for row in table.groups.values() for runs in row.values()]
        curves = _runs_per_group((len(runs) for runs in groups), MAX_CURVES, TOTAL_POINTS // MIN_POINTS)
        dots = _runs_per_group((len(runs) for runs in groups), MAX_DOTS, TOTAL_DOTS)
        drawn = sum(min(curves, len(runs)) for runs in groups)
        points = max(MIN_POINTS, min(MAX_POINTS, TOTAL_POINTS // max(1, drawn)))
        band = max(MIN_POINTS, min(MAX_POINTS, TOTAL_BAND_POINTS // max(1, len(groups))))
        limits = _Limits(curves=curves, dots=dots, points=points, band=band)
        blocks: dict[str, str] = {}
        shown: dict[str, dict[str, list[str]]] = {}
        for name, table in self._tables.items():
            shown[name] = {workload: sorted(row) for workload, row in sorted(table.groups.items())}
            for workload, row in table.groups.items():
                block = {s: _group_data(runs, limits, table.facts[workload]) for s, runs in sorted(row.items())}
                blocks[f"{name}|{workload}"] = compress(block)
            blocks[name] = compress(_table_rows(table))
        return {"shown": shown, "blocks": blocks}


def summarize_for_page(record: Record, query: LeaderboardQuery) -> PageSummary:
    """Return the summary of a record (see `summarize_content`) with a curve of at most `MAX_POINTS` evaluations."""
    columns = PointColumns(record.points)
    summary = summarize_content(record, query, columns)
    is_drawn = is_on_page(summary) and record.spec.workload.facts.targets
    return PageSummary(
        **{name: getattr(summary, name) for name in summary.__struct_fields__},
        curve=_curve(record, columns) if is_drawn else {},
        environment=msgspec.json.encode(record.environment, order="deterministic"),
    )


def is_on_page(summary: RunSummary) -> bool:
    """Return whether the page draws the run. Smoke runs and profiled runs are not drawn."""
    return not (summary.spec.smoke or summary.spec.profile)


def compress(value: object) -> str:
    """Return a value as JSON, compressed by zlib, in base64."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(value), 6)).decode()


def decompress(block: str) -> Any:
    """Return the value of a block that `compress` made."""
    return json.loads(zlib.decompress(base64.b64decode(block)))


def shorten(text: str, limit: int = MAX_REASON) -> str:
    """Return a text with at most `limit` characters. A longer text ends with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def round_number(value: T, digits: int) -> T | float:
    """Round a float to significant digits. Other values are returned unchanged."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) and math.isfinite(value) else value


def _runs_per_group(sizes: Iterable[int], per_group: int, total: int) -> int:
    """Return how many runs each group may keep if all groups together keep at most `total` runs.

    The result is at least 1 and at most `per_group`. A group may have fewer runs than it may keep.

    >>> _runs_per_group([100, 3], per_group=40, total=1000), _runs_per_group([100, 100, 3], per_group=40, total=43)
    (40, 20)
    """
    counts = list(sizes)
    limit = per_group
    while limit > 1 and sum(min(limit, count) for count in counts) > total:
        limit -= 1
    return limit


def choose_evenly(items: Sequence[T], limit: int) -> list[T]:
    """Return at most `limit` items at equal distances, including the first and the last one.

    >>> choose_evenly(range(10), 4), choose_evenly("ab", 4), choose_evenly("abc", 1)
    ([0, 3, 6, 9], ['a', 'b'], ['a'])
    """
    if len(items) <= limit:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, limit - 1))] for i in range(limit)]


def _curve(record: Record, columns: PointColumns) -> dict[str, Floats]:
    points = record.points
    curve = {
        "time": array("d", columns.scored(record.spec.clock)),
        "examples": array("d", [point.examples for point in points]),
        "steps": array("d", [point.steps for point in points]),
        "metric": array("d", columns.values(record.spec.workload.facts.targets[0].metric)),
        "lr": array("d", [math.nan if point.lr is None else point.lr for point in points]),
    }
    if record.spec.workload.facts.stages:
        curve["stage"] = array("d", [point.stage for point in points])
    if len(points) <= MAX_POINTS:
        return curve
    indices = _thin_indices(record)
    return {name: array("d", [values[i] for i in indices]) for name, values in curve.items()}


def _thin_indices(record: Record) -> list[int]:
    """Return the indices of at most `MAX_POINTS` evaluations, including the last one and the hit."""
    points = record.points
    indices = {round(i * (len(points) - 1) / (MAX_POINTS - 2)) for i in range(MAX_POINTS - 1)}
    if record.hit is not None:
        indices.add(record.hit)
    return [i for i in sorted(indices) if i < len(points)]


def _best(values: array[float], goal: str) -> float | None:
    finite = finite_values(values)
    if not finite:
        return None
    return _rounded(min(finite) if goal == "min" else max(finite))


def _rounded(value: float, digits: int = 6) -> float | int | None:
    """Round a number to significant digits; None if it is not finite."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _group_data(runs: list[PageRun], limits: _Limits, facts: WorkloadFacts) -> dict[str, Any]:
    """Return the data of all runs of one submission on one workload."""
    ordered = sorted(runs, key=lambda run: (run.study, run.trial))
    dots = choose_evenly(ordered, limits.dots)
    names = sorted({name for run in dots for name in run.hparams})
    return {
        "runs": len(runs),
        "scored": sum(run.scored for run in runs),
        **_bands(ordered, limits.band, facts),
        "curves": [_drawn_curve(run, limits.points) for run in choose_evenly(ordered, limits.curves)],
        "dots": {
            "hparams": {name: [run.hparams.get(name) for run in dots] for name in names},
            "best": [run.best for run in dots],
            "hit": [run.hit for run in dots],
        },
    }


def _listed(values: Iterable[float], digits: int = 6) -> msgspec.Raw:
    """Return a JSON list of the numbers, rounded to significant digits. A number that is not finite becomes null."""
    numbers = tuple(values)
    # To format all numbers at once is much faster than to round and encode each of them.
    listed = ",".join([f"%.{digits}g"] * len(numbers)) % numbers
    if not math.isfinite(sum(numbers)):
        listed = re.sub("-?inf|nan", "null", listed)
    return msgspec.Raw(f"[{listed}]".encode())


def _drawn_curve(run: PageRun, max_points: int) -> dict[str, Any]:
    rows = choose_evenly(range(len(run.curve["time"])), max_points)
    curve = {name: _listed((values[i] for i in rows), _DIGITS[name]) for name, values in run.curve.items()}
    return {"study": run.study, "trial": run.trial, "status": run.status, "hit": run.hit, **curve}


def _bands(runs: Sequence[PageRun], max_points: int, facts: WorkloadFacts) -> dict[str, Any]:
    """Return the median and the range of the scored runs. On a stream, each stage has its own."""
    scored = [run for run in runs if run.scored]
    if len(scored) < 2:
        return {}
    goal = facts.targets[0].goal
    if not facts.stages:
        curves = [_ended_curve(run.curve, range(len(run.curve["time"])), end_of(run.status)) for run in scored]
        return {"band": _drawn_band(curves, goal, max_points)}
    per_stage = max(MIN_POINTS, max_points // len(facts.stages))
    stages = range(len(facts.stages))
    return {"stages": [_drawn_band([_stage_curve(run, stage) for run in scored], goal, per_stage) for stage in stages]}


def _drawn_band(curves: Sequence[EndedCurve], goal: Goal, max_points: int) -> dict[str, Any]:
    return {name: _listed(values.tolist()) for name, values in curve_band(curves, goal, max_points).items()}


def _stage_curve(run: PageRun, stage: int) -> EndedCurve:
    """Return the curve of one stage of a stream, with amounts counted from the end of the previous stage.

    If the run went on to a later stage, it reached the targets of this stage. If the run ended in an earlier stage, its
    curve is empty and counts as the worst.
    """
    rows = [i for i, at in enumerate(run.curve["stage"]) if at == stage]
    if not rows:
        return _ended_curve(run.curve, rows, "broke")
    went_on = rows[-1] + 1 < len(run.curve["stage"])
    return _ended_curve(run.curve, rows, "reached" if went_on else end_of(run.status))


def _ended_curve(curve: Mapping[str, Floats], rows: Sequence[int], end: CurveEnd) -> EndedCurve:
    """Return consecutive evaluations `rows` of a curve. Amounts are counted from the evaluation before the first."""
    starts = {name: curve[name][rows[0] - 1] if rows and rows[0] else 0.0 for name in ("examples", "time", "steps")}
    amounts = {name: [curve[name][i] - start for i in rows] for name, start in starts.items()}
    return EndedCurve(**amounts, metric=[curve["metric"][i] for i in rows], end=end)


def _table_rows(table: _TableRuns) -> dict[str, Any]:
    """Return the first `MAX_ROWS` rows of the tables of missed targets and of settings, and the numbers of all rows."""
    missed = sorted(table.missed, key=lambda row: row[0])
    settings = sorted(table.settings.items())
    return {
        "missed": [cells for _, cells in missed[:MAX_ROWS]],
        "all_missed": len(missed),
        "settings": [
            [submission, workload, setting.hits, setting.runs, setting.hparams, setting.overrides]
            for (submission, workload, _), setting in settings[:MAX_ROWS]
        ],
        "all_settings": len(settings),
    }
