"""Renders the comparison of two submissions as text and JSON."""

from __future__ import annotations

import math
from typing import Any

from harness.report import text
from harness.report.values import finite_or_none, skipped_json, skipped_lines, spread_json
from harness.scoring.compare import Comparison, Factor, Pairing
from harness.scoring.hit_rates import Rate
from harness.scoring.stats import MIN_PAIRS, Spread

SCHEMA = 1
#: Column headings. `A / B` is the ratio of the times of A and B, and `95 %` is the confidence interval of this ratio.
#: `p (Holm)` is the p-value after Holm's correction. `hits A` and `hits B` are the fractions of runs that reached the
#: target. `mean to budget A, B` contains the means of min(time to the target, budget) for A and for B. These restricted
#: means are not scores. In scores, a miss has no time (see `restricted_mean`).
_HEADING = ["workload", "verdict on A", "A / B", "95 %", "p (Holm)", "hits A", "hits B", "mean to budget A, B"]
#: Column headings of the table of factors. Each ratio of A to B is followed by its 95 % confidence interval.
_FACTORS_HEADING = ["time = examples × cost", "examples A / B", "95 %", "cost per example A / B", "95 %"]


def comparison_text(result: Comparison, width: int | None = None) -> str:
    """Return the comparison as text.

    The text contains a table with a row for each workload, the table of factors, remarks, and the verdict on A.

    Args:
        result: the comparison.
        width: characters per line; None for the terminal's width.
    """
    pairings = [*result.workloads, *([result.overall] if result.overall else [])]
    rows = [_HEADING, *map(_table_row, pairings)]
    lines = [f"{pairing.workload}: {_seeds_needed(pairing)}" for pairing in pairings if not _is_decided(pairing)]
    lines += skipped_lines(result.skipped)
    if result.overall:
        lines.append(_conclusion(result, result.overall))
    title = text.wrap(f"A = {result.a}, B = {result.b}, by {result.by}", width)
    tables = text.fit_table(rows, right_aligned=frozenset({4, 5, 6}), width=width)
    notes = [text.wrap(line, width) for line in lines]
    factor_rows = [_factors_row(pairing) for pairing in pairings if pairing.examples is not None]
    if factor_rows:
        right_aligned = frozenset({1, 3})
        tables += "\n\n" + text.fit_table([_FACTORS_HEADING, *factor_rows], right_aligned=right_aligned, width=width)
    return "\n".join([title, tables, *(["", *notes] if notes else [])])


def _conclusion(result: Comparison, overall: Pairing) -> str:
    """Return the verdict over all workloads in one line."""
    if not _is_decided(overall):
        return f"{result.a} against {result.b}: {overall}"
    size = "" if _lacks_ratio(overall) else f"{abs(overall.ratio - 1):.1%} "
    remark = " (misses decide)" if _lacks_ratio(overall) else ""
    return f"{result.a} is {size}{overall}{remark} than {result.b}"


def _is_decided(pairing: Pairing) -> bool:
    """Return whether the verdict is conclusive."""
    return pairing.verdict != "inconclusive"


def _lacks_ratio(pairing: Pairing) -> bool:
    """Return whether the ratio of the times is 0, infinite or unknown, because runs missed the target."""
    return not 0 < pairing.ratio < math.inf


def _seeds_needed(pairing: Pairing) -> str:
    """Return the number of further seeds that an inconclusive pairing needs for a verdict, in words."""
    if pairing.n < 2 or _lacks_ratio(pairing):
        return f"at least {MIN_PAIRS} pairs with times are needed for a verdict"
    if pairing.more is None:
        return "the number of further seeds that a verdict needs is unknown"
    if pairing.more == 0:
        return "there are enough seeds to detect a difference of 3 %"
    return f"{pairing.more} more seeds are needed to detect a difference of 3 %"


def _factors_row(pairing: Pairing) -> list[str]:
    """Return the row of a workload in the table of factors."""
    row = [pairing.workload]
    for factor in (pairing.examples, pairing.cost):
        row += ["", ""] if factor is None else [_ratio_text(factor.ratio), _interval_text(factor.spread)]
    return row


def _interval_text(spread: Spread) -> str:
    remark = " (range)" if spread.kind == "range" else ""
    return f"{_ratio_text(spread.low)} – {_ratio_text(spread.high)}{remark}"


def _table_row(pairing: Pairing) -> list[str]:
    interval = _interval_text(pairing.spread)
    hits = [f"{rate.value:.0%}" if rate else "" for rate in (pairing.hits_a, pairing.hits_b)]
    means = ", ".join(text.number(mean) for mean in (pairing.mean_a, pairing.mean_b) if mean is not None)
    return [pairing.workload, str(pairing), _ratio_text(pairing.ratio), interval, f"{pairing.p_holm:.3g}", *hits, means]


def _ratio_text(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.3f}"


def comparison_json(result: Comparison) -> dict[str, Any]:
    """Return the comparison as plain data. An infinite ratio becomes null."""
    return {
        "schema": SCHEMA,
        "a": result.a,
        "b": result.b,
        "by": result.by,
        "workloads": [_pairing_json(pairing) for pairing in result.workloads],
        "overall": _pairing_json(result.overall) if result.overall else None,
        "left_out": skipped_json(result.skipped),
    }


def _pairing_json(pairing: Pairing) -> dict[str, Any]:
    return {
        "workload": pairing.workload,
        "n": pairing.n,
        "verdict": pairing.verdict,
        "ratio": finite_or_none(pairing.ratio),
        "spread": spread_json(pairing.spread),
        "p": pairing.p,
        "p_holm": pairing.p_holm,
        "more": pairing.more,
        "both_missed": pairing.both_missed,
        "hits_a": _rate_json(pairing.hits_a),
        "hits_b": _rate_json(pairing.hits_b),
        "mean_a": pairing.mean_a,
        "mean_b": pairing.mean_b,
        "examples": _factor_json(pairing.examples),
        "cost": _factor_json(pairing.cost),
    }


def _factor_json(factor: Factor | None) -> dict[str, Any] | None:
    return None if factor is None else {"ratio": factor.ratio, "spread": spread_json(factor.spread)}


def _rate_json(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else {"value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}
