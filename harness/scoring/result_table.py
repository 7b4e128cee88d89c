"""A table of results that are not times to a target, as values; reports format it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, TypeAlias, TypeVar

#: A cell: text as it stands, or a number that its column's format is applied to; None and nan are shown as a dash.
Cell: TypeAlias = str | int | float | None

#: The format of numbers of any size, with three significant digits.
NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """One table.

    Args:
        title: one line: workload, hardware class, ruleset, what is shown.
        heading: names of the columns.
        formats: per column the specification of a number (`.3f`, `NUMBER`), `>` for text aligned to the right, or empty
            for text.
        rows: as many cells as columns.
        data: the same results as plain data, one mapping per row.
    """

    title: str
    heading: tuple[str, ...]
    formats: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    data: tuple[dict[str, Any], ...]


class _OfOneTable(Protocol):
    """What says to which table a row belongs."""

    @property
    def hardware(self) -> str: ...
    @property
    def ruleset(self) -> str: ...
    @property
    def workload(self) -> str: ...


RowT = TypeVar("RowT", bound=_OfOneTable)


def split_into_tables(rows: Iterable[RowT]) -> list[list[RowT]]:
    """Sorted rows as one list for each hardware class, ruleset and workload."""
    return [list(group) for _, group in groupby(rows, key=lambda row: (row.hardware, row.ruleset, row.workload))]
