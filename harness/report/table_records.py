"""Selects the records that tables show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.contract.record import Record
from harness.planning.stopping_rules import stopping_rule
from harness.scoring.marked import MarkFilter


@dataclass(slots=True, kw_only=True)
class TableRecords:
    """Splits records into the records of leaderboards and the records of other tables, without withdrawn records.

    Args:
        mark_filter: filter that leaves out withdrawn records.
        stop_records: the records so far whose rulesets choose or draw a stop. Separate tables show these records.
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
