"""Makes the tables below the leaderboard: tuning curves, and results that are not times to target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.contract.attestation import Attestation
from harness.contract.record import Record
from harness.contract.workload import WorkloadFacts
from harness.planning.stopping_rules import STOPPING_RULES
from harness.report import text
from harness.report.grid import Grid
from harness.report.headline import ranking_sentences
from harness.report.values import finite_or_none
from harness.report.verdicts import verdicts_json
from harness.scoring.result_table import NUMBER, Cell, ResultTable, TableContext, split_into_tables
from harness.scoring.tuning import TuningCurve
from harness.storage.envelopes import Envelopes


class StoppingResults:
    """The results of rulesets that do not measure a time to target, such as `fixed-stop`.

    Args:
        records: records of any rulesets. Records whose results are times to target are ignored.
        envelopes: the envelopes of the reference, by `name@version` of the workload.
        installed: facts of the installed workloads, by which a table finds the workloads that it lacks.
        attestations: content hash of a record -> attestations of this record.
    """

    def __init__(
        self,
        records: Sequence[Record],
        envelopes: Envelopes = MappingProxyType({}),
        installed: Sequence[WorkloadFacts] = (),
        attestations: Mapping[str, Sequence[Attestation]] = MappingProxyType({}),
    ) -> None:
        context = TableContext(envelopes=envelopes, installed=installed, attestations=attestations)
        self.tables: Mapping[str, Sequence[ResultTable]] = {
            rule.json_key: rule.tabulate(records, context) for rule in STOPPING_RULES.values() if rule.has_own_tables
        }

    def grids(self) -> list[Grid]:
        """Return the tables in the order of the stopping rules."""
        return [_grid(table) for tables in self.tables.values() for table in tables]

    def as_json(self) -> dict[str, Any]:
        """Return the results as plain data. A number that is not finite is null.

        The rows of a ranking follow a row with the statement at its top and the verdicts on pairs.
        """
        return {
            key: [
                row
                for table in tables
                for row in (*_headline_rows(table), *(_replace_nonfinite(row) for row in table.data))
            ]
            for key, tables in self.tables.items()
        }


def _headline_rows(table: ResultTable) -> list[dict[str, Any]]:
    """Return the statement at the top of a ranking and its verdicts, as a row; empty if the table is no ranking."""
    headline = table.headline
    if headline is None:
        return []
    return [
        {
            "table": "headline",
            **table.scope,
            "text": " ".join(ranking_sentences(headline)),
            "leaders": list(headline.leaders),
            "behind_some_leaders": list(headline.behind_some),
            "behind_all_leaders": list(headline.behind_all),
            "verdicts": verdicts_json(table.verdicts),
        }
    ]


def _grid(table: ResultTable) -> Grid:
    return Grid(
        title=table.title,
        heading=list(table.heading),
        rows=[
            [_format(cell, format_spec) for cell, format_spec in zip(row, table.formats, strict=True)]
            for row in table.rows
        ],
        right_aligned=frozenset(i for i, format_spec in enumerate(table.formats) if format_spec),
        leading_columns=table.heading.index("submission") + 1 if "submission" in table.heading else 1,
        is_ranking=table.headline is not None,
        sentences=ranking_sentences(table.headline),
        notes=table.notes,
    )


def _format(cell: Cell, format_spec: str) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, str):
        return cell
    return text.number(cell) if format_spec == NUMBER else format(cell, format_spec)


def _replace_nonfinite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with None in place of numbers that are not finite, including numbers in lists."""

    def convert(value: Any) -> Any:
        if isinstance(value, list):
            return [convert(item) for item in value]
        return finite_or_none(value) if isinstance(value, float) else value

    return {name: convert(value) for name, value in row.items()}


def tuning_grids(curves: Sequence[TuningCurve]) -> list[Grid]:
    """Make one table for each hardware class, ruleset and workload.

    A cell is the median of the best time to target among k trials.
    """
    grids = []
    for group in split_into_tables(sorted(curves, key=lambda c: (c.hardware, c.ruleset, c.workload))):
        max_trials = max(len(curve.best_times) for curve in group)
        rows = []
        for curve in sorted(group, key=lambda c: c.best_times[-1]):
            cells = [
                (f"missed ({hit_rate:.0%} hit)" if math.isinf(time) else text.number(time))
                for time, hit_rate in zip(curve.best_times, curve.hit_rates, strict=True)
            ]
            rows.append([curve.submission, str(curve.trials), *cells, *[""] * (max_trials - len(cells))])
        first = group[0]
        grids.append(
            Grid(
                title=f"{first.workload}, {first.hardware}, {first.ruleset}: median best time of k trials",
                heading=["submission", "trials", *(f"k = {k}" for k in range(1, max_trials + 1))],
                rows=rows,
                right_aligned=frozenset(range(1, max_trials + 2)),
            )
        )
    return grids
