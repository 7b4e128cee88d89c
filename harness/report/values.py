"""Formats the values of table cells for text and for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness.contract.run import Point
from harness.scoring.cells import Cell
from harness.scoring.families import RowFamily
from harness.scoring.scores import Skipped
from harness.scoring.stats import Spread

#: Text of an infinite time to target.
MISSED = "missed"
#: Text of a cell without a value.
NO_VALUE = "–"


def rank_range(ranks: tuple[int, int] | None) -> str:
    """Return a rank as text: `2`, or `1–3` for tied submissions, or `–` for runs that are never ranked.

    >>> rank_range((2, 2)), rank_range((1, 3)), rank_range(None)
    ('2', '1–3', '–')
    """
    if ranks is None:
        return NO_VALUE
    best, worst = ranks
    return str(best) if best == worst else f"{best}–{worst}"


def median(cell: Cell | None, digits: int, infinite: str = MISSED) -> str:
    """Return a cell's median with its interval or range as text.

    Args:
        cell: the cell; None for a workload without a run.
        digits: number of decimal digits.
        infinite: text for an infinite value.

    >>> median(Cell(value=2.0, spread=Spread(low=1.0, high=float("inf"), kind="range"), studies=3, hits=2), 1)
    '2.0 {1.0 – missed}'
    """
    if cell is None:
        return NO_VALUE
    return _number(cell.value, digits, infinite) + spread(cell.spread, digits, infinite)


def spread(ends: Spread | None, digits: int, infinite: str = MISSED) -> str:
    """Return ` [low – high]` for an interval or ` {low – high}` for a range.

    The text is empty if the ends are equal or None.

    >>> spread(Spread(low=1.0, high=2.0, kind="range"), 1)
    ' {1.0 – 2.0}'
    """
    if ends is None or ends.low == ends.high:
        return ""
    low, high = (_number(end, digits, infinite) for end in (ends.low, ends.high))
    return f" [{low} – {high}]" if ends.kind == "interval" else f" {{{low} – {high}}}"


def family_text(family: RowFamily | None, digits: int) -> str:
    """Return the family of a row as text.

    The text is the name of the family. In the family's best row, the number of settings and the range of their values
    follow.

    >>> family_text(RowFamily(name="wsd", settings=3, is_best=True, low=1.0, high=2.0, missed=1), 1)
    'wsd: best of 3 {1.0 – 2.0, 1 missed}'
    """
    if family is None or not family.is_best:
        return NO_VALUE if family is None else family.name
    ends = [] if math.isnan(family.low) else [f"{family.low:,.{digits}f} – {family.high:,.{digits}f}"]
    missed = [f"{family.missed} {MISSED}"] if family.missed else []
    return f"{family.name}: best of {family.settings} {{{', '.join(ends + missed)}}}"


def _number(value: float, digits: int, infinite: str) -> str:
    return infinite if math.isinf(value) else f"{value:,.{digits}f}"


def format_metric(point: Point, name: str) -> str:
    """Return a metric of an evaluation with four significant digits; `nan` if it was not finite.

    The prefix `~` marks an estimate from a part of the split (a screened evaluation). Every text that shows the value
    of one evaluation calls this function.
    """
    return f"{'~' if point.screened else ''}{point.metrics.get(name, math.nan):.4g}"


def skipped_lines(skipped: Sequence[Skipped], max_names: int = 3) -> list[str]:
    """Return one line for each reason, with the names of the first `max_names` items.

    A line begins with `left out`, or with `incomplete` for items that are scored nevertheless.

    >>> skipped_lines([Skipped(item="a", reason="smoke"), Skipped(item="b", reason="smoke")], max_names=1)
    ['left out: 2 (smoke): a, and 1 more']
    """
    by_reason: dict[tuple[str, str], list[str]] = {}
    for skip in skipped:
        by_reason.setdefault(("incomplete" if skip.counted else "left out", skip.reason), []).append(skip.item)
    lines = []
    for (effect, reason), items in by_reason.items():
        more = f", and {len(items) - max_names} more" if len(items) > max_names else ""
        lines.append(f"{effect}: {len(items)} ({reason}): {', '.join(items[:max_names])}{more}")
    return lines


# --- JSON -------------------------------------------------------------------------------------------


def finite_or_none(value: float | None) -> float | None:
    """Return a finite number unchanged, and None for infinity and NaN, because JSON cannot represent them."""
    return value if value is not None and math.isfinite(value) else None


def family_json(family: RowFamily | None) -> dict[str, Any] | None:
    """Return the family of a row as plain data; None for a row without a family."""
    if family is None:
        return None
    return {
        "name": family.name,
        "settings": family.settings,
        "is_best": family.is_best,
        "low": finite_or_none(family.low),
        "high": finite_or_none(family.high),
        "missed": family.missed,
    }


def spread_json(ends: Spread | None) -> dict[str, Any] | None:
    """Return the ends and the kind of an interval or range as plain data. An infinite end is null."""
    if ends is None:
        return None
    return {"low": finite_or_none(ends.low), "high": finite_or_none(ends.high), "kind": ends.kind}


def skipped_json(skipped: Iterable[Skipped]) -> list[dict[str, Any]]:
    """Return the items that were left out or are incomplete as plain data."""
    return [{"what": skip.item, "why": skip.reason, "counted": skip.counted} for skip in skipped]
