"""Tables beside the leaderboard: claims at a chosen stop, scores at drawn stops, and the gain from tuning."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from harness.contract.record import Record
from harness.report import text
from harness.report.grid import Grid
from harness.report.values import finite_or_none
from harness.scoring import anytime, fixed_stop
from harness.scoring.anytime import AnytimeScore
from harness.scoring.fixed_stop import StopClaim
from harness.scoring.tuning import TuningCurve


class Stops:
    """Claims and anytime scores of records.

    Args:
        records: records of rulesets that choose or draw a stop; other records are ignored.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.claims = fixed_stop.claims(records)
        self.scores = anytime.scores(records)

    def grids(self) -> list[Grid]:
        """One table for each hardware class, ruleset and workload."""
        return [*map(_claim_grid, _grouped(self.claims)), *map(_score_grid, _grouped(self.scores))]

    def as_json(self) -> dict[str, Any]:
        """Plain data; a number that is not finite is null."""
        return {
            "fixed_stop": [
                {
                    "submission": c.submission,
                    "workload": c.workload,
                    "hardware": c.hardware,
                    "ruleset": c.ruleset,
                    "metric": c.metric,
                    "target": c.target,
                    "stop": c.stop,
                    "n": c.n,
                    "values": [finite_or_none(v) for v in c.values],
                    "mean": finite_or_none(c.mean),
                    "p": c.p,
                    "met": c.met,
                    "seconds": finite_or_none(c.time),
                    "reason": c.reason,
                }
                for c in self.claims
            ],
            "anytime": [
                {
                    "submission": s.submission,
                    "workload": s.workload,
                    "hardware": s.hardware,
                    "ruleset": s.ruleset,
                    "score": finite_or_none(s.score),
                    "studies": list(s.studies),
                    "clipped": s.clipped,
                    "reason": s.reason,
                }
                for s in self.scores
            ],
        }


def _grouped(rows: Iterable[Any]) -> list[list[Any]]:
    """Sorted rows as one list for each table."""
    return [list(group) for _, group in groupby(rows, key=lambda r: (r.hardware, r.ruleset, r.workload))]


def _claim_grid(claims: Sequence[StopClaim]) -> Grid:
    first = claims[0]
    rows = []
    for c in claims:
        spread = f" ± {statistics.stdev(c.values):.2g}" if len(c.values) > 1 else ""
        verdict = c.reason or ("met" if c.met else "not met")
        seconds = text.number(statistics.median(c.seconds)) if c.seconds else "–"
        mean = "–" if math.isnan(c.mean) else f"{c.mean:.4f}{spread}"
        rows.append([c.submission, str(c.n), f"{c.stop:,}", seconds, mean, f"{c.p:.2g}", verdict])
    return Grid(
        title=f"{first.workload}, {first.hardware}, {first.ruleset}: mean {first.metric} at a chosen stop, "
        f"target {text.number(first.target)}, one-sided p < {fixed_stop.LEVEL:g}",
        heading=["submission", "n", "examples", "seconds", "mean ± sd", "p", "target"],
        rows=rows,
        right=frozenset({1, 2, 3, 4, 5}),
    )


def _score_grid(scores: Sequence[AnytimeScore]) -> Grid:
    first = scores[0]
    rows = []
    for s in scores:
        studies = f"{min(s.studies):.3f} – {max(s.studies):.3f}" if s.studies else "–"
        note = s.reason or (f"{s.clipped} stops outside the reference's envelope" if s.clipped else "")
        score = "–" if math.isnan(s.score) else f"{s.score:.3f}"
        rows.append([s.submission, str(len(s.studies)), score, studies, note])
    return Grid(
        title=f"{first.workload}, {first.hardware}, {first.ruleset}: budget of the reference over the budget spent",
        heading=["submission", "n", "score", "studies", "remark"],
        rows=rows,
        right=frozenset({1, 2, 3}),
    )


def tuning_grids(curves: Sequence[TuningCurve]) -> list[Grid]:
    """The median best time of k trials, one table for each hardware class, ruleset and workload."""
    grids = []
    for group in _grouped(sorted(curves, key=lambda c: (c.hardware, c.ruleset, c.workload))):
        most = max(len(c.best) for c in group)
        rows = []
        for c in sorted(group, key=lambda c: c.best[-1]):
            cells = [
                (f"missed ({hits:.0%} hit)" if math.isinf(best) else text.number(best))
                for best, hits in zip(c.best, c.hits, strict=True)
            ]
            rows.append([c.submission, str(c.trials), *cells, *[""] * (most - len(cells))])
        first = group[0]
        grids.append(
            Grid(
                title=f"{first.workload}, {first.hardware}, {first.ruleset}: median best time of k trials",
                heading=["submission", "trials", *(f"k = {k}" for k in range(1, most + 1))],
                rows=rows,
                right=frozenset(range(1, most + 2)),
            )
        )
    return grids
