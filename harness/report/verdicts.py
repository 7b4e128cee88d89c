"""Renders the verdicts on the pairs of submissions of a leaderboard: as JSON, and as a matrix for the report's page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from harness.report.values import finite_or_none
from harness.scoring.ties import PairVerdict

#: Largest number of submissions in the matrix of the page. The size of the matrix grows with the square of this number.
MAX_MATRIX: Final = 40
#: Explanation of the verdicts, printed with the matrix.
EXPLAINED: Final = (
    "Each cell has the verdict on the row, compared with the column. The ranks are made from these verdicts. faster, "
    "slower: the difference is significant after Holm's correction over all pairs of the table. tied: it is not "
    "significant, or (marked !) it contradicts the order. undecided: there are too few pairs of studies for a verdict. "
    "Number: time of the row / time of the column; below 1, the row is faster. A cell has no number if the submission "
    "of the row or of the column missed the target too often."
)
#: Verdict on the first submission -> verdict on the second one.
_REVERSED: Final = {"faster": "slower", "tied": "tied", "undecided": "undecided"}


def verdicts_json(verdicts: Iterable[PairVerdict]) -> list[dict[str, Any]]:
    """Return the verdicts as plain data. The ratio is null if it cannot be estimated (see `PairVerdict.ratio`)."""
    return [
        {
            "a": pair.a,
            "b": pair.b,
            "verdict": pair.verdict,
            "ratio": _finite_ratio(pair),
            "pairs": len(pair.log_ratios),
            "p": pair.p,
            "contradicts_order": pair.contradicts_order,
        }
        for pair in verdicts
    ]


def verdict_matrix(verdicts: Sequence[PairVerdict], shown: Sequence[str]) -> dict[str, Any]:
    """Return the matrix of verdicts as plain data for the page's script.

    Args:
        verdicts: the verdicts on the pairs of a leaderboard.
        shown: submissions, in the order of the rows and columns. At most `MAX_MATRIX` of them are in the matrix.

    Returns:
        `names`, the submissions; `cells`, rows of cells; `left_out`, the number of submissions without a row. A cell is
        None on the diagonal and for a pair without a verdict. In all other cases, it is the verdict on the row, the
        ratio as text, and the number of pairs of studies.
    """
    names = list(shown[:MAX_MATRIX])
    cells: dict[tuple[str, str], list[Any]] = {}
    for pair in verdicts:
        if pair.a in names and pair.b in names:
            ratio, mark, count = pair.ratio, "!" if pair.contradicts_order else "", len(pair.log_ratios)
            cells[pair.a, pair.b] = [pair.verdict, mark + _ratio_text(ratio), count]
            cells[pair.b, pair.a] = [_REVERSED[pair.verdict], mark + _ratio_text(_inverse(ratio)), count]
    return {
        "names": names,
        "cells": [[cells.get((row, column)) for column in names] for row in names],
        "left_out": len(shown) - len(names),
    }


def _inverse(ratio: float) -> float:
    return math.inf if ratio == 0 else 1 / ratio


def _ratio_text(ratio: float) -> str:
    """Return the ratio of a row to a column as text, or which of them missed if the ratio is 0 or infinite."""
    if math.isnan(ratio):
        return "–"
    if ratio == 0:
        return "column missed"
    return "row missed" if math.isinf(ratio) else f"{ratio:.2f}×"


def _finite_ratio(pair: PairVerdict) -> float | None:
    ratio = pair.ratio
    return None if ratio == 0 or math.isnan(ratio) else finite_or_none(ratio)
