"""Tables of the ruleset `fixed-budget`: the ranking by time multiplier, and the multipliers on each workload."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harness.contract.judging import TRUST_LEVELS
from harness.scoring.compute_multiplier import Bound
from harness.scoring.headline import Headline, headline_of_ranks
from harness.scoring.mean_ties import significant_ratio
from harness.scoring.multiplier_board import MultiplierBoard, MultiplierCell, MultiplierRow, ProjectedWorkload
from harness.scoring.multiplier_estimate import MultiplierEstimate
from harness.scoring.result_table import NUMBER, Cell, ResultTable, split_into_tables
from harness.scoring.tuning_cost import TuningCost

#: Explanations of the columns of a ranking, printed below it.
EXPLAINED = (
    "compute multiplier: (budget that the tuned reference needs for the submission's final metric) / (budget of the "
    "submission); time multiplier: compute multiplier / cost; cost: seconds per example relative to the reference; the "
    "row of the reference has its own tuning and seeds, so its multiplier need not be 1.00×",
    "rank: best and worst rank consistent with the significant pairwise differences; the 95 % interval includes the "
    "error of the reference's envelope, and > or < marks a value of which only a bound is known",
)


def tabulate_boards(boards: Iterable[MultiplierBoard]) -> list[ResultTable]:
    """Return, for each hardware class, ruleset and kind of access, the ranking and one table for each workload."""
    tables = []
    for board in boards:
        if board.rows:
            tables.append(_tabulate_ranking(board))
        tables += [_tabulate_workload(cells, board.references) for cells in split_into_tables(board.cells)]
    return tables


def _tabulate_ranking(board: MultiplierBoard) -> ResultTable:
    count = len(board.workloads)
    over = f"1 {board.access}" if count == 1 else f"geometric means over {count} {board.access}s"
    partial = f"; partial: no runs on {', '.join(board.missing)}" if board.missing else ""
    bounded = f"; {board.bounded:.0%} of the compute multipliers are bounds" if board.bounded else ""
    on = sum(workload in board.projected for workload in board.workloads)
    kind = f"ranking projected on {on} of {count} {board.access}s" if board.projected else "ranking"
    return ResultTable(
        title=f"{board.hardware}, {board.ruleset}: {kind} by time multiplier, {over}{bounded}{partial}",
        heading=("rank", "submission", "time multiplier", "95 % interval", "compute multiplier", "cost", "remark"),
        formats=(">", "", ">", ">", ">", ".2f", ""),
        rows=tuple(
            (
                format_ranks(row.ranks),
                _mark_reference(row.submission, board.references),
                format_multiplier(row.time),
                format_interval(row.time),
                format_multiplier(row.compute),
                row.cost,
                row.remark,
            )
            for row in board.rows
        ),
        data=tuple(_row_data(board, row) for row in board.rows),
        headline=_find_headline(board),
        verdicts=board.ties.verdicts,
        scope={"hardware": board.hardware, "ruleset": board.ruleset, "access": board.access},
        notes=(
            *EXPLAINED,
            *_describe_projection(board),
            *_describe_ranks(board),
            *board.cost_remarks,
            *_describe_records(board),
        ),
    )


def _describe_source(cell: MultiplierCell) -> str:
    return f", projected from {cell.projected_from}" if cell.projected_from else ""


def _describe_projection(board: MultiplierBoard) -> list[str]:
    """Return which workloads are projected, from which hardware classes, and how often the costs were measured."""
    by_source: dict[ProjectedWorkload, list[str]] = {}
    for workload, source in sorted(board.projected.items()):
        by_source.setdefault(source, []).append(workload.partition("@")[0])
    return [
        f"projected: {', '.join(workloads)}; the compute multipliers are those of runs on {', '.join(source.sources)}, "
        f"and the costs were measured on {board.hardware} by bench cost, in {source.pairs} pairs of runs in "
        f"{source.sessions} session(s); the intervals do not contain differences between sessions"
        for source, workloads in by_source.items()
    ]


def _describe_ranks(board: MultiplierBoard) -> list[str]:
    """Return which workloads are not ranked, how large a significant difference is, and which ranks are sensitive."""
    notes = [f"{workload} is not part of the ranking: {reason}" for workload, reason in board.unranked.items()]
    if ratio := significant_ratio(board.ties.verdicts):
        notes.append(
            f"a difference between two submissions is significant if it is larger than about {ratio - 1:.0%} (for the "
            "pair with the median standard error, after Holm's correction); tied submissions may differ by less"
        )
    ranks = {row.submission: row.ranks for row in board.rows}
    notes += [
        f"without {found.workload}, {found.submission} would have rank {format_ranks(found.ranks)} instead of "
        f"{format_ranks(ranks[found.submission])}"
        for found in board.without
    ]
    return notes


def _describe_records(board: MultiplierBoard) -> list[str]:
    """Return the trust levels and the source of the seeds of the runs, and the versions of torch."""
    levels = ", ".join(f"{board.trust[level]:,} {level}" for level in TRUST_LEVELS if board.trust.get(level))
    notes = [f"trust levels of the scored runs: {levels}"] if levels else []
    if others := sum(board.trust.values()) - board.public_seeds:
        notes.append(
            f"the seeds of {others:,} scored runs come from a root seed and not from a public beacon: the person who "
            "made these runs could have chosen them"
        )
    return [*notes, f"torch {', '.join(board.torch)}"] if board.torch else notes


def _find_headline(board: MultiplierBoard) -> Headline | None:
    """Return who leads and who is tied; None if at most one submission has a time multiplier on every workload."""
    ranked = {row.submission: row.time for row in board.rows if row.time is not None}
    if len(ranked) < 2:
        return None
    amounts = {name: format_multiplier(estimate) or "" for name, estimate in ranked.items()}
    name = "projected time multiplier" if board.projected else "time multiplier"
    return headline_of_ranks(list(ranked), board.ties, board.workloads, amounts, name)


def _mark_reference(submission: str, references: Collection[str]) -> str:
    return f"{submission} (reference)" if submission in references else submission


def _tabulate_workload(cells: Sequence[MultiplierCell], references: Collection[str]) -> ResultTable:
    """Return the table of one workload. The columns about tuning are left out if no tuning trials are known."""
    first = cells[0]
    columns: list[tuple[str, str, list[Cell]]] = [
        ("submission", "", [_mark_reference(cell.submission, references) for cell in cells]),
        ("n", "d", [cell.n for cell in cells]),
        ("time multiplier", ">", [format_multiplier(cell.time) for cell in cells]),
        ("95 % interval", ">", [format_interval(cell.time) for cell in cells]),
        ("compute multiplier", ">", [format_multiplier(cell.compute) for cell in cells]),
        ("95 % interval", ">", [format_interval(cell.compute) for cell in cells]),
        ("cost", ".2f", [cell.cost for cell in cells]),
    ]
    tuning = [cell.tuning for cell in cells]
    if any(cost is not None for cost in tuning):
        columns.append(("tuning trials", ">", [_format_trials(cost) for cost in tuning]))
        columns.append(("tuning seconds", NUMBER, [_tuning_seconds(cell) for cell in cells]))
    if any(cost is not None and cost.rate is not None for cost in tuning):
        columns.append(("learning rate", ">", [_format_rate(cost) for cost in tuning]))
    if any(cost is not None and cost.factor is not None for cost in tuning):
        columns.append(("wrong learning rate", ">", [_format_rate_effect(cost) for cost in tuning]))
    columns.append(("remark", "", [cell.remark for cell in cells]))
    return ResultTable(
        title=f"{first.workload}, {first.hardware}, {first.ruleset}: multipliers and cost{_describe_source(first)}",
        heading=tuple(heading for heading, _, _ in columns),
        formats=tuple(format_spec for _, format_spec, _ in columns),
        rows=tuple(zip(*(values for _, _, values in columns), strict=True)),
        data=tuple(_cell_data(cell) for cell in cells),
    )


def format_ranks(ranks: tuple[int, int]) -> str:
    """Return ranks as text.

    >>> format_ranks((1, 1)), format_ranks((2, 4))
    ('1', '2–4')
    """
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}"


def format_multiplier(estimate: MultiplierEstimate | None) -> str | None:
    """Return a multiplier as text; None if it is unknown. A multiplier that is only a bound begins with `>` or `<`.

    >>> format_multiplier(MultiplierEstimate(log=0.0)), format_multiplier(MultiplierEstimate(log=0.7, bound=">"))
    ('1.00×', '> 2.01×')
    """
    return None if estimate is None else _with_bound(estimate.value, estimate.bound)


def _with_bound(value: float, bound: Bound) -> str:
    return f"{bound} {value:.2f}×" if bound else f"{value:.2f}×"


def format_interval(estimate: MultiplierEstimate | None) -> str | None:
    """Return the confidence interval of a multiplier as text; None if it is unknown."""
    ends = estimate.interval() if estimate is not None else None
    return None if ends is None else f"{ends[0]:.2f} – {ends[1]:.2f}"


def _format_trials(cost: TuningCost | None) -> str | None:
    """Return the number of tuning trials, such as `15` or `15, 3 broke`; None without tuning runs."""
    if cost is None:
        return None
    return f"{cost.trials}, {cost.broken} broke" if cost.broken else str(cost.trials)


def _tuning_seconds(cell: MultiplierCell) -> float | None:
    """Return the seconds of the tuning; None without tuning runs, and for those on another hardware class."""
    return cell.tuning.seconds if cell.tuning is not None and not cell.projected_from else None


def _format_rate(cost: TuningCost | None) -> str | None:
    """Return the chosen learning rate, such as `0.01` or `0.09 (largest)`; None if it is unknown."""
    if cost is None or cost.rate is None:
        return None
    return f"{cost.rate:.2g} ({cost.edge})" if cost.edge else f"{cost.rate:.2g}"


def _format_rate_effect(cost: TuningCost | None) -> str | None:
    """Return the effect of a wrong learning rate, such as `0.71× at a factor of 3`; None without tuning runs.

    The first number is (compute multiplier at the wrong learning rate) / (compute multiplier at the best one).
    """
    if cost is None or cost.factor is None or (cost.rate_ratio is None and not cost.breaks):
        return None
    if cost.bound == "~":
        return "unknown"  # Both multipliers are bounds, so nothing is known of their ratio.
    effect = "breaks" if cost.rate_ratio is None else _with_bound(cost.rate_ratio, cost.bound)
    return f"{effect} at a factor of {cost.factor:.2g}"


def estimate_data(estimate: MultiplierEstimate | None) -> Mapping[str, Any] | None:
    """Return a multiplier as plain data; None if it is unknown."""
    if estimate is None:
        return None
    ends = estimate.interval()
    low, high = ends if ends is not None else (None, None)
    return {"value": estimate.value, "bound": estimate.bound, "low": low, "high": high}


def _row_data(board: MultiplierBoard, row: MultiplierRow) -> dict[str, Any]:
    return {
        "table": "ranking",
        "submission": row.submission,
        "hardware": board.hardware,
        "ruleset": board.ruleset,
        "access": board.access,
        "workloads": list(board.workloads),
        "missing": list(board.missing),
        "projected": {workload: list(source.sources) for workload, source in board.projected.items()},
        "ranks": list(row.ranks),
        "time_multiplier": estimate_data(row.time),
        "compute_multiplier": estimate_data(row.compute),
        "cost": row.cost,
        "remark": row.remark,
    }


def _cell_data(cell: MultiplierCell) -> dict[str, Any]:
    tuning = cell.tuning
    return {
        "table": "workload",
        "submission": cell.submission,
        "workload": cell.workload,
        "hardware": cell.hardware,
        "projected_from": cell.projected_from,
        "ruleset": cell.ruleset,
        "n": cell.n,
        "broken": cell.broken,
        "time_multiplier": estimate_data(cell.time),
        "compute_multiplier": estimate_data(cell.compute),
        "cost": cell.cost,
        "tuning": None
        if tuning is None
        else {
            "trials": tuning.trials,
            "broken": tuning.broken,
            "studies": tuning.studies,
            "seconds": tuning.seconds,
            "rate": tuning.rate,
            "rate_edge": tuning.edge,
            "rate_factor": tuning.factor,
            # The ratio of two compute multipliers: at the wrong learning rate / at the best one.
            "rate_loss": tuning.rate_ratio,
            "rate_bound": tuning.bound,
            "breaks": tuning.breaks,
        },
        "remark": cell.remark,
    }
