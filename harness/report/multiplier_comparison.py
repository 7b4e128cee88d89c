"""Renders the comparison of two submissions by multipliers as text and JSON."""

from __future__ import annotations

from typing import Any

from harness.report import text
from harness.report.values import skipped_json, skipped_lines
from harness.scoring.multiplier_comparison import MultiplierComparison, MultiplierPairing
from harness.scoring.multiplier_tables import estimate_data, format_interval, format_multiplier
from harness.scoring.stats import MIN_PAIRS

SCHEMA = 1
#: Column headings. `A / B` is the ratio of the time multipliers, and `95 %` is its confidence interval.
_HEADING = ["workload", "verdict on A", "A / B", "95 %", "compute multiplier A / B", "cost A / B", "p (Holm)"]
_EXPLAINED = (
    "A / B: time multiplier of A / time multiplier of B; above 1, A is faster. A ranking tests all of its pairs at "
    "once, so it may not separate two submissions that this test separates."
)


def multiplier_comparison_text(result: MultiplierComparison, width: int | None = None) -> str:
    """Return the comparison as text. The last line is the verdict over all workloads.

    Args:
        result: the comparison.
        width: width of the terminal in characters; None for the width of this terminal.
    """
    pairings = [*result.workloads, *([result.overall] if len(result.workloads) > 1 else [])]
    title = f"A = {result.a}, B = {result.b}, by time multiplier ({result.ruleset}, {result.hardware})"
    table = text.fit_table(
        [_HEADING, *(_table_row(pairing) for pairing in pairings)],
        right_aligned=frozenset(range(2, len(_HEADING))),
        width=width,
    )
    lines = [_EXPLAINED, *skipped_lines(result.skipped), *_needed_lines(result.overall), _conclusion(result)]
    return "\n".join([title, table, "", *(text.wrap(line, width) for line in lines)])


def _table_row(pairing: MultiplierPairing) -> list[str]:
    return [
        pairing.workload,
        f"{pairing.verdict} (n={pairing.n})",
        format_multiplier(pairing.time) or "–",
        format_interval(pairing.time) or "–",
        format_multiplier(pairing.compute) or "–",
        "–" if pairing.cost is None else f"{pairing.cost:.2f}",
        _format_p(pairing),
    ]


def _format_p(pairing: MultiplierPairing) -> str:
    """Return the p-value after Holm's correction; a dash if there were too few pairs for a test."""
    if pairing.n < MIN_PAIRS:
        return "–"
    # The test assumes normal residuals, so its far tail means nothing.
    return "< 0.0001" if pairing.p_holm < 1e-4 else f"{pairing.p_holm:.2g}"


def _needed_lines(overall: MultiplierPairing) -> list[str]:
    """Return how many further studies an inconclusive comparison needs."""
    if overall.verdict != "inconclusive":
        return []
    if overall.more is None:
        return [f"a verdict needs at least {MIN_PAIRS} pairs of studies with multipliers"]
    if overall.more == 0:
        return ["there are enough studies to detect a difference of 3 %"]
    return [f"about {overall.more:,} more studies on each workload are needed to detect a difference of 3 %"]


def _conclusion(result: MultiplierComparison) -> str:
    """Return the verdict over all workloads in one line."""
    overall = result.overall
    if overall.verdict == "inconclusive":
        return f"{result.a} against {result.b}: inconclusive (n={overall.n})"
    ratio = format_multiplier(overall.time)
    amount = f": {ratio} the time multiplier" if ratio else ""
    return f"{result.a} is {overall.verdict} than {result.b} (n={overall.n}){amount}"


def multiplier_comparison_json(result: MultiplierComparison) -> dict[str, Any]:
    """Return the comparison as plain data."""
    return {
        "schema": SCHEMA,
        "a": result.a,
        "b": result.b,
        "by": "time multiplier",
        "hardware": result.hardware,
        "ruleset": result.ruleset,
        "workloads": [_pairing_json(pairing) for pairing in result.workloads],
        "overall": _pairing_json(result.overall),
        "left_out": skipped_json(result.skipped),
    }


def _pairing_json(pairing: MultiplierPairing) -> dict[str, Any]:
    return {
        "workload": pairing.workload,
        "n": pairing.n,
        "verdict": pairing.verdict,
        "time_multiplier": estimate_data(pairing.time),
        "compute_multiplier": estimate_data(pairing.compute),
        "cost": pairing.cost,
        "p": pairing.p,
        "p_holm": pairing.p_holm,
        "more": pairing.more,
    }
