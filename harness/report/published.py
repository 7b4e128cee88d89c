"""Draws the page of the published records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.contract.reference_times import ReferenceTimes
from harness.contract.workload import WorkloadFacts
from harness.report.leaderboard import as_markdown
from harness.report.stopping_tables import StoppingResults
from harness.report.table_records import TableRecords
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.marked import MarkFilter
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.storage.attestations import index_attestations
from harness.storage.envelopes import default_envelopes, read_envelopes
from harness.storage.layout import walk_all
from harness.storage.marks import index_marks
from harness.storage.records import iter_listed_records


def draw_published(
    folder: Path,
    references: tuple[str, ...],
    installed: Sequence[WorkloadFacts],
    frozen: Mapping[str, ReferenceTimes],
) -> str:
    """Return the leaderboard of the records below a folder, as the Markdown page that is stored beside them.

    `bench leaderboard --runs none --results FOLDER --format md` prints the same page. Like that command, this function
    reads the envelopes of the reference from the folder that `default_envelopes` returns.

    Args:
        folder: folder of published records.
        references: names of the submissions that may be the reference of the scores.
        installed: facts of the installed workloads, by which a table finds the workloads that it lacks.
        frozen: workload -> times of its tuned reference, to which anchored scores are relative.
    """
    problems: list[str] = []
    listed = list(walk_all([folder], problems))
    table_records = TableRecords(mark_filter=MarkFilter(index_marks([folder], problems, listed)))
    query = LeaderboardQuery(
        references=references,
        attestations=index_attestations(listed, problems),
        marks=table_records.mark_filter.marks,
        frozen=frozen,
    )
    summaries = [summarize(record, query) for record in table_records.scored(iter_listed_records(listed, problems))]
    boards = build_leaderboards(summaries, query, installed)
    envelopes = read_envelopes(default_envelopes(folder))
    stopping_results = StoppingResults(
        [*table_records.stop_records, *table_records.cost_records], envelopes, installed, query.attestations
    )
    # The page is stored in the folder, so it must not depend on the place of the folder.
    shown_problems = [problem.replace(str(folder), "results") for problem in problems]
    return as_markdown(boards, shown_problems, stopping_results.grids(), table_records.mark_filter.marked)
