"""Renders the costs of submissions as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report import text, values
from harness.scoring.cost_ratio import CostRatio

SCHEMA = 1
#: Column headings. `cost` is the cost per example divided by the baseline's cost, and `95 %` is the confidence interval
#: of this ratio. `pairs` is the number of pairs. A pair is one run of the submission and one run of the baseline.
#: `construction` is the time for constructing the submission.
_HEADING = ["workload", "submission", "cost", "95 %", "pairs", "ms per example", "construction"]


def costs_text(ratios: Sequence[CostRatio], baseline: str, width: int | None = None) -> str:
    """Return a table with a row for each submission and workload.

    Args:
        ratios: the costs.
        baseline: name of the baseline, whose cost is 1 by definition.
        width: characters per line; None for the terminal's width.
    """
    rows = [_HEADING]
    for row in ratios:
        remark = " (range)" if row.spread.kind == "range" else ""
        rows.append(
            [
                row.workload,
                row.submission,
                f"{row.ratio:.3f}×",
                f"{row.spread.low:.3f} – {row.spread.high:.3f}{remark}",
                str(row.n),
                f"{1000 * row.seconds_per_example:.3g}",
                text.seconds(row.construction_seconds),
            ]
        )
    title = f"cost per example relative to {baseline}, without the construction of the submission; {ratios[0].hardware}"
    table = text.fit_table(rows, right_aligned=frozenset({2, 4, 5, 6}), leading_columns=2, width=width)
    return f"{text.wrap(title, width)}\n{table}"


def costs_json(ratios: Sequence[CostRatio], baseline: str) -> dict[str, Any]:
    """Return the costs as plain data."""
    return {
        "schema": SCHEMA,
        "baseline": baseline,
        "costs": [
            {
                "workload": row.workload,
                "submission": row.submission,
                "hardware": row.hardware,
                "ratio": row.ratio,
                "spread": values.spread_json(row.spread),
                "pairs": row.n,
                "seconds_per_example": row.seconds_per_example,
                "construction_seconds": row.construction_seconds,
            }
            for row in ratios
        ],
    }
