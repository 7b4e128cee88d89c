"""Selects the records that tables show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.planning.stopping_rules import stopping_rule
from harness.scoring.marked import MarkFilter
from harness.scoring.summary import LeaderboardQuery, RunSummary, add_statements
from harness.storage.derived import DerivedValues
from harness.storage.derived_records import iter_derived
from harness.storage.layout import ListedFolder

S = TypeVar("S", bound=RunSummary)


@dataclass(slots=True, kw_only=True)
class TableRecords:
    """Splits records into the records of leaderboards and the records of other tables, without withdrawn records.

    Args:
        mark_filter: filter that leaves out withdrawn records.
        stop_records: the records so far of rulesets that have their own tables, such as `fixed-stop`.
        cost_records: the runs of `bench cost` so far, which some of these tables use.
    """

    mark_filter: MarkFilter
    stop_records: list[Record] = field(default_factory=list)
    cost_records: list[Record] = field(default_factory=list)

    def scored(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records of leaderboards.

        Only records with the purpose `score` and without a stop are yielded. Records of rulesets that have their own
        tables are added to `stop_records`, and the runs of `bench cost` to `cost_records`.
        """
        for record in records:
            if not self._add_to_list(record) and _is_scored(record.spec) and self.mark_filter.admits(record):
                yield record

    def summaries(
        self,
        listed: Iterable[ListedFolder],
        problems: list[str],
        query: LeaderboardQuery,
        values: DerivedValues[S],
    ) -> Iterator[S]:
        """Yield the summaries of the records of leaderboards. A record whose summary is stored is not decoded.

        Records of rulesets that have their own tables are added to `stop_records`, and the runs of `bench cost` to
        `cost_records`.

        Args:
            listed: the folders of records with the names of their files.
            problems: list to which a one-line message is appended for each file that cannot be read.
            query: the query with the attestations and marks.
            values: the result of `stored_summaries` for the query.
        """
        for item in iter_derived(listed, problems, values):
            if isinstance(item, Record):
                self._add_to_list(item)
            elif self.mark_filter.admits(item):
                yield add_statements(item, query)

    def _add_to_list(self, record: Record) -> bool:
        """Return whether other tables than leaderboards need the record. If so, add it to its list unless withdrawn."""
        is_cost = record.spec.purpose == "cost"
        if not is_cost and not _has_own_tables(record.spec):
            return False
        if self.mark_filter.admits(record):
            (self.cost_records if is_cost else self.stop_records).append(record)
        return True


def _has_own_tables(spec: RunSpec) -> bool:
    """Return whether the results of the run's ruleset have their own tables."""
    return stopping_rule(spec.ruleset.stopping).has_own_tables


def _is_scored(spec: RunSpec) -> bool:
    """Return whether leaderboards show the run."""
    return not _has_own_tables(spec) and spec.purpose == "score" and spec.stop is None


def stored_summaries(
    kind: type[S],
    summarize: Callable[[Record, LeaderboardQuery], S],
    query: LeaderboardQuery,
    folders: Iterable[Path],
) -> DerivedValues[S]:
    """Return the source of the summaries of leaderboard records. It reads stored summaries, and computes the others.

    Args:
        kind: type of the summaries.
        summarize: function that summarizes a record for a query. It must ignore attestations and marks, because they
            change more often than the records.
        query: the query.
        folders: the folders of the records.
    """
    content_query = query.content_query()

    def compute(record: Record) -> S | None:
        return summarize(record, content_query) if _is_scored(record.spec) else None

    return DerivedValues(kind, compute, repr(content_query), folders)
