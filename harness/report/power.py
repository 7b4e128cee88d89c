"""Renders the power of workloads as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.contract.power import OrderAgreement, PowerCost, PowerRow
from harness.report import text

#: A workload that separates fewer pairs of submissions per core-hour than this is marked as `low power`.
LEAST_PER_CORE_HOUR = 25
#: Of the pairs that are separated both at the gate budget and at the full budget, at least this fraction must have the
#: same order at both.
LEAST_AGREEMENT = 0.85
#: Largest acceptable rate of false separations. The runs of each seed are randomly assigned to the submissions. The
#: rate is the fraction of such assignments in which the statistical model separates a pair (docs/power.md).
MOST_FALSE = 0.05
_UNKNOWN = "–"
#: Column headings. `M` is the compute multiplier of a run. A pair is `hard` if the values of M differ by at most 10 %.
#: `A/A` is the rate of false separations (see `MOST_FALSE`).
HEADING = (
    "workload",
    "budget",
    "examples",
    "pairs separated",
    "per core-hour",
    "hard pairs separated",
    "hard per core-hour",
    "core-seconds per run",
    "training + evaluation + start",
    "spread: metric",
    "spread: M",
    "spread: target",
    "residual",
    "correlation",
    "range / spread",
    "A/A",
    "order at full budget",
    "remarks",
)


def power_cells(row: PowerRow) -> list[str]:
    """Return the cells of a row, in the order of `HEADING`."""
    return [
        row.workload,
        row.budget_name,
        f"{row.budget:,}",
        f"{row.separated} of {row.pairs}",
        text.number(float(f"{row.per_core_hour:.3g}")),
        _UNKNOWN if row.hard is None else f"{row.hard_separated} of {row.hard}",
        _UNKNOWN if row.hard_per_core_hour is None else f"{row.hard_per_core_hour:.3g}",
        f"{row.cost.total:.3g}",
        _format_parts(row.cost),
        f"{row.spread_metric:.3f}",
        _UNKNOWN if row.spread_multiplier is None else f"{row.spread_multiplier:.3f}",
        _UNKNOWN if row.spread_target is None else f"{row.spread_target:.3f}",
        f"{row.residual:.3f}",
        f"{row.correlation:.2f}",
        f"{row.range_over_spread:.3g}",
        f"{row.false_rate:.1%} ({row.false_low:.1%} – {row.false_high:.1%})",
        _UNKNOWN if row.agreement is None else _format_agreement(row.agreement),
        "; ".join(remarks(row)),
    ]


def _format_parts(cost: PowerCost) -> str:
    """Return the parts of a cost; a dash if only the total was measured."""
    if cost.evaluation == cost.start == 0:
        return _UNKNOWN
    return f"{cost.training:.2g} + {cost.evaluation:.2g} + {cost.start:.2g}"


def _format_agreement(agreement: OrderAgreement) -> str:
    """Return how many pairs have the same order at both budgets.

    The first fraction is over the pairs that are separated at both budgets. The fraction in brackets is over all pairs
    that are separated at the gate budget.
    """
    return f"{agreement.both_same_order} of {agreement.both} ({agreement.same_order} of {agreement.decided})"


def remarks(row: PowerRow) -> list[str]:
    """Return what a reader of the row must know, such as missing runs, broken runs and unmet requirements."""
    notes = []
    if row.partial:
        notes.append(f"partial: {row.seeds} of {row.planned_seeds} seeds")
    if row.scale == "log metric":
        notes.append("no envelope: the log of the metric is compared, and hard pairs are unknown")
    if row.outside:
        notes.append(f"M is extrapolated beyond the envelope in {row.outside:.0%} of the runs")
    if row.left_out:
        notes.append(f"not separated because a run broke: {', '.join(row.left_out)}")
    if row.per_core_hour < LEAST_PER_CORE_HOUR:
        notes.append(f"low power: fewer than {LEAST_PER_CORE_HOUR} pairs per core-hour")
    if row.false_low > MOST_FALSE:
        notes.append(
            f"the model is not valid here, because the rate of false separations (A/A) exceeds {MOST_FALSE:.0%}"
        )
    if row.agreement and row.agreement.both == 0:
        notes.append("no pair is separated at both budgets, so the orders cannot be compared")
    elif row.agreement and row.agreement.both_same_order < LEAST_AGREEMENT * row.agreement.both:
        notes.append(
            "gate budget too short: of the pairs that are separated at the gate budget and at the full budget, "
            f"less than {LEAST_AGREEMENT:.0%} have the same order at both"
        )
    if row.agreement is None and row.budget_name == "gate":
        notes.append("not compared with the full budget")
    return [*notes, *row.notes]


def power_summary(row: PowerRow) -> str:
    """Return a row in one line, for the description of a workload.

    The line has the budget, the separated pairs, the pairs per core-hour and the cost of a run.
    """
    marks = [f"partial, {row.seeds} of {row.planned_seeds} seeds"] if row.partial else []
    marks += ["low power"] if row.per_core_hour < LEAST_PER_CORE_HOUR else []
    return (
        f"{row.separated} of {row.pairs} pairs at {row.budget:,} examples × {row.seeds} seeds, "
        f"{row.per_core_hour:.3g} per core-hour, {row.cost.total:.3g} core-seconds per run"
        + (f" ({'; '.join(marks)})" if marks else "")
    )


def power_text(rows: Sequence[PowerRow], width: int | None = None) -> str:
    """Return a table with one row for each workload and budget, and the remarks as lines below it.

    Args:
        rows: the rows; not empty.
        width: characters per line; None for the terminal's width.
    """
    table = [list(HEADING[:-1]), *(power_cells(row)[:-1] for row in rows)]
    right_aligned = frozenset(range(2, len(HEADING) - 1))
    lines = [text.fit_table(table, right_aligned=right_aligned, leading_columns=2, width=width)]
    lines += [text.wrap(f"{row.workload} {row.budget_name}: {note}", width) for row in rows for note in remarks(row)]
    return "\n".join(lines)


def power_json(rows: Sequence[PowerRow]) -> dict[str, Any]:
    """Return the rows as plain data, with the numbers that are derived from the stored ones."""
    return {
        "power": [
            {
                "row": row,
                "partial": row.partial,
                "per_core_hour": row.per_core_hour,
                "hard_per_core_hour": row.hard_per_core_hour,
                "remarks": remarks(row),
            }
            for row in rows
        ]
    }
