"""Renders AlgoPerf scores as two tables: the ranking, and seconds to the target by workload."""

from __future__ import annotations

import math

from harness.report import text
from harness.report.values import NO_VALUE, rank_range, skipped_lines
from harness.scoring.algoperf.rules import AlgoPerfScores


def scores_text(result: AlgoPerfScores, *, all_skipped: bool = False, width: int | None = None) -> str:
    """Return both tables, and lines about items that were left out.

    Args:
        result: the scores.
        all_skipped: whether every item that was left out has its own line.
        width: characters per line; None for the terminal's width.
    """
    notes = [str(skip) for skip in result.skipped] if all_skipped else skipped_lines(result.skipped)
    if result.anchored:
        notes += skipped_lines(result.anchored.left_out)
    title = "seconds to target (median over studies; –: a miss, or no logs)"
    times = f"{text.wrap(title, width)}\n{_times_table(result, width)}"
    blocks = [_scores_table(result, width), times, "\n".join(text.wrap(line, width) for line in notes)]
    return "\n\n".join(block for block in blocks if block)


def _scores_table(result: AlgoPerfScores, width: int | None) -> str:
    """Return the ranking.

    The column `profile score` follows AlgoPerf's numerical integration of the performance profile. `exact` is the exact
    integral. `by single studies` is the range of the profile score if each study is scored separately. `anchored` is
    the anchored score.
    """
    rows = [["rank", "submission", "profile score", "exact", "by single studies", "anchored"]]
    for rank, (name, profile) in enumerate(result.profiles.items(), 1):
        ends = result.ranges.get(name) if result.ranges else None
        rows.append(
            [
                rank_range(result.ties.ranks[name] if result.ties else (rank, rank)),
                name,
                f"{profile.score:.4f}",
                f"{profile.exact:.4f}",
                f"{ends[0]:.2f} – {ends[1]:.2f}" if ends else "",
                f"{result.anchored.scores[name]:.3f}" if result.anchored else "",
            ]
        )
    return text.fit_table(rows, right_aligned=frozenset({0, 2, 3, 4, 5}), leading_columns=2, width=width)


def _times_table(result: AlgoPerfScores, width: int | None) -> str:
    """Return a table with one row per workload and one column per submission."""
    submissions = list(result.time_to_target)
    rows = [["workload", *submissions]]
    for workload in (*result.base, *result.held_out):
        times = [result.time_to_target[name].get(workload) for name in submissions]
        rows.append([workload, *(NO_VALUE if t is None or math.isinf(t) else f"{t:,.0f}" for t in times)])
    return text.fit_table(rows, right_aligned=frozenset(range(1, len(submissions) + 1)), width=width)
