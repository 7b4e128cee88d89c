"""Selects the records that tables show, and draws the page of the published records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract.record import Record
from harness.planning.stopping_rules import stopping_rule
from harness.report.leaderboard import as_markdown
from harness.report.stopping_tables import StoppingResults
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.marked import MarkFilter
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.storage.attestations import index_attestations
from harness.storage.marks import index_marks
from harness.storage.records import iter_records


@dataclass(slots=True, kw_only=True)
class TableRecords:
    """Splits records into those of leaderboards and those of other tables, without withdrawn records.

    Args:
        mark_filter: filter that leaves out withdrawn records.
        stop_records: the records that were seen so far of rulesets that choose or draw a stop. They are shown in
            separate tables.
    """

    mark_filter: MarkFilter
    stop_records: list[Record] = field(default_factory=list)

    def scored(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records of leaderboards.

        Trials with another purpose, such as tuning or calibration, and runs with a fixed stop are skipped.
        """
        for record in records:
            spec = record.spec
            has_own_tables = stopping_rule(spec.ruleset.stopping).has_own_tables
            is_shown = has_own_tables or (spec.purpose == "score" and spec.stop is None)
            if not is_shown or not self.mark_filter.admits(record):
                continue
            if has_own_tables:
                self.stop_records.append(record)
            else:
                yield record


def draw_published(folder: Path, references: tuple[str, ...]) -> str:
    """Return the leaderboard of the records below a folder, as the Markdown page that is stored beside them.

    `bench leaderboard --runs none --results FOLDER --format md` prints the same page.

    Args:
        folder: folder of published records.
        references: names of the submissions that may be the reference of the scores.
    """
    problems: list[str] = []
    table_records = TableRecords(mark_filter=MarkFilter(index_marks([folder], problems)))
    query = LeaderboardQuery(
        references=references,
        attestations=index_attestations([folder], problems),
        marks=table_records.mark_filter.marks,
    )
    summaries = [summarize(record, query) for record in table_records.scored(iter_records([folder], problems))]
    boards = build_leaderboards(summaries, query)
    stopping_results = StoppingResults(table_records.stop_records)
    # The page is stored in the folder, so it must not depend on the place of the folder.
    shown_problems = [problem.replace(str(folder), "results") for problem in problems]
    return as_markdown(boards, shown_problems, stopping_results.grids(), table_records.mark_filter.marked)
